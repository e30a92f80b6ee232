"""Rendered chairs: lit 3-D chairs on white, drawn by code; a stand-in for the 3D Chairs set.

A chair is a list of *beams*, boxes between two points. Rays are parallel, so the ray parameter at which a ray crosses a
pair of a box's faces is linear in the pixel: a column term plus a row term. A box is hit where the
last entry comes before the first exit; the nearest box wins; its face's normal gives the light.

Chair frame: x across the seat, y towards its front, z up from the floor; lengths are in half pictures at scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, radians, sin

import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.data.exact import square_root
from disentlib.data.grid import FactorGrid
from disentlib.data.raster import by_chunks, halve, look_up, pixel_centres, to_bytes

__all__ = ["GRID", "draw", "load_rendered"]

GRID = FactorGrid(
    ("azimuth", "elevation", "size", "width", "leg_style", "back_height", "back_style", "colour", "arms"),
    (31, 2, 4, 4, 5, 5, 3, 6, 2),
    nominal=("leg_style", "back_style", "colour"),
)

# As many views round the circle, and from as many heights, as the published set has.
AZIMUTHS = tuple(2 * pi * i / 31 for i in range(31))
ELEVATIONS = (radians(18), radians(34))
SCALES = (0.68, 0.77, 0.86, 0.95)
HALF_WIDTHS = (0.26, 0.34, 0.42, 0.50)
BACK_HEIGHTS = (0.36, 0.46, 0.56, 0.66, 0.76)
HALF_DEPTH, SEAT_HEIGHT, EYE_HEIGHT = 0.38, 0.54, 0.60
COLOURS = (  # seat and back
    (0.86, 0.27, 0.22),
    (0.95, 0.70, 0.24),
    (0.40, 0.68, 0.36),
    (0.25, 0.58, 0.78),
    (0.54, 0.40, 0.74),
    (0.60, 0.61, 0.64),
)
FRAME_COLOUR = (0.72, 0.54, 0.38)  # legs and arms
LIGHT = (-0.42, -0.62, 0.66)  # towards the lamp, length 1: right in the picture, away from the eye, up
DARKEST, BRIGHTEST = 0.30, 1.08  # light on a face that looks away from the lamp and on one that looks into it


@dataclass(frozen=True)
class Beam:
    """A box from `start` to `end`: x in half seat widths, y in half seat depths, z in the unit of its table below.

    `breadth` and `thickness` are half sizes across it; `spread` adds half seat widths to the breadth. `of_frame` says
    whether it has the colour of the legs or that of the seat.
    """

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    breadth: float
    thickness: float
    spread: float = 0.0
    of_frame: bool = True


def _four(top: float, bottom: float, thickness: float) -> list[Beam]:
    """Four legs under the seat's corners, in shares of the seat's half sizes at their top and bottom."""
    corners = [(x, y) for x in (-1, 1) for y in (-1, 1)]
    return [Beam((x * top, y * top, 1), (x * bottom, y * bottom, 0), thickness, thickness) for x, y in corners]


def _mirrored(*beams: Beam) -> list[Beam]:
    """The beams and their mirror images left to right."""
    flip = [
        Beam((-b.start[0], *b.start[1:]), (-b.end[0], *b.end[1:]), b.breadth, b.thickness, b.spread, b.of_frame)
        for b in beams
    ]
    return [*beams, *flip]


def _star(count: int) -> list[Beam]:
    """A post on `count` feet, one of them to the front."""
    angles = [2 * pi * i / count for i in range(count)]
    feet = [Beam((0, 0, 0.1), (0.95 * sin(a), 0.95 * cos(a), 0.05), 0.035, 0.03) for a in angles]
    return [Beam((0, 0, 1), (0, 0, 0.08), 0.055, 0.055), *feet]


# Heights in seat heights: 0 floor, 1 seat.
LEGS: tuple[list[Beam], ...] = (
    _four(0.9, 0.9, 0.05),
    _four(0.62, 1.12, 0.035),
    _star(5),
    _mirrored(  # cantilever: up at the front only, a ring of runners on the floor
        Beam((0.8, 0.9, 1), (0.8, 0.9, 0), 0.03, 0.03), Beam((0.8, 0.95, 0.05), (0.8, -0.95, 0.05), 0.03, 0.03)
    )
    + [Beam((-0.8, y, 0.05), (0.8, y, 0.05), 0.03, 0.03) for y in (-0.9, 0.9)],
    [Beam((0, 0, 1), (0, 0, 0), 0.0, 0.31, 0.82)],  # a block
)


# Heights in back heights above the seat.
def _leaning(
    lean: float, x: float, low: float, high: float, breadth: float, thickness: float, spread: float = 0.0
) -> Beam:
    """A part of a back that leans by `lean` half seat depths over its height: from `low` to `high` along it, at `x`."""
    start, end = (x, -0.9 - lean * low, low), (x, -0.9 - lean * high, high)
    return Beam(start, end, breadth, thickness, spread, of_frame=False)


BACKS: tuple[list[Beam], ...] = (
    [_leaning(0.12, 0, 0, 1, 0.0, 0.075, spread=1.0)],  # solid
    [_leaning(0.25, x, 0, 1, 0.03, 0.03) for x in (-0.9, -0.45, 0, 0.45, 0.9)]  # slats under a rail
    + [_leaning(0.25, 0, 0.86, 1, 0.0, 0.035, spread=1.0)],
    [_leaning(0.55, x, 0, 1, 0.035, 0.03) for x in (-0.9, 0.9)]  # an open frame
    + [_leaning(0.55, 0, 0.76, 1, 0.0, 0.03, spread=1.0)],
)

# Heights in half pictures above the seat.
ARMS: tuple[list[Beam], ...] = (
    [],
    _mirrored(
        Beam((1.0, 0.75, 0.27), (1.0, -1.0, 0.27), 0.045, 0.025), Beam((1.0, 0.65, 0.0), (1.0, 0.65, 0.27), 0.03, 0.03)
    ),
)
SEAT: tuple[list[Beam], ...] = ([Beam((0, 1, 1), (0, -1, 1), 0.0, 0.045, 1.0, of_frame=False)],)


@dataclass(frozen=True)
class Boxes:
    """`p` boxes for each of `n` chairs, in the chair frame."""

    centres: Tensor  # [n, p, 3]
    axes: Tensor  # unit vectors, [n, p, 3 axes, 3]
    halves: Tensor  # half sizes along the axes, [n, p, 3]; negative where there is no box
    of_frame: Tensor  # bool [n, p]: has the colour of legs and arms


def draw(factors: Tensor, image_size: int) -> Tensor:
    """Factors int64 `[n, 9]` → uint8 pictures `[n, 3, s, s]` on the factors' device."""
    return by_chunks(_draw, factors, image_size, samples=(2 * image_size) ** 2)


