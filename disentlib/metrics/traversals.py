"""Traversals judged by numbers: which factor changes along each row of a traversal grid, and by how much.

Readings are what an instrument says of each image: factors read by a trained network, or strokes measured on digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

__all__ = ["KINDS", "RowSummary", "Scale", "changes", "monotonicity", "row_summaries", "row_summary"]

KINDS = ("ordinal", "nominal", "circular")


@dataclass(frozen=True)
class Scale:
    """How one factor's readings are compared, and how much of a change the instrument makes by itself.

    `span`: what counts as the whole of the factor, in the readings' own unit: the range of an ordinal factor, the
    period of a circular one; a nominal one has none and takes 1. `noise`: the change, as a fraction, that is read where
    this factor does not change. ValueError for an unknown kind, a span that is not positive, or a noise outside [0, 1).

    >>> Scale("pos_x", "ordinal", span=31.0, noise=0.02).kind
    'ordinal'
    """

    name: str
    kind: str = "ordinal"
    span: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r} of factor {self.name}; known: {', '.join(KINDS)}")
        if not 0 < self.span < float("inf"):
            raise ValueError(f"the span of {self.name} must be positive and finite, got {self.span}")
        if not 0 <= self.noise < 1:
            raise ValueError(f"the noise of {self.name} must be in [0, 1), got {self.noise}")


class RowSummary(NamedTuple):
    """What one row of a traversal does."""

    dominant: str | None  # the factor that changes most; None where nothing changes by more than the noise
    change: float  # the dominant factor's, as a fraction of its whole, in [0, 1]
    purity: float  # its share of all change above the noise, in [0, 1]; NaN where nothing changes
    monotonicity: float  # Spearman's correlation of the dominant factor with the place in the row; NaN if nominal
    changes: dict[str, float]  # of every factor, in [0, 1]; NaN where it could not be read
    above: tuple[str, ...]  # the factors that change by more than the noise, the most changed first

    def text(self, most: int = 2) -> str:
        """The `most` changed factors with their changes, such as "orientation 0.62, shape 0.11"."""
        named = [f"{name.replace('_', ' ')} {self.changes[name]:.2f}" for name in self.above[:most]]
        return ", ".join(named) or "no change"


def changes(readings: np.ndarray, scales: Sequence[Scale]) -> np.ndarray:
    """The change of every factor along every row, as a fraction of its whole: `[rows, k]`, in [0, 1].

    `readings` `[rows, values, k]`, or `[bases, rows, values, k]` for traversals from several points, which are
    averaged; a reading that cannot be trusted is NaN and left out. Ordinal: the range of the readings over `span`, at
    most 1. Circular: the same along the shortest way from one reading to the next. Nominal (readings are class
    numbers): the share of base points along whose row the class changes at all, which is what the range of an ordinal
    factor with two values would say. NaN where less than half of the base points have two readings in that row.
    ValueError for other shapes or fewer than two values.

    >>> changes(np.array([[[0.0, 2], [3.0, 2]]]), [Scale("x", span=6.0), Scale("shape", "nominal")]).tolist()
    [[0.5, 0.0]]
    """
    readings = _checked(readings, scales)
    columns = [_extents(readings[..., j], scale) for j, scale in enumerate(scales)]
    return _mean_over_bases(np.stack(columns, axis=-1))


def monotonicity(readings: np.ndarray, scales: Sequence[Scale]) -> np.ndarray:
    """Spearman's rank correlation of each factor with the place in the row: `[rows, k]`, in [−1, 1], mean over bases.

    Readings as for `changes`. Bases that go opposite ways cancel. 0 for a constant row, NaN for a nominal factor.

    >>> monotonicity(np.array([[[0.0], [1.0], [5.0]], [[2.0], [1.0], [0.0]]]), [Scale("x")]).tolist()
    [[1.0], [-1.0]]
    """
    readings = _checked(readings, scales)
    found = np.full((*readings.shape[:2], len(scales)), np.nan)
    for j, scale in enumerate(scales):
        if scale.kind != "nominal":
            rows = _unrolled(readings[..., j], scale)
            found[..., j] = np.apply_along_axis(_rank_correlation, -1, rows)
    return _mean_over_bases(found)


def row_summary(readings: np.ndarray, scales: Sequence[Scale]) -> RowSummary:
    """What one row `[values, k]`, or one row from several points `[bases, values, k]`, does.

    Purity is a share of what exceeds each factor's own noise, `max(change − noise, 0)`; so is the choice of the
    dominant factor.

    >>> row_summary(np.array([[0.0, 1.0], [3.0, 1.0]]), [Scale("x", span=6.0), Scale("y", span=6.0)]).text()
    'x 0.50'
    """
    return row_summaries(np.asarray(readings, dtype=np.float64)[..., None, :, :], scales)[0]


def row_summaries(readings: np.ndarray, scales: Sequence[Scale]) -> list[RowSummary]:
    """`row_summary` of every row of readings `[rows, values, k]` or `[bases, rows, values, k]`.

    >>> [row.dominant for row in row_summaries(np.array([[[0.0], [3.0]], [[1.0], [1.0]]]), [Scale("x", span=6.0)])]
    ['x', None]
    """
    found, ways = changes(readings, scales), monotonicity(readings, scales)
    return [_summary(change, way, scales) for change, way in zip(found, ways)]


def _summary(change: np.ndarray, way: np.ndarray, scales: Sequence[Scale]) -> RowSummary:
    excess = np.nan_to_num(np.maximum(change - [scale.noise for scale in scales], 0.0))
    order = [int(j) for j in np.argsort(-excess, kind="stable") if excess[j] > 0]
    by_name = {scale.name: float(value) for scale, value in zip(scales, change)}
    if not order:
        return RowSummary(None, 0.0, float("nan"), float("nan"), by_name, ())
    best, above = order[0], tuple(scales[j].name for j in order)
    purity = float(excess[best] / excess.sum())
    return RowSummary(above[0], float(change[best]), purity, float(way[best]), by_name, above)


def _checked(readings: np.ndarray, scales: Sequence[Scale]) -> np.ndarray:
    """Readings as float64 `[bases, rows, values, k]`."""
    readings = np.asarray(readings, dtype=np.float64)
    if readings.ndim == 3:
        readings = readings[None]
    if readings.ndim != 4 or readings.shape[2] < 2 or readings.shape[3] != len(scales) or not len(readings):
        raise ValueError(
            f"expected readings [rows, values, {len(scales)}] or [bases, rows, values, {len(scales)}] with at least "
            f"2 values, got {list(readings.shape)}"
        )
    if np.isinf(readings).any():
        raise ValueError(f"{np.isinf(readings).sum()} of the readings are infinite")
    return readings


def _extents(values: np.ndarray, scale: Scale) -> np.ndarray:
    """One factor's readings `[bases, rows, values]` → its change in each row `[bases, rows]`, NaN where unreadable."""
    rows = _unrolled(values, scale)
    readable = (~np.isnan(rows)).sum(-1) >= 2
    extent = np.where(np.isnan(rows), -np.inf, rows).max(-1) - np.where(np.isnan(rows), np.inf, rows).min(-1)
    whole = extent > 0 if scale.kind == "nominal" else np.minimum(extent / scale.span, 1.0)
    return np.where(readable, whole, np.nan)


def _unrolled(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Circular readings laid out along a line, each taken to be the shortest way from the one before it."""
    if scale.kind != "circular":
        return values
    return np.apply_along_axis(_unwrapped, -1, values, scale.span)


def _unwrapped(row: np.ndarray, period: float) -> np.ndarray:
    result, readable = row.copy(), ~np.isnan(row)
    result[readable] = np.unwrap(row[readable], period=period)
    return result


def _rank_correlation(row: np.ndarray) -> float:
    places = np.flatnonzero(~np.isnan(row))
    if len(places) < 2:
        return float("nan")
    ranks = rankdata(row[places])
    if np.ptp(ranks) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(places), ranks)[0, 1])


def _mean_over_bases(values: np.ndarray) -> np.ndarray:
    """`[bases, …]` → `[…]`, over what is not NaN; NaN where that is less than half of the bases."""
    count = (~np.isnan(values)).sum(0)
    return np.where(2 * count >= len(values), np.nansum(values, axis=0), np.nan) / np.maximum(count, 1)
