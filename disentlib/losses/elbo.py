"""The terms of the evidence lower bound: reconstruction, Kullback-Leibler divergence, and their β-weighted sum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "LIKELIHOODS",
    "bernoulli_nll",
    "beta_elbo_loss",
    "gaussian_kl",
    "kl_per_dimension",
    "posterior_sample",
    "reparameterise",
    "squared_error",
    "standard_normal",
]

LIKELIHOODS = ("bernoulli", "squared_error")


def standard_normal(n: int, d: int, generator: torch.Generator) -> Tensor:
    """`n` samples of `N(0, I)`, float32 `[n, d]` on the generator's device.

    >>> standard_normal(2, 3, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    return torch.randn(n, d, generator=generator, device=generator.device)


def posterior_sample(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """One sample `z = μ + σ·ε` of each posterior, `[n, d]` (Kingma & Welling 2014, §2.4), for noise ε that is given.

    `mean`, `logvar`, `noise`: `[n, d]`.

    >>> posterior_sample(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([[0.0, -3.0]])).tolist()
    [[1.0, -2.0]]
    """
    return mean + torch.exp(0.5 * logvar) * noise


def reparameterise(mean: Tensor, logvar: Tensor, generator: torch.Generator) -> Tensor:
    """`posterior_sample` with ε, standard normal, drawn from `generator`.

    >>> g = torch.Generator().manual_seed(0)
    >>> reparameterise(torch.zeros(2, 3), torch.zeros(2, 3), g).shape
    torch.Size([2, 3])
    """
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return posterior_sample(mean, logvar, noise)


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """`KL(N(μ_j, σ_j²) ‖ N(0, 1)) = ½(μ_j² + σ_j² − ln σ_j² − 1)` of each dimension, `[d]`, in nats, batch mean.

    `mean`, `logvar`: `[n, d]`. Zero exactly where the posterior is the prior; never negative.

    >>> kl_per_dimension(torch.zeros(4, 2), torch.zeros(4, 2)).tolist()
    [0.0, 0.0]
    """
    return 0.5 * (mean.square() + logvar.exp() - logvar - 1).mean(0)


def gaussian_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """`KL(q(z|x) ‖ N(0, I))` in nats: summed over dimensions, averaged over the batch (β-GVAE paper, eq. 2).

    >>> round(gaussian_kl(torch.ones(4, 2), torch.zeros(4, 2)).item(), 3)
    1.0
    """
    return kl_per_dimension(mean, logvar).sum()


def bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """`−ln p(x|z)` of independent Bernoulli pixels, in nats: summed over pixels, averaged over the batch.

    `logits`: any real numbers, `[n, c, h, w]`; `images`: the same shape, in [0, 1] (in between: cross-entropies).

    >>> round(bernoulli_nll(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).item(), 3)  # 16 ln 2
    11.09
    """
    return F.binary_cross_entropy_with_logits(logits.float(), images, reduction="sum") / len(images)


def squared_error(logits: Tensor, images: Tensor) -> Tensor:
    """`Σ(σ(logit) − x)²` per image: summed over pixels, averaged over the batch; no ½, no variance.

    This is `−ln p(x|z)` up to a constant for a Gaussian with σ² = ½ (reading G4). `logits`, `images`: `[n, c, h, w]`.

    >>> squared_error(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).item()
    4.0
    """
    return (torch.sigmoid(logits.float()) - images).square().sum() / len(images)


def reconstruction(likelihood: str, logits: Tensor, images: Tensor) -> Tensor:
    """`bernoulli_nll` or `squared_error`, by name; ValueError for another one."""
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {likelihood!r}; known: {', '.join(LIKELIHOODS)}")
    return bernoulli_nll(logits, images) if likelihood == "bernoulli" else squared_error(logits, images)


def beta_elbo_loss(reconstruction: Tensor, kl: Tensor, beta: float) -> Tensor:
    """`rec + β·KL`, the negative of the β-VAE's bound (β-GVAE paper, eq. 4); β = 1 is the VAE (eq. 2).

    >>> beta_elbo_loss(torch.tensor(10.0), torch.tensor(2.0), beta=4).item()
    18.0
    """
    return reconstruction + beta * kl
