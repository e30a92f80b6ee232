"""Rays against convex solids in closed form: a quadric cut by planes, lit on the side where the ray enters.

The arithmetic is that of `raster` (nothing but + − × ÷, square roots and comparisons touches a pixel), so a picture has
the same bits in whatever batch it is drawn. A *vector* is a tuple of three fields or numbers (x, y, z); z points up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import torch
from torch import Tensor

from disentlib.data.exact import square_root
from disentlib.data.raster import Scalar

__all__ = [
    "BALL",
    "CONE",
    "CUBE",
    "CYLINDER",
    "FAR",
    "HEXAGON",
    "PYRAMID",
    "Hit",
    "Solid",
    "cast",
    "dot",
    "prism",
    "unit",
]

Vector = tuple[Scalar, Scalar, Scalar]
FAR = 1e6  # the ray parameter of what is never reached
_FLAT = 1e-6  # keeps divisions by a slope finite: a ray this parallel to a face counts as crossing it far away


@dataclass(frozen=True)
class Solid:
    """The points with a·x² + b·y² + c·z² + e·z + f ≤ 0 and, for every plane (n, reach), n·p ≤ reach."""

    quadric: tuple[Scalar, Scalar, Scalar, Scalar, Scalar]  # a, b, c, e, f
    planes: Sequence[tuple[Scalar, Scalar, Scalar, Scalar]] = ()  # unit normals, pointing out, and reaches


@dataclass(frozen=True)
class Hit:
    """Where rays enter a solid."""

    distance: Tensor  # the ray parameter, FAR for a ray that misses
    facing: tuple[Tensor, ...]  # cosine between the surface's normal and each direction asked for; free where missed


def prism(sides: int) -> tuple[tuple[float, float, float, float], ...]:
    """Planes of an upright prism with as many sides, at distance 1 from its axis, without top and bottom."""
    angles = [2 * pi * i / sides for i in range(sides)]
    return tuple((cos(a), sin(a), 0.0, 1.0) for a in angles)


def _pyramid() -> tuple[tuple[float, float, float, float], ...]:
    """Four faces from the edges of the square base |x|, |y| ≤ 1 at z = −1 to the tip at z = 1."""
    flat, rise = 2 / sqrt(5), 1 / sqrt(5)
    return tuple((x * flat, y * flat, rise, rise) for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1)))


# Solids around the origin that reach from z = −1 to z = 1. `_WIDE` is a quadric that cuts nothing off.
_WIDE = (1.0, 1.0, 1.0, 0.0, -100.0)
_LIDS = ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, -1.0, 1.0))
BALL = Solid((1.0, 1.0, 1.0, 0.0, -1.0))
CUBE = Solid(_WIDE, (*prism(4), *_LIDS))
CYLINDER = Solid((1.0, 1.0, 0.0, 0.0, -1.0), _LIDS)
CONE = Solid((1.0, 1.0, -0.25, 0.5, -0.25), _LIDS)  # x² + y² ≤ ((1 − z) / 2)²
HEXAGON = Solid(_WIDE, (*prism(6), *_LIDS))
PYRAMID = Solid(_WIDE, (*_pyramid(), _LIDS[1]))


def dot(a: Vector, b: Vector) -> Scalar:
    """The scalar product of two vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: tuple[float, float, float]) -> tuple[float, float, float]:
    """The vector of numbers `a` at length 1."""
    length = sqrt(dot(a, a))
    return (a[0] / length, a[1] / length, a[2] / length)


def cast(solid: Solid, origin: Vector, direction: Vector, towards: Sequence[Vector] = ()) -> Hit:
    """Send the rays origin + t·direction, t > 0, at a solid.

    The fields broadcast: parallel rays have one direction an image, rays of an eye one origin. `towards` are unit
    vectors whose cosine with the surface's normal is wanted, for light. Rays that start inside count as missing.

    >>> cast(BALL, (torch.zeros(1), -3.0, 0.0), (0.0, torch.ones(1), 0.0), [(0.0, -1.0, 0.0)])
    Hit(distance=tensor([2.]), facing=(tensor([1.]),))
    """
    enter, leave, crossed = _cross_quadric(solid.quadric, origin, direction)
    facing = _quadric_facing(solid.quadric, origin, direction, enter, towards)
    for *normal, reach in solid.planes:
        slope, start = dot(normal, direction), reach - dot(normal, origin)
        slope = torch.where(abs(slope) < _FLAT, _FLAT, slope)
        at = start / slope
        inwards = slope < 0
        later = inwards & (at > enter)
        enter = torch.where(later, at, enter)
        facing = [torch.where(later, dot(normal, to), old) for to, old in zip(towards, facing)]
        leave = torch.minimum(leave, torch.where(inwards, FAR, at))
    hit = crossed & (enter < leave) & (enter > 0)
    return Hit(torch.where(hit, enter, FAR), tuple(facing))


def _cross_quadric(quadric: tuple[Scalar, ...], o: Vector, d: Vector) -> tuple[Tensor, Tensor, Tensor]:
    """Ray parameters of the way in and out, and whether there is one.

    Inside a double cone a ray may start or end at infinity; the half below the tip, where z falls, is the one meant.
    """
    a, b, c, e, f = quadric
    square = a * d[0] * d[0] + b * d[1] * d[1] + c * d[2] * d[2]
    square = torch.where(abs(square) < _FLAT, _FLAT, square)
    slope = a * o[0] * d[0] + b * o[1] * d[1] + (c * o[2] + e / 2) * d[2]
    rest = a * o[0] * o[0] + b * o[1] * o[1] + (c * o[2] + e) * o[2] + f
    inside = slope * slope - square * rest
    root = square_root(inside.clamp(min=0))
    first, last = (-slope - root) / square, (root - slope) / square
    hollow, falling = square < 0, torch.as_tensor(d[2], device=square.device) < 0
    enter = torch.where(hollow & ~falling, -FAR, first)
    leave = torch.where(hollow, torch.where(falling, FAR, last), last)
    return enter, leave, inside > 0


def _quadric_facing(
    quadric: tuple[Scalar, ...], o: Vector, d: Vector, at: Tensor, towards: Sequence[Vector]
) -> list[Tensor]:
    """Cosines of the quadric's normal at the ray parameter `at` with each direction."""
    if not towards:
        return []
    a, b, c, e, _ = quadric
    x, y, z = (start + at * step for start, step in zip(o, d))
    normal = (a * x, b * y, c * z + e / 2)
    length = square_root(dot(normal, normal).clamp(min=1e-12))
    return [dot(normal, to) / length for to in towards]
