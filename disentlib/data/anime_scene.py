"""The factors of the rendered anime faces, and the geometry of the head that `anime_renderer` paints on.

The head is an upright roller under a flat outline, its frame (u right, v down). A feature is painted in it once, facing
front (see `layers`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import cos, radians, sin

from torch import Tensor

from disentlib.data.exact import square_root
from disentlib.data.grid import FactorGrid
from disentlib.data.layers import HeadScene
from disentlib.data.raster import coverage, look_up, pixel_centres, smoothstep

__all__ = ["GRID", "HEAD_HEIGHT", "HEAD_WIDTH", "HEAD_Y", "Scene", "set_scene"]

GRID = FactorGrid(
    (
        "pose",
        "hair_colour",
        "hair_style",  # bob, long, twin tails, ponytail, buns, spikes
        "eye_colour",
        "eye_shape",  # round, raised, drooping, sleepy
        "mouth",  # frown, flat, smile, open
        "glasses",
        "skin",
        "background",
    ),
    (7, 8, 6, 6, 4, 4, 2, 3, 6),
    nominal=("hair_colour", "hair_style", "eye_colour", "eye_shape", "mouth", "background"),
)

POSES = tuple(radians(a) for a in (-30, -20, -10, 0, 10, 20, 30))  # positive: looks to the right of the picture
HEAD_Y, HEAD_HEIGHT, HEAD_WIDTH = 0.06, 0.66, 0.54  # centre, half height, half width of the face
CHEEK = 0.12  # v at which the face is widest


@dataclass(frozen=True)
class Scene(HeadScene):
    """What every layer needs."""

    turn: Tensor  # sine of the pose, [n, 1, 1]

    def columns(self, columns: slice) -> Scene:
        """The same scene on some columns of the grid."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        wide = {name: v for name, v in values.items() if isinstance(v, Tensor) and v.shape[2] > 1}
        return replace(self, **{name: v[:, :, columns] for name, v in wide.items()})


def set_scene(factors: Tensor, size: int) -> Scene:
    """Factors int64 `[n, 9]` → the scene on a grid of `size` × `size` samples."""
    f = dict(zip(GRID.names, factors.unbind(1)))
    x, y = pixel_centres(size, factors.device)
    turn, front = (look_up([g(a) for a in POSES], f["pose"]) for g in (sin, cos))
    v = (y - HEAD_Y) / HEAD_HEIGHT
    # The chin leads the turn, the skull lags behind.
    side = (x - turn * (0.05 + 0.10 * v)) / HEAD_WIDTH
    depth = square_root((1 - side * side).clamp(min=0))
    outside = (side.abs() - _outline(v)) * (0.8 * HEAD_WIDTH)
    return Scene(
        factors=f,
        x=x,
        y=y,
        pixel=2 / size,
        head_height=HEAD_HEIGHT,
        turn=turn,
        v=v,
        side=side,
        u=side * front - 0.85 * depth * turn,
        outside=outside,
        painted=coverage(outside, 2 / size) * smoothstep(side * turn + depth * front, 0.05, 0.25),
    )


def _outline(v: Tensor) -> Tensor:
    """Half width of the face at height v, 1 at its widest: round above the cheeks, running to a small chin below."""
    above, below = (CHEEK - v).clamp(min=0) / (1 + CHEEK), (v - CHEEK).clamp(min=0) / (1 - CHEEK)
    round_part = square_root((1 - above * above).clamp(min=0))
    cubed = below * below * below
    return round_part - 0.16 * below - 0.50 * cubed - 0.34 * cubed * cubed * cubed
