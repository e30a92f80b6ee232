"""Everything drawn, in one style: traversal grids, curves, dots with intervals, scatter, heat maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from disentlib.colours import COLOURS, LABELS, METRIC_COLOURS, METRIC_LABELS

__all__ = [
    "COLOURS",
    "LABELS",
    "METRIC_COLOURS",
    "METRIC_LABELS",
    "Spread",
    "curves",
    "dots",
    "draw_grid",
    "heatmap",
    "image_grid",
    "image_grids",
    "interval_panels",
    "plane",
    "show",
    "sweep",
    "traverse",
    "use_style",
]

BOXES = ("#D62728", "#2CA02C")  # the papers single out two rows of a grid by a red and a green box
_WIDTH = 8.0  # inches: the width of the book's text column
_GRIDS_WIDTH = 9.2  # inches: two labelled grids side by side
_STACK_WIDTH = 5.8  # inches: three labelled grids below one another still fit a screen or two
_LABELS = 1.3  # inches beside a grid for the labels of its rows


class Spread(NamedTuple):
    """What stands in one place of a panel: a value a seed, and the interval of their mean (None for one seed)."""

    values: Sequence[float]
    interval: tuple[float, float] | None


def use_style() -> None:
    """Set the book's style; call it once at the top of a notebook."""
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.95)
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 130,
            "savefig.bbox": "tight",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "image.interpolation": "nearest",
            "figure.constrained_layout.use": True,
        }
    )


def show(figure: Figure, provenance: object) -> None:
    """Display a figure and, below it, where it comes from; nothing is drawn without the second."""
    display(figure)
    plt.close(figure)
    display(provenance)


@torch.no_grad()
def traverse(
    decode: Callable[[Tensor], Tensor], code: Tensor, dimensions: Sequence[int], values: Sequence[float]
) -> Tensor:
    """Decode `code` `[d]` with one dimension at a time set to each value: images `[rows, columns, c, h, w]` in [0, 1].

    >>> traverse(lambda z: z[:, :1, None, None], torch.zeros(3), [0, 2], [-1.0, 0.0, 1.0]).shape
    torch.Size([2, 3, 1, 1, 1])
    """
    codes = code.repeat(len(dimensions), len(values), 1)
    for row, dimension in enumerate(dimensions):
        codes[row, :, dimension] = torch.as_tensor(values, dtype=code.dtype, device=code.device)
    images = decode(codes.flatten(0, 1))
    return images.unflatten(0, (len(dimensions), len(values)))


def image_grid(
    images: Tensor, rows: Sequence[str] = (), boxes: Mapping[int, str] | None = None, title: str = ""
) -> Figure:
    """One grid of images `[rows, columns, c, h, w]` in [0, 1], a label a row, and a coloured box round some rows."""
    height = _WIDTH * images.shape[0] / images.shape[1]
    figure, axes = plt.subplots(figsize=(_WIDTH, min(height, 10)))
    draw_grid(axes, images, rows, boxes or {}, title)
    return figure


def image_grids(grids: Mapping[str, Tensor], rows: Mapping[str, Sequence[str]] | None = None,
                boxes: Mapping[str, Mapping[int, str]] | None = None) -> Figure:  # fmt: skip
    """Several grids `[rows, columns, c, h, w]` under their names: two side by side, more below one another."""
    beside, width = {1: (1, _WIDTH), 2: (2, _GRIDS_WIDTH)}.get(len(grids), (1, _STACK_WIDTH))
    first = next(iter(grids.values()))
    cell = (width / beside - _LABELS) / first.shape[1]
    high = -(-len(grids) // beside)
    size = (width, high * (cell * first.shape[0] + 0.35))
    figure, axes = plt.subplots(high, beside, figsize=size, squeeze=False)
    for panel, (name, images) in zip(axes.flat, grids.items()):
        draw_grid(panel, images, (rows or {}).get(name, ()), (boxes or {}).get(name, {}), name)
    return figure


def curves(axes: Axes, runs: Mapping[str, Sequence[Mapping[str, list]]], key: str, ylabel: str) -> None:
    """A loss against steps: for each method the mean over seeds as a line and their range as a band.

    `runs`: method → histories `{"steps": […], key: […]}`, one a seed.
    """
    for method, histories in runs.items():
        if not histories:
            continue
        length = min(len(h["steps"]) for h in histories)
        values = np.array([h[key][:length] for h in histories])
        steps = histories[0]["steps"][:length]
        axes.plot(steps, values.mean(0), color=COLOURS.get(method), label=LABELS.get(method, method))
        axes.fill_between(steps, values.min(0), values.max(0), color=COLOURS.get(method), alpha=0.2, lw=0)
    axes.set(xlabel="training step", ylabel=ylabel)
    axes.legend(frameon=False)


def dots(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float] | None],
    ylabel: str,
    colours: Mapping[str, str] | None = None,
    paper: Mapping[str, float] | None = None,
) -> None:
    """Each seed as a point, the interval of the mean as a bar, the paper's value as a hollow diamond."""
    for position, (label, points) in enumerate(values.items()):
        colour = (colours or COLOURS).get(label, "#0072B2")
        axes.scatter([position] * len(points), points, s=22, color=colour, alpha=0.6, zorder=3)
        bounds = intervals.get(label)
        if bounds:
            axes.plot([position] * 2, bounds, color=colour, lw=6, alpha=0.35, solid_capstyle="butt", zorder=2)
        if paper and label in paper:
            axes.scatter(
                [position], [paper[label]], marker="D", s=45, facecolors="none", edgecolors=COLOURS["paper"], zorder=4
            )
    axes.set_xticks(range(len(values)), [LABELS.get(label, label) for label in values])
    axes.set(ylabel=ylabel, xlim=(-0.5, len(values) - 0.5))


