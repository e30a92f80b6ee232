"""FactorVAE: a VAE at γ = 0, γ on the total correlation alone, and a discriminator that says nothing to the encoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from disentlib import models
from disentlib.data.dataset import Dataset
from disentlib.models import Model
from disentlib.models.base import take_updates

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 16, 16)


def build(name: str = "factor_vae", **hyper: object) -> Model:
    own = {"width": 16} if name == "factor_vae" else {}
    return models.build(name, SHAPE, **{"code_dims": 3, "lr": 1e-3} | own | hyper)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


def test_the_loss_is_the_plain_bound_and_gamma_times_the_total_correlation(images: Tensor) -> None:
    losses = build(gamma=7.0).step(images, generator())
    expected = losses["reconstruction"] + losses["kl"] + 7 * losses["total_correlation"]
    torch.testing.assert_close(losses["loss"], expected)
    assert set(losses) == set(build().loss_names)


def test_without_gamma_the_first_step_is_the_vaes(images: Tensor) -> None:
    ours, vae, other = build(gamma=0.0), build("vae"), build(gamma=1e4)
    for model in (ours, vae, other):
        model.step(images, generator())
    same, differs = (
        all(map(torch.equal, weights(m.autoencoder), weights(vae.autoencoder))) for m in (ours, other)
    )  # fmt: skip
    assert same and not differs


def test_the_discriminators_loss_says_nothing_to_the_encoder(images: Tensor) -> None:
    """The famous leak: whatever the discriminator pays, the autoencoder's gradients and weights are the same."""
    model = build()
    given = take_updates(
        {"autoencoder": model.autoencoder_loss}, model.optimisers, images, model.draw(len(images), generator())
    )
    before, gradients = weights(model.autoencoder), [p.grad.clone() for p in model.autoencoder.parameters()]
    critic = weights(model.discriminator)
    take_updates({"discriminator": model.discriminator_loss}, model.optimisers, images, given)
    assert all(map(torch.equal, before, weights(model.autoencoder)))
    assert all(map(torch.equal, gradients, [p.grad for p in model.autoencoder.parameters()]))
    assert not any(map(torch.equal, critic, weights(model.discriminator)))
    slow, quick = build(lr_discriminator=1e-9), build(lr_discriminator=1.0)
    for other in (slow, quick):
        other.step(images, generator())
    assert all(map(torch.equal, weights(slow.autoencoder), weights(quick.autoencoder)))


def test_the_encoders_gradient_is_that_of_the_loss_alone(images: Tensor) -> None:
    """Against autograd on eq. 3, written out with the field's two outputs in place of one logit."""
    model = build(gamma=9.0)
    given = model.draw(len(images), generator())
    mean, logvar = model.posterior(images)
    z = mean + torch.exp(0.5 * logvar) * given["posterior"]
    pixels = F.binary_cross_entropy_with_logits(model.autoencoder.decoder(z), images, reduction="none").sum((1, 2, 3))
    kl = 0.5 * (mean**2 + logvar.exp() - logvar - 1).sum(1)
    d = model.discriminator(z).sigmoid()
    by_hand = (pixels + kl + 9 * (d.log() - (1 - d).log())).mean()
    parameters = list(model.autoencoder.parameters())
    ours = torch.autograd.grad(model.autoencoder_loss(images, given)[0], parameters)
    for a, b in zip(ours, torch.autograd.grad(by_hand, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_the_discriminator_takes_codes_for_class_one_and_learns_their_correlation() -> None:
    """Codes on a line: z1 = z2. The estimate rises above 0, and a γ that punishes it has something to punish."""
    model, noise = build(lr_discriminator=1e-2), generator()
    optimiser = model.optimisers["discriminator"]
    for _ in range(100):
        codes = torch.randn(64, 1, generator=noise).expand(64, 3).contiguous()
        loss, _ = model.discriminator_loss(codes, {"codes": codes, "orders": model.draw(64, noise)["orders"]})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.4 and model.discriminator(codes).mean() > 0.5


def test_a_seed_repeats_it(images: Tensor) -> None:
    alone, again = build(seed=4), build(seed=4)
    for step in range(3):
        for model in (alone, again):
            model.step(images, generator(step))
    assert all(map(torch.equal, weights(alone), weights(again)))


@pytest.mark.parametrize(("key", "value"), [("gamma", -1.0), ("width", 0), ("lr_discriminator", 0.0)])
def test_a_hyperparameter_out_of_range_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key.split("_")[0]):
        build(**{key: value})
