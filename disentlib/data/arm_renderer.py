"""The rendered twin of MPI3D: a robot arm that holds a solid over a round table, lit and shaded, drawn by code.

The arm is made of *limbs*, round-ended bars; rays are parallel, so most of what a limb needs is linear in the pixel: a
column term plus a row term. Only the small window around the held solid is searched for that solid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, sin

import torch
from torch import Tensor

from disentlib.data import arm_scene as scene
from disentlib.data.arm_scene import GRID, HALF_VIEW, NAMES, View, ground, joints_at, shadow, view_from
from disentlib.data.dataset import Dataset
from disentlib.data.exact import square_root
from disentlib.data.raster import by_chunks, halve, look_up, pixel_centres, to_bytes
from disentlib.data.solids import FAR, Solid, Vector, cast, dot

__all__ = ["GRID", "draw", "load_rendered"]

# Half sides of the two windows: around `_middle` for all that moves, around the held solid for it alone.
_REACH, _HELD_REACH = 0.77, 0.39


def draw(factors: Tensor, image_size: int) -> Tensor:
    """Factors int64 `[n, 7]` → uint8 pictures `[n, 3, s, s]` on the factors' device.

    >>> draw(torch.tensor([[2, 1, 1, 1, 0, 10, 20]]), 32).shape
    torch.Size([1, 3, 32, 32])
    """
    return by_chunks(_draw, factors, image_size, samples=2 * image_size * image_size)


def load_rendered(image_size: int | None = None) -> Dataset:
    """All 1 036 800 pictures of the arm, drawn when asked for; `image_size` in pixels (64 if None)."""
    size = 64 if image_size is None else image_size
    return Dataset(
        name="mpi3d",
        source="rendered",
        description="rendered robot arms, a twin of MPI3D drawn by code",
        image_shape=(3, size, size),
        count=len(GRID),
        fetch=lambda indices: draw(GRID.factors(indices), size),
        grid=GRID,
    )


@dataclass
class Surface:
    """What is nearest along the ray of every sample so far, fields `[n, h, w]`."""

    depth: Tensor  # FAR where nothing is
    facing: Tensor  # cosine with `View.towards`
    metal: Tensor  # brightness of the arm's material; 0 on the held solid

    def cover(self, depth: Tensor, hit: Tensor, facing: Tensor, metal: float) -> None:
        nearer = hit & (depth < self.depth)
        self.depth = torch.where(nearer, depth, self.depth)
        self.facing = torch.where(nearer, facing, self.facing)
        self.metal = torch.where(nearer, metal, self.metal)


def _draw(factors: Tensor, image_size: int) -> Tensor:
    f = dict(zip(NAMES, factors.unbind(1)))
    view, joints = view_from(f["camera_height"]), joints_at(f)
    stage = _stage(image_size, factors.device)[f["camera_height"] * 3 + f["background_color"]]
    canvas = stage[:, :3] * (1 - stage[:, 3:] * shadow(view, joints, f, image_size)[:, None])
    columns, rows = _window(_middle(view, joints), _REACH, image_size)
    surface = _arm(view, joints, *_samples(columns, rows, image_size))
    held = _hold(surface, view, f, joints[-1], (columns, rows), image_size)
    place = (torch.arange(len(factors), device=factors.device)[:, None, None], slice(None), rows.mT, columns)
    canvas[place] = _over(canvas[place], surface, held, look_up(scene.COLOURS, f["object_color"])[..., 0, 0])
    return to_bytes(canvas)


def _over(ground: Tensor, surface: Surface, held: Tensor, colour: Tensor) -> Tensor:
    """Arm and held solid before a ground `[n, h, w, 3]` of which they are seen through twice as many samples a side."""
    light, shine = _light(surface.facing)
    empty = surface.depth == FAR
    metal = torch.where(empty, 0.0, torch.where(held, shine, surface.metal * light + 0.5 * shine))
    bare, metal, solid = (halve(part)[..., None] for part in (empty.float(), metal, torch.where(held, light, 0.0)))
    return ground * bare + metal + colour[:, None, None] * solid


def _middle(view: View, joints: list[Vector]) -> Vector:
    """A point of the view frame between shoulder and held solid, nearer to the solid, which is the thicker."""
    return tuple(0.38 * a + 0.62 * b for a, b in zip(view.of(joints[0]), view.of(joints[-1])))


def _window(centre: Vector, reach: float, size: int) -> tuple[Tensor, Tensor]:
    """Columns and rows of the pixels within `reach` of a point of the view frame, int64 `[n, 1, w]` each."""
    width = min(size, ceil(reach / HALF_VIEW * size) + 1)
    middles = ((part / HALF_VIEW + 1) * (size / 2) for part in (centre[0], -centre[1]))
    return tuple(_run((m - width / 2).round().long().clamp(0, size - width), width) for m in middles)


def _run(first: Tensor, count: int) -> Tensor:
    return first + torch.arange(count, device=first.device)


def _samples(columns: Tensor, rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixels int64 `[n, 1, w]` → x `[n, 1, 2w]` and y `[n, 2h, 1]` of their samples, two a side, in the view frame."""
    centres = pixel_centres(2 * size, columns.device)[0][0, 0] * HALF_VIEW
    return centres[_halves(columns)], -centres[_halves(rows)].mT


