"""Where the parts of the rendered robot arm are, its table and its background: what `arm_renderer` draws.

World frame: x to the right, y away from the viewer, z up from the table; the arm stands at the origin. Lengths are
about half metres. View frame: x right, y up, z into the picture; rays are parallel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import torch
from torch import Tensor

from disentlib.data.exact import square_root
from disentlib.data.grid import FactorGrid
from disentlib.data.raster import look_up, pixel_centres, segment, smoothstep
from disentlib.data.solids import BALL, CONE, CUBE, CYLINDER, HEXAGON, PYRAMID, Vector, dot, unit

__all__ = [
    "COLOURS",
    "FOREARM_RADIUS",
    "GRID",
    "HALF_VIEW",
    "JOINT_RADII",
    "METAL",
    "NAMES",
    "NOMINAL",
    "POST_RADIUS",
    "RUBBER",
    "SHAPES",
    "SHAPE_SIZES",
    "SHOULDER",
    "SIZES",
    "SWINGS",
    "UPPER_ARM_RADIUS",
    "View",
    "ground",
    "joints_at",
    "shadow",
    "view_from",
]

NAMES = (
    "object_color",
    "object_shape",
    "object_size",
    "camera_height",
    "background_color",
    "horizontal_axis",
    "vertical_axis",
)
NOMINAL = ("object_color", "object_shape", "background_color")
GRID = FactorGrid(NAMES, (6, 6, 2, 3, 3, 40, 40), nominal=NOMINAL)

# In the published order: white, green, red, blue, brown, olive; and purple, sea green, salmon.
COLOURS = (
    (0.95, 0.95, 0.93),
    (0.20, 0.72, 0.28),
    (0.90, 0.16, 0.14),
    (0.16, 0.36, 0.92),
    (0.52, 0.30, 0.14),
    (0.56, 0.58, 0.10),
)
BACKGROUNDS = ((0.42, 0.22, 0.52), (0.20, 0.52, 0.40), (0.88, 0.54, 0.46))
SHAPES = (CONE, CUBE, CYLINDER, HEXAGON, PYRAMID, BALL)
SHAPE_SIZES = (1.10, 0.82, 0.90, 0.86, 0.95, 1.08)  # that make the six look about as large
SIZES = (0.15, 0.23)  # half heights
ELEVATIONS = tuple(radians(a) for a in (52, 32, 12))  # of the camera: top, centre, bottom
SWINGS = tuple(radians(-82 + 164 * i / 39) for i in range(40))  # horizontal axis: from the left, past the viewer
LIFTS = tuple(radians(-15 + 90 * i / 39) for i in range(40))  # vertical axis: from low to high

SHOULDER, BEND = 0.50, radians(25)  # height of the pivot; half the angle of the elbow
UPPER_ARM, FOREARM, GRIP = 0.46, 0.36, 0.07
POST_RADIUS, UPPER_ARM_RADIUS, FOREARM_RADIUS, JOINT_RADII = 0.13, 0.092, 0.068, (0.15, 0.115, 0.088)
METAL, RUBBER = 0.74, 0.24  # brightness of limbs and of joints
TABLE_RADIUS, TABLE, PLATE_RADIUS, PLATE = 1.08, (0.25, 0.26, 0.29), 0.26, (0.13, 0.13, 0.15)
LOOK = (0.0, -0.20, 0.46)  # the point in the middle of the picture
HALF_VIEW = 1.28  # half a picture; the held solid never reaches the border
LAMP = unit((-0.50, -0.45, 1.00))


@dataclass(frozen=True)
class View:
    """Unit vectors of the view frame in the world, each a vector of `[n, 1, 1]`."""

    right: Vector
    up: Vector
    into: Vector

    def of(self, point: Vector) -> Vector:
        """A point of the world in the view frame."""
        moved = tuple(p - o for p, o in zip(point, LOOK))
        return dot(moved, self.right), dot(moved, self.up), dot(moved, self.into)

    def towards(self) -> Vector:
        """The direction, in the world, halfway between the lamp and the eye: what faces it is brightest."""
        middle = tuple(lamp - step for lamp, step in zip(LAMP, self.into))
        length = square_root(dot(middle, middle))
        return tuple(part / length for part in middle)


def view_from(camera: Tensor) -> View:
    """Camera heights int64 `[n]` → views."""
    c, s = (look_up([g(e) for e in ELEVATIONS], camera) for g in (cos, sin))
    zero = torch.zeros_like(c)
    return View((zero + 1, zero, zero), (zero, s, c), (zero, c, -s))


def joints_at(f: dict[str, Tensor]) -> list[Vector]:
    """Shoulder, elbow, wrist, and the held solid's centre, in the world, each a vector of `[n, 1, 1]`."""
    sideways, ahead = (look_up([g(a) for a in SWINGS], f["horizontal_axis"]) for g in (sin, cos))
    out = torch.zeros_like(ahead)
    height = out + SHOULDER
    joints = [(out, out, height)]
    for length, bend in ((UPPER_ARM, BEND), (FOREARM, -BEND), (GRIP, -BEND)):
        out = out + length * look_up([cos(a + bend) for a in LIFTS], f["vertical_axis"])
        height = height + length * look_up([sin(a + bend) for a in LIFTS], f["vertical_axis"])
        joints.append((sideways * out, -ahead * out, height))
    grip = joints.pop()
    half = look_up(SIZES, f["object_size"])
    return [*joints, (grip[0] + 0.8 * half * sideways, grip[1] - 0.8 * half * ahead, grip[2])]


