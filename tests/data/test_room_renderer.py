"""The twin of Shapes3D: the grid, the bits, what each factor does and what it leaves alone."""

from __future__ import annotations

from functools import partial

import pytest
import rendering
import torch
from torch import Tensor

from disentlib import data
from disentlib.data import room_renderer
from disentlib.data.room_renderer import GRID, SCALES, draw, load_rendered

sample = partial(rendering.sample, GRID)
sweep = partial(rendering.sweep, GRID)
having = partial(rendering.having, GRID)

pytestmark = pytest.mark.usefixtures("one_thread")


def touched(factors: Tensor, name: str, size: int = 64, least: int = 1) -> Tensor:
    """Pixels that differ by at least so many steps between two values of a factor: bool `[n, s, s]`."""
    first, second = (draw(having(factors, **{name: value}), size).int() for value in (0, 5))
    return ((first - second).abs() >= least).any(1)


def test_the_grid_is_the_published_one() -> None:
    dataset = data.load("shapes3d", source="rendered", image_size=32)
    assert (dataset.name, dataset.source, dataset.image_shape) == ("shapes3d", "rendered", (3, 32, 32))
    assert dataset.factor_sizes == (10, 10, 10, 8, 4, 15) and len(dataset) == 480_000
    assert dataset.factors(torch.tensor([1, 15, 60, 480, 4_800, 48_000])).tolist() == [
        [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0],
    ]  # fmt: skip
    assert dataset.grid.nominal == ("shape",)


def test_a_picture_has_the_same_bits_in_every_batch_and_whatever_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = sample(160, 2)
    room_renderer._kept.cache_clear()
    together = draw(factors, 24)
    assert torch.equal(together.flip(0), draw(factors.flip(0), 24))  # from what is kept
    room_renderer._kept.cache_clear()
    assert torch.equal(together[100:], torch.cat([draw(row[None], 24) for row in factors[100:]]))
    monkeypatch.setattr(room_renderer, "_KEPT_SIZE", 0)
    assert torch.equal(together, draw(factors, 24))


def test_each_hue_changes_its_own_part_of_the_picture() -> None:
    """Floor, wall and object share pixels at their edges only; nothing else changes with a hue."""
    factors = sample(40, 5)
    floor, wall, solid = (touched(factors, name) for name in ("floor_hue", "wall_hue", "object_hue"))
    inside = torch.nn.functional.max_pool2d((~solid).float()[:, None], 3, 1, 1)[:, 0] == 0  # not at the object's edge
    assert inside.sum((1, 2)).min() > 15
    assert not (inside & (floor | wall)).any()
    shared = (floor & wall) | (floor & solid) | (wall & solid)
    assert shared.float().mean((1, 2)).max() < 0.06
    assert floor[:, -1].all() and wall[:, 20, [0, -1]].all() and not wall[:, -1].any() and not floor[:, 20].any()
    assert not (floor | wall | solid)[:, 0].any()  # the sky
    assert (floor | wall | solid)[:, 10:].all()


def test_a_hue_is_one_of_ten_round_the_circle() -> None:
    """The floor's brightest channel goes red, green, blue and back."""
    corner = draw(sweep(torch.tensor([0, 0, 0, 0, 0, 7]), "floor_hue"), 32)[..., -1, 0].int()
    assert corner.argmax(1).tolist()[::3] == [0, 1, 2, 0] and corner.argmax(1)[4] == 1 and corner.argmax(1)[6] == 2


def test_height_grows_with_scale_and_shadows_follow_the_shape() -> None:
    balls = sweep(torch.tensor([0, 5, 0, 0, 2, 7]), "scale")
    solid = touched(balls, "object_hue", 96, least=40)
    width, height = solid.any(1).sum(1).float(), solid.any(2).sum(1).float()
    assert (height.diff() > 0).all()
    torch.testing.assert_close(width, height, rtol=0.1, atol=0)  # a ball
    # Perspective brings a larger ball nearer to the eye, by less than a tenth here.
    torch.testing.assert_close(width[7] / width[0], torch.tensor(SCALES[7] / SCALES[0]), rtol=0.15, atol=0)


def test_shapes_have_their_outlines() -> None:
    shapes = sweep(torch.tensor([0, 5, 0, 4, 0, 7]), "shape")
    solid = touched(shapes, "object_hue", 96, least=20)
    width, height = solid.any(1).sum(1).float(), solid.any(2).sum(1).float()
    cube, cylinder, ball, capsule = (solid.sum((1, 2)) / (width * height)).tolist()
    assert cube > 0.93 and 0.88 < cylinder < 0.97 and abs(ball - torch.pi / 4) < 0.02 and 0.85 < capsule < 0.95
    assert width[3] > 1.7 * height[3] and height[1] > 1.05 * width[1]


def test_opposite_orientations_mirror_the_geometry() -> None:
    factors = having(sample(12, 6), orientation=torch.arange(12) % 7)
    opposite = having(factors, orientation=14 - torch.arange(12) % 7)
    for name in ("floor_hue", "wall_hue", "object_hue"):
        differ = touched(factors, name, least=20) != touched(opposite, name, least=20).flip(-1)
        assert differ.float().mean() < 0.01
    assert (touched(factors, "wall_hue", 64, 20) != touched(opposite, "wall_hue", 64, 20)).float().mean() > 0.02


def test_content_hash_is_stable() -> None:
    """A change of this value means that the twin changed, and that records made with it are of another data set."""
    assert load_rendered(16).content_hash() == "a9e6db823ff81f0e"
