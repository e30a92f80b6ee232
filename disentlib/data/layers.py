"""Heads painted in layers, back to front: what a scene holds for every layer, and the one loop over layers.

Every pixel on a head is turned back into the head's own frame (u right, v down), where a feature is painted once,
facing front; turning the head then shifts and foreshortens it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from disentlib.data.raster import coverage, halve, look_up, to_bytes

__all__ = ["HeadScene", "draw_layers"]


@dataclass(frozen=True)
class HeadScene:
    """The factor columns `[n]`, the grid of samples and a head's geometry; fields broadcast to `[n, h, w]`."""

    factors: dict[str, Tensor]
    x: Tensor  # [1, 1, w]
    y: Tensor  # [1, h, 1]
    pixel: float  # width of a sample
    head_height: float  # half height of the head: the unit of its own frame
    side: Tensor  # across the head: −1 and 1 at its widest
    u: Tensor  # the point on the head …
    v: Tensor  # … in its own frame
    outside: Tensor  # distance to the head's outline
    painted: Tensor  # how far paint on the head shows: 0 off the head and where it turns away

    def of(self, name: str, table: tuple) -> Tensor:
        """The entry of a table for each image: `[n, 1, 1]`, colours `[n, 3, 1, 1]`."""
        return look_up(table, self.factors[name])

    def constant(self, colour: tuple[float, float, float]) -> Tensor:
        """One colour for all images, `[1, 3, 1, 1]`."""
        return torch.tensor(colour, device=self.x.device)[None, :, None, None]

    def covered(self, distance: Tensor) -> Tensor:
        """Coverage of a shape whose distance is in the head's frame, on the head only."""
        return coverage(distance, self.pixel / self.head_height) * self.painted

    def rows(self: Scene, rows: slice) -> Scene:
        """The same scene on some rows of the grid."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        tall = {name: v for name, v in values.items() if isinstance(v, Tensor) and v.shape[1] > 1}
        return replace(self, **{name: v[:, rows] for name, v in tall.items()})


Scene = TypeVar("Scene", bound=HeadScene)
Layer = Callable[[Scene, Tensor], Tensor]  # a scene and a canvas on some rows → that canvas, painted


def draw_layers(scene: Scene, canvas: Tensor, layers: Iterable[tuple[Layer, float, float]], image_size: int) -> Tensor:
    """The layers on a canvas of twice the size → uint8 `[n, 3, s, s]`. A layer stays between its two heights y."""
    for layer, top, bottom in layers:
        rows = slice(int((top + 1) * image_size), int((bottom + 1) * image_size) + 1)
        canvas[:, :, rows] = layer(scene.rows(rows), canvas[:, :, rows])
    return to_bytes(halve(canvas))