def sweep(axes: Axes, points: Mapping[float, Sequence[float]], colour: str, label: str) -> None:
    """Values against a swept parameter: each seed as a point, their means joined by a line."""
    for x, values in points.items():
        axes.scatter([x] * len(values), values, s=14, alpha=0.5, color=colour)
    axes.plot(list(points), [np.mean(values) for values in points.values()], color=colour, label=label)


def plane(axes: Axes, groups: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str,
          colours: Mapping[str, str] | None = None, line: str | None = None) -> None:  # fmt: skip
    """Points of several groups in one plane; the group named `line` is also joined in the order given."""
    for name, points in groups.items():
        colour = (colours or COLOURS).get(name)
        x, y = zip(*points) if points else ((), ())
        axes.scatter(x, y, s=28, color=colour, alpha=0.75, label=LABELS.get(name, name), zorder=3)
        if name == line:
            axes.plot(x, y, color=colour, lw=1, alpha=0.6, zorder=2)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False)


def heatmap(axes: Axes, matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], label: str,
            top: float | None = None, bar: bool = True) -> None:  # fmt: skip
    """A matrix with its values written in, on a scale from 0 (to `top`, if given), with or without a bar beside it."""
    sns.heatmap(
        matrix, ax=axes, cmap="viridis", vmin=0, vmax=top, annot=True, fmt=".2f", annot_kws={"size": 8},
        xticklabels=list(columns), yticklabels=list(rows), cbar=bar, cbar_kws={"label": label} if bar else None,
    )  # fmt: skip
    axes.tick_params(axis="y", rotation=0)


def interval_panels(
    panels: Mapping[str, Mapping[str, Mapping[str, Spread]]],
    colours: Mapping[str, str],
    bands: Sequence[tuple[int, str]] = (),
    marks: Mapping[tuple[str, str], str] | None = None,
    limits: tuple[float, float] | None = (-0.13, 1.13),
    height: float = 0.34,
) -> Figure:
    """Panels side by side with the same rows: title → row → series → its seeds, their mean, and its interval.

    `colours` by series. `bands`: how many rows belong together, with the colour behind them. `marks`: a matplotlib
    marker drawn large and hollow around the first series of (title, row).
    """
    rows = list(next(iter(panels.values())))
    figure, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(_GRIDS_WIDTH, height * len(rows) + 0.9)
    )
    for axis, (title, content) in zip(axes[0], panels.items()):
        _draw_bands(axis, bands)
        for y, row in enumerate(rows):
            _draw_spreads(axis, y, content[row], colours)
            if (title, row) in (marks or {}):
                x = float(np.mean(next(iter(content[row].values())).values))
                axis.scatter(
                    [x], [y], s=150, marker=marks[title, row], facecolors="none", edgecolors="k", lw=1.4, zorder=5
                )
        axis.set_title(title, fontsize=9.5)
        axis.set(xlim=limits, ylim=(len(rows) - 0.5, -0.5))
        if limits:
            axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axis.tick_params(labelsize=9)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(rows)), rows)
    return figure


def _draw_bands(axes: Axes, bands: Sequence[tuple[int, str]]) -> None:
    start = 0
    for count, colour in bands:
        axes.axhspan(start - 0.5, start + count - 0.5, color=colour, lw=0, zorder=0)
        start += count


def _draw_spreads(axes: Axes, y: float, spreads: Mapping[str, Spread], colours: Mapping[str, str]) -> None:
    """One row: the series a little above one another, in the order given."""
    for number, (name, (values, interval)) in enumerate(spreads.items()):
        place = y + 0.5 * ((number + 0.5) / len(spreads) - 0.5)
        if interval:
            axes.plot(interval, [place] * 2, color=colours[name], lw=5, alpha=0.4, solid_capstyle="butt", zorder=2)
        axes.scatter(values, [place] * len(values), s=7, color=colours[name], alpha=0.5, lw=0, zorder=3)
        axes.scatter([np.mean(values)], [place], s=24, color=colours[name], zorder=4)


def draw_grid(axes: Axes, images: Tensor, rows: Sequence[str], boxes: Mapping[int, str], title: str) -> None:
    """Images `[rows, columns, c, h, w]` in [0, 1] as one sheet; a value that is not a number is grey."""
    pad = 1
    r, c, channels, h, w = images.shape
    sheet = np.ones((r * (h + pad) + pad, c * (w + pad) + pad, 3), dtype=np.float32)
    pixels = images.detach().cpu().nan_to_num(0.5).clamp(0, 1).expand(r, c, 3, h, w).movedim(2, -1).numpy()
    for i in range(r):
        for j in range(c):
            y, x = pad + i * (h + pad), pad + j * (w + pad)
            sheet[y : y + h, x : x + w] = pixels[i, j]
    axes.imshow(sheet)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if rows:
        axes.set_yticks([pad + i * (h + pad) + h / 2 for i in range(r)], rows, fontsize=8.5, linespacing=0.95)
        axes.tick_params(axis="y", length=0)
    for row, colour in boxes.items():
        y = row * (h + pad)
        axes.add_patch(plt.Rectangle((0, y), sheet.shape[1] - 1, h + pad, fill=False, edgecolor=colour, lw=2))
