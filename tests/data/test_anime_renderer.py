"""Rendered anime faces: the grid, the bits, and what each factor does to the picture."""

from __future__ import annotations

from functools import partial

import pytest
import rendering
import torch
from torch import Tensor

from disentlib.data import anime_renderer
from disentlib.data.anime_renderer import BACKGROUNDS, EYES, GRID, HAIR, MOUTH, SKIN, draw

sweep = partial(rendering.sweep, GRID)
unit = partial(rendering.unit, draw)

PLAIN = dict(zip(GRID.names, (3, 2, 0, 4, 0, 2, 0, 0, 0)))  # facing front, a bob


def plain(**values: int) -> Tensor:
    return torch.tensor([(PLAIN | values)[name] for name in GRID.names])


def changed(name: str, size: int = 64, **values: int) -> Tensor:
    """Pixels that some value of a factor changes, bool `[s, s]`."""
    pictures = draw(sweep(plain(**values), name), size)
    return (pictures != pictures[:1]).any(0).any(0)


def test_there_is_one_colour_for_every_value() -> None:
    assert len(GRID) == 1_161_216
    tables = {"hair_colour": HAIR, "eye_colour": EYES, "skin": SKIN, "background": BACKGROUNDS}
    for name, table in tables.items():
        assert len(set(table)) == GRID.sizes[GRID.names.index(name)]


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


def test_no_layer_reaches_beyond_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = GRID.sample(600, torch.Generator().manual_seed(5))
    narrow = draw(factors, 16)
    whole = [(layer, 1.0, top, bottom) for layer, _, top, bottom in anime_renderer.LAYERS]
    monkeypatch.setattr(anime_renderer, "LAYERS", whole)
    assert torch.equal(draw(factors, 16), narrow)


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
