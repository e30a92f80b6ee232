"""Traversal measurements: closed forms of traversals made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from disentlib.metrics.traversals import Scale, changes, monotonicity, row_summaries, row_summary

X, SHAPE, TURN = Scale("x", span=10.0), Scale("shape", "nominal"), Scale("turn", "circular", span=8.0)


def one(row: list[float], scale: Scale) -> tuple[float, float]:
    """Change and monotonicity of a single row of a single factor."""
    readings = np.array(row, dtype=float)[None, :, None]
    return changes(readings, [scale])[0, 0], monotonicity(readings, [scale])[0, 0]


# ---- changes -------------------------------------------------------------------------------------------------------


def test_an_ordinal_factor_changes_by_its_range_wherever_that_is_reached() -> None:
    assert one([2, 7, 4], X)[0] == 0.5 and one([-3, 20], X)[0] == 1 and one([4, 4, 4], X) == (0, 0)


def test_a_circle_has_no_seam() -> None:
    assert one([6, 7, 0, 1], TURN) == (pytest.approx(3 / 8), pytest.approx(1))
    assert one([1, 0, 7, 6], TURN) == (pytest.approx(3 / 8), pytest.approx(-1))
    assert one([0, 3, 6, 1, 4], TURN)[0] == 1  # more than once round
    as_if_straight = one([6, 7, 0, 1], Scale("x", span=8.0))
    assert as_if_straight[0] == pytest.approx(7 / 8)


def test_a_nominal_change_is_the_share_of_base_points_where_the_class_changes() -> None:
    readings = np.array([[0, 0, 0], [0, 2, 2], [1, 0, 1], [2, 2, 2]], dtype=float)[:, None, :, None]
    assert changes(readings, [SHAPE]).tolist() == [[0.5]] and np.isnan(monotonicity(readings, [SHAPE])).all()
    shuffled = np.array([3, 0, 1])[readings.astype(int)].astype(float)  # the classes' numbers mean nothing
    assert changes(shuffled, [SHAPE]).tolist() == [[0.5]]


def test_base_points_are_averaged() -> None:
    readings = np.array([[[[0.0], [2.0]]], [[[9.0], [5.0]]]])
    assert changes(readings, [X])[0, 0] == pytest.approx((0.2 + 0.4) / 2)
    assert monotonicity(readings, [X])[0, 0] == 0  # one goes up, the other down


def test_what_cannot_be_read_is_left_out() -> None:
    nan = np.nan
    assert one([2, nan, 7, nan], X) == (0.5, pytest.approx(1))
    assert one([6, nan, 0, 1], TURN)[0] == pytest.approx(3 / 8)
    assert np.isnan(one([nan, 3, nan], X)).all() and np.isnan(one([nan, nan], SHAPE)[0])
    some = np.array([[[[nan], [2.0]]], [[[9.0], [5.0]]]])
    assert changes(some, [X])[0, 0] == pytest.approx(0.4) and monotonicity(some, [X])[0, 0] == pytest.approx(-1)
    few = np.concatenate([some[:1], some])  # readable in one of three
    assert np.isnan(changes(few, [X])).all() and np.isnan(monotonicity(few, [X])).all()


def test_monotonicity_is_spearmans_correlation() -> None:
    row = np.random.default_rng(0).integers(0, 6, 12).astype(float)  # with ties
    assert one(list(row), X)[1] == pytest.approx(spearmanr(np.arange(12), row).statistic)
    assert one([0, 1, 10, 11], X)[1] == pytest.approx(1)


# ---- summaries -----------------------------------------------------------------------------------------------------


def test_a_pure_row_names_its_factor_and_a_mixed_one_both() -> None:
    scales = [X, Scale("y", span=4.0), SHAPE]
    steps = np.linspace(0, 1, 5)
    pure = np.stack([2 + 5 * steps, np.full(5, 3.0), np.ones(5)], axis=1)
    mixed = np.stack([6 - 6 * steps, 1 + 0.8 * steps, np.ones(5)], axis=1)
    first, second = row_summaries(np.stack([pure, mixed]), scales)
    assert (first.dominant, first.change, first.purity, first.monotonicity) == ("x", 0.5, 1, pytest.approx(1))
    assert first.changes == {"x": 0.5, "y": 0, "shape": 0} and first.text() == "x 0.50"
    assert second.above == ("x", "y") and second.purity == pytest.approx(0.6 / 0.8)
    assert second.monotonicity == pytest.approx(-1) and second.text() == "x 0.60, y 0.20" and second.text(1) == "x 0.60"


def test_the_instruments_noise_is_no_change_and_taints_no_purity() -> None:
    scales = [Scale("x", span=10.0, noise=0.1), Scale("y", span=10.0, noise=0.3)]
    quiet = row_summary(np.array([[0.0, 0.0], [1.0, 3.0]]), scales)
    assert quiet.dominant is None and quiet.text() == "no change" and quiet.above == () and np.isnan(quiet.purity)
    loud = row_summary(np.array([[0.0, 0.0], [4.0, 4.0]]), scales)  # 0.4 each, but 0.3 and 0.1 above the noise
    assert loud.dominant == "x" and loud.purity == pytest.approx(0.3 / 0.4)


def test_an_unreadable_factor_dominates_nothing() -> None:
    found = row_summary(np.array([[np.nan, 0.0], [np.nan, 1.0]]), [Scale("lost"), X])
    assert found.dominant == "x" and found.purity == 1 and np.isnan(found.changes["lost"])


def test_a_row_from_several_points_is_one_row_of_the_grid() -> None:
    readings = np.random.default_rng(1).random((4, 3, 6, 2))
    alone = row_summary(readings[:, 1], [X, Scale("y")])
    assert alone == row_summaries(readings, [X, Scale("y")])[1]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: changes(np.zeros((2, 1, 1)), [X]), r"at least 2 values, got \[1, 2, 1, 1\]"),
        (lambda: changes(np.zeros((2, 3, 2)), [X]), "expected readings"),
        (lambda: changes(np.zeros((3, 1)), [X]), "expected readings"),
        (lambda: changes(np.full((1, 2, 1), np.inf), [X]), "2 of the readings are infinite"),
        (lambda: Scale("x", "cyclic"), "'cyclic' of factor x; known: ordinal, nominal, circular"),
        (lambda: Scale("x", span=0.0), "span of x must be positive"),
        (lambda: Scale("x", noise=1.0), r"noise of x must be in \[0, 1\)"),
    ],
)
def test_bad_input_is_refused(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
