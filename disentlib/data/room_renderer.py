"""The rendered twin of Shapes3D: a room with one solid on its floor, lit and shaded, drawn by code.

Where light falls depends on scale, shape and orientation only: 480 scenes. For each of them `_trace` finds how much
light every material sends to every pixel; a picture is these maps times the materials' colours. The maps are kept for
small pictures, so that drawing one is a look-up.

Room frame: x to the right and y into the picture at orientation 0, z up from the floor; lengths are about metres.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb
from functools import lru_cache
from math import cos, radians, sin

import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.data.exact import square_root
from disentlib.data.grid import FactorGrid
from disentlib.data.raster import by_chunks, halve, look_up, pixel_centres, smoothstep, to_bytes
from disentlib.data.solids import BALL, CUBE, CYLINDER, FAR, Solid, Vector, cast, dot, unit

__all__ = ["GRID", "draw", "load_rendered"]

GRID = FactorGrid(
    ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"), (10, 10, 10, 8, 4, 15), nominal=("shape",)
)
_SCENES = 8 * 4 * 15  # scale, shape, orientation: the last three factors, so index % _SCENES numbers the scene

SCALES = tuple(0.44 + 0.06 * i for i in range(8))  # half height of the cube, metres
AZIMUTHS = tuple(radians(-30 + 60 * i / 14) for i in range(15))  # of the eye, from straight ahead
# Ten hues round the circle, each brighter where the eye is less sensitive.
_HUES = tuple(i / 10 for i in range(10))
FLOORS = tuple(hsv_to_rgb(h, 0.72, 0.92) for h in _HUES)
WALLS = tuple(hsv_to_rgb(h, 0.62, 0.95) for h in _HUES)
OBJECTS = tuple(hsv_to_rgb(h, 0.88, 0.95) for h in _HUES)
SKY, SHINE = (0.70, 0.84, 0.96), (1.0, 1.0, 1.0)

HALF_ROOM, WALL_HEIGHT = 2.8, 2.35
EYE_DISTANCE, EYE_HEIGHT, LOOK_HEIGHT = 5.2, 2.5, 0.72
HALF_VIEW = 0.40  # half a picture at distance 1
LAMPS = tuple(unit((-0.55 + dx, -0.75 + dy, 1.15)) for dx, dy in ((-0.1, 0.0), (0.1, 0.0), (0.0, -0.1), (0.0, 0.1)))
LAMP = unit((-0.55, -0.75, 1.15))  # the middle of the four lamps: over the left shoulder of the eye at orientation 0
_KEPT_SIZE = 64  # maps of up to this image size are kept: 39 MB at 64 pixels

# Each shape is some solids: where they lie and how large they are, in half heights of the cube.
_Part = tuple[Solid, tuple[float, float, float], float]
_BAR = Solid((0.0, 1.0, 1.0, 0.0, -1.0), ((1.0, 0.0, 0.0, 0.85), (-1.0, 0.0, 0.0, 0.85)))
SHAPES: tuple[tuple[_Part, ...], ...] = (
    ((CUBE, (0.0, 0.0, 0.88), 0.88),),
    ((CYLINDER, (0.0, 0.0, 1.0), 1.0),),
    ((BALL, (0.0, 0.0, 1.08), 1.08),),
    ((_BAR, (0.0, 0.0, 0.8), 0.8), (BALL, (-0.68, 0.0, 0.8), 0.8), (BALL, (0.68, 0.0, 0.8), 0.8)),  # a lying capsule
)


def draw(factors: Tensor, image_size: int) -> Tensor:
    """Factors int64 `[n, 6]` → uint8 pictures `[n, 3, s, s]` on the factors' device.

    >>> draw(torch.tensor([[0, 3, 6, 7, 2, 7]]), 32).shape
    torch.Size([1, 3, 32, 32])
    """
    small = image_size <= _KEPT_SIZE
    return by_chunks(_draw, factors, image_size, samples=(1 if small else 4) * image_size * image_size)


def load_rendered(image_size: int | None = None) -> Dataset:
    """All 480 000 rooms, drawn when asked for; `image_size` in pixels (64 if None)."""
    size = 64 if image_size is None else image_size
    return Dataset(
        name="shapes3d",
        source="rendered",
        description="rendered rooms, a twin of Shapes3D drawn by code",
        image_shape=(3, size, size),
        count=len(GRID),
        fetch=lambda indices: draw(GRID.factors(indices), size),
        grid=GRID,
    )


def _draw(factors: Tensor, image_size: int) -> Tensor:
    scenes = GRID.index(factors) % _SCENES
    maps = _kept(image_size, factors.device)(scenes) if image_size <= _KEPT_SIZE else _maps(scenes, image_size)
    none = torch.zeros_like(scenes)
    tables = ((FLOORS, factors[:, 0]), (WALLS, factors[:, 1]), (OBJECTS, factors[:, 2]), ((SKY,), none))
    canvas = maps[:, 4:].expand(-1, 3, -1, -1)  # shine, which is white
    for i, (table, values) in enumerate(tables):
        canvas = canvas + look_up(table, values) * maps[:, i, None]
    return to_bytes(canvas)


class _Kept:
    """The maps of the scenes met so far, float32 `[480, 5, s, s]`."""

    def __init__(self, image_size: int, device: torch.device) -> None:
        self.size = image_size
        self.maps = torch.empty(_SCENES, 5, image_size, image_size, device=device)
        self.known = torch.zeros(_SCENES, dtype=torch.bool, device=device)

    def __call__(self, scenes: Tensor) -> Tensor:
        new = scenes[~self.known[scenes]].unique()
        for part in new.split(max(1, (1 << 17) // (2 * self.size) ** 2)):
            self.maps[part] = _maps(part, self.size)
        self.known[new] = True
        return self.maps[scenes]


@lru_cache(maxsize=4)
def _kept(image_size: int, device: torch.device) -> _Kept:
    return _Kept(image_size, device)


def _maps(scenes: Tensor, image_size: int) -> Tensor:
    """Scenes int64 `[n]` → light from floor, wall, object and sky, and shine, `[n, 5, s, s]`."""
    shape, maps = scenes // 15 % 4, scenes.new_empty((len(scenes), 5, image_size, image_size), dtype=torch.float32)
    for i, parts in enumerate(SHAPES):
        chosen = (shape == i).nonzero()[:, 0]
        if len(chosen):
            scale, azimuth = scenes[chosen] // 60, scenes[chosen] % 15
            maps[chosen] = halve(_trace(parts, look_up(SCALES, scale), azimuth, 2 * image_size))
    return maps


def _trace(parts: tuple[_Part, ...], scale: Tensor, azimuth: Tensor, size: int) -> Tensor:
    """One shape at sizes `scale [n, 1, 1]` from eyes at `azimuth [n]` → `_maps` of samples, `[n, 5, s, s]`."""
    eye, rays = _camera(azimuth, size)
    halfway = tuple(lamp - step / square_root(dot(rays, rays)) for lamp, step in zip(LAMP, rays))
    length = square_root(dot(halfway, halfway))
    distance, facing, gleam = _cast(parts, scale, eye, rays, (LAMP, tuple(h / length for h in halfway)))
    down = torch.where(rays[2] < -1e-6, -eye[2] / rays[2].clamp(max=-1e-6), FAR)
    wall, inwards = _walls(eye, rays)
    ground = down < wall
    point = tuple(o + torch.minimum(down, wall) * d for o, d in zip(eye, rays))
    solid = distance < torch.minimum(down, wall)
    sky = ~solid & ~ground & (point[2] > WALL_HEIGHT)
    light = (
        (_floor_light(parts, scale, point), ground & ~solid),
        (_wall_light(point, inwards), ~ground & ~solid & ~sky),
        (_solid_light(facing, eye[2] + distance * rays[2]), solid),
        (1.0 + 0.10 * (WALL_HEIGHT - point[2]).clamp(min=-2), sky),
        (_shine(gleam), solid),
    )
    return torch.stack([torch.where(where, value, 0.0) for value, where in light], 1)


def _camera(azimuth: Tensor, size: int) -> tuple[Vector, Vector]:
    """The eye, a vector of `[n, 1, 1]`, and the rays through the samples, a vector of `[n, s, s]`."""
    ca, sa = (look_up([g(a) for a in AZIMUTHS], azimuth) for g in (cos, sin))
    _, fall_out, fall = unit((0.0, EYE_DISTANCE, LOOK_HEIGHT - EYE_HEIGHT))
    x, y = pixel_centres(size, azimuth.device)
    x, y = x * HALF_VIEW, -y * HALF_VIEW
    ahead, rise = fall_out - y * fall, fall + y * fall_out  # along the floor, and up
    eye = (EYE_DISTANCE * sa, -EYE_DISTANCE * ca, torch.full_like(ca, EYE_HEIGHT))
    return eye, (x * ca - ahead * sa, x * sa + ahead * ca, (rise + x * 0).expand(len(azimuth), -1, -1))


def _cast(
    parts: tuple[_Part, ...], scale: Tensor, origin: Vector, rays: Vector, towards: tuple[Vector, ...]
) -> list[Tensor]:
    """The nearest part: its distance (FAR where none) and the cosines of its normal with each of `towards`."""
    nearest: list[Tensor] = []
    for solid, centre, size in parts:
        half = size * scale
        moved = tuple((o - c * scale) / half for o, c in zip(origin, centre))
        hit = cast(solid, moved, tuple(d / half for d in rays), towards)
        found = [hit.distance, *hit.facing]
        if nearest:
            nearer = hit.distance < nearest[0]
            found = [torch.where(nearer, new, old) for new, old in zip(found, nearest)]
        nearest = found
    return nearest


def _walls(eye: Vector, rays: Vector) -> tuple[Tensor, Tensor]:
    """Where rays leave the room by a wall: the ray parameter, and the cosine between that wall's normal and the lamp.

    There is no wall behind the eye, and the room is open at the top.
    """
    left = rays[0] < 0
    sideways = torch.where(rays[0].abs() < 1e-6, 1e-6, rays[0])
    side = (torch.where(left, -HALF_ROOM, HALF_ROOM) - eye[0]) / sideways
    back = torch.where(rays[1] > 1e-6, (HALF_ROOM - eye[1]) / rays[1].clamp(min=1e-6), FAR)
    facing = torch.where(side < back, torch.where(left, LAMP[0], -LAMP[0]), -LAMP[1])
    return torch.minimum(side, back), facing


def _floor_light(parts: tuple[_Part, ...], scale: Tensor, point: Vector) -> Tensor:
    """Light on the floor: shadows of the four lamps, dim under the solid and along the walls."""
    ground = (point[0], point[1], torch.zeros_like(point[2]))
    shaded = [(_cast(parts, scale, ground, lamp, ())[0] < FAR).float() for lamp in _lamps(scale)]
    shadow = (shaded[0] + shaded[1] + shaded[2] + shaded[3]) * 0.25
    radius = square_root(point[0] * point[0] + point[1] * point[1]) / scale
    contact = smoothstep(radius, 1.9, 0.6)
    gap = torch.minimum(HALF_ROOM - point[0].abs(), HALF_ROOM - point[1])
    return (1.0 - 0.42 * shadow) * (1.0 - 0.22 * contact) * (0.80 + 0.20 * smoothstep(gap, -0.1, 1.1))


def _lamps(scale: Tensor) -> list[Vector]:
    return [tuple(scale.new_tensor(part) for part in lamp) for lamp in LAMPS]


def _wall_light(point: Vector, facing: Tensor) -> Tensor:
    """Light on the walls: by direction, dim near the floor and in the corners, a bright rim at the top."""
    gap = torch.where(point[1] > HALF_ROOM - 1e-3, HALF_ROOM - point[0].abs(), HALF_ROOM - point[1])
    low, corner = smoothstep(point[2], -0.2, 0.9), smoothstep(gap, -0.1, 0.9)
    return (0.72 + 0.42 * facing) * (0.80 + 0.20 * low) * (0.88 + 0.12 * corner)


def _solid_light(facing: Tensor, height: Tensor) -> Tensor:
    """Light on the solid: a wide lamp, and a soft darkening towards the floor."""
    lit = facing.clamp(min=0)
    return (0.42 + 0.12 * facing + 0.50 * lit) * (0.78 + 0.22 * smoothstep(height, -0.1, 0.7))


def _shine(gleam: Tensor) -> Tensor:
    """A highlight, from the cosine between the normal and the direction halfway between lamp and eye."""
    g = gleam.clamp(0, 1)
    for _ in range(5):  # g to the 32nd power
        g = g * g
    return 0.45 * g
