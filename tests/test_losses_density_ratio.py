"""Total correlation by density ratio: shuffles, an optimal and a trained discriminator, the field's two outputs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from disentlib.losses.density_ratio import (
    density_ratio_loss,
    permute_dimensions,
    random_orders,
    total_correlation_estimate,
)
from disentlib.networks import LatentDiscriminator, seeded

pytestmark = pytest.mark.usefixtures("one_thread")

RHO = 0.8
CLOSED_FORM = -0.5 * math.log(1 - RHO**2)  # the total correlation of two unit Gaussians with correlation ρ


def correlated(n: int, g: torch.Generator) -> Tensor:
    z = torch.randn(n, 2, generator=g)
    return torch.stack([z[:, 0], RHO * z[:, 0] + math.sqrt(1 - RHO**2) * z[:, 1]], 1)


def optimal_logit(z: Tensor) -> Tensor:
    """`ln N(z; 0, Σ) − Σ_j ln N(z_j; 0, 1)`, from torch's own distributions."""
    joint = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, RHO], [RHO, 1.0]]))
    return joint.log_prob(z) - torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)


def test_a_shuffle_keeps_every_marginal_and_nothing_of_how_they_belong_together() -> None:
    g = torch.Generator().manual_seed(0)
    codes = correlated(4000, g)
    shuffled = permute_dimensions(codes, random_orders(4000, 2, g))
    assert torch.equal(shuffled.sort(0).values, codes.sort(0).values)
    assert torch.corrcoef(codes.T)[0, 1] > 0.75 and abs(torch.corrcoef(shuffled.T)[0, 1]) < 0.06


def test_orders_are_uniform_and_differ_between_dimensions() -> None:
    g = torch.Generator().manual_seed(0)
    first = torch.stack([random_orders(3, 2, g) for _ in range(3000)])  # [draws, 3, 2]
    ranks = first[:, 0] * 3 + first[:, 1]  # a permutation of three by its first two
    counts = ranks[:, 0].bincount(minlength=9)
    assert (counts[counts > 0] - 500).abs().max() < 100 and (counts > 0).sum() == 6
    assert abs((ranks[:, 0] == ranks[:, 1]).double().mean() - 1 / 6) < 0.03


def test_the_optimal_logit_gives_the_closed_form_with_its_sign() -> None:
    z = correlated(40_000, torch.Generator().manual_seed(0))
    assert total_correlation_estimate(optimal_logit(z)).item() == pytest.approx(CLOSED_FORM, abs=0.02)


def test_a_trained_discriminator_finds_the_closed_form() -> None:
    """Averaged over its last 100 updates, each on new codes: one discriminator alone is off by up to 0.1."""
    g = torch.Generator().manual_seed(0)
    network = seeded(LatentDiscriminator, 2, 32, 2, seed=0)
    optimiser, estimates = torch.optim.Adam(network.parameters(), lr=3e-3), []
    for _ in range(500):
        codes = correlated(256, g)
        joint = network(codes)
        estimates.append(total_correlation_estimate(joint).item())
        loss = density_ratio_loss(joint, network(permute_dimensions(codes, random_orders(256, 2, g))))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert estimates[0] < 0.1 and sum(estimates[-100:]) / 100 == pytest.approx(CLOSED_FORM, abs=0.06)


def test_one_logit_is_the_fields_two_outputs_under_a_softmax() -> None:
    g = torch.Generator().manual_seed(0)
    joint, permuted = torch.randn(2, 50, 2, generator=g)
    zeros, ones = torch.zeros(50, dtype=torch.int64), torch.ones(50, dtype=torch.int64)
    theirs = 0.5 * (F.cross_entropy(joint, zeros) + F.cross_entropy(permuted, ones))
    ours = density_ratio_loss(joint[:, 0] - joint[:, 1], permuted[:, 0] - permuted[:, 1])
    torch.testing.assert_close(ours, theirs)
