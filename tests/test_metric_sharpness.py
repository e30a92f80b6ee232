"""Sharpness: closed forms for waves and ramps, another library's Laplacian, and what blur does."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from disentlib.metrics import laplacian_energy, relative_sharpness


def random_images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("period", [4, 8, 16])
def test_a_wave_has_its_closed_form(period: int) -> None:
    """`cos(kx)` is an eigenfunction with eigenvalue 2 − 2 cos k, and its mean square over whole periods is ½."""
    k, x = 2 * math.pi / period, torch.arange(34)
    wave = (0.5 + 0.5 * torch.cos(k * x)).expand(1, 1, 10, 34)  # 32 pixels have both neighbours
    expected = 0.25 * (2 - 2 * math.cos(k)) ** 2 / 2
    assert laplacian_energy(wave).item() == pytest.approx(expected, rel=1e-4)


def test_ramps_and_flat_pictures_have_none() -> None:
    ramp = torch.linspace(0, 1, 16)[:, None] / 2 + torch.linspace(0, 1, 16) / 2
    assert laplacian_energy(ramp.expand(2, 3, 16, 16)).item() == pytest.approx(0, abs=1e-12)
    assert laplacian_energy(torch.full((1, 1, 4, 4), 0.3)).item() == pytest.approx(0, abs=1e-12)


def test_it_is_the_other_librarys_laplacian() -> None:
    images = random_images(3, 2, 9, 7)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).numpy()
    other = [ndimage.convolve(channel.numpy(), kernel)[1:-1, 1:-1] for image in images for channel in image]
    expected = sum((part**2).mean() for part in other) / len(other)
    assert laplacian_energy(images).item() == pytest.approx(expected, rel=1e-5)


def test_blur_lowers_it_and_noise_raises_it() -> None:
    images = F.avg_pool2d(random_images(4, 1, 20, 20), 3, 1, 1)
    blurred = F.avg_pool2d(images, 3, 1, 1)
    noisy = images + 0.2 * random_images(4, 1, 20, 20)
    assert relative_sharpness(blurred, images) < 0.5 < 1.05 < relative_sharpness(noisy, images)
    assert relative_sharpness(images, images) == 1.0


@pytest.mark.parametrize("shape", [(1, 2, 5, 2), (3, 8, 8)])
def test_what_is_too_small_or_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least 3×3 pixels, got \("):
        laplacian_energy(torch.zeros(shape))
