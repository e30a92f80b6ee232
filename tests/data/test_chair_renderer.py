"""Rendered chairs: the grid, the bits, what each factor does, and the geometry of the view."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disentlib.data.chair_renderer import BACK_HEIGHTS, ELEVATIONS, GRID, SCALES, draw, load_rendered

# Squared difference, summed over a 32-pixel picture in [0, 1], that any two values of a factor must exceed.
VISIBLE = {
    "azimuth": 2.0,
    "elevation": 2.0,
    "size": 6.0,
    "width": 0.8,
    "leg_style": 3.0,
    "back_height": 0.25,
    "back_style": 0.3,
    "colour": 0.6,
    "arms": 0.5,
}


def sample(n: int, seed: int) -> Tensor:
    return GRID.sample(n, torch.Generator().manual_seed(seed))


def sweep(base: Tensor, name: str) -> Tensor:
    """Factors `[k]` → one row for every value of a factor, `[size, k]`."""
    column = GRID.names.index(name)
    rows = base.repeat(GRID.sizes[column], 1)
    rows[:, column] = torch.arange(GRID.sizes[column])
    return rows


def having(factors: Tensor, **values: int | Tensor) -> Tensor:
    """The same factors `[n, k]` with some columns set."""
    factors = factors.clone()
    for name, value in values.items():
        factors[:, GRID.names.index(name)] = value
    return factors


def unit(factors: Tensor, size: int = 32) -> Tensor:
    return draw(factors, size).float() / 255


def silhouette(factors: Tensor, size: int = 64) -> Tensor:
    """Which pixels the chair touches: bool `[n, s, s]`."""
    return (draw(factors, size) < 252).any(1)


def test_index_is_the_inverse_of_factors_on_the_whole_grid() -> None:
    dataset = load_rendered()
    indices = torch.arange(len(dataset))
    assert torch.equal(dataset.index(dataset.factors(indices)), indices)


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
    assert draw(torch.empty(3, len(GRID.names), dtype=torch.int64, device="meta"), 32).device.type == "meta"


@pytest.mark.parametrize("name", GRID.names)
def test_every_value_of_every_factor_shows(name: str) -> None:
    for base in sample(6, 3):
        pictures = unit(sweep(base, name)).flatten(1)
        squared = torch.cdist(pictures[None], pictures[None])[0].square()
        apart = squared[~torch.eye(len(squared), dtype=torch.bool)]
        assert apart.min() > VISIBLE[name], base.tolist()


def test_no_two_combinations_look_the_same() -> None:
    factors = sample(1200, 4).unique(dim=0)
    assert len(draw(factors, 32).flatten(1).unique(dim=0)) == len(factors)


def test_a_small_picture_is_the_area_mean_of_a_large_one() -> None:
    factors = sample(40, 5)
    mean = torch.nn.functional.avg_pool2d(unit(factors, 64), 2)
    assert (unit(factors) - mean).abs().mean((1, 2, 3)).max() < 0.025
    assert (unit(factors) - mean.roll(1, -1)).abs().mean() > 0.03  # a pixel's shift would show


def test_the_largest_chairs_stay_inside_a_white_border() -> None:
    largest = having(sample(300, 6), size=3, width=3, back_height=4)
    pictures = draw(largest, 64)
    border = torch.cat([pictures[..., 0, :], pictures[..., -1, :], pictures[..., 0], pictures[..., -1]], -1)
    assert border.min() == 255


def test_opposite_turns_have_mirrored_silhouettes() -> None:
    # Every chair is symmetric about its middle plane: also the star, one of whose feet points to the front.
    factors = having(sample(60, 7), azimuth=torch.arange(60) % 30 + 1)
    opposite = having(factors, azimuth=31 - factors[:, 0])
    mirrored = silhouette(opposite).flip(-1)
    assert (silhouette(factors) != mirrored).sum((1, 2)).max() <= 6  # pixels that a rounding tips over
    assert (silhouette(factors) != silhouette(opposite)).sum((1, 2)).float().mean() > 60


def test_azimuth_goes_once_round_the_circle() -> None:
    views = unit(sweep(sample(1, 8)[0], "azimuth")).flatten(1)
    step = (views - views.roll(1, 0)).square().sum(1)
    assert step[0] < 2 * step.median()  # from the last view to the first is one more step, as between any two …
    assert step[0] > 0.2 * step.median()  # … and not the same view again


def test_area_grows_with_the_square_of_the_size() -> None:
    factors = sample(16, 9)
    small, large = (silhouette(having(factors, size=i), 192).sum((1, 2)) for i in (0, 3))
    torch.testing.assert_close(large / small, torch.full((16,), (SCALES[3] / SCALES[0]) ** 2), rtol=0.05, atol=0)


def test_a_higher_back_rises_as_the_projection_says() -> None:
    # Seen from straight ahead, a point at height z appears z · cos(elevation) higher; the lean is the same for a style.
    front = sweep(having(sample(1, 10), azimuth=0, size=3, elevation=0, back_style=0)[0], "back_height")
    top = silhouette(front, 256).any(2).int().argmax(1)
    rise = (BACK_HEIGHTS[4] - BACK_HEIGHTS[0]) * SCALES[3] * torch.tensor(ELEVATIONS[0]).cos() * 128
    assert (top.diff() < 0).all()
    assert abs(top[0] - top[4] - rise) < 3