def load_rendered(image_size: int | None = None) -> Dataset:
    """All 892 800 chairs, drawn when asked for; `image_size` in pixels (64 if None)."""
    size = 64 if image_size is None else image_size
    return Dataset(
        name="chairs",
        source="rendered",
        description="rendered chairs (a stand-in drawn by code, not the 3D Chairs set)",
        image_shape=(3, size, size),
        count=len(GRID),
        fetch=lambda indices: draw(GRID.factors(indices), size),
        grid=GRID,
    )


def _draw(factors: Tensor, image_size: int) -> Tensor:
    f = dict(zip(GRID.names, factors.unbind(1)))
    view = _camera(f["azimuth"], f["elevation"])
    boxes = _chair(f)
    light, frame, height = _trace(boxes, view, look_up(SCALES, f["size"]), 2 * image_size)
    # Less of the sky reaches what is low: a soft darkening towards the floor.
    light = light * (0.80 + 0.20 * (height / 1.2).clamp(0, 1))
    main, legs = look_up(COLOURS, f["colour"]), look_up((FRAME_COLOUR,), torch.zeros_like(f["colour"]))
    colour = torch.where(frame[:, None], legs, main) * light[:, None]
    return to_bytes(halve(torch.where((light < 0)[:, None], 1.0, colour.clamp(max=1))))


