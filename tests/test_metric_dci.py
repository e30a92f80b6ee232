"""DCI: its arithmetic by hand, its classifiers against plain loops, and what it sees and does not see."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

from disentlib import metrics
from disentlib.metrics import DCI, completeness, dci, disentanglement
from disentlib.metrics.dci import importances
from disentlib.metrics.estimators import ESTIMATORS, Estimator

SIZES = (2, 3, 2)
TRAIN, TEST = 400, 200
SMALL = replace(metrics.LOCATELLO, train_points=TRAIN, test_points=TEST)
FACTORS = np.random.default_rng(0).integers(0, SIZES, (TRAIN + TEST, len(SIZES)))
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
NOISE = np.random.default_rng(1).normal(size=(TRAIN + TEST, 3))


@pytest.fixture
def fast() -> Iterator[str]:
    """A single tree: enough where the test is not about the study's estimator."""
    ESTIMATORS["tree"] = Estimator(
        lambda seed, values: DecisionTreeClassifier(max_depth=4, random_state=seed),
        lambda model: model.feature_importances_,
        frees_the_lock=True,
    )
    yield "tree"
    del ESTIMATORS["tree"]


def score(codes: np.ndarray, **options: object) -> DCI:
    return dci(codes[:TRAIN], FACTORS[:TRAIN], codes[TRAIN:], FACTORS[TRAIN:], protocol=SMALL, **options)


def rotation(dims: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(3).normal(size=(dims, dims)))[0]


# ---- the importance matrix -----------------------------------------------------------------------------------------

MATRIX = np.array([[0.7, 0.1], [0.2, 0.0], [0.1, 0.9]])


def test_the_matrix_by_hand() -> None:
    """Entropies in bits of (7/8, 1/8), (1, 0), (1/10, 9/10); then of (.7, .2, .1) and (.1, 0, .9), in trits."""
    h8, h10 = 0.5435644432, 0.4689955936
    assert disentanglement(MATRIX) == pytest.approx(0.4 * (1 - h8) + 0.1 * 1 + 0.5 * (1 - h10), abs=1e-9)
    c1, c2 = 0.8018185525 / math.log(3), 0.3250829734 / math.log(3)
    assert completeness(MATRIX) == pytest.approx(1 - (c1 + c2) / 2, abs=1e-9)


def concentration_in_loops(rows: list[list[float]]) -> float:
    total, result = sum(map(sum, rows)), 0.0
    for row in rows:
        padded = [value + 1e-11 for value in row]
        shares = [value / sum(padded) for value in padded]
        result += sum(row) / total * (1 + sum(p * math.log(p, len(row)) for p in shares))
    return result


@pytest.mark.parametrize("shape", [(3, 2), (2, 5), (10, 5), (4, 4)])
def test_plain_loops_agree_on_any_matrix(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).gamma(0.3, size=shape)
    assert disentanglement(matrix) == pytest.approx(concentration_in_loops(matrix.tolist()), abs=1e-9)
    assert completeness(matrix) == pytest.approx(concentration_in_loops(matrix.T.tolist()), abs=1e-9)


def test_extremes_of_the_matrix() -> None:
    one_each = np.eye(3)
    assert disentanglement(one_each) == pytest.approx(1, abs=1e-9) and disentanglement(one_each) < 1
    assert completeness(one_each) == pytest.approx(1, abs=1e-9)
    even = np.ones((4, 3))
    assert disentanglement(even) == pytest.approx(0, abs=1e-12) and completeness(even) == pytest.approx(0, abs=1e-12)
    assert disentanglement(np.zeros((4, 3))) == completeness(np.zeros((4, 3))) == 0


def test_the_weights_are_shares_of_importance() -> None:
    """The mixed dimension matters nine times as much, so its 0 outweighs the other's 1."""
    assert disentanglement(np.array([[1.0, 0.0], [4.5, 4.5]])) == pytest.approx(0.1, abs=1e-9)


def test_dead_dimensions_enter_completeness_by_the_base_alone() -> None:
    padded = np.vstack([MATRIX, np.zeros((6, 2))])
    assert disentanglement(padded) == pytest.approx(disentanglement(MATRIX), abs=1e-12)
    expected = 1 - (1 - completeness(MATRIX)) * math.log(3) / math.log(9)
    assert completeness(padded) == pytest.approx(expected, abs=1e-8)


def test_one_factor_or_one_dimension() -> None:
    column = np.array([[0.3], [0.7]])
    assert disentanglement(column) == completeness(column.T) == 1
    assert disentanglement(0 * column) == completeness(0 * column.T) == 0
    assert completeness(column) == pytest.approx(disentanglement(column.T)) and 0 < completeness(column) < 1


def test_order_of_rows_and_columns_and_unit_do_not_matter() -> None:
    shuffled = 7 * MATRIX[[2, 0, 1]][:, [1, 0]]
    assert disentanglement(shuffled) == pytest.approx(disentanglement(MATRIX), abs=1e-9)
    assert completeness(shuffled) == pytest.approx(completeness(MATRIX), abs=1e-9)


@pytest.mark.parametrize("matrix", [np.ones(3), np.ones((0, 2)), np.array([[np.nan, 1]]), np.array([[-0.1, 1]])])
def test_what_is_no_importance_matrix_is_refused(matrix: np.ndarray) -> None:
    for aggregate in (disentanglement, completeness):
        with pytest.raises(ValueError, match="importances"):
            aggregate(matrix)


# ---- the study's estimator -----------------------------------------------------------------------------------------


def test_a_perfect_code_scores_one() -> None:
    assert score(np.hstack([PERFECT, np.zeros((TRAIN + TEST, 2))])) == pytest.approx((1, 1, 1), abs=1e-6)


