"""The factors of the rendered faces, and the geometry and light of the head that `faces` paints on.

The head is an ellipsoid. Every pixel on it is turned back into the head's own frame (u right, v down, w to the nose),
where a feature is painted once, facing front; turning the head then shifts and foreshortens it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, radians, sin

import torch
from torch import Tensor

from disentlib.data.grid import FactorGrid
from disentlib.data.raster import coverage, look_up, pixel_centres, smoothstep

__all__ = ["GRID", "HEAD_HEIGHT", "HEAD_Y", "LIGHTS", "Scene", "set_scene"]

GRID = FactorGrid(
    (
        "azimuth",
        "skin",
        "hair_colour",
        "hair_length",
        "fringe",
        "smile",
        "glasses",
        "background",
        "lighting",
        "age",
        "face_width",
    ),
    (9, 5, 6, 4, 4, 5, 2, 6, 5, 3, 3),
    nominal=("hair_colour", "background"),
)

AZIMUTHS = tuple(radians(a) for a in (-40, -30, -20, -10, 0, 10, 20, 30, 40))
LIGHTS = (-0.85, -0.45, 0.0, 0.45, 0.85)  # sideways part of the direction to the light
WIDTHS = (0.50, 0.56, 0.62)  # half width of the head
HEAD_Y, HEAD_HEIGHT = 0.10, 0.74  # centre and half height of the head


@dataclass(frozen=True)
class Scene:
    """What every layer needs: the factor columns `[n]`, the grid of samples and the head's geometry as fields."""

    factors: dict[str, Tensor]
    x: Tensor  # [1, 1, w]
    y: Tensor  # [1, h, 1]
    pixel: float  # width of a sample
    turn_sin: Tensor  # [n, 1, 1], positive when the face looks to the right of the picture
    turn_cos: Tensor
    width: Tensor  # half width of the head, [n, 1, 1]
    side: Tensor  # unit normal of the head, to the right …
    u: Tensor  # … and the point on the head, in its own frame
    v: Tensor
    w: Tensor
    outside: Tensor  # distance to the head's outline
    painted: Tensor  # how far paint on the head shows: 0 off the head and at the back of it
    light: Tensor  # brightness of a surface bent like the head, about 0.4 … 1.2

    def of(self, name: str, table: tuple) -> Tensor:
        """The entry of a table for each image: `[n, 1, 1]`, colours `[n, 3, 1, 1]`."""
        return look_up(table, self.factors[name])

    def constant(self, colour: tuple[float, float, float]) -> Tensor:
        """One colour for all images, `[1, 3, 1, 1]`."""
        return torch.tensor(colour, device=self.x.device)[None, :, None, None]

    def covered(self, distance: Tensor) -> Tensor:
        """Coverage of a shape whose distance is in the head's frame, on the head only."""
        return coverage(distance, self.pixel / HEAD_HEIGHT) * self.painted

    def rows(self, rows: slice) -> Scene:
        """The same scene on some rows of the grid."""
        fields = ("y", "side", "u", "v", "w", "outside", "painted", "light")
        return replace(self, **{name: getattr(self, name)[:, rows] for name in fields})


def set_scene(factors: Tensor, size: int) -> Scene:
    """Factors int64 `[n, 11]` → the scene on a grid of `size` × `size` samples."""
    f = dict(zip(GRID.names, factors.unbind(1)))
    x, y = pixel_centres(size, factors.device)
    turn_sin, turn_cos = (look_up([g(a) for a in AZIMUTHS], f["azimuth"]) for g in (sin, cos))
    width = look_up(WIDTHS, f["face_width"])
    v = (y - HEAD_Y) / HEAD_HEIGHT
    jaw = 1 - 0.20 * v.clamp(min=0) * v.clamp(min=0)  # narrower towards the chin
    # The chin and the cheeks lead the turn, the skull lags behind.
    side = (x - turn_sin * (0.04 + 0.05 * v)) / (width * jaw)
    radius = side * side + v * v
    front = (1 - radius).clamp(min=0).sqrt()
    outside = (radius.sqrt() - 1) * width
    w = side * turn_sin + front * turn_cos
    lamp = look_up(LIGHTS, f["lighting"])
    facing = side * lamp - 0.35 * v + 0.62 * front
    return Scene(
        factors=f,
        x=x,
        y=y,
        pixel=2 / size,
        turn_sin=turn_sin,
        turn_cos=turn_cos,
        width=width,
        side=side,
        u=side * turn_cos - front * turn_sin,
        v=v,
        w=w,
        outside=outside,
        painted=coverage(outside, 2 / size) * smoothstep(w, 0.0, 0.25),
        light=0.61 + 0.53 * facing.clamp(-0.55, 1),
    )
