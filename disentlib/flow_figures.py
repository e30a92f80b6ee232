"""A flow's architecture drawn from its sizes: one step, and the levels (Dis-GU paper, figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["multi_scale"]

_PLAIN, _LEARNED, _LATENT = "#ECEFF1", "#56B4E9", "#F2C14E"  # what only moves numbers, what has weights, what is kept
_INK = "#333333"


def multi_scale(image_shape: Sequence[int], level_shapes: Sequence[Sequence[int]], steps: int) -> Figure:
    """One flow step (left) and the path of an image `(c, h, w)` through the levels (right).

    `level_shapes`: `(c, h, w)` of each level's latents, the top one last. ValueError without any.
    """
    if not level_shapes:
        raise ValueError("a flow has at least one level")
    height = 1.05 * len(level_shapes) + 0.7
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, height), width_ratios=(1, 3.4))
    _draw_step(left)
    _draw_levels(right, image_shape, level_shapes, steps)
    for axes in (left, right):
        axes.set_axis_off()
    return figure


def _draw_step(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(4.4, -0.5))
    axes.set_title("one flow step", fontsize=10)
    for number, name in enumerate(("activation\nnormalisation", "invertible\n1 × 1 convolution", "coupling")):
        y = 1.2 * number
        _box(axes, 0.08, y, 0.84, 0.8, name, _LEARNED)
        _arrow(axes, (0.5, y + 0.8), (0.5, y + 1.18))
    _arrow(axes, (0.5, -0.4), (0.5, -0.02))


def _draw_levels(axes: Axes, image_shape: Sequence[int], level_shapes: Sequence[Sequence[int]], steps: int) -> None:
    count = len(level_shapes)
    axes.set(xlim=(-0.05, 10.05), ylim=(count + 0.1, -0.5))
    axes.set_title("levels", fontsize=10)
    kept = tuple(image_shape)
    for row, latent in enumerate(level_shapes):
        last = row == count - 1
        _box(axes, 0.0, row, 1.7, 0.6, f"{'image x' if not row else 'kept half'}\n{_size(kept)}", _PLAIN)
        _box(axes, 2.2, row, 1.5, 0.6, f"squeeze\n{_size((4 * kept[0], kept[1] // 2, kept[2] // 2))}", _PLAIN)
        _box(axes, 4.2, row, 1.5, 0.6, f"{steps} flow steps", _LEARNED)
        _box(axes, 8.2, row, 1.8, 0.6, f"latents z{row + 1}\n{_size(latent)}", _LATENT)
        for start, end in ((1.7, 2.2), (3.7, 4.2)):
            _arrow(axes, (start, row + 0.3), (end - 0.03, row + 0.3))
        kept = tuple(latent)
        if last:
            _arrow(axes, (5.7, row + 0.3), (8.17, row + 0.3))
            continue
        _box(axes, 6.2, row, 1.2, 0.6, "split", _PLAIN)
        _arrow(axes, (5.7, row + 0.3), (6.17, row + 0.3))
        _arrow(axes, (7.4, row + 0.3), (8.17, row + 0.3))
        axes.plot([6.8, 6.8, 0.85], [row + 0.6, row + 0.8, row + 0.8], color=_INK, lw=1)
        _arrow(axes, (0.85, row + 0.8), (0.85, row + 0.98))
        axes.annotate(
            "", (9.1, row + 0.62), (6.8, row + 0.8), arrowprops={"arrowstyle": "->", "color": "#009E73", "ls": "--"}
        )
        axes.text(7.9, row + 0.86, "mean and scale", fontsize=7.5, color="#007A5A", ha="center", va="center")


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    axes.add_patch(plt.Rectangle((x, y), width, height, facecolor=colour, edgecolor=_INK, lw=0.8))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7.5, color="black")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": _INK, "lw": 1})


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
