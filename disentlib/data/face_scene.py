"""The factors of the rendered faces, and the geometry and light of the head that `faces` paints on.

The head is an ellipsoid, its frame (u right, v down, w to the nose). A feature is painted in it once, facing front
(see `layers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

from torch import Tensor

from disentlib.data.exact import square_root
from disentlib.data.grid import FactorGrid
from disentlib.data.layers import HeadScene
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
class Scene(HeadScene):
    """What every layer needs; `side` is the head's unit normal to the right."""

    turn_sin: Tensor  # [n, 1, 1], positive when the face looks to the right of the picture
    turn_cos: Tensor
    width: Tensor  # half width of the head, [n, 1, 1]
    w: Tensor  # towards the nose
    light: Tensor  # brightness of a surface bent like the head, about 0.4 … 1.2


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
    front = square_root((1 - radius).clamp(min=0))
    outside = (square_root(radius) - 1) * width
    w = side * turn_sin + front * turn_cos
    lamp = look_up(LIGHTS, f["lighting"])
    facing = side * lamp - 0.35 * v + 0.62 * front
    return Scene(
        factors=f,
        x=x,
        y=y,
        pixel=2 / size,
        head_height=HEAD_HEIGHT,
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