def test_a_code_that_knows_nothing_scores_near_chance() -> None:
    result = score(NOISE)
    assert result.disentanglement < 0.15 and result.completeness < 0.15
    assert abs(result.informativeness - np.mean([1 / size for size in SIZES])) < 0.08


def test_rotation_costs_disentanglement_and_completeness_but_little_information() -> None:
    result = score(PERFECT @ rotation(3))
    assert result.disentanglement < 0.7 and result.completeness < 0.7 and result.informativeness > 0.95


def test_blind_spots_copies_cost_completeness_alone() -> None:
    result = score(np.repeat(PERFECT, 2, axis=1))
    assert result.disentanglement > 0.999 and result.informativeness == 1
    assert result.completeness < 0.8


def test_plain_loops_agree() -> None:
    codes = PERFECT @ rotation(3) + 0.3 * NOISE
    columns, accuracies = [], []
    for j in range(len(SIZES)):
        classifier = GradientBoostingClassifier(random_state=5).fit(codes[:TRAIN], FACTORS[:TRAIN, j])
        columns.append([abs(value) for value in classifier.feature_importances_])
        found = classifier.predict(codes[TRAIN:])
        accuracies.append(sum(a == b for a, b in zip(found, FACTORS[TRAIN:, j])) / TEST)
    rows = [list(row) for row in zip(*columns)]
    expected = (concentration_in_loops(rows), concentration_in_loops(columns), sum(accuracies) / len(SIZES))
    assert score(codes, seed=5) == pytest.approx(expected, abs=1e-9)
    assert score(codes, seed=5, workers=2) == score(codes, seed=5)


def test_the_study_s_estimator_is_all_defaults() -> None:
    assert ESTIMATORS["sklearn"].make(7, 3).get_params() == GradientBoostingClassifier(random_state=7).get_params()


# ---- around the estimator ------------------------------------------------------------------------------------------


def test_permutation_and_scale_of_the_dimensions_do_not_matter(fast: str) -> None:
    codes = PERFECT @ rotation(3) + 0.2 * NOISE  # no two splits tie, so the order of the dimensions decides nothing
    expected = score(codes, estimator=fast)
    assert 0.1 < expected.disentanglement < 0.9
    assert score(codes[:, [2, 0, 1]], estimator=fast) == pytest.approx(expected, abs=0.02)
    assert score(codes * [0.25, -16, 2], estimator=fast) == pytest.approx(expected, abs=0.02)


def test_the_seed_alone_decides(fast: str) -> None:
    codes = np.repeat(PERFECT, 2, axis=1)  # copies tie: the seed picks among them
    np.random.seed(0)
    first = score(codes, estimator=fast, seed=1)
    np.random.seed(1)
    assert score(codes, estimator=fast, seed=1) == first
    assert len({score(codes, estimator=fast, seed=seed) for seed in range(5)}) > 1


def test_a_constant_code_knows_nothing_and_breaks_nothing() -> None:
    result = score(np.full((TRAIN + TEST, 3), 0.1))
    assert (result.disentanglement, result.completeness) == (0, 0)
    assert result.informativeness < 0.6


def test_one_dimension_and_one_factor(fast: str) -> None:
    codes, factors = PERFECT[:, :1], FACTORS[:, :1]
    result = dci(codes[:TRAIN], factors[:TRAIN], codes[TRAIN:], factors[TRAIN:], protocol=SMALL, estimator=fast)
    assert result == (1, 1, 1)


def test_importances_have_one_column_a_factor(fast: str) -> None:
    train, test = (PERFECT[:TRAIN], FACTORS[:TRAIN]), (PERFECT[TRAIN:], FACTORS[TRAIN:])
    matrix, accuracy = importances(train, test, estimator=fast, seed=0, workers=1)
    assert np.allclose(matrix, np.eye(3)) and np.allclose(accuracy, 1)


# ---- errors --------------------------------------------------------------------------------------------------------


def split() -> dict[str, np.ndarray]:
    return {
        "train_codes": PERFECT[:TRAIN].copy(),
        "train_factors": FACTORS[:TRAIN].copy(),
        "test_codes": PERFECT[TRAIN:].copy(),
        "test_factors": FACTORS[TRAIN:].copy(),
    }


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        dci(**split() | {"test_factors": FACTORS[:TRAIN]}, protocol=SMALL)


@pytest.mark.parametrize("part", ["train_codes", "test_codes"])
def test_nan_is_refused(part: str) -> None:
    arrays = split()
    arrays[part][3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of the codes are NaN"):
        dci(**arrays, protocol=SMALL)


def test_a_factor_with_one_value_is_refused() -> None:
    arrays = split()
    arrays["train_factors"][:, 1] = 2
    with pytest.raises(ValueError, match=r"factors \[1\] have a single value"):
        dci(**arrays, protocol=SMALL)


@pytest.mark.parametrize("parts, message", [(["test_codes"], "code dim"), (["train_factors"], "2 factors to train")])
def test_different_columns_are_refused(parts: list[str], message: str) -> None:
    arrays = split()
    with pytest.raises(ValueError, match=message):
        dci(**arrays | {part: arrays[part][:, :2] for part in parts}, protocol=SMALL)


def test_too_few_points_for_the_protocol_are_refused() -> None:
    with pytest.raises(ValueError, match="locatello has train_points = 10000, got only 400"):
        dci(**split(), protocol=metrics.LOCATELLO)


def test_an_unknown_estimator_lists_the_known() -> None:
    with pytest.raises(ValueError, match="unknown estimator 'hist'; known: sklearn"):
        score(PERFECT, estimator="hist")


def test_the_protocol_must_be_named() -> None:
    with pytest.raises(TypeError, match="protocol"):
        dci(**split())
