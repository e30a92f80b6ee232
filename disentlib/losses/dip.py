"""Disentangled inferred prior: the covariance of the aggregate posterior held to the identity (Kumar et al. 2018)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["VARIANTS", "DipPenalties", "batch_covariance", "inferred_covariance", "dip_penalties"]

VARIANTS = ("i", "ii")


class DipPenalties(NamedTuple):
    """How far a covariance is from the identity; both are squared code units, before their weights."""

    off_diagonal: Tensor  # Σ_{i≠j} C_ij²: each pair of dimensions counts twice
    diagonal: Tensor  # Σ_i (C_ii − 1)²


def batch_covariance(values: Tensor) -> Tensor:
    """`E[m mᵀ] − E[m] E[m]ᵀ` of rows `[n, d]` → float32 (or float64) `[d, d]`, divided by n as published code does.

    Products of single numbers, summed: a matrix product would be taken in bfloat16 under autocast.

    >>> batch_covariance(torch.tensor([[1.0, 0.0], [-1.0, 2.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    values = values if values.dtype == torch.float64 else values.float()
    centred = values - values.mean(0)
    return (centred[:, :, None] * centred[:, None, :]).mean(0)


def inferred_covariance(mean: Tensor, logvar: Tensor, variant: str) -> Tensor:
    """`Cov[μ(x)]` for "i" (Kumar et al. 2018, eq. 6), `Cov[μ(x)] + E[diag σ²(x)]` for "ii" (eq. 7), `[d, d]`.

    The second is the covariance of `q(z) = E_x[q(z|x)]`. `mean`, `logvar`: `[n, d]`. ValueError for another variant.

    >>> inferred_covariance(torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1), "ii").tolist()
    [[2.0]]
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    covariance = batch_covariance(mean)
    return covariance if variant == "i" else covariance + torch.diag(logvar.to(covariance).exp().mean(0))


def dip_penalties(covariance: Tensor) -> DipPenalties:
    """Both penalties of a covariance `[d, d]`; the loss adds `λ_od` and `λ_d` times them (eqs. 6 and 7).

    >>> [penalty.item() for penalty in dip_penalties(torch.tensor([[3.0, 0.5], [0.5, 1.0]]))]
    [0.5, 4.0]
    """
    diagonal = torch.diagonal(covariance)
    return DipPenalties(covariance.square().sum() - diagonal.square().sum(), (diagonal - 1).square().sum())