def _camera(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Factor values `[n]` → unit vectors right, up, forward (into the picture) in the chair frame, `[n, 3 vectors, 3]`.

    At azimuth 0 the eye is in front of the chair (y > 0)."""
    ca, sa = (look_up([g(a) for a in AZIMUTHS], azimuth)[:, 0, 0] for g in (cos, sin))
    ce, se = (look_up([g(e) for e in ELEVATIONS], elevation)[:, 0, 0] for g in (cos, sin))
    zero = torch.zeros_like(ca)
    rows = ((-ca, sa, zero), (-sa * se, -ca * se, ce), (-sa * ce, -ca * ce, -se))
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _chair(f: dict[str, Tensor]) -> Boxes:
    """Factor columns `[n]` → the boxes of the chairs."""
    width = look_up(HALF_WIDTHS, f["width"])[:, :, 0]  # [n, 1]
    back = look_up(BACK_HEIGHTS, f["back_height"])[:, :, 0]
    seat = torch.full_like(width, SEAT_HEIGHT)
    rooms = [
        _beams(SEAT, torch.zeros_like(f["arms"]), width, seat, 0.0),
        _beams(LEGS, f["leg_style"], width, seat, 0.0),
        _beams(BACKS, f["back_style"], width, back, SEAT_HEIGHT),
        _beams(ARMS, f["arms"], width, torch.ones_like(width), SEAT_HEIGHT),
    ]
    return Boxes(*(torch.cat([getattr(room, name) for room in rooms], 1) for name in Boxes.__dataclass_fields__))


def _beams(styles: tuple[list[Beam], ...], style: Tensor, width: Tensor, height: Tensor, floor: float) -> Boxes:
    """The beams of each chair's style `[n]`, as boxes: width and height `[n, 1]` scale them, `floor` lifts them."""
    table = torch.tensor(_table(styles), device=style.device)[style]  # [n, p, 11]
    start, end = (
        torch.stack((c[..., 0] * width, c[..., 1] * HALF_DEPTH, c[..., 2] * height + floor), -1)
        for c in (table[..., 0:3], table[..., 3:6])
    )
    breadth, thickness, spread, of_frame, there = table[..., 6:].unbind(-1)
    along = end - start
    length = square_root(_dot(along, along))
    axes = _axes(along / length[..., None])
    halves = torch.stack((breadth + spread * width, thickness, length / 2), -1)
    # A beam that is not there is a box of negative size: no ray enters it before it leaves.
    return Boxes((start + end) / 2, axes, torch.where(there[..., None] > 0, halves, -1.0), of_frame > 0)


def _table(styles: tuple[list[Beam], ...]) -> list[list[list[float]]]:
    """Numbers of every beam of every style, padded to the same count: `[styles, p, 11]`."""
    absent = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    most = max(map(len, styles))
    rows = [[[*b.start, *b.end, b.breadth, b.thickness, b.spread, float(b.of_frame), 1.0] for b in s] for s in styles]
    return [row + [absent] * (most - len(row)) for row in rows]


def _axes(along: Tensor) -> Tensor:
    """Unit vectors along beams `[n, p, 3]` → box axes `[n, p, 3 axes, 3]`: breadth, thickness, length.

    The breadth of a lying beam is level; that of a standing one faces the front.
    """
    y, z = along.new_tensor((0.0, 1.0, 0.0)), along.new_tensor((0.0, 0.0, 1.0))
    across = _cross(along, torch.where(along[..., 2:].abs() > 0.6, y, z))
    across = across / square_root(_dot(across, across))[..., None]
    return torch.stack((across, _cross(along, across), along), 2)


def _trace(boxes: Boxes, view: Tensor, scale: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest box along every ray: light `[n, s, s]` (−1 where none), frame or seat (bool), height of the point hit."""
    x, y = pixel_centres(size, view.device)
    x, y = x / scale, -y / scale  # in the chair's lengths, y up
    right, up, forward = (view[:, None, None, i] for i in range(3))
    speed = _dot(boxes.axes, forward)  # [n, p, 3]: how fast a ray moves along each axis
    speed = torch.where(speed.abs() < 1e-3, 1e-3, speed)
    eye = boxes.centres.new_tensor((0.0, 0.0, EYE_HEIGHT))
    middle = _dot(boxes.axes, (boxes.centres - eye)[:, :, None]) / speed
    reach = boxes.halves / speed.abs()
    slope_x, slope_y = _dot(boxes.axes, right) / speed, _dot(boxes.axes, up) / speed
    shade = _shade(boxes.axes, view, speed)

    depth = torch.full((len(view), size, size), 1e6, device=view.device)
    light, frame = torch.full_like(depth, -1), torch.zeros_like(depth, dtype=torch.bool)
    for p in range(speed.shape[1]):
        s = (slice(None), p, slice(None), None, None)
        enter = (middle - reach)[s] - slope_x[s] * x[:, None] - slope_y[s] * y[:, None]  # [n, 3, h, w]
        first, leave = enter.amax(1), (enter + (2 * reach)[s]).amin(1)
        nearest = (first < leave) & (first < depth)
        face = torch.where(enter[:, 1] == first, shade[s][:, 1], shade[s][:, 2])
        face = torch.where(enter[:, 0] == first, shade[s][:, 0], face)
        depth = torch.where(nearest, first, depth)
        light = torch.where(nearest, face, light)
        frame = torch.where(nearest, boxes.of_frame[:, p, None, None], frame)
    height = EYE_HEIGHT + y * view[:, 1, 2, None, None] + depth * view[:, 2, 2, None, None]
    return light, frame, height


def _shade(axes: Tensor, view: Tensor, speed: Tensor) -> Tensor:
    """Light on the visible face across each axis, `[n, p, 3]`: a wide lamp that moves with the eye."""
    right, up, forward = (view[:, None, None, i] for i in range(3))
    lamp = right * LIGHT[0] + up * LIGHT[2] + forward * LIGHT[1]
    facing = _dot(axes, lamp) * -speed.sign()  # of the face that looks towards the eye, in [-1, 1]
    return DARKEST + (BRIGHTEST - DARKEST) * (facing + 1) / 2


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    x = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    y = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    return torch.stack((x, y, a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]), -1)
