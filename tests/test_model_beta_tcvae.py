"""β-TCVAE: an ordinary VAE at β = 1 whatever the estimator, and only the total correlation weighted otherwise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from disentlib import models
from disentlib.data.dataset import Dataset
from disentlib.losses.total_correlation import ESTIMATORS
from disentlib.models import Model

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 16, 16)
PARTS = ("mutual_information", "total_correlation", "dimension_wise_kl")


def build(**hyper: object) -> Model:
    return models.build("beta_tcvae", SHAPE, **{"code_dims": 3, "lr": 1e-3, "dataset_size": 48} | hyper)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


def elbo_by_hand(model: Model, images: Tensor) -> Tensor:
    """`−ln p(x|z) + ln q(z|x) − ln p(z)` at one sample, from torch's own distributions."""
    mean, logvar = model.posterior(images)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * logvar))
    z = mean + posterior.stddev * torch.randn(mean.shape, generator=generator())
    pixels = torch.distributions.Bernoulli(logits=model.autoencoder.decoder(z), validate_args=False)
    prior = torch.distributions.Normal(0.0, 1.0)
    log_ratio = (posterior.log_prob(z) - prior.log_prob(z)).sum(1)
    return (-pixels.log_prob(images).sum((1, 2, 3)) + log_ratio).mean()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_beta_one_the_loss_and_its_gradient_are_those_of_a_single_sample_elbo(
    estimator: str, images: Tensor
) -> None:
    model = build(beta=1.0, estimator=estimator)
    loss = model.autoencoder_loss(images, model.draw(len(images), generator()))[0]
    expected = elbo_by_hand(model, images)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    ours, theirs = (torch.autograd.grad(value, list(model.parameters())) for value in (loss, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_loss_is_the_sum_of_its_parts_with_beta_on_the_total_correlation(estimator: str, images: Tensor) -> None:
    losses = build(beta=5.0, estimator=estimator).step(images, generator())
    expected = losses["reconstruction"] + losses[PARTS[0]] + 5 * losses[PARTS[1]] + losses[PARTS[2]]
    torch.testing.assert_close(losses["loss"], expected)


def test_estimators_report_other_numbers_and_train_other_models(images: Tensor) -> None:
    trained = {}
    for estimator in ("unbiased", "weighted", "copied"):
        model, noise = build(estimator=estimator), generator(1)
        reported = [model.step(images, noise)["total_correlation"].item() for _ in range(3)]
        trained[estimator] = (reported[0], torch.cat([p.detach().flatten() for p in model.parameters()]))
    values = list(trained.values())
    assert len({round(value, 3) for value, _ in values}) == 3
    assert not any(torch.equal(a, b) for (_, a), (_, b) in zip(values, values[1:]))


@pytest.mark.parametrize("size", [1, 0, -3, 2.5, True, math.inf, "all"])
def test_a_data_set_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="dataset_size must be a whole number of at least 2"):
        build(dataset_size=size)


def test_an_unknown_estimator_and_too_small_a_data_set_are_named(images: Tensor) -> None:
    with pytest.raises(ValueError, match="unknown estimator 'best'; known: unbiased, stratified, weighted, copied"):
        build(estimator="best")
    with pytest.raises(ValueError, match="at most the data set's 5, got 12"):
        build(dataset_size=5).step(images, generator())
