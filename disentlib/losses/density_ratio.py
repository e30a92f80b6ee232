"""Total correlation by a classifier of codes against codes shuffled dimension by dimension (Kim & Mnih 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.losses.adversarial import discriminator_loss

__all__ = ["density_ratio_loss", "permute_dimensions", "random_orders", "total_correlation_estimate"]


def random_orders(n: int, d: int, generator: torch.Generator) -> Tensor:
    """For each of `d` dimensions a permutation of `n` rows of its own, int64 `[n, d]`, on the generator's device.

    >>> random_orders(4, 2, torch.Generator().manual_seed(0)).sort(0).values.T.tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    return torch.rand(n, d, generator=generator, device=generator.device).argsort(0)


def permute_dimensions(codes: Tensor, orders: Tensor) -> Tensor:
    """Codes `[n, d]` with every dimension's rows in an order of its own: samples of `Π_j q(z_j)` (algorithm 1).

    Every marginal keeps its values; what goes is how they belong together. `orders`: `[n, d]` of `random_orders`.

    >>> permute_dimensions(torch.tensor([[1.0, 5.0], [2.0, 6.0]]), torch.tensor([[0, 1], [1, 0]])).tolist()
    [[1.0, 6.0], [2.0, 5.0]]
    """
    return codes.gather(0, orders)


def total_correlation_estimate(joint_logits: Tensor) -> Tensor:
    """`E_q(z)[ln D − ln(1 − D)]`, the batch mean of the logits: the estimate of `TC = KL(q(z) ‖ Π_j q(z_j))` in nats.

    The sign: a logit above 0 says "these codes come from q(z)", and the model *adds* γ times the mean (eq. 3). TC
    itself is never negative, but its estimate is, wherever the discriminator is wrong. Logits `[n]`.

    >>> total_correlation_estimate(torch.tensor([0.5, -1.0])).item()
    -0.25
    """
    return joint_logits.float().mean()


def density_ratio_loss(joint_logits: Tensor, permuted_logits: Tensor) -> Tensor:
    """`−½ E_q(z)[ln D] − ½ E_perm[ln(1 − D)]` in nats: codes are class 1, shuffled codes class 0 (algorithm 2).

    ln 2 = 0.693 where the two cannot be told apart. The optimal logit is `ln q(z) − Σ_j ln q(z_j)`. Published code has
    two outputs under a softmax cross-entropy, which only sees their difference `l0 − l1`: this one logit.

    >>> round(density_ratio_loss(torch.zeros(4), torch.zeros(4)).item(), 3)
    0.693
    """
    return 0.5 * discriminator_loss(joint_logits, permuted_logits)
