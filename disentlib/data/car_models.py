"""The 183 cars of the rendered Cars3D: twelve kinds of body, drawn with a fixed seed into sizes, shapes and colours.

Car frame: x towards the front, y to the left, z up from the ground; lengths are in half pictures. A car is three convex
solids (body, cabin, an extra such as a spoiler or a load), each a list of planes, and four wheels.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields, replace
from functools import cache
from random import Random

__all__ = ["CARS", "COLOURS", "KINDS", "Car", "Plane", "body", "cabin", "cars", "extra", "numbers"]

CARS = 183
_SEED = 183
_JITTER = 0.07  # every size of a kind is drawn within this share of what stands below

Plane = tuple[float, float, float, float]  # outward unit normal, then the distance of the plane from the origin


@dataclass(frozen=True)
class Car:
    """Sizes of a car; lengths in half pictures, places along it (`*_at`) in half lengths from its middle."""

    length: float  # half
    width: float  # half
    height: float
    belt: float  # height of the lower edge of the windows
    nose: float  # height of the bonnet's front end
    tail: float  # height of the rear end
    ground: float  # clearance
    screen_at: float  # foot of the windscreen
    roof_front_at: float
    roof_rear_at: float
    rear_at: float  # foot of the rear window
    wheel: float  # radius
    front_at: float = 0.60  # axles
    back_at: float = -0.60
    lean: float = 0.30  # how much the side windows lean inwards
    pillar_at: float = -0.10  # the pillar between the side windows
    glass_from: float = -1.0  # the side is closed behind it
    extra_from: float = 0.0  # the extra solid along the car …
    extra_to: float = 0.0  # … absent if it has no length
    extra_low: float = 0.0
    extra_high: float = 0.0
    extra_width: float = 0.8  # in half widths
    hub: float = 0.55  # radius of the rim in wheel radii
    extra_painted: float = 0.0  # 1: in the car's colour, 0: light grey, between: a mixture
    bed: float = 0.0  # 1: open at the top behind the cabin


KINDS: dict[str, Car] = {
    "saloon": Car(0.80, 0.31, 0.48, 0.31, 0.24, 0.28, 0.07, 0.40, 0.10, -0.42, -0.68, 0.115),
    "hatchback": Car(0.64, 0.30, 0.50, 0.31, 0.24, 0.29, 0.07, 0.48, 0.12, -0.74, -0.96, 0.115),
    "estate": Car(0.82, 0.31, 0.47, 0.30, 0.23, 0.28, 0.07, 0.44, 0.18, -0.84, -0.96, 0.115, glass_from=-0.90),
    "off_road": Car(
        0.70, 0.34, 0.64, 0.40, 0.36, 0.39, 0.13, 0.42, 0.28, -0.93, -0.97, 0.155, lean=0.12, pillar_at=-0.2
    ),
    "pickup": Car(
        0.83, 0.33, 0.58, 0.35, 0.30, 0.35, 0.11, 0.42, 0.20, -0.14, -0.22, 0.145, lean=0.2, pillar_at=-0.9, bed=1.0
    ),
    "van": Car(
        0.78, 0.33, 0.68, 0.37, 0.29, 0.36, 0.07, 0.86, 0.54, -0.95, -0.98, 0.12, lean=0.08, glass_from=0.22
    ),
    "minibus": Car(
        0.80, 0.33, 0.66, 0.36, 0.33, 0.36, 0.07, 0.95, 0.82, -0.93, -0.97, 0.12, lean=0.10, pillar_at=0.3
    ),
    "coupe": Car(0.76, 0.32, 0.40, 0.26, 0.17, 0.26, 0.05, 0.30, -0.06, -0.34, -0.92, 0.125, pillar_at=-0.45),
    "racer": Car(
        0.80, 0.34, 0.35, 0.22, 0.12, 0.22, 0.04, 0.22, -0.10, -0.34, -0.78, 0.13, lean=0.5, pillar_at=-0.5,
        extra_from=-1.02, extra_to=-0.84, extra_low=0.31, extra_high=0.35, extra_width=0.98, extra_painted=1.0,
    ),
    "micro": Car(
        0.47, 0.28, 0.52, 0.31, 0.24, 0.30, 0.07, 0.78, 0.34, -0.70, -0.95, 0.11, 0.60, -0.60, lean=0.22
    ),
    "lorry": Car(
        0.81, 0.33, 0.56, 0.33, 0.30, 0.18, 0.09, 0.96, 0.84, 0.42, 0.36, 0.135, lean=0.08, pillar_at=-0.9,
        extra_from=-0.99, extra_to=0.32, extra_low=0.16, extra_high=0.70, extra_width=1.0, extra_painted=0.4,
    ),
    "taxi": Car(
        0.78, 0.31, 0.49, 0.31, 0.25, 0.28, 0.07, 0.40, 0.12, -0.44, -0.70, 0.115,
        extra_from=-0.26, extra_to=-0.08, extra_low=0.48, extra_high=0.57, extra_width=0.45,
    ),
}  # fmt: skip

COLOURS = (
    (0.80, 0.12, 0.12),
    (0.95, 0.55, 0.10),
    (0.96, 0.82, 0.18),
    (0.42, 0.66, 0.16),
    (0.10, 0.44, 0.26),
    (0.16, 0.66, 0.66),
    (0.36, 0.62, 0.92),
    (0.13, 0.24, 0.62),
    (0.46, 0.24, 0.62),
    (0.92, 0.46, 0.62),
    (0.46, 0.28, 0.16),
    (0.80, 0.72, 0.56),
    (0.84, 0.85, 0.87),
    (0.50, 0.52, 0.55),
    (0.17, 0.17, 0.19),
)
_SIZES = ("length", "width", "height", "belt", "wheel")  # what differs within a kind


@cache
def cars() -> tuple[tuple[Car, tuple[float, float, float]], ...]:
    """The 183 cars with their colours, the same on every machine.

    Twelve kinds and fifteen colours take turns with unlike steps, so that every kind has every colour.
    """
    random = Random(_SEED)
    kinds = list(KINDS.values())
    made = [(_vary(kinds[i % len(kinds)], random), COLOURS[(i + i // 60) % len(COLOURS)]) for i in range(CARS)]
    random.shuffle(made)
    return tuple(made)


def _vary(kind: Car, random: Random) -> Car:
    """A car of that kind with sizes of its own; what rests on the roof stays on it."""
    scale = {name: 1 + random.uniform(-_JITTER, _JITTER) for name in _SIZES}
    lift = kind.height * (scale["height"] - 1)
    belt = kind.belt * (scale["belt"] - 1)
    return replace(
        kind,
        **{name: getattr(kind, name) * scale[name] for name in _SIZES},
        nose=kind.nose + belt,
        tail=kind.tail + belt,
        extra_low=kind.extra_low + (lift if kind.extra_low > 0.4 else 0),
        extra_high=kind.extra_high + lift,
        hub=random.choice((0.42, 0.58, 0.74)),
        roof_front_at=kind.roof_front_at + random.uniform(-0.06, 0.06),
        roof_rear_at=min(kind.roof_rear_at + random.uniform(-0.06, 0.06), kind.roof_front_at - 0.2),
        lean=kind.lean * random.uniform(0.7, 1.2),
    )


def numbers() -> dict[str, list[float]]:
    """Every size of every car as a table of 183 numbers."""
    rows = [astuple(car) for car, _ in cars()]
    return {field.name: [row[i] for row in rows] for i, field in enumerate(fields(Car))}


def body(car: Car) -> list[Plane]:
    """The lower body: bonnet and boot slope away from the belt, ends lean, shoulders and corners are cut off."""
    half, width, belt, middle = car.length, car.width, car.belt, (car.ground + car.nose) / 2
    foot, rear = car.screen_at * half, min(car.rear_at, -0.2) * half
    planes = [
        _plane((0, 0, -1), (0, 0, car.ground)),
        _plane((0, 0, 1), (0, 0, belt)),
        _plane((1, 0, 0.18), (half, 0, middle)),
        _plane((-1, 0, 0.14), (-half, 0, middle)),
        _plane((belt - car.nose, 0, half - foot), (foot, 0, belt)),
        _plane((car.tail - belt, 0, half + rear), (rear, 0, belt)),
    ]
    for side in (-1, 1):
        planes += [
            _plane((0, side, 0.10), (0, side * width, middle)),
            _plane((0, side * 0.8, 0.6), (0, side * width, belt - 0.05)),
            _plane((0.45, side * 0.9, 0.1), (half, side * width * 0.76, middle)),
            _plane((-0.40, side * 0.9, 0.1), (-half, side * width * 0.80, middle)),
        ]
    return planes


def cabin(car: Car) -> list[Plane]:
    """Windscreen, rear window, roof and leaning sides over the belt."""
    half, rise = car.length, car.height - car.belt
    front, rear = car.screen_at * half, car.rear_at * half
    planes = [
        _plane((rise, 0, front - car.roof_front_at * half), (front, 0, car.belt)),
        _plane((-rise, 0, car.roof_rear_at * half - rear), (rear, 0, car.belt)),
        _plane((0, 0, 1), (0, 0, car.height)),
        _plane((0, 0, -1), (0, 0, car.belt - 0.03)),
    ]
    return planes + [_plane((0, side, car.lean), (0, side * (car.width - 0.025), car.belt)) for side in (-1, 1)]


def extra(car: Car) -> list[Plane]:
    """A box along the car: a load, a wing, a sign; empty where there is none."""
    there = car.extra_to > car.extra_from
    width = car.extra_width * car.width if there else -1.0
    planes = [
        _plane((1, 0, 0), (car.extra_to * car.length, 0, 0)),
        _plane((-1, 0, 0), (car.extra_from * car.length, 0, 0)),
        _plane((0, 0, 1), (0, 0, car.extra_high)),
        _plane((0, 0, -1), (0, 0, car.extra_low)),
    ]
    return planes + [_plane((0, side, 0), (0, side * width, 0)) for side in (-1, 1)]


def _plane(normal: tuple[float, float, float], point: tuple[float, float, float]) -> Plane:
    """The plane through a point, its normal made of length 1."""
    length = math.sqrt(sum(n * n for n in normal))
    x, y, z = (n / length for n in normal)
    return x, y, z, x * point[0] + y * point[1] + z * point[2]
