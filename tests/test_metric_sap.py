"""SAP: against loops, what it sees and what it is blind to, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import metric_cases
import metric_references
import numpy as np
import pytest

from disentlib import metrics
from disentlib.metrics.sap import predictability, squared_correlation

SIZES = (3, 4, 6)
TRAIN, TEST = 500, 250
SMALL = replace(metrics.LOCATELLO, train_points=TRAIN, test_points=TEST)
IN_SAMPLE = replace(metrics.INFOGAN_CR, train_points=TRAIN)


def split(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, ...]:
    return codes[:TRAIN], factors[:TRAIN], codes[TRAIN:], factors[TRAIN:]


def case(name: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    return split(*metric_cases.cases(seed, TRAIN + TEST, SIZES)[name])


def sap(name: str, protocol: metrics.Protocol = SMALL, **options: object) -> float:
    return metrics.sap(*case(name), protocol=protocol, **options)


@pytest.mark.parametrize("name", [n for n in metric_cases.NAMES if n != "fewer_dimensions"])
def test_plain_loops_agree(name: str) -> None:
    """`fewer_dimensions` has one dimension here: no second best."""
    assert sap(name) == pytest.approx(metric_references.sap(*case(name)), abs=1e-9)
    in_sample = metric_references.sap_in_sample(*case(name)[:2], ordinal=[False, True, True])
    assert sap(name, IN_SAMPLE, nominal=[0]) == pytest.approx(in_sample, abs=1e-9)


def test_a_perfect_code_is_read_by_one_dimension_and_a_copy_of_it_costs_everything() -> None:
    assert sap("perfect") > 0.2
    assert sap("perfect", IN_SAMPLE) > 0.85  # a line reads an ordinal factor whole
    assert sap("duplicated") < 0.02 and sap("duplicated", IN_SAMPLE) < 0.02


def test_noise_and_constants_score_nothing() -> None:
    assert abs(sap("noise")) < 0.05 and sap("noise", IN_SAMPLE) < 0.02
    assert sap("constant") == 0 and sap("constant", IN_SAMPLE) == 0


def test_a_constant_dimension_does_not_change_the_score_of_an_ordinal_reading() -> None:
    codes, factors = case("perfect")[:2]
    more = np.hstack([codes, np.full((TRAIN, 2), 3.7)])
    assert metrics.sap(more, factors, protocol=IN_SAMPLE) == metrics.sap(codes, factors, protocol=IN_SAMPLE)


def test_blind_spot_a_perfect_code_of_a_many_valued_factor_stays_low() -> None:
    """One line on one dimension separates an outer value from the rest, but no inner one."""
    factors = np.random.default_rng(0).integers(0, 20, (TRAIN + TEST, 2))
    assert metrics.sap(*split(factors / 6.0, factors), protocol=SMALL) < 0.25


def test_blind_spot_the_penalty_makes_it_depend_on_scale_and_shift() -> None:
    codes, factors, test_codes, test_factors = case("perfect")
    whole = sap("perfect")
    assert metrics.sap(codes / 100, factors, test_codes / 100, test_factors, protocol=SMALL) < whole / 2
    assert metrics.sap(codes + 100, factors, test_codes + 100, test_factors, protocol=SMALL) < whole / 2


def test_the_order_of_dimensions_and_the_names_of_values_do_not_matter() -> None:
    codes, factors, test_codes, test_factors = case("partly_mixed")
    expected = sap("partly_mixed")
    assert metrics.sap(codes[:, ::-1], factors, test_codes[:, ::-1], test_factors, protocol=SMALL) == expected
    renamed = metrics.sap(codes, 10 + 7 * factors, test_codes, 10 + 7 * test_factors, protocol=SMALL)
    assert renamed == pytest.approx(expected, abs=1e-9)


def test_squared_correlation_does_not_depend_on_scale_shift_or_sign() -> None:
    codes, factors = case("partly_mixed")[:2]
    moved = codes * [-0.01, 5.0, 300.0] + [7.0, -2.0, 0.0]
    assert squared_correlation(moved, factors) == pytest.approx(squared_correlation(codes, factors))
    expected = np.corrcoef(np.hstack([codes, factors]).T)[:3, 3:] ** 2
    assert squared_correlation(codes, factors) == pytest.approx(expected)


def test_workers_do_not_change_the_number() -> None:
    assert sap("partly_mixed", workers=2) == sap("partly_mixed")


def test_an_in_sample_protocol_looks_at_no_test_points() -> None:
    codes, factors, test_codes, test_factors = case("partly_mixed")
    assert metrics.sap(codes, factors, protocol=IN_SAMPLE) == metrics.sap(
        codes, factors, test_codes * np.nan, test_factors, protocol=IN_SAMPLE
    )


def test_nominal_factors_are_read_by_classes_and_ordinal_ones_by_a_line() -> None:
    train, test = case("perfect")[:2], case("perfect")[2:]
    both = predictability(train, train, IN_SAMPLE, nominal=[1])
    svm = predictability(train, train, replace(IN_SAMPLE, ordinal_sap="svm"))
    assert both[:, [0, 2]] == pytest.approx(squared_correlation(*train)[:, [0, 2]])
    assert both[:, 1] == pytest.approx(svm[:, 1])
    assert predictability(train, test, SMALL).shape == (5, 3)


CODES, FACTORS, TEST_CODES, TEST_FACTORS = case("rotated")
NAN = np.where(np.arange(TRAIN)[:, None] < 2, np.nan, CODES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((CODES, FACTORS[:-1], TEST_CODES, TEST_FACTORS), "of one length"),
        ((CODES[:100], FACTORS[:100], TEST_CODES, TEST_FACTORS), "train_points = 500, got only 100"),
        ((CODES, FACTORS, TEST_CODES[:9], TEST_FACTORS[:9]), "test_points = 250, got only 9"),
        ((CODES, FACTORS, TEST_CODES[:, :2], TEST_FACTORS), "3 code dimensions to train on, but 2 to test on"),
        ((CODES, FACTORS, TEST_CODES, TEST_FACTORS[:, :2]), "3 factors to train on, but 2 to test on"),
        ((CODES[:, :1], FACTORS, TEST_CODES[:, :1], TEST_FACTORS), "at least 2 code dimensions, got 1"),
        ((CODES[:, :0], FACTORS, TEST_CODES[:, :0], TEST_FACTORS), "at least 2 code dimensions, got 0"),
        ((NAN, FACTORS, TEST_CODES, TEST_FACTORS), "6 of the codes are NaN or infinite"),
        ((CODES, FACTORS, TEST_CODES * np.inf, TEST_FACTORS), "750 of the codes are NaN or infinite"),
        ((CODES, FACTORS * [1, 0, 1], TEST_CODES, TEST_FACTORS), r"factors \[1\] have a single value"),
        ((CODES, FACTORS), "give test codes and test factors"),
    ],
)
def test_bad_arrays_are_named(arrays: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.sap(*arrays, protocol=SMALL)


def test_bad_settings_are_named() -> None:
    with pytest.raises(TypeError, match="protocol"):
        metrics.sap(CODES, FACTORS, TEST_CODES, TEST_FACTORS)
    with pytest.raises(ValueError, match=r"nominal names the columns \[3\], there are 3 factors"):
        metrics.sap(CODES, FACTORS, protocol=IN_SAMPLE, nominal=[3])
    with pytest.raises(ValueError, match="unknown ordinal_sap 'r3'"):
        metrics.sap(CODES, FACTORS, protocol=replace(IN_SAMPLE, ordinal_sap="r3"))
