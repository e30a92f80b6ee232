"""DIP-VAE's penalties: against loops, numpy's covariance, mixtures' closed form, and under autocast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from disentlib.losses.dip import batch_covariance, dip_penalties, inferred_covariance


def posteriors(n: int = 30, d: int = 4) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(n, d, generator=g, dtype=torch.float64) @ torch.randn(d, d, generator=g, dtype=torch.float64)
    return 3 + mean, torch.randn(n, d, generator=g, dtype=torch.float64)


def by_loops(mean: np.ndarray, logvar: np.ndarray, variant: str) -> tuple[float, float]:
    """E[mmᵀ] − E[m]E[m]ᵀ entry by entry, and both sums, as the paper writes them."""
    n, d = mean.shape
    off, diagonal = 0.0, 0.0
    for i in range(d):
        for j in range(d):
            entry = sum(mean[k, i] * mean[k, j] for k in range(n)) / n - mean[:, i].sum() / n * mean[:, j].sum() / n
            if i == j and variant == "ii":
                entry += sum(np.exp(logvar[k, i]) for k in range(n)) / n
            off += entry**2 if i != j else 0.0
            diagonal += (entry - 1) ** 2 if i == j else 0.0
    return off, diagonal


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_loops_agree(variant: str) -> None:
    mean, logvar = posteriors()
    ours = dip_penalties(inferred_covariance(mean, logvar, variant))
    assert [p.item() for p in ours] == pytest.approx(by_loops(mean.numpy(), logvar.numpy(), variant), rel=1e-10)


def test_the_covariance_is_numpys_without_its_correction() -> None:
    mean, _ = posteriors()
    np.testing.assert_allclose(batch_covariance(mean), np.cov(mean.numpy().T, bias=True), rtol=1e-12)


def test_variant_two_is_the_covariance_of_samples_of_the_aggregate_posterior() -> None:
    mean, logvar = posteriors(n=6, d=2)
    g = torch.Generator().manual_seed(1)
    many = mean.repeat(40_000, 1) + torch.exp(0.5 * logvar).repeat(40_000, 1) * torch.randn(
        240_000, 2, generator=g, dtype=torch.float64
    )
    torch.testing.assert_close(inferred_covariance(mean, logvar, "ii"), torch.cov(many.T), rtol=0.02, atol=0.02)


def test_gradients_are_those_of_finite_differences() -> None:
    mean, logvar = (t[:5].requires_grad_() for t in posteriors())
    for part in range(2):
        assert torch.autograd.gradcheck(
            lambda m, v, i=part: dip_penalties(inferred_covariance(m, v, "ii"))[i], (mean, logvar)
        )


def test_autocast_does_not_lower_the_covariance() -> None:
    mean = posteriors()[0].float()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = batch_covariance(mean)
    assert lowered.dtype == torch.float32 and torch.equal(lowered, batch_covariance(mean))


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(ValueError, match="unknown variant 'I'; known: i, ii"):
        inferred_covariance(*posteriors(), "I")
