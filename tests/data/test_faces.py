"""Rendered faces: the grid, the bits, and what each factor does to the picture."""

from __future__ import annotations

from functools import partial

import pytest
import rendering
import torch
from torch import Tensor

from disentlib.data import faces
from disentlib.data.faces import GRID, draw

sample = partial(rendering.sample, GRID)
sweep = partial(rendering.sweep, GRID)
unit = partial(rendering.unit, draw)

PLAIN = dict(zip(GRID.names, (4, 1, 2, 0, 0, 2, 0, 3, 2, 0, 1)))  # facing front, short hair


def plain(**values: int) -> Tensor:
    return torch.tensor([(PLAIN | values)[name] for name in GRID.names])


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
