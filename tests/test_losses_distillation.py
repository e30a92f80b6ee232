"""ID-GAN's and IB-GAN's losses: against torch's distributions, finite differences, closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from disentlib.losses.distillation import (
    gaussian_nll,
    information_bound,
    instance_noise,
    linear_decay,
    signed_r1_penalty,
)
from disentlib.losses.elbo import gaussian_kl
from disentlib.losses.image_gan import generator_loss


def test_the_nll_is_that_of_torchs_normal() -> None:
    g = torch.Generator().manual_seed(0)
    codes, mean, logvar = torch.randn(3, 20, 5, generator=g, dtype=torch.float64)
    expected = -Independent(Normal(mean, torch.exp(0.5 * logvar)), 1).log_prob(codes).mean()
    assert gaussian_nll(codes, mean, logvar).item() == pytest.approx(expected.item(), rel=1e-7)


def test_an_absurdly_sure_posterior_stays_finite() -> None:
    logvar = torch.full((1, 1), -200.0)
    assert gaussian_nll(torch.ones(1, 1), torch.zeros(1, 1), logvar).item() == pytest.approx(
        0.5 * (math.log(2 * math.pi) - 200 + 1e8), rel=1e-5
    )


def test_the_information_bound_is_a_log_ratio_of_torchs_normals() -> None:
    g = torch.Generator().manual_seed(0)
    z, predicted = torch.randn(2, 20, 5, generator=g)
    expected = (Normal(predicted, 1.0).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1).mean()
    torch.testing.assert_close(information_bound(z, predicted), expected)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_of_a_gaussian_channel_the_bound_is_below_the_information_by_the_closed_form(sigma: float) -> None:
    """y = z + σε: I = ½ ln(1 + 1/σ²); with the best ẑ = y / (1 + σ²) the bound is ½ / (1 + σ²)."""
    g = torch.Generator().manual_seed(0)
    z, e = torch.randn(2, 100_000, 1, generator=g)
    bound = information_bound(z, (z + sigma * e) / (1 + sigma**2)).item()
    assert bound == pytest.approx(0.5 / (1 + sigma**2), abs=0.01)
    assert bound < 0.5 * math.log(1 + sigma**-2) + 0.01


def test_the_upper_bound_is_torchs_kl_and_lies_above_the_information() -> None:
    """A linear e(r|z) = N(a z, s²): I(z; r) = ½ ln(1 + a²/s²) in closed form."""
    z = torch.randn(50_000, 1, generator=torch.Generator().manual_seed(0))
    a, s = 0.8, 0.5
    mean, logvar = a * z, torch.full_like(z, 2 * math.log(s))
    expected = kl_divergence(Normal(mean, s), Normal(0.0, 1.0)).sum(1).mean().item()
    assert gaussian_kl(mean, logvar).item() == pytest.approx(expected, rel=1e-4)
    assert expected > 0.5 * math.log(1 + a**2 / s**2)


def test_r1_is_the_squared_gradient_of_finite_differences_per_signed_pixel() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 4, 4, generator=g, dtype=torch.float64)
    weights, bend = torch.randn(16, 5, generator=g, dtype=torch.float64), torch.randn(5, generator=g).double()

    def logits(signed: torch.Tensor) -> torch.Tensor:
        return torch.tanh(signed.flatten(1) @ weights) @ bend

    images.requires_grad_()
    ours = signed_r1_penalty(logits(2 * images - 1), images).item()
    signed, step = (2 * images - 1).detach(), 1e-3
    total = 0.0
    for pixel in range(16):
        moved = torch.zeros(16, dtype=torch.float64)
        moved[pixel] = step
        moved = moved.view(1, 4, 4)
        total += ((logits(signed + moved) - logits(signed - moved)) / (2 * step)).square()
    assert ours == pytest.approx(total.mean().item(), rel=1e-3)


def test_r1_pushes_the_slope_of_a_discriminator_down() -> None:
    """D(x) = w·x on [−1, 1]: R1 = w² per pixel, whose derivative is 2w; in [0, 1] units D has the slope 2w."""
    w = torch.tensor(3.0, requires_grad=True)
    pixels = torch.rand(5, 1, 1, 1, requires_grad=True)
    r1 = signed_r1_penalty((w * (2 * pixels - 1)).flatten(), pixels)
    assert r1.item() == pytest.approx(9.0)
    assert torch.autograd.grad(r1, w)[0].item() == pytest.approx(6.0)


def test_the_non_saturating_loss_is_cross_entropy_with_the_label_real() -> None:
    logits = torch.randn(9, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), torch.ones(9))
    torch.testing.assert_close(generator_loss(logits), expected)


def test_the_noise_falls_on_a_line_and_stays_at_zero() -> None:
    scales = [linear_decay(torch.tensor(step), 0.8, 200).item() for step in (0, 50, 100, 199, 200, 201, 10**9)]
    assert scales == pytest.approx([0.8, 0.6, 0.4, 0.004, 0, 0, 0], abs=1e-6)


def test_instance_noise_is_what_the_published_range_has_it() -> None:
    g = torch.Generator().manual_seed(0)
    images, noise = torch.rand(4, 1, 5, 5, generator=g), torch.randn(4, 1, 5, 5, generator=g)
    signed = ((2 * images - 1) + 0.7 * noise).clamp(-1, 1)
    torch.testing.assert_close(instance_noise(images, noise, 0.7), (signed + 1) / 2)
    assert torch.equal(instance_noise(images, noise, torch.tensor(0.0)), images)
