"""Rendered cars: the grid, the bits, what each factor does, and the geometry against a slow march along the rays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from disentlib.data.car_models import COLOURS, KINDS, body, cabin, cars, extra
from disentlib.data.car_renderer import AZIMUTHS, ELEVATIONS, EYE_HEIGHT, GRID, draw, load_rendered

# Squared difference, summed over a 32-pixel picture in [0, 1], that any two values of a factor must exceed.
VISIBLE = {"elevation": 8.0, "azimuth": 3.0, "object": 0.8}


def sample(n: int, seed: int) -> Tensor:
    return GRID.sample(n, torch.Generator().manual_seed(seed))


def sweep(base: Tensor, name: str) -> Tensor:
    """Factors `[k]` → one row for every value of a factor, `[size, k]`."""
    column = GRID.names.index(name)
    rows = base.repeat(GRID.sizes[column], 1)
    rows[:, column] = torch.arange(GRID.sizes[column])
    return rows


def unit(factors: Tensor, size: int = 32) -> Tensor:
    return draw(factors, size).float() / 255


def silhouette(factors: Tensor, size: int = 64) -> Tensor:
    """Which pixels the car touches: bool `[n, s, s]`."""
    return (draw(factors, size) < 255).any(1)


def test_index_is_the_inverse_of_factors_on_the_whole_grid() -> None:
    dataset = load_rendered()
    indices = torch.arange(len(dataset))
    assert len(dataset) == 17_568 and dataset.factor_names == ("elevation", "azimuth", "object")
    assert torch.equal(dataset.index(dataset.factors(indices)), indices)
    assert dataset.factors(torch.tensor([1])).tolist() == [[0, 0, 1]]  # the object changes fastest
    assert dataset.grid.nominal == ("object",)


@pytest.mark.parametrize("size", [8, 33, 64])
def test_pictures_are_bytes_of_the_size_asked_for(size: int) -> None:
    dataset = load_rendered(size)
    pictures = dataset.bytes(torch.tensor([0, len(dataset) - 1]))
    assert pictures.dtype == torch.uint8 and pictures.shape == (2, *dataset.image_shape) == (2, 3, size, size)
    assert pictures.float().std() > 20


def test_the_default_size_and_an_empty_batch() -> None:
    assert load_rendered().bytes(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 64, 64)


def test_a_picture_has_the_same_bits_in_every_batch() -> None:
    factors = sample(70, 2)  # more than one chunk at 32 pixels
    together = draw(factors, 32)
    assert torch.equal(together, torch.cat([draw(row[None], 32) for row in factors]))
    assert torch.equal(together.flip(0), draw(factors.flip(0), 32))


def test_constants_live_on_the_device_of_the_factors() -> None:
    assert draw(torch.empty(3, 3, dtype=torch.int64, device="meta"), 32).device.type == "meta"


@pytest.mark.parametrize("name", GRID.names)
def test_every_value_of_every_factor_shows(name: str) -> None:
    for base in sample(2, 3):
        pictures = unit(sweep(base, name)).flatten(1)
        squared = torch.cdist(pictures[None], pictures[None])[0].square()
        apart = squared[~torch.eye(len(squared), dtype=torch.bool)]
        assert apart.min() > VISIBLE[name], base.tolist()


def test_no_two_combinations_look_the_same() -> None:
    factors = sample(500, 4).unique(dim=0)
    assert len(draw(factors, 32).flatten(1).unique(dim=0)) == len(factors)


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


def test_a_small_picture_is_the_area_mean_of_a_large_one() -> None:
    factors = sample(30, 5)
    mean = torch.nn.functional.avg_pool2d(unit(factors, 64), 2)
    assert (unit(factors) - mean).abs().mean((1, 2, 3)).max() < 0.025
    assert (unit(factors) - mean.roll(1, -1)).abs().mean() > 0.02  # a pixel's shift would show


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
