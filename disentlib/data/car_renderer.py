"""Rendered cars: lit 3-D cars on white, drawn by code; a stand-in for Cars3D.

A car is three convex solids and four wheels (see `car_models`). Rays are parallel, so the ray parameter at which a ray
crosses a plane is linear in the pixel: a column term plus a row term. A solid is hit where the last plane that faces
the eye is crossed before the first that looks away; the last plane gives the light. A wheel is a quadratic in the
side view between two planes. The nearest solid wins, and the point that is hit says what is painted on it.

A car fills a fifth of its picture. So rays are cast in the window that holds the cars of a piece (pieces are made of
pictures from one side), and paint is laid on the samples that were hit. Both change no bit of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import cos, pi, radians, sin

import torch
from torch import Tensor

from disentlib.data.car_models import CARS, body, cabin, cars, extra, numbers
from disentlib.data.dataset import Dataset
from disentlib.data.exact import square_root
from disentlib.data.grid import FactorGrid
from disentlib.data.raster import by_chunks, coverage, halve, look_up, mix, pixel_centres, smoothstep, to_bytes

__all__ = ["AZIMUTHS", "ELEVATIONS", "GRID", "draw", "load_rendered"]

GRID = FactorGrid(("elevation", "azimuth", "object"), (4, 24, CARS), nominal=("object",))
AZIMUTHS = tuple(2 * pi * i / 24 for i in range(24))
ELEVATIONS = tuple(radians(e) for e in (4, 15, 26, 37))
EYE_HEIGHT = 0.30
LIGHT = (-0.45, -0.50, 0.74)  # towards the lamp: right in the picture, away from the eye, up; length 1
DARKEST, BRIGHTEST = 0.34, 1.10  # light on a face that looks away from the lamp and on one that looks into it
FRAME, ARCH = 0.026, 1.22  # breadth of the window frames in half pictures; radius of a wheel arch in wheel radii
WHITEST = 0.97  # of a car: the background alone is white
FAR = 1e4
BODY, CABIN, EXTRA, WHEEL = 1.0, 2.0, 3.0, 4.0  # what a ray has hit; 0 for nothing
TYRE, RIM, PLASTIC, LOAD = 0.09, 0.80, 0.15, 0.88  # greys
# What is added to the grey of windows and of lamps at the rear.
GLASS_TINT, TAIL_TINT = (-0.03, 0.0, 0.05), (-0.12, -0.94, -0.94)

_NAMES = tuple(numbers())
_SIZES = torch.tensor(list(numbers().values()))  # [sizes, 183]
_HAS_EXTRA = torch.tensor([car.extra_to > car.extra_from for car, _ in cars()])  # [183]
_COLOURS = torch.tensor([colour for _, colour in cars()])
_BODIES, _CABINS, _EXTRAS = (
    torch.tensor([shape(car) for car, _ in cars()]) for shape in (body, cabin, extra)
)  # [183, p, 4]


@dataclass(frozen=True)
class Hits:
    """Where the rays hit first: fields `[n, h, w]`, or `[m, 1, 1]` for a choice of samples."""

    depth: Tensor
    light: Tensor
    what: Tensor  # 0 nothing, or BODY, CABIN, EXTRA, WHEEL

    def nearer(self, enter: Tensor, leave: Tensor, light: Tensor, what: float) -> Hits:
        """With one more solid, entered and left there."""
        wins = (enter < leave) & (enter < self.depth)
        return Hits(
            torch.where(wins, enter, self.depth),
            torch.where(wins, light, self.light),
            self.what.masked_fill(wins, what),
        )

    def at(self, samples: tuple[Tensor, Tensor, Tensor]) -> Hits:
        """On some samples alone: their images, rows and columns."""
        return Hits(*(field[samples][:, None, None] for field in (self.depth, self.light, self.what)))


@dataclass(frozen=True)
class Rays:
    """Parallel rays through the samples of a picture: unit vectors `[n, 3]` and places on the screen."""

    right: Tensor
    up: Tensor
    forward: Tensor  # into the picture
    x: Tensor  # [1, 1, w], or [m, 1, 1] for a choice of samples
    y: Tensor  # [1, h, 1], upwards, or [m, 1, 1]
    pixel: float  # width of a sample

    def within(self, rows: slice, columns: slice) -> Rays:
        """Through a window of the picture."""
        return replace(self, x=self.x[:, :, columns], y=self.y[:, rows])

    def at(self, samples: tuple[Tensor, Tensor, Tensor]) -> Rays:
        """Through some samples alone: their images, rows and columns. Each becomes a picture of one sample."""
        image, row, column = samples
        right, up, forward = (axis[image] for axis in (self.right, self.up, self.forward))
        return Rays(right, up, forward, _per_image(self.x[0, 0, column]), _per_image(self.y[0, row, 0]), self.pixel)

    def point(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth field → the points' coordinates in the car frame, three fields."""
        return tuple(self.start(i) + depth * _per_image(self.forward[:, i]) for i in range(3))

    def start(self, i: int) -> Tensor:
        """Coordinate `i` of the points at depth 0."""
        screen = self.x * _per_image(self.right[:, i]) + self.y * _per_image(self.up[:, i])
        return screen + (EYE_HEIGHT if i == 2 else 0.0)


