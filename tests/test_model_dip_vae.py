"""DIP-VAE: a VAE without its weights, the paper's weights for each variant, and covariances that go where they push."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disentlib import models
from disentlib.data.dataset import Dataset
from disentlib.models import Model

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 16, 16)


def build(name: str = "dip_vae", **hyper: object) -> Model:
    return models.build(name, SHAPE, **{"code_dims": 3, "lr": 1e-3} | hyper)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


def train(model: Model, images: Tensor, steps: int) -> dict[str, Tensor]:
    noise = generator(1)
    for _ in range(steps):
        losses = model.step(images, noise)
    return losses


@pytest.mark.parametrize(
    ("hyper", "weights"),
    [
        ({}, (10, 100)),
        ({"variant": "ii"}, (10, 10)),
        ({"lambda_od": 2.0}, (2, 20)),
        ({"variant": "ii", "lambda_od": 2.0, "lambda_d": 3.0}, (2, 3)),
    ],
)
def test_the_loss_is_the_bound_and_both_penalties_with_their_weights(
    hyper: dict, weights: tuple, images: Tensor
) -> None:
    losses = build(**hyper).step(images, generator())
    expected = losses["reconstruction"] + losses["kl"]
    expected = expected + weights[0] * losses["off_diagonal"] + weights[1] * losses["diagonal"]
    torch.testing.assert_close(losses["loss"], expected)


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_without_weights_it_is_the_vae_bit_for_bit(variant: str, images: Tensor) -> None:
    ours, vae = build(variant=variant, lambda_od=0.0, lambda_d=0.0), build("vae")
    train(ours, images, 3), train(vae, images, 3)
    assert all(map(torch.equal, ours.parameters(), vae.parameters()))


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_training_brings_the_covariance_to_the_identity(variant: str, images: Tensor) -> None:
    """With the penalties far above the rest: Cov[μ] = I for "i", Cov[μ] + E[σ²] = I for "ii"."""
    model = build(variant=variant, lambda_od=1e4, lambda_d=1e4)
    train(model, images, 100)
    mean, logvar = model.posterior(images)
    covariance = torch.cov(mean.T, correction=0) + (variant == "ii") * torch.diag(logvar.exp().mean(0))
    torch.testing.assert_close(covariance, torch.eye(3), rtol=0, atol=0.1)


def test_a_seed_repeats_it(images: Tensor) -> None:
    first, again, other = build(seed=1), build(seed=1), build(seed=2)
    for model in (first, again, other):
        train(model, images, 2)
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not all(map(torch.equal, first.parameters(), other.parameters()))


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="unknown variant 'iii'; known: i, ii"):
        build(variant="iii")
    for key in ("lambda_od", "lambda_d"):
        with pytest.raises(ValueError, match=f"{key} must be a finite number of at least 0, got -1.0"):
            build(**{key: -1.0})
