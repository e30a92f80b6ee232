"""The variational bound on the information between codes and generated images (InfoGAN; IDGAN-SC paper, eq. 5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disentlib.losses.elbo import standard_normal
from disentlib.losses.total_correlation import gaussian_log_density

__all__ = ["CODE_PRIORS", "check_code_prior", "code_nll", "information_bound", "learned_code_nll", "prior_entropy",
           "prior_sample"]  # fmt: skip

CODE_PRIORS = ("gaussian", "uniform")


def check_code_prior(prior: str) -> str:
    """`prior` if it is one of `CODE_PRIORS`, else ValueError."""
    if prior not in CODE_PRIORS:
        raise ValueError(f"unknown code_prior {prior!r}; known: {', '.join(CODE_PRIORS)}")
    return prior


def prior_sample(prior: str, n: int, d: int, generator: torch.Generator) -> Tensor:
    """`n` codes from `N(0, I)` ("gaussian") or from the cube `[−1, 1]^d` ("uniform"), float32 `[n, d]` (reading S11).

    >>> prior_sample("uniform", 100, 3, torch.Generator().manual_seed(0)).abs().max().item() <= 1
    True
    """
    if check_code_prior(prior) == "gaussian":
        return standard_normal(n, d, generator)
    return 2 * torch.rand(n, d, generator=generator, device=generator.device) - 1


def prior_entropy(prior: str, d: int) -> float:
    """`H(c)` of `d` code dimensions, in nats: `d/2·ln 2πe` or `d·ln 2`.

    >>> round(prior_entropy("uniform", 5), 3)
    3.466
    """
    return d * (0.5 * math.log(2 * math.pi * math.e) if check_code_prior(prior) == "gaussian" else math.log(2))


def code_nll(codes: Tensor, mean: Tensor, variance: float = 1.0) -> Tensor:
    """`−ln q(c|x)` of `q = N(mean, variance·I)` in nats: summed over dimensions, batch mean (reading S9: variance 1).

    `codes`, `mean`: `[n, d]`. Never below `d/2·ln(2π·variance)`. ValueError unless the variance is above 0.

    >>> round(code_nll(torch.zeros(4, 2), torch.zeros(4, 2)).item(), 3)  # ln 2π
    1.838
    """
    if not 0 < variance < math.inf:
        raise ValueError(f"variance must be a finite number above 0, got {variance!r}")
    return learned_code_nll(codes, mean, torch.full_like(mean, math.log(variance), dtype=torch.float32))


def learned_code_nll(codes: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """`−ln q(c|x)` of `q = N(mean, diag exp(logvar))` in nats: summed over dimensions, batch mean; all `[n, d]`.

    >>> round(learned_code_nll(torch.ones(4, 2), torch.zeros(4, 2), torch.zeros(4, 2)).item(), 3)  # 1 + ln 2π
    2.838
    """
    wide = torch.promote_types(mean.dtype, torch.float32)  # bf16 is too coarse, float64 is kept
    return -gaussian_log_density(codes.to(wide), mean.to(wide), logvar.to(wide)).sum(1).mean()


def information_bound(nll: Tensor, prior: str, d: int) -> Tensor:
    """`L_info = H(c) − NLL ≤ I(c; G(z, c))` in nats (eq. 5), tight where `q` is the true posterior.

    >>> round(information_bound(torch.tensor(2.0), "gaussian", 2).item(), 3)
    0.838
    """
    return prior_entropy(prior, d) - nll