def draw(factors: Tensor, image_size: int) -> Tensor:
    """Factors int64 `[n, 3]` → uint8 pictures `[n, 3, s, s]` on the factors' device."""
    elevation, azimuth, car = factors.unbind(1)
    alike = (2 * (elevation * len(AZIMUTHS) + azimuth) + _HAS_EXTRA.to(car.device)[car]).argsort()
    samples = 2 * image_size * image_size  # half of those of a picture: about a window
    pictures = by_chunks(_draw, factors[alike], image_size, samples)
    return torch.empty_like(pictures).index_copy_(0, alike, pictures)


def load_rendered(image_size: int | None = None) -> Dataset:
    """All 17 568 pictures of cars, drawn when asked for; `image_size` in pixels (64 if None).

    >>> load_rendered(32).factor_sizes
    (4, 24, 183)
    """
    size = 64 if image_size is None else image_size
    return Dataset(
        name="cars3d",
        source="rendered",
        description="rendered cars (a stand-in drawn by code, not the Cars3D set)",
        image_shape=(3, size, size),
        count=len(GRID),
        fetch=lambda indices: draw(GRID.factors(indices), size),
        grid=GRID,
    )


def _draw(factors: Tensor, image_size: int) -> Tensor:
    elevation, azimuth, car = factors.unbind(1)
    rays, size = _rays(elevation, azimuth, 2 * image_size), _sizes(car)
    rows, columns = _window(rays, size)
    rays = rays.within(rows, columns)
    hits = _wheels(rays, size, _solids(rays, car))
    image, row, column = samples = hits.what.nonzero(as_tuple=True)
    colour = _COLOURS.to(car.device)[car[image]][..., None, None]
    painted = _paint(rays.at(samples), hits.at(samples), _sizes(car[image]), colour)
    canvas = torch.ones(len(car), 3, 2 * image_size, 2 * image_size, device=car.device)
    canvas[image, :, row + rows.start, column + columns.start] = painted[..., 0, 0]
    return to_bytes(halve(canvas))


def _sizes(car: Tensor) -> dict[str, Tensor]:
    """Every size of the cars `[n]`, each `[n, 1, 1]`."""
    return dict(zip(_NAMES, _SIZES.to(car.device).index_select(1, car)[..., None, None]))


def _window(rays: Rays, size: dict[str, Tensor]) -> tuple[slice, slice]:
    """Rows and columns that hold all these cars: those of the corners of a box around each, and a sample more."""
    long = 1.03 * size["length"]  # a wing reaches behind the car
    wide, high = size["width"] + 0.01, torch.maximum(size["height"], size["extra_high"])  # tyres stand out
    corners = [(i * long, j * wide, k * high - EYE_HEIGHT) for i, j, k in product((-1, 1), (-1, 1), (0, 1))]
    return tuple(_reach(corners, axis, places) for axis, places in ((rays.up, rays.y), (rays.right, rays.x)))


def _reach(corners: list[tuple[Tensor, Tensor, Tensor]], axis: Tensor, places: Tensor) -> slice:
    """The places on one side of the screen that points of all images fall on, along its axis `[n, 3]`."""
    at = torch.stack([sum(c * _per_image(axis[:, i]) for i, c in enumerate(corner)) for corner in corners])
    places = places.flatten()
    margin = (places[1] - places[0]).abs()
    reached = ((places >= at.min() - margin) & (places <= at.max() + margin)).nonzero()
    return slice(int(reached[0]), int(reached[-1]) + 1)


def _rays(elevation: Tensor, azimuth: Tensor, size: int) -> Rays:
    """Factor values `[n]` → the rays. At azimuth 0 the eye is in front of the car."""
    ca, sa = (look_up([g(a) for a in AZIMUTHS], azimuth)[:, 0, 0] for g in (cos, sin))
    ce, se = (look_up([g(e) for e in ELEVATIONS], elevation)[:, 0, 0] for g in (cos, sin))
    rows = ((-sa, ca, torch.zeros_like(ca)), (-ca * se, -sa * se, ce), (-ca * ce, -sa * ce, -se))
    x, y = pixel_centres(size, azimuth.device)
    return Rays(*(torch.stack(row, 1) for row in rows), x, -y, pixel=2 / size)


