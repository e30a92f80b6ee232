"""Rendered cars: the grid, the bits, what each factor does, and the geometry against a slow march along the rays."""

from __future__ import annotations

import math
from functools import partial

import pytest
import rendering
import torch
from torch import Tensor

from disentlib.data import car_renderer
from disentlib.data.car_models import COLOURS, KINDS, body, cabin, cars, extra
from disentlib.data.car_renderer import AZIMUTHS, ELEVATIONS, EYE_HEIGHT, GRID, draw, load_rendered

sample = partial(rendering.sample, GRID)
sweep = partial(rendering.sweep, GRID)
unit = partial(rendering.unit, draw)


def silhouette(factors: Tensor, size: int = 64) -> Tensor:
    """Which pixels the car touches: bool `[n, s, s]`."""
    return (draw(factors, size) < 255).any(1)


def test_the_grid_is_the_published_one() -> None:
    dataset = load_rendered()
    assert len(dataset) == 17_568 and dataset.factor_names == ("elevation", "azimuth", "object")
    assert dataset.factors(torch.tensor([1])).tolist() == [[0, 0, 1]]  # the object changes fastest
    assert dataset.grid.nominal == ("object",)


def test_every_kind_comes_in_every_colour() -> None:
    made = cars()
    assert len(made) == 183
    # What a car of a kind keeps tells the kind: where the windscreen and the rear window begin.
    kinds = {(kind.screen_at, kind.rear_at): name for name, kind in KINDS.items()}
    pairs = {(kinds[car.screen_at, car.rear_at], colour) for car, colour in made}
    assert len(kinds) == len(KINDS) and len(pairs) == len(KINDS) * len(COLOURS) == 180
    assert len({car for car, _ in made}) == 183


def test_all_cars_stay_inside_a_white_border() -> None:
    pictures = draw(GRID.factors(torch.arange(3, len(GRID), 41)), 32)
    border = torch.cat([pictures[..., 0, :], pictures[..., -1, :], pictures[..., 0], pictures[..., -1]], -1)
    assert border.min() == 255


def test_the_window_that_rays_are_cast_in_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = GRID.factors(torch.arange(1, len(GRID), 19))  # every car, from five sides
    windowed = draw(factors, 16)
    monkeypatch.setattr(car_renderer, "_window", lambda rays, size: (slice(0, None), slice(0, None)))
    assert torch.equal(draw(factors, 16), windowed)


def test_opposite_turns_have_mirrored_silhouettes() -> None:
    factors = sample(40, 7)
    factors[:, 1] = torch.arange(40) % 11 + 1
    opposite = factors.clone()
    opposite[:, 1] = 24 - factors[:, 1]
    mirrored = silhouette(opposite).flip(-1)
    assert (silhouette(factors) != mirrored).sum((1, 2)).max() <= 8  # pixels that a rounding tips over
    assert (silhouette(factors) != silhouette(opposite)).sum((1, 2)).float().mean() > 40


def test_azimuth_goes_once_round_the_circle() -> None:
    views = unit(sweep(sample(1, 8)[0], "azimuth")).flatten(1)
    step = (views - views.roll(1, 0)).square().sum(1)
    assert 0.2 * step.median() < step[0] < 2 * step.median()  # from the last view to the first is one more step


def inside(car, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Whether points lie in the car, from its planes and wheels, one by one."""
    found = torch.zeros_like(x, dtype=torch.bool)
    for planes in (body(car), cabin(car), extra(car)):
        found |= torch.stack([a * x + b * y + c * z < d for a, b, c, d in planes]).all(0)
    for axle in (car.front_at, car.back_at):
        round_part = (x - axle * car.length) ** 2 + (z - car.wheel) ** 2 < car.wheel**2
        found |= round_part & ((y.abs() - car.width - 0.006 + 0.45 * car.wheel).abs() < 0.45 * car.wheel)
    return found


@pytest.mark.parametrize(("elevation", "azimuth", "number"), [(0, 2, 5), (2, 17, 99), (3, 23, 150)])
def test_the_silhouette_is_what_a_march_along_the_rays_meets(elevation: int, azimuth: int, number: int) -> None:
    e, a, size = ELEVATIONS[elevation], AZIMUTHS[azimuth], 32
    centres = (torch.arange(2 * size, dtype=torch.float64) + 0.5) / size - 1
    depth, up, right = torch.meshgrid(torch.linspace(-1.2, 1.2, 240).double(), -centres, centres, indexing="ij")
    # The point at `right`, `up` and `depth`, turned back by the elevation and then by the azimuth.
    level, z = -up * math.sin(e) - depth * math.cos(e), up * math.cos(e) - depth * math.sin(e) + EYE_HEIGHT
    x, y = level * math.cos(a) - right * math.sin(a), level * math.sin(a) + right * math.cos(a)
    met = inside(cars()[number][0], x, y, z).any(0)
    share = met.view(size, 2, size, 2).float().mean((1, 3))
    seen = silhouette(torch.tensor([[elevation, azimuth, number]]), size)[0]
    # A step of the march may jump over a sliver, so only pixels that are wholly in or out must agree.
    assert seen[share == 1].all() and (share == 1).sum() > 100
    assert (seen & (share == 0)).sum() <= 6
