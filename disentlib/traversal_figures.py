"""Traversal grids with what was measured along each row beside it, in the book's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from disentlib.figures import draw_grid
from disentlib.metrics.traversals import RowSummary

__all__ = ["draw_changes", "measured_grid", "number_lines"]

_CELL = 0.56  # inches a side of one picture
_BARS = 2.4  # inches of the panel with the bars
_LABELS = 0.9  # inches for the labels of the rows
_DOMINANT, _OTHER, _NOTHING = "#0072B2", "#B8C4CC", "#777777"


def measured_grid(
    images: Tensor,
    summaries: Sequence[RowSummary],
    rows: Sequence[str] = (),
    boxes: Mapping[int, str] | None = None,
    title: str = "",
    most: int = 3,
) -> Figure:
    """A grid of images `[rows, columns, c, h, w]` in [0, 1] and, level with each row, the most changed factors as bars.

    A bar's length is the change as a fraction of the factor's whole, from 0 to 1; the factor that dominates the row is
    dark, and only changes above the instrument's noise are drawn. ValueError unless there is one summary a row.
    """
    if len(summaries) != len(images):
        raise ValueError(f"expected one summary a row, got {len(summaries)} for {len(images)} rows")
    if most < 1:
        raise ValueError(f"most must be at least 1 bar a row, got {most}")
    grid_width = _LABELS + _CELL * images.shape[1]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(grid_width + _BARS, _CELL * len(images) + 0.4), width_ratios=(grid_width, _BARS)
    )
    draw_grid(left, images, rows, boxes or {}, title)
    draw_changes(right, summaries, most)
    return figure


def draw_changes(axes: Axes, summaries: Sequence[RowSummary], most: int) -> None:
    """One row of `axes` for each summary, from the top: its bars, each under the factor's name and change."""
    for row, summary in enumerate(summaries):
        if summary.dominant is None:
            axes.text(0, row + 0.5, "no change", fontsize=8, color=_NOTHING, va="center")
        for place, name in enumerate(summary.above[:most]):
            y = row + (place + 0.75) / (most + 0.5)
            axes.barh(y, summary.changes[name], 0.8 / (most + 0.5), color=_OTHER if place else _DOMINANT, lw=0)
            axes.text(summary.changes[name] + 0.02, y, _label(summary, name), fontsize=7, va="center")
    axes.set(xlim=(0, 1.75), ylim=(len(summaries), 0), yticks=[])
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"], fontsize=8)
    axes.set_title("measured change", fontsize=9)
    axes.grid(axis="y", visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.hlines(range(1, len(summaries)), 0, 1, colors="#DDDDDD", lw=0.6)


def number_lines(
    summaries: Sequence[RowSummary], rows: Sequence[str] = (), digits: int = 2
) -> tuple[list[str], list[list[str]]]:
    """The numbers as a table's head and lines of text: row, dominant factor, purity, monotonicity, all changes.

    A dash stands for what there is not: no dominant factor, no order, nothing readable.

    >>> number_lines([RowSummary("x", 0.5, 1.0, -1.0, {"x": 0.5}, ("x",))], ["z0"])[1]
    [['z0', 'x', '1.00', '-1.00', '0.50']]
    """
    names = [str(row).replace("\n", " ") for row in rows] or [str(number) for number in range(len(summaries))]
    factors = list(summaries[0].changes) if summaries else []
    head = ["row", "dominant", "purity", "monotonicity", *(name.replace("_", " ") for name in factors)]
    lines = []
    for name, summary in zip(names, summaries, strict=True):
        values = (summary.purity, summary.monotonicity, *(summary.changes[factor] for factor in factors))
        dominant = (summary.dominant or "–").replace("_", " ")
        lines.append([name, dominant, *("–" if value != value else f"{value:.{digits}f}" for value in values)])
    return head, lines


def _label(summary: RowSummary, name: str) -> str:
    return f"{name.replace('_', ' ')} {summary.changes[name]:.2f}"
