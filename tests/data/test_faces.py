"""Rendered faces: the grid, the bits, and what each factor does to the picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disentlib.data import faces
from disentlib.data.faces import GRID, draw, load_rendered

# Squared difference, summed over a 32-pixel picture in [0, 1], that any two values of a factor must exceed.
VISIBLE = {
    "azimuth": 1.5,
    "skin": 0.8,
    "hair_colour": 0.3,
    "hair_length": 0.5,
    "fringe": 0.2,
    "smile": 0.08,
    "glasses": 0.5,
    "background": 8.0,
    "lighting": 0.6,
    "age": 0.12,
    "face_width": 2.0,
}
PLAIN = dict(zip(GRID.names, (4, 1, 2, 0, 0, 2, 0, 3, 2, 0, 1)))  # facing front, short hair


def sample(n: int, seed: int) -> Tensor:
    return GRID.sample(n, torch.Generator().manual_seed(seed))


def sweep(base: Tensor, name: str) -> Tensor:
    """Factors `[k]` → one row for every value of a factor, `[size, k]`."""
    column = GRID.names.index(name)
    rows = base.repeat(GRID.sizes[column], 1)
    rows[:, column] = torch.arange(GRID.sizes[column])
    return rows


def plain(**values: int) -> Tensor:
    return torch.tensor([(PLAIN | values)[name] for name in GRID.names])


def unit(factors: Tensor, size: int = 32) -> Tensor:
    return draw(factors, size).float() / 255


def test_index_is_the_inverse_of_factors() -> None:
    factors = torch.cat([sample(100_000, 0), *(sweep(sample(1, 1)[0], name) for name in GRID.names)])
    dataset = load_rendered()
    assert torch.equal(dataset.factors(dataset.index(factors)), factors)
    assert dataset.index(torch.tensor(GRID.sizes)[None] - 1).item() == len(dataset) - 1


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
    assert (unit(factors) - mean).abs().mean((1, 2, 3)).max() < 0.01
    assert (unit(factors) - mean.roll(1, -1)).abs().mean() > 0.015  # a pixel's shift would show


def test_every_layer_stays_within_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = sample(60, 6)
    windowed = draw(factors, 32).int()
    monkeypatch.setattr(faces, "LAYERS", tuple((layer, -1.0, 1.0) for layer, _, _ in faces.LAYERS))
    assert (draw(factors, 32).int() - windowed).abs().max() <= 2


def test_turning_the_other_way_mirrors_the_lower_face() -> None:
    # The parting and the glint in the eyes lean to one side; mouth, chin and neck do not.
    left = unit(plain(azimuth=1, lighting=3)[None], 64)
    right = unit(plain(azimuth=7, lighting=1)[None], 64)
    assert (left - right.flip(-1))[..., 44:, :].abs().max() < 0.02
    assert (left - right)[..., 44:, :].abs().max() > 0.2


def test_the_glasses_move_to_the_right_with_the_head() -> None:
    worn, bare = (unit(sweep(plain(glasses=g), "azimuth"), 64) for g in (1, 0))
    weight = (worn - bare).abs().sum((1, 2))
    centre = (weight * torch.arange(64)).sum(1) / weight.sum(1)
    assert (centre.diff() > 0.5).all()


def test_light_comes_from_its_side() -> None:
    pictures = unit(sweep(plain(), "lighting"))
    lean = pictures[..., 16:].mean((1, 2, 3)) - pictures[..., :16].mean((1, 2, 3))
    assert (lean.diff() > 0.01).all() and lean[0] < -0.05 and lean[-1] > 0.05


def test_ordinal_factors_vary_in_one_direction() -> None:
    face = (slice(None), slice(None), slice(18, 22), slice(10, 22))  # the cheeks
    assert (unit(sweep(plain(), "skin"))[face].mean((1, 2, 3)).diff() < 0).all()
    forehead = unit(sweep(plain(), "fringe"))[:, :, 6:13, 12:20].mean((1, 2, 3))
    assert (forehead.diff() < 0).all()
