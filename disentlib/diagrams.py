"""Diagrams of boxes and arrows, drawn by code in the book's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

__all__ = ["ARROW", "KINDS", "Box", "diagram"]

KINDS = {"data": "#FFFFFF", "frozen": "#DDE3E8", "trained": "#CFE6F5", "loss": "#FBE3C8"}  # what the fill says
ARROW = "#444444"
_HIGH = 0.5  # of a box; its text gives its width


class Box(NamedTuple):
    """A box with its centre, in units of the figure's grid, its text, and what kind of thing it is (`KINDS`)."""

    x: float
    y: float
    text: str
    kind: str = "data"
    width: float = 1.5


def diagram(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str, str]], title: str = "") -> Figure:
    """A figure with these boxes and arrows (from, to, text); ValueError for an unknown kind, KeyError for a box.

    Arrows run straight from border to border.
    """
    if unknown := {box.kind for box in boxes.values()} - set(KINDS):
        raise ValueError(f"unknown kind {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    wide = max(box.x + box.width / 2 for box in boxes.values())
    high = max(box.y for box in boxes.values()) + _HIGH
    figure, axes = plt.subplots(figsize=(min(9.2, 0.98 * wide), 0.98 * high))
    axes.set(xlim=(0, wide + 0.1), ylim=(high, 0), aspect="equal", title=title)
    axes.set_axis_off()
    patches = {name: _draw(axes, box) for name, box in boxes.items()}
    for start, end, text in arrows:
        _connect(axes, boxes[start], boxes[end], patches[start], patches[end], text)
    return figure


def _draw(axes: Axes, box: Box) -> FancyBboxPatch:
    corner = box.x - box.width / 2, box.y - _HIGH / 2
    style = f"round,pad=0,rounding_size={0.02 if box.kind == 'frozen' else 0.12}"
    patch = FancyBboxPatch(corner, box.width, _HIGH, boxstyle=style, fc=KINDS[box.kind], ec=ARROW, lw=1, zorder=2)
    axes.add_patch(patch)
    axes.text(box.x, box.y, box.text, ha="center", va="center", fontsize=8.5, zorder=3, linespacing=1.05)
    return patch


def _connect(axes: Axes, start: Box, end: Box, first: FancyBboxPatch, last: FancyBboxPatch, text: str) -> None:
    arrow = FancyArrowPatch(
        (start.x, start.y), (end.x, end.y), patchA=first, patchB=last, arrowstyle="-|>", mutation_scale=10,
        shrinkA=1, shrinkB=1, color=ARROW, lw=1, zorder=1,
    )  # fmt: skip
    axes.add_patch(arrow)
    if text:
        middle = (start.x + end.x) / 2, (start.y + end.y) / 2
        axes.text(*middle, text, fontsize=8, ha="center", va="bottom" if start.y == end.y else "center", zorder=4,
                  bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85})  # fmt: skip
