"""Rendered chairs: the grid, the bits, what each factor does, and the geometry of the view."""

from __future__ import annotations

from functools import partial

import rendering
import torch
from torch import Tensor

from disentlib.data.chair_renderer import BACK_HEIGHTS, ELEVATIONS, GRID, SCALES, draw

sample = partial(rendering.sample, GRID)
sweep = partial(rendering.sweep, GRID)
having = partial(rendering.having, GRID)
unit = partial(rendering.unit, draw)


def silhouette(factors: Tensor, size: int = 64) -> Tensor:
    """Which pixels the chair touches: bool `[n, s, s]`."""
    return (draw(factors, size) < 252).any(1)


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
