"""Total correlation of the aggregate posterior `q(z) = 1/N Σ_n q(z|x_n)`, estimated from a batch (Chen et al. 2018).

A batch of M posteriors out of N stands for all N. Each estimator gives every posterior of the batch a weight in the
mixture that replaces q(z); the weights are where published code goes wrong.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ESTIMATORS", "Decomposition", "decompose", "gaussian_log_density", "log_mixtures", "log_weights"]


class Decomposition(NamedTuple):
    """`KL = mutual_information + total_correlation + dimension_wise_kl`, each a scalar in nats (Chen et al., eq. 2)."""

    mutual_information: Tensor  # I(z; x) under q: never negative
    total_correlation: Tensor  # KL(q(z) ‖ Π_j q(z_j)): 0 where the dimensions are independent
    dimension_wise_kl: Tensor  # Σ_j KL(q(z_j) ‖ N(0, 1))


def decompose(
    codes: Tensor, mean: Tensor, logvar: Tensor, dataset_size: int, estimator: str = "unbiased"
) -> Decomposition:
    """The three parts of the KL term, estimated from one batch, batch mean (Chen et al. 2018, eq. 2).

    `codes` `[m, d]`: one sample of each posterior; `mean`, `logvar` `[m, d]`; `dataset_size` N ≥ m. Differentiable.
    With m = N and "unbiased", `q(z)` is exact and only the samples are random. The parts always add up to the same
    single-sample estimate of the KL. ValueError for an unknown estimator, m < 2, or N < m.

    >>> mean, logvar = torch.zeros(8, 3), torch.zeros(8, 3)
    >>> round(decompose(mean + 0.5, mean, logvar, dataset_size=8).total_correlation.item(), 4)
    0.0
    """
    own = gaussian_log_density(codes, mean, logvar).sum(1)
    joint, marginals = log_mixtures(codes, mean, logvar, log_weights(len(codes), dataset_size, estimator).to(codes))
    prior = gaussian_log_density(codes, torch.zeros_like(codes), torch.zeros_like(codes))
    return Decomposition((own - joint).mean(), (joint - marginals.sum(1)).mean(), (marginals - prior).sum(1).mean())


def gaussian_log_density(codes: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """`ln N(z; μ, σ²)` of each dimension, in nats; shapes broadcast.

    >>> round(gaussian_log_density(torch.zeros(1), torch.zeros(1), torch.zeros(1)).item(), 4)  # −½ ln 2π
    -0.9189
    """
    return -0.5 * (math.log(2 * math.pi) + logvar + (codes - mean).square() * torch.exp(-logvar))


def log_mixtures(codes: Tensor, mean: Tensor, logvar: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """`ln Σ_j w_ij q(z_i|x_j)`, `[r]`, and the same of each dimension alone, `[r, d]`, in nats.

    `codes` `[r, d]`, `mean` and `logvar` `[m, d]`, `log_weights` `[r, m]`.
    """
    each = gaussian_log_density(codes[:, None], mean, logvar)  # [r, m, d]: sample i under posterior j
    return torch.logsumexp(log_weights + each.sum(2), dim=1), torch.logsumexp(log_weights[:, :, None] + each, dim=1)


def log_weights(batch: int, dataset_size: int, estimator: str) -> Tensor:
    """`ln w_ij`, float64 `[m, m]`: the weight of posterior j in the mixture that stands for q at sample i.

    "unbiased": `1/N` for the sample's own posterior, `(N − 1) / (N (m − 1))` for each other. Rows sum to 1, and the
    mixture's mean over batches is q(z).
    "stratified": the same mean from Chen et al.'s appendix C.2: own `1/N`, one other `(N − m + 1) / (N (m − 1))`, the
    rest `1 / (m − 1)`.
    "weighted": `1 / (N m)` for all (appendix C.1), a lower bound of q. In every marginal it leaves out `ln N` nats, so
    that its total correlation is too large by about `(d − 1) ln N` where posteriors overlap.
    "copied": what the most copied code computes for "stratified". It strides through the matrix by one column too many,
    so that the weights stand in the first two columns instead of around the diagonal. For the errata only.

    >>> log_weights(2, 4, "unbiased").exp().tolist()
    [[0.25, 0.75], [0.75, 0.25]]
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    if not 2 <= batch <= dataset_size:
        raise ValueError(f"a batch needs at least 2 posteriors and at most the data set's {dataset_size}, got {batch}")
    return ESTIMATORS[estimator](batch, dataset_size).log()


def _unbiased(batch: int, dataset_size: int) -> Tensor:
    others = torch.full((batch, batch), (dataset_size - 1) / (dataset_size * (batch - 1)), dtype=torch.float64)
    return others.fill_diagonal_(1 / dataset_size)


def _stratified(batch: int, dataset_size: int) -> Tensor:
    weights = torch.full((batch, batch), 1 / (batch - 1), dtype=torch.float64).fill_diagonal_(1 / dataset_size)
    rows = torch.arange(batch)
    weights[rows, (rows + 1) % batch] = (dataset_size - batch + 1) / (dataset_size * (batch - 1))
    return weights


def _weighted(batch: int, dataset_size: int) -> Tensor:
    return torch.full((batch, batch), 1 / (dataset_size * batch), dtype=torch.float64)


def _copied(batch: int, dataset_size: int) -> Tensor:
    designated = (dataset_size - batch + 1) / (dataset_size * (batch - 1))
    weights = torch.full((batch, batch), 1 / (batch - 1), dtype=torch.float64)
    weights.view(-1)[::batch] = 1 / dataset_size
    weights.view(-1)[1::batch] = designated
    weights[batch - 2, 0] = designated
    return weights


ESTIMATORS = {"unbiased": _unbiased, "stratified": _stratified, "weighted": _weighted, "copied": _copied}
