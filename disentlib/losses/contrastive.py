"""The supervised contrastive loss with two temperatures (IDGAN-SC paper, eq. 6), and what tells learning from collapse.

A raw value of the loss is no evidence of learning: with τ1 < τ2, representations that are all alike score far below
random ones (reading S2). Report cosines and the nearest neighbours' accuracy instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "REDUCTIONS",
    "identical_features_loss",
    "mean_cosines",
    "neighbour_accuracy",
    "normalise",
    "pair_cross_entropy",
    "perfect_classes_loss",
    "two_temperature_loss",
]

REDUCTIONS = ("mean", "sum")


def normalise(representations: Tensor) -> Tensor:
    """Rows `[m, d]` scaled to length 1, in float32 at least (reading S3); a row of zeros stays one.

    >>> normalise(torch.tensor([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return F.normalize(_wide(representations), dim=1)


def two_temperature_loss(
    representations: Tensor, labels: Tensor, tau1: float, tau2: float, reduction: str = "mean"
) -> Tensor:
    """`Σ_i −1/|P(i)| Σ_{p∈P(i)} ln(exp(r_i·r_p/τ1) / Σ_{j≠i} exp(r_i·r_j/τ2))` in nats (eq. 6), as printed.

    `P(i)`: the others with the anchor's label. `representations` `[m, d]`, `labels` int64 `[m]`. `reduction`: "sum"
    over anchors as printed, or their "mean" (reading S4). An anchor without positives is left out of either; without
    any, the loss is 0 (reading S14). τ1 = τ2 is SupCon (Khosla et al. 2020, L_out). Inner products: `normalise` first,
    or τ1 < τ2 has no lower bound. ValueError for τ ≤ 0, an unknown reduction, or m < 2. Not lowered by autocast.

    >>> round(two_temperature_loss(torch.ones(4, 1), torch.tensor([0, 0, 1, 1]), 0.07, 0.1).item(), 3)
    -3.187
    """
    _check(tau1, tau2)
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known: {', '.join(REDUCTIONS)}")
    similarities, positives = _similarities(representations), _same_label(labels)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_denominator = (similarities / tau2).masked_fill(itself, -math.inf).logsumexp(1)
    counts = positives.sum(1)
    attraction = (similarities * positives).sum(1) / (tau1 * counts.clamp(min=1))
    losses = torch.where(counts > 0, log_denominator - attraction, 0.0)
    return losses.sum() if reduction == "sum" else losses.sum() / (counts > 0).sum().clamp(min=1)


def pair_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """`−ln p(label|pair)` in nats, batch mean, of logits `[m, k]`: InfoGAN-CR's pair loss (Lin et al. 2020).

    `ln k` for a network that knows nothing.

    >>> round(pair_cross_entropy(torch.zeros(3, 5), torch.tensor([0, 1, 4])).item(), 3)  # ln 5
    1.609
    """
    return F.cross_entropy(_wide(logits), labels)


def identical_features_loss(m: int, tau1: float, tau2: float) -> float:
    """The mean loss when all `m` normalised representations are one and the same: `ln(m − 1) + 1/τ2 − 1/τ1`.

    Only values below it can prove that classes are apart.

    >>> round(identical_features_loss(384, 0.07, 0.1), 2)
    1.66
    """
    _check(tau1, tau2)
    return math.log(m - 1) + 1 / tau2 - 1 / tau1


def perfect_classes_loss(sizes: Sequence[int], tau1: float, tau2: float) -> float:
    """The mean loss when every class is one point and the points of `k = len(sizes)` classes form a regular simplex.

    `sizes`: pairs in each class, at least 2 each; cosines are 1 within classes and `−1/(k − 1)` between them.

    >>> round(perfect_classes_loss([38] * 6 + [39] * 4, 0.07, 0.1), 2)
    -0.66
    """
    _check(tau1, tau2)
    if len(sizes) < 2 or min(sizes) < 2:
        raise ValueError(f"perfect classes need at least 2 classes with at least 2 pairs each, got sizes {sizes!r}")
    m, apart = sum(sizes), -1 / (len(sizes) - 1)
    logs = (n * math.log(n - 1 + (m - n) * math.exp((apart - 1) / tau2)) for n in sizes)
    return sum(logs) / m + 1 / tau2 - 1 / tau1


def mean_cosines(representations: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine of two of one class and of two of different classes, scalars in [−1, 1]; 0 where there are none.

    `representations` `[m, d]`, `labels` `[m]`. Both near 1: everything has collapsed. Both alike: nothing is learnt.

    >>> [x.item() for x in mean_cosines(torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1]))]
    [1.0, 0.0]
    """
    cosines, within = _similarities(normalise(representations)), _same_label(labels)
    between = labels[:, None] != labels
    return _masked_mean(cosines, within), _masked_mean(cosines, between)


def neighbour_accuracy(representations: Tensor, labels: Tensor, neighbours: int = 5) -> Tensor:
    """How often the majority of an item's nearest others, by cosine, has its label: a scalar in [0, 1]; chance is 1/k.

    `representations` `[m, d]`, `labels` int64 `[m]`, each at least 0. Of labels that are tied the smallest counts.
    ValueError unless 1 ≤ neighbours < m.

    >>> neighbour_accuracy(torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1]), neighbours=1).item()
    1.0
    """
    if not 1 <= neighbours < len(labels):
        raise ValueError(f"neighbours must lie between 1 and the other {len(labels) - 1} items, got {neighbours!r}")
    cosines = _similarities(normalise(representations))
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    nearest = labels[cosines.masked_fill(itself, -math.inf).topk(neighbours, dim=1).indices]
    votes = (nearest[:, :, None] == nearest[:, None]).sum(2)  # of each neighbour's label among the neighbours
    best = nearest.masked_fill(votes < votes.max(1, keepdim=True).values, torch.iinfo(labels.dtype).max)
    return (best.min(1).values == labels).float().mean()


def _check(tau1: float, tau2: float) -> None:
    if not (0 < tau1 < math.inf and 0 < tau2 < math.inf):
        raise ValueError(f"tau1 and tau2 must be finite numbers above 0, got {tau1!r} and {tau2!r}")


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _similarities(representations: Tensor) -> Tensor:
    """Inner products `[m, m]`; autocast would take them in bf16, whose steps near 1 are 0.004, and 1/τ is 14."""
    if len(representations) < 2:
        raise ValueError(f"a contrastive loss needs at least 2 representations, got {len(representations)}")
    with torch.autocast(representations.device.type, enabled=False):
        wide = _wide(representations)
        return wide @ wide.T


def _same_label(labels: Tensor) -> Tensor:
    """Which others have the same label, bool `[m, m]`, false on the diagonal."""
    return (labels[:, None] == labels).fill_diagonal_(False)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)