def ground(view: View, background: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The empty table before a background: colours `[n, 3, s, s]`, and how far each pixel is table, `[n, 1, s, s]`."""
    table, rim, plate = (
        _disc(view, size, radius, height)[:, None]
        for radius, height in ((TABLE_RADIUS, 0.0), (TABLE_RADIUS, -0.08), (PLATE_RADIUS, 0.0))
    )
    (px, py), (_, y) = _floor(view, size, 0.0), pixel_centres(size, background.device)
    glow = 1.12 - 0.28 * smoothstep(square_root(px * px + (py + 0.4) * (py + 0.4)), 0.2, 1.5)[:, None]
    canvas = look_up(BACKGROUNDS, background) * (0.92 - 0.14 * y)
    for part, colour, light in ((rim, TABLE, 0.45), (table, TABLE, glow), (plate, PLATE, 1.0)):
        canvas = canvas + part * (look_up((colour,), background * 0) * light - canvas)
    return canvas, table


def _floor(view: View, size: int, height: float) -> tuple[Tensor, Tensor]:
    """Where the rays of the pixels meet the level `height`: x and y in the world."""
    x, y = pixel_centres(size, view.up[1].device)
    x, y = x * HALF_VIEW, -y * HALF_VIEW
    rise, fall = view.up[2], -view.into[2]
    along = (LOOK[2] - height + y * rise) / fall
    return LOOK[0] + x + 0 * along, LOOK[1] + y * fall + along * rise


def _disc(view: View, size: int, radius: float, height: float) -> Tensor:
    """How far each pixel is on a level disc around the arm, `[n, s, s]`, with a soft edge of about a pixel."""
    px, py = _floor(view, size, height)
    from_middle = square_root(px * px + py * py)
    steep = py / view.into[2]
    soft = 1.5 * HALF_VIEW / size * square_root(px * px + steep * steep) / from_middle
    return ((radius - from_middle) / (2 * soft) + 0.5).clamp(0, 1)


def shadow(view: View, joints: list[Vector], f: dict[str, Tensor], size: int) -> Tensor:
    """How much of the lamp the arm and the held solid keep from the table, `[n, s, s]`."""
    px, py = _floor(view, size, 0.0)
    cast_to = [(x - z * (LAMP[0] / LAMP[2]), y - z * (LAMP[1] / LAMP[2])) for x, y, z in joints]
    zero = torch.zeros_like(joints[0][0])
    bars = ((zero, zero), *cast_to[:3])
    x, y = px - cast_to[3][0], py - cast_to[3][1]
    dark = smoothstep(square_root(x * x + y * y) - look_up(SIZES, f["object_size"]), 0.10, -0.10)
    for start, end, radius in zip(bars, bars[1:], (POST_RADIUS, UPPER_ARM_RADIUS, FOREARM_RADIUS)):
        dark = torch.maximum(dark, smoothstep(segment(px, py, start, end) - radius, 0.08, -0.06))
    return 0.55 * dark
