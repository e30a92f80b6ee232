"""Rendered anime faces: the grid, the bits, and what each factor does to the picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disentlib.data.anime_renderer import BACKGROUNDS, EYES, GRID, HAIR, MOUTH, SKIN, draw, load_rendered

# Squared difference, summed over a 32-pixel picture in [0, 1], that any two values of a factor must exceed.
VISIBLE = {
    "pose": 5.0,
    "hair_colour": 8.0,
    "hair_style": 3.0,
    "eye_colour": 0.15,
    "eye_shape": 0.6,
    "mouth": 0.12,
    "glasses": 2.5,
    "skin": 1.5,
    "background": 3.0,
}
PLAIN = dict(zip(GRID.names, (3, 2, 0, 4, 0, 2, 0, 0, 0)))  # facing front, a bob


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


def changed(name: str, size: int = 64, **values: int) -> Tensor:
    """Pixels that some value of a factor changes, bool `[s, s]`."""
    pictures = draw(sweep(plain(**values), name), size)
    return (pictures != pictures[:1]).any(0).any(0)


def test_index_is_the_inverse_of_factors() -> None:
    factors = torch.cat([sample(100_000, 0), *(sweep(sample(1, 1)[0], name) for name in GRID.names)])
    dataset = load_rendered()
    assert torch.equal(dataset.factors(dataset.index(factors)), factors)
    assert dataset.index(torch.tensor(GRID.sizes)[None] - 1).item() == len(dataset) - 1 == 1_161_215


def test_there_is_one_colour_for_every_value() -> None:
    tables = {"hair_colour": HAIR, "eye_colour": EYES, "skin": SKIN, "background": BACKGROUNDS}
    for name, table in tables.items():
        assert len(set(table)) == GRID.sizes[GRID.names.index(name)]


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
    for base in sample(10, 3):
        pictures = unit(sweep(base, name)).flatten(1)
        squared = torch.cdist(pictures[None], pictures[None])[0].square()
        apart = squared[~torch.eye(len(squared), dtype=torch.bool)]
        assert apart.min() > VISIBLE[name], base.tolist()


def test_no_two_combinations_look_the_same() -> None:
    factors = sample(800, 4).unique(dim=0)
    assert len(draw(factors, 32).flatten(1).unique(dim=0)) == len(factors)


def test_a_small_picture_is_the_area_mean_of_a_large_one() -> None:
    factors = sample(40, 5)
    mean = torch.nn.functional.avg_pool2d(unit(factors, 64), 2)
    assert (unit(factors) - mean).abs().mean((1, 2, 3)).max() < 0.02
    assert (unit(factors) - mean.roll(1, -1)).abs().mean() > 0.03  # a pixel's shift would show


def test_the_background_changes_nothing_but_the_background() -> None:
    backdrop = changed("background")
    assert backdrop[0].all() and backdrop[:48, [0, -1]].all()  # above and beside the head …
    assert not backdrop[24:44, 20:44].any()  # … and not the face


def test_features_change_only_where_they_are() -> None:
    for name, top, bottom in (("eye_colour", 32, 46), ("mouth", 44, 58), ("glasses", 28, 48)):
        touched = changed(name)
        assert touched[top:bottom].sum() == touched.sum() > 10, name
    assert not changed("hair_colour")[50:53, 28:36].any()  # the chin keeps its skin
    assert not changed("skin")[:16].any()  # the crown is hair


def test_hair_has_its_colour_at_the_crown() -> None:
    crown = unit(sweep(plain(), "hair_colour"), 64)[:, :, 8, 32]
    torch.testing.assert_close(crown, torch.tensor(HAIR), atol=0.06, rtol=0)


def test_the_eyes_follow_the_pose() -> None:
    columns = torch.arange(64.0)
    middles = []
    for pose in range(GRID.sizes[0]):
        weight = changed("eye_colour", pose=pose, hair_style=4).float().sum(0)
        middles.append(((weight * columns).sum() / weight.sum()).item())
    assert middles == sorted(middles) and middles[-1] - middles[0] > 8
    assert abs(middles[3] - 31.5) < 1 and abs(middles[0] + middles[-1] - 63) < 3


def test_a_smile_and_a_frown_bend_opposite_ways() -> None:
    lips = draw(sweep(plain(), "mouth"), 128)[:3].float() - 255 * torch.tensor(MOUTH)[:, None, None]
    lips = (lips.abs().amax(1) < 40)[:, 84:110].float()  # frown, flat, smile, each above the bow: [3, 26, 128]

    def height(first: int, last: int) -> Tensor:
        part = lips[:, :, first:last].sum(2)
        return (part * torch.arange(26.0)).sum(1) / part.sum(1)

    sag = height(61, 67) - (height(55, 58) + height(70, 73)) / 2  # pixels by which the middle is below the corners
    assert sag[0] < -1.5 and abs(sag[1]) < 0.5 and sag[2] > 1.5