def _solids(rays: Rays, car: Tensor) -> Hits:
    """Body, cabin and extra of the cars `[n]`: the nearest along every ray."""
    nothing = torch.zeros(len(car), rays.y.shape[1], rays.x.shape[2], device=car.device)
    hits = Hits(nothing + FAR, nothing, nothing)
    solids = ((BODY, _BODIES), (CABIN, _CABINS), (EXTRA, _EXTRAS))
    for what, planes in solids if _HAS_EXTRA.to(car.device)[car].any() else solids[:-1]:
        hits = hits.nearer(*_cast(rays, planes.to(car.device)[car]), what)
    return hits


def _cast(rays: Rays, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Planes `[n, p, 4]` of a convex solid → where rays enter and leave it, and the light at the entry, `[n, h, w]`.

    A plane that looks away never enters, one that faces the eye never leaves: its term is moved out of the way, or
    left out where it is the same for all images.
    """
    normal, distance = planes[..., :3], planes[..., 3]
    speed = _dot(normal, rays.forward[:, None])
    speed = torch.where(speed.abs() < 1e-3, 1e-3, speed)
    start = (distance - normal[..., 2] * EYE_HEIGHT) / speed
    columns = -(_dot(normal, rays.right[:, None]) / speed)[..., None] * rays.x
    rows = (-(_dot(normal, rays.up[:, None]) / speed)[..., None] * rays.y[:, :, 0])[..., None]
    enters = speed < 0
    first = (torch.where(enters, start, -FAR)[..., None] + columns)[:, :, None]
    last = (torch.where(enters, FAR, start)[..., None] + columns)[:, :, None]
    shade = _shade(rays, normal)[:, :, None, None]
    enter, leave, light = (start.new_full((1, 1, 1), value) for value in (-2 * FAR, 2 * FAR, 0.0))
    for p, (some, every) in enumerate(zip(enters.any(0).tolist(), enters.all(0).tolist())):
        if some:
            crossing = first[:, p] + rows[:, p]
            light = torch.where(crossing > enter, shade[:, p], light)
            enter = torch.maximum(enter, crossing)
        if not every:
            leave = torch.minimum(leave, last[:, p] + rows[:, p])
    return enter, leave, light


def _shade(rays: Rays, normal: Tensor) -> Tensor:
    """Light on faces with normals `[n, p, 3]`: a wide lamp that moves with the eye, `[n, p]`."""
    lamp = rays.right * LIGHT[0] + rays.forward * LIGHT[1] + rays.up * LIGHT[2]
    return DARKEST + (BRIGHTEST - DARKEST) * (_dot(normal, lamp[:, None]) + 1) / 2


def _wheels(rays: Rays, size: dict[str, Tensor], hits: Hits) -> Hits:
    """The same hits with the wheels: two endless rollers across the car, cut to a tyre's breadth on either side."""
    dx, dy, dz = (_per_image(rays.forward[:, i]) for i in range(3))
    square = dx * dx + dz * dz
    radius, depth_y = size["wheel"], rays.start(1)
    across = torch.where(dy.abs() < 1e-3, 1e-3, dy)
    level, height = rays.start(0), rays.start(2) - radius
    breadth = 0.45 * radius
    slabs = [(side * (size["width"] + 0.006) - side * breadth - depth_y) / across for side in (-1, 1)]
    reach = breadth / across.abs()
    sides = _shade(
        rays, torch.stack((torch.zeros_like(rays.up[:, 0]), -dy[:, 0, 0].sign(), rays.up[:, 0] * 0), 1)[:, None]
    )
    for axle in ("front_at", "back_at"):
        x = level - size[axle] * size["length"]
        half = x * dx + height * dz
        root = square_root((half * half - square * (x * x + height * height - radius * radius)).clamp(min=0))
        near, far = (-half - root) / square, (root - half) / square
        for middle in slabs:
            front = middle - reach
            light = torch.where(front > near, sides[..., None], DARKEST)
            hits = hits.nearer(torch.maximum(near, front), torch.minimum(far, middle + reach), light, WHEEL)
    return hits


def _paint(rays: Rays, hits: Hits, size: dict[str, Tensor], colour: Tensor) -> Tensor:
    """Hits and the cars' colours `[n, 3, 1, 1]` → canvas: how much of the colour shows, and how much grey is added.

    Of rays that hit something.
    """
    x, y, z = rays.point(hits.depth)
    pixel = rays.pixel
    axle = torch.where(x > 0, size["front_at"], size["back_at"]) * size["length"]
    u, v = x - axle, z - size["wheel"]
    from_axle = square_root(u * u + v * v)  # in the side view
    light = hits.light * (0.80 + 0.35 * (z / size["height"]).clamp(0, 1))  # less of the sky reaches what is low
    shine = 0.30 * (hits.light - 0.86).clamp(min=0)
    on_body = hits.what == BODY
    lamps = _lamps(x, y, z, size) * on_body
    dark = _dark(x, y, z, from_axle, size, pixel) * on_body
    glass = _glass(x, y, z, size, pixel) * (hits.what == CABIN)
    bare = (hits.what == EXTRA) * (1 - size["extra_painted"])
    gleam = smoothstep((z - size["belt"]) / (size["height"] - size["belt"]), 0.1, 1.3) * hits.light
    share = light * ((1 - lamps) * (1 - dark - bare) - glass)
    grey = (1 - glass) * shine + lamps + (PLASTIC - shine) * dark + LOAD * light * bare + glass * (0.12 + 0.45 * gleam)
    wheel = _wheel_grey(y, from_axle, size, pixel) * (0.4 + 0.7 * hits.light)
    on_wheel = hits.what == WHEEL
    share, grey = share.masked_fill(on_wheel, 0.0), torch.where(on_wheel, wheel, grey)
    canvas = colour * share[:, None] + grey[:, None] + _constant(GLASS_TINT, x) * glass[:, None]
    canvas = canvas + _constant(TAIL_TINT, x) * (lamps * (x < 0))[:, None]
    return canvas.clamp(max=WHITEST)


def _wheel_grey(y: Tensor, from_axle: Tensor, size: dict[str, Tensor], pixel: float) -> Tensor:
    """A dark tyre around a bright rim with a dim nave."""
    rim = coverage(from_axle - size["hub"] * size["wheel"], pixel) * (y.abs() > size["width"])
    nave = coverage(from_axle - 0.2 * size["wheel"], pixel)
    return mix(TYRE, RIM - 0.45 * nave, rim)


def _dark(x: Tensor, y: Tensor, z: Tensor, from_axle: Tensor, size: dict[str, Tensor], pixel: float) -> Tensor:
    """How much of a point on the body is dark: sill, wheel arches, grille, the bed of a pickup."""
    across, along = y.abs() / size["width"], x / size["length"]
    arch = coverage(from_axle - ARCH * size["wheel"], pixel) * (across > 0.8)
    bed = coverage(size["belt"] - 0.01 - z, 0.02) * size["bed"]
    bed = bed * ((across < 0.78) & (along < size["rear_at"] - 0.06) & (along > -0.93))
    high = _height_on_front(z, size)
    grille = (across < 0.44) & (high > -0.22) & (high < 0.26) & (along > 0.95)
    sill = coverage(z - size["ground"] - 0.035, pixel)
    return torch.maximum(torch.maximum(arch, bed), torch.maximum(sill, grille.float()))


def _lamps(x: Tensor, y: Tensor, z: Tensor, size: dict[str, Tensor]) -> Tensor:
    """Where on the body the headlights and tail lights are: 0 or 1."""
    along, across, high = x.abs() / size["length"], y.abs() / size["width"], _height_on_front(z, size)
    return ((across > 0.52) & (across < 0.92) & (high > 0.02) & (high < 0.40) & (along > 0.87)).float()


def _height_on_front(z: Tensor, size: dict[str, Tensor]) -> Tensor:
    """−½ at the sill, ½ at the bonnet."""
    return (z - size["ground"]) / (size["nose"] - size["ground"]) - 0.5


def _glass(x: Tensor, y: Tensor, z: Tensor, size: dict[str, Tensor], pixel: float) -> Tensor:
    """How much of a point on the cabin is window: all its faces but the roof, each within a frame."""
    length, rise = size["length"], z - size["belt"]
    up = rise / (size["height"] - size["belt"])
    front = length * (size["screen_at"] + (size["roof_front_at"] - size["screen_at"]) * up) - x
    back = x - length * (size["rear_at"] + (size["roof_rear_at"] - size["rear_at"]) * up)
    side = size["width"] - 0.025 - size["lean"] * rise - y.abs()
    # The point lies on one of three faces, at distance 0; the next nearest is the frame it is closest to.
    least, most = torch.minimum(front, back), torch.maximum(front, back)
    edge = torch.maximum(least, torch.minimum(most, side))
    edge = torch.minimum(edge, torch.minimum(rise, size["height"] - z))
    pillar = torch.maximum((x - size["pillar_at"] * length).abs(), side)
    closed = torch.maximum(x - size["glass_from"] * length + FRAME, torch.maximum(side, 0.1 - back))
    return coverage(FRAME - torch.minimum(torch.minimum(edge, pillar + 0.4 * FRAME), closed), pixel)


def _constant(colour: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(colour, device=like.device)[None, :, None, None]


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]
