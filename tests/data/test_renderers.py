"""What every renderer promises: its grid, its sizes, its bits, and that no two pictures are alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import ModuleType

import pytest
import rendering
import torch
from torch import Tensor

from disentlib.data import anime_renderer, arm_renderer, car_renderer, chair_renderer, faces, room_renderer
from disentlib.data.grid import FactorGrid

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Renderer:
    """A renderer and what its pictures allow to be asked.

    `visible`: squared difference, summed over a 32-pixel picture in [0, 1], above which any two values of a factor are.
    `area_error`: mean difference allowed between a small picture and the area mean of a large one; `shift_error`: what
    a shift by one pixel makes of it at least. `wide`: the whole grid is too large to go through.
    """

    module: ModuleType
    visible: dict[str, float]
    area_error: float
    shift_error: float
    bases: int = 6
    combinations: int = 1000
    contrast: float = 20.0
    wide: bool = False

    @property
    def grid(self) -> FactorGrid:
        return self.module.GRID

    def sample(self, n: int, seed: int) -> Tensor:
        return rendering.sample(self.grid, n, seed)

    def sweep(self, base: Tensor, name: str) -> Tensor:
        return rendering.sweep(self.grid, base, name)

    def unit(self, factors: Tensor, size: int = 32) -> Tensor:
        return rendering.unit(self.module.draw, factors, size)


FACES = {
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
ANIME = {
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
CHAIRS = {
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
CARS = {"elevation": 8.0, "azimuth": 3.0, "object": 0.8}
ARM = {
    "object_color": 0.1,
    "object_shape": 0.02,
    "object_size": 0.1,
    "camera_height": 5.0,
    "background_color": 20.0,
    "horizontal_axis": 0.03,
    "vertical_axis": 0.03,
}
ROOM = {"floor_hue": 5.0, "wall_hue": 5.0, "object_hue": 0.3, "scale": 0.25, "shape": 0.5, "orientation": 0.4}

RENDERERS = {
    "faces": Renderer(faces, FACES, 0.01, 0.015, combinations=1200, wide=True),
    "anime": Renderer(anime_renderer, ANIME, 0.02, 0.03, bases=10, combinations=800, wide=True),
    "chairs": Renderer(chair_renderer, CHAIRS, 0.025, 0.03, combinations=1200),
    "cars": Renderer(car_renderer, CARS, 0.025, 0.02, bases=2, combinations=500),
    "arm": Renderer(arm_renderer, ARM, 0.012, 0.015, bases=4, combinations=600, contrast=15.0),
    "room": Renderer(room_renderer, ROOM, 0.01, 0.012, bases=4),
}
every_renderer = pytest.mark.parametrize("renderer", RENDERERS.values(), ids=RENDERERS.keys())
every_factor = pytest.mark.parametrize(
    ("renderer", "name"),
    [pytest.param(r, name, id=f"{key}-{name}") for key, r in RENDERERS.items() for name in r.visible],
)


@every_renderer
def test_index_is_the_inverse_of_factors(renderer: Renderer) -> None:
    dataset = renderer.module.load_rendered()
    assert set(renderer.visible) == set(renderer.grid.names)
    if renderer.wide:
        rows = [renderer.sweep(renderer.sample(1, 1)[0], name) for name in renderer.grid.names]
        factors = torch.cat([renderer.sample(100_000, 0), *rows])
        assert torch.equal(dataset.factors(dataset.index(factors)), factors)
    else:
        indices = torch.arange(len(dataset))
        assert torch.equal(dataset.index(dataset.factors(indices)), indices)
    assert dataset.index(torch.tensor(renderer.grid.sizes)[None] - 1).item() == len(dataset) - 1


@every_renderer
@pytest.mark.parametrize("size", [8, 33, 80])
def test_pictures_are_bytes_of_the_size_asked_for(renderer: Renderer, size: int) -> None:
    dataset = renderer.module.load_rendered(size)
    pictures = dataset.bytes(torch.tensor([0, len(dataset) - 1]))
    assert pictures.dtype == torch.uint8 and pictures.shape == (2, *dataset.image_shape) == (2, 3, size, size)
    assert pictures.float().std() > renderer.contrast


@every_renderer
def test_the_default_size_and_an_empty_batch(renderer: Renderer) -> None:
    assert renderer.module.load_rendered().bytes(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 64, 64)


@every_renderer
def test_a_picture_has_the_same_bits_in_every_batch(renderer: Renderer) -> None:
    factors, draw = renderer.sample(100, 2), partial(renderer.module.draw, image_size=32)
    together = draw(factors)  # more than one chunk at 32 pixels
    assert torch.equal(together[:40], torch.cat([draw(row[None]) for row in factors[:40]]))
    assert torch.equal(together.flip(0), draw(factors.flip(0)))


LOOKING = ("cars", "anime")  # they skip what no picture of a piece has, which takes values to look at


# The room keeps pictures, on real devices.
@pytest.mark.parametrize("key", [key for key in RENDERERS if key != "room" and key not in LOOKING])
def test_constants_live_on_the_device_of_the_factors(key: str) -> None:
    renderer = RENDERERS[key]
    factors = torch.empty(3, len(renderer.grid.names), dtype=torch.int64, device="meta")
    assert renderer.module.draw(factors, 32).device.type == "meta"


@pytest.mark.parametrize("key", LOOKING)
def test_constants_do_not_live_on_the_default_device(key: str) -> None:
    factors, draw = RENDERERS[key].sample(3, 2), RENDERERS[key].module.draw
    with torch.device("meta"):
        pictures = draw(factors, 32)
    assert torch.equal(pictures, draw(factors, 32))


@every_factor
def test_every_value_of_every_factor_shows(renderer: Renderer, name: str) -> None:
    for base in renderer.sample(renderer.bases, 3):
        pictures = renderer.unit(renderer.sweep(base, name)).flatten(1)
        squared = torch.cdist(pictures[None], pictures[None], compute_mode="donot_use_mm_for_euclid_dist")[0].square()
        apart = squared[~torch.eye(len(squared), dtype=torch.bool)]
        assert apart.min() > renderer.visible[name], base.tolist()


@every_renderer
def test_no_two_combinations_look_the_same(renderer: Renderer) -> None:
    factors = renderer.sample(renderer.combinations, 4).unique(dim=0)
    assert len(renderer.module.draw(factors, 32).flatten(1).unique(dim=0)) == len(factors)


@every_renderer
def test_a_small_picture_is_the_area_mean_of_a_large_one(renderer: Renderer) -> None:
    factors = renderer.sample(40, 5)
    small, mean = renderer.unit(factors), torch.nn.functional.avg_pool2d(renderer.unit(factors, 64), 2)
    assert (small - mean).abs().mean((1, 2, 3)).max() < renderer.area_error
    assert (small - mean.roll(1, -1)).abs().mean() > renderer.shift_error  # a pixel's shift would show
