"""Pictures of the IDGAN-SC chapter: what one code changes, pairs by either rule, and the architecture as a diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from disentlib.data import Dataset
from disentlib.figures import draw_grid

__all__ = ["architecture", "one_changes", "panels"]

_FROZEN, _TRAINED, _THING, _LOSS = "#D9D9D9", "#CFE3F2", "#FFFFFF", "#F6E3C5"
_ARROW = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 2, "shrinkB": 2, "lw": 0.9}
_CELL, _LABELS = 0.42, 0.7  # inches a side of one picture, and for the labels of a panel's rows


def one_changes(dataset: Dataset, factor: str, columns: int, **fixed: int) -> Tensor:
    """Images `[columns, c, h, w]` in [0, 1] in which one factor runs through its range; all others stay.

    They stay in the middle of their range, or where `fixed` says. LookupError for a name that the data set has not got.

    >>> from disentlib import data
    >>> one_changes(data.load("dsprites", source="rendered", image_size=16), "scale", 4).shape
    torch.Size([4, 1, 16, 16])
    """
    names, sizes = dataset.factor_names, dataset.factor_sizes
    unknown = sorted({factor, *fixed} - set(names))
    if unknown:
        raise LookupError(f"unknown factor {', '.join(unknown)}; known: {', '.join(names)}")
    row = torch.tensor([fixed.get(name, size // 2) for name, size in zip(names, sizes)]).repeat(columns, 1)
    place = names.index(factor)
    row[:, place] = torch.linspace(0, sizes[place] - 1, columns).round().long()
    return dataset.images(dataset.index(row))


def panels(grids: Mapping[str, Tensor], rows: Sequence[str], across: int = 2) -> Figure:
    """Small grids `[rows, columns, c, h, w]` in [0, 1] beside and below one another, each under its name."""
    first = next(iter(grids.values()))
    down = -(-len(grids) // across)
    size = (across * (_LABELS + _CELL * first.shape[1]), down * (0.45 + _CELL * first.shape[0]))
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False)
    for axis in axes.flat[len(grids) :]:
        axis.set_visible(False)
    for axis, (name, images) in zip(axes.flat, grids.items()):
        draw_grid(axis, images, rows, {}, name)
    return figure


class _Box(NamedTuple):
    text: str
    x: float
    y: float
    colour: str


_BOXES = {
    "x": _Box("picture $x$", 0.8, 5, _THING),
    "stage1": _Box("stage 1: encoder\nof a β-VAE, frozen", 4, 5, _FROZEN),
    "c": _Box("code $c\\sim q(c|x)$\nnoise $z$", 7.4, 5, _THING),
    "pair": _Box("label $s$, codes $c_1, c_2$\nthat differ in $s$ alone", 7.4, 2, _THING),
    "g": _Box("generator $G$", 10.4, 3.5, _TRAINED),
    "fake": _Box("picture $x_G$", 13, 5, _THING),
    "fakes": _Box("pair $x_1, x_2$", 13, 2, _THING),
    "d": _Box("discriminator $D$\nand $Q$, one trunk", 16, 5, _TRAINED),
    "e": _Box("pair network $E$", 16, 2, _TRAINED),
    "adv": _Box("$L_{Adv}$: real?", 19.4, 5.8, _LOSS),
    "info": _Box("$L_{info}$: which $c$?", 19.4, 4.2, _LOSS),
    "sc": _Box("$L_{SC}$: pairs of one $s$\nclose, others apart", 19.4, 2, _LOSS),
}
_ARROWS = (
    ("x", "stage1"), ("stage1", "c"), ("c", "g"), ("c", "pair"), ("pair", "g"), ("g", "fake"), ("g", "fakes"),
    ("fake", "d"), ("fakes", "e"), ("d", "adv"), ("d", "info"), ("e", "sc"),
)  # fmt: skip


def architecture() -> Figure:
    """Figure 2 of the IDGAN-SC paper in the book's own drawing: what is frozen, what is trained, where losses arise."""
    figure, axes = plt.subplots(figsize=(10.5, 3.4))
    boxes = {name: _draw(axes, box) for name, box in _BOXES.items()}
    for start, end in _ARROWS:
        _arrow(axes, boxes[start], boxes[end])
    axes.plot([0.8, 0.8, 16], [5.4, 6.6, 6.6], color="#555555", lw=0.9)  # real pictures go round to the discriminator
    axes.annotate("", (16, 5.55), (16, 6.65), arrowprops=_ARROW | {"shrinkA": 0, "shrinkB": 0})
    axes.text(8.4, 6.75, "real pictures", fontsize=8, ha="center", color="#555555")
    for number, (text, colour) in enumerate((("frozen", _FROZEN), ("trained in stage 2", _TRAINED), ("loss", _LOSS))):
        _draw(axes, _Box(text, 0.9 + 2.7 * number, 0.6, colour))
    axes.set(xlim=(-0.2, 21), ylim=(0.2, 7.1))
    axes.axis("off")
    return figure


def _draw(axes: Axes, box: _Box) -> Text:
    style = {"boxstyle": "round,pad=0.35", "facecolor": box.colour, "edgecolor": "#555555", "linewidth": 0.8}
    return axes.text(box.x, box.y, box.text, fontsize=8, ha="center", va="center", bbox=style, zorder=3)


def _arrow(axes: Axes, start: Text, end: Text) -> None:
    """From edge to edge; drawn after the boxes, which are only then where they belong."""
    ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    axes.annotate("", end.get_position(), start.get_position(), arrowprops=_ARROW | ends, zorder=4)
