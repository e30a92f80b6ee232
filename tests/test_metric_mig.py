"""MIG: its value by a slow second computation, what leaves it as it is, and what it does not see."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from disentlib import metrics
from disentlib.metrics import mig
from disentlib.metrics.mig import discretise, entropies, mutual_information

PROTOCOL = replace(metrics.LOCATELLO, train_points=1)  # as few points as a test likes
GRID = np.stack(np.meshgrid(range(3), range(5), range(10), indexing="ij"), -1).reshape(-1, 3)  # every combination once


def slow_bins(column: np.ndarray, bins: int) -> list[int]:
    low, high = min(column), max(column)
    return [min(bins, 1 + math.floor(bins * (value - low) / (high - low))) for value in column.tolist()]


def slow_information(first: list, second: list) -> float:
    """I in nats by counting pairs."""
    n, pairs, a, b = len(first), Counter(zip(first, second)), Counter(first), Counter(second)
    return sum(c / n * math.log(c * n / (a[x] * b[y])) for (x, y), c in pairs.items())


def slow_mig(codes: np.ndarray, factors: np.ndarray, bins: int) -> float:
    binned = [slow_bins(column, bins) for column in codes.T]
    gaps = []
    for factor in factors.T.tolist():
        information = sorted((slow_information(code, factor) for code in binned), reverse=True)
        gaps.append((information[0] - information[1]) / slow_information(factor, factor))
    return sum(gaps) / len(gaps)


def entangled(n: int = 400, d: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    factors = generator.integers(0, (3, 5, 10), (n, 3))
    return factors @ generator.normal(size=(3, d)) + generator.normal(size=(n, d)), factors


@pytest.mark.parametrize("seed", range(4))
def test_value_is_that_of_a_slow_second_computation(seed: int) -> None:
    codes, factors = entangled(seed=seed)
    assert mig(codes, factors, protocol=PROTOCOL) == pytest.approx(slow_mig(codes, factors, 20), abs=1e-9)


def test_mutual_information_is_that_of_a_slow_second_computation() -> None:
    codes, factors = entangled()
    ours = mutual_information(codes, factors, 20)
    assert ours.shape == (5, 3)
    for i, j in np.ndindex(5, 3):
        expected = slow_information(slow_bins(codes[:, i], 20), factors[:, j].tolist())
        assert ours[i, j] == pytest.approx(expected, abs=1e-9)


def test_a_perfect_code_scores_one() -> None:
    assert mig(GRID.astype(float), GRID, protocol=PROTOCOL) == pytest.approx(1)


def test_a_perfect_code_with_idle_dimensions_scores_one() -> None:
    """Idle dimensions are constant: noise would know a little of every factor, by chance."""
    codes = np.concatenate([np.zeros((150, 2)), GRID, np.full((150, 1), 3.7)], axis=1)
    assert mig(codes, GRID, protocol=PROTOCOL) == pytest.approx(1)


def test_a_code_that_knows_nothing_scores_about_zero() -> None:
    generator = np.random.default_rng(0)
    factors = generator.integers(0, (3, 5, 10), (10_000, 3))
    assert mig(generator.normal(size=(10_000, 6)), factors, protocol=PROTOCOL) < 0.01


def test_a_factor_held_by_two_dimensions_scores_zero_although_each_is_pure() -> None:
    assert mig(np.repeat(GRID, 2, axis=1).astype(float), GRID, protocol=PROTOCOL) == pytest.approx(0)


def test_blind_spot_two_factors_in_one_dimension_can_score() -> None:
    """One dimension holds two whole factors, no other knows anything: MIG calls it perfect."""
    both = GRID[:, 0] * 5 + GRID[:, 1]
    codes = np.stack([both, GRID[:, 2], np.zeros(150)], axis=1).astype(float)
    assert mig(codes, GRID, protocol=PROTOCOL) == pytest.approx(1)


def test_order_scale_and_sign_of_dimensions_do_not_matter() -> None:
    codes, factors = entangled(d=6)
    expected = mig(codes, factors, protocol=PROTOCOL)
    order = np.random.default_rng(1).permutation(6)
    assert mig(codes[:, order], factors, protocol=PROTOCOL) == pytest.approx(expected)
    assert mig(codes * 2.0 ** np.arange(-3, 3) + 7, factors, protocol=PROTOCOL) == pytest.approx(expected)
    rows = np.random.default_rng(2).permutation(len(codes))
    assert mig(codes[rows], factors[rows], protocol=PROTOCOL) == pytest.approx(expected)
    assert mig(codes, 100 - 7 * factors, protocol=PROTOCOL) == pytest.approx(expected)  # names of values


def test_mixing_two_pure_dimensions_lowers_it() -> None:
    pure = GRID + 0.01 * np.random.default_rng(0).normal(size=GRID.shape)
    turn = np.array([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    mixed = pure.copy()
    mixed[:, 1:] = (pure[:, 1:] / (4, 9)) @ turn
    assert mig(mixed, GRID, protocol=PROTOCOL) < mig(pure, GRID, protocol=PROTOCOL) - 0.2


def test_bins_have_equal_width_over_each_dimensions_own_range() -> None:
    codes = np.stack([np.linspace(0, 1, 101), np.linspace(-50, 50, 101) ** 3, np.ones(101)], axis=1)
    binned = discretise(codes, 20)
    assert binned.min() >= 1 and binned.max() == 20 and len(set(binned[:, 2])) == 1
    assert binned[:, 1].tolist() == slow_bins(codes[:, 1], 20)
    assert binned[-1, 0] == 20 and np.bincount(binned[:, 0], minlength=21)[1:].max() <= 6


def test_entropies_are_those_of_the_counts() -> None:
    factors = np.array([[0, 5], [0, 6], [0, 7], [1, 8]])
    expected = [-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), math.log(4)]
    assert entropies(factors) == pytest.approx(expected)


def test_a_protocol_is_never_silent() -> None:
    with pytest.raises(TypeError, match="protocol"):
        mig(GRID.astype(float), GRID)


CODES, FACTORS = entangled(20)
NAN = np.where(np.arange(20)[:, None] < 2, np.nan, CODES)


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (CODES, FACTORS[:-1], r"of one length, got \(20, 5\) and \(19, 3\)"),
        (CODES[:, 0], FACTORS, r"codes \[n, d\]"),
        (CODES, FACTORS[:, 0], r"factors \[n, k\]"),
        (CODES, FACTORS[:, :0], r"factors \[n, k\]"),
        (CODES[:, :1], FACTORS, "at least 2 code dimensions, got 1"),
        (NAN, FACTORS, "10 of the codes are NaN or infinite"),
        (CODES * np.inf, FACTORS, "100 of the codes are NaN or infinite"),
        (CODES, FACTORS * (1, 0, 1), r"factors \[1\] have a single value"),
        (CODES, FACTORS + 0.5, "whole numbers"),
        (CODES, np.where(FACTORS == 0, np.nan, FACTORS), "whole numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_reason(codes: np.ndarray, factors: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mig(codes, factors, protocol=PROTOCOL)