def _halves(pixels: Tensor) -> Tensor:
    """Numbers of pixels `[n, 1, w]` → those of their samples, `[n, 1, 2w]`."""
    return torch.stack((2 * pixels, 2 * pixels + 1), -1).flatten(2)


def _light(facing: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines with `View.towards` → light that a surface scatters, and its highlight."""
    lit = facing.clamp(0, 1)
    square = lit * lit
    fourth = square * square
    sharp = fourth * fourth * fourth * fourth
    return 0.40 + 0.12 * facing + 0.50 * square, 0.30 * sharp * sharp


def _arm(view: View, joints: list[Vector], x: Tensor, y: Tensor) -> Surface:
    """The moving limbs through samples at x `[n, 1, w]`, y `[n, h, 1]`."""
    shoulder, elbow, wrist, tip = (view.of(joint) for joint in joints)
    bars = (
        (shoulder, elbow, scene.UPPER_ARM_RADIUS, scene.METAL),
        (elbow, wrist, scene.FOREARM_RADIUS, scene.METAL),
        (wrist, tip, 0.04, scene.RUBBER),
        *((ball, ball, radius, scene.RUBBER) for ball, radius in zip((shoulder, elbow, wrist), scene.JOINT_RADII)),
    )
    return _limbs(view, x, y, bars)


def _limbs(view: View, x: Tensor, y: Tensor, bars: tuple[tuple[Vector, Vector, float, float], ...]) -> Surface:
    """Limbs given as two points of the view frame, radius and brightness."""
    empty = torch.full(torch.broadcast_shapes(x.shape, y.shape), FAR, device=x.device)
    surface = Surface(empty, torch.zeros_like(empty), torch.zeros_like(empty))
    towards = tuple(dot(view.towards(), axis) for axis in (view.right, view.up, view.into))
    for start, end, radius, metal in bars:
        surface.cover(*_limb(x, y, start, end, radius, towards), metal)
    return surface


def _limb(
    x: Tensor, y: Tensor, start: Vector, end: Vector, radius: float, towards: Vector
) -> tuple[Tensor, Tensor, Tensor]:
    """A bar with round ends between two points of the view frame: depth, hit or not, cosine with `towards`.

    With `across` and `along` the sample's offset from the bar's start, square to the bar and along it as they
    appear in the picture: the surface belongs to the ball around the point `foot` of the bar's middle line.
    """
    bar = tuple(b - a for a, b in zip(start, end))
    length = square_root(dot(bar, bar))
    dx, dy, dz = (part / length.clamp(min=1e-6) for part in bar)
    flat = square_root(dx * dx + dy * dy).clamp(min=1e-3)
    ex, ey = dx / flat, dy / flat
    ex = torch.where(length > 0, ex, 1.0)
    px, py = x - start[0], y - start[1]
    across, along = py * ex - px * ey, px * ex + py * ey
    square = radius * radius - across * across
    foot = (along - square_root(square.clamp(min=0)) * dz) / flat
    foot = torch.minimum(foot.clamp(min=0), length)
    along = along - foot * flat
    square = square - along * along
    rise = square_root(square.clamp(min=0))
    a, b = towards[1] * ex - towards[0] * ey, towards[0] * ex + towards[1] * ey
    facing = (across * a + along * b - rise * towards[2]) / radius
    return start[2] + foot * dz - rise, square > 0, facing


def _hold(
    surface: Surface, view: View, f: dict[str, Tensor], centre: Vector, window: tuple[Tensor, Tensor], size: int
) -> Tensor:
    """Put the held solid into `surface`, which covers a window of pixels; bool `[n, h, w]`: where it is seen."""
    seen = view.of(centre)
    inner = [_inside(part, whole) for part, whole in zip(_window(seen, _HELD_REACH, size), window)]
    depth, facing = _solid(view, f, seen, *_samples(*inner, size))
    columns, rows = (_halves(part - whole[..., :1]) for part, whole in zip(inner, window))
    place = (torch.arange(len(columns), device=columns.device)[:, None, None], rows.mT, columns)
    nearer = depth < surface.depth[place]
    held = torch.zeros_like(surface.depth, dtype=torch.bool)
    held[place] = nearer
    surface.facing[place] = torch.where(nearer, facing, surface.facing[place])
    surface.depth[place] = torch.where(nearer, depth, surface.depth[place])
    return held


def _inside(part: Tensor, whole: Tensor) -> Tensor:
    """A run of pixels `[n, 1, w]` moved as little as it takes to lie within another one."""
    count = min(part.shape[-1], whole.shape[-1])
    return _run(part[..., :1].clamp(whole[..., :1], whole[..., -1:] - count + 1), count)


def _solid(view: View, f: dict[str, Tensor], seen: Vector, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Depth of the held solid (FAR where it is not) and cosine with `View.towards`, through samples at x and y."""
    x, y = x - seen[0], y - seen[1]
    start = tuple(x * r + y * u - 4 * i for r, u, i in zip(view.right, view.up, view.into))
    half = look_up(scene.SIZES, f["object_size"]) * look_up(scene.SHAPE_SIZES, f["object_shape"])
    turn = [look_up([g(a) for a in scene.SWINGS], f["horizontal_axis"]) for g in (cos, sin)]
    start, into, towards = (_turned(v, turn) for v in (start, view.into, view.towards()))
    hit = cast(_solids(f["object_shape"]), tuple(s / half for s in start), tuple(i / half for i in into), [towards])
    return torch.where(hit.distance < FAR, hit.distance - 4 + seen[2], FAR), hit.facing[0]


def _turned(v: Vector, turn: list[Tensor]) -> Vector:
    """A vector of the world as the held solid sees it, which turns with the horizontal axis."""
    c, s = turn
    return (v[0] * c + v[1] * s, v[1] * c - v[0] * s, v[2] + 0 * c)


def _solids(shape: Tensor) -> Solid:
    """Shapes int64 `[n]` → one solid of coefficients `[n, 1, 1]`."""
    quadric = look_up([s.quadric for s in scene.SHAPES], shape).unbind(1)
    most = max(len(s.planes) for s in scene.SHAPES)
    nowhere = (0.0, 0.0, 0.0, 1.0)
    planes = look_up([[*s.planes, *[nowhere] * (most - len(s.planes))] for s in scene.SHAPES], shape)
    return Solid(quadric, [plane.unbind(1) for plane in planes.unbind(1)])


@lru_cache(maxsize=4)
def _stage(image_size: int, device: torch.device) -> Tensor:
    """What never moves, from each height on each background, `[9, 4, s, s]`: colours, and how far it is bare table."""
    both = torch.arange(9, device=device)
    view = view_from(both // 3)
    canvas, table = ground(view, both % 3, image_size)
    post = _post(view, image_size)
    held = torch.zeros_like(post.depth, dtype=torch.bool)
    canvas = _over(canvas.movedim(1, 3), post, held, canvas.new_zeros(9, 3)).movedim(3, 1)
    return torch.cat([canvas, table * halve((post.depth == FAR).float())[:, None]], 1)


def _post(view: View, size: int) -> Surface:
    """What stands below the shoulder; all that moves is painted over it."""
    zero = torch.zeros_like(view.up[1])
    foot, shoulder = (view.of((zero, zero, zero + height)) for height in (0.0, scene.SHOULDER))
    x, y = pixel_centres(2 * size, zero.device)
    post = (foot, shoulder, scene.POST_RADIUS, 0.8 * scene.METAL)
    return _limbs(view, x * HALF_VIEW, -y * HALF_VIEW, (post,))
