"""Models: what they share, what tells them apart, and which loss moves which weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from disentlib import models
from disentlib.data.dataset import Dataset
from disentlib.losses.adversarial import ADVERSARIAL_TERMS
from disentlib.models import Model
from disentlib.models.base import take_updates

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 16, 16)
SMALL = {"vae": {}, "beta_vae": {}, "beta_gvae": {"width": 16}, "beta_tcvae": {"dataset_size": 48}}


def build(name: str, **hyper: object) -> Model:
    return models.build(name, SHAPE, **{"code_dims": 3, "lr": 1e-3} | SMALL[name] | hyper)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_of(model: Model, images: Tensor) -> Tensor:
    return model.draw(len(images), generator())["posterior"]


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters()]


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


# ---- build ---------------------------------------------------------------------------------------------------------


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'gan'.*vae, beta_vae, beta_gvae, beta_tcvae"):
        models.build("gan", SHAPE)
    assert models.names()[:4] == ("vae", "beta_vae", "beta_gvae", "beta_tcvae")


def test_an_unknown_hyperparameter_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="vae has no .*beta, gamma; it takes code_dims, likelihood, lr, seed"):
        models.build("vae", SHAPE, gamma=1.0, beta=4.0)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        *(("beta_vae", {"beta": beta}) for beta in (-0.1, math.nan, math.inf, None, "4", True)),
        *((name, {"beta": beta}) for name in ("beta_gvae", "beta_tcvae") for beta in (-0.1, math.nan)),
        *(("beta_gvae", {"gamma": gamma}) for gamma in (-1.0, math.nan, math.inf)),
        ("beta_gvae", {"adversarial_term": "hinge"}),
        *(("beta_gvae", {"adversarial_sign": sign}) for sign in (0, 2, -0.5)),
        *((name, {"likelihood": "laplace"}) for name in SMALL),
        *((name, {"code_dims": dims}) for name in SMALL for dims in (0, -2, 1.5)),
        *((name, {"lr": lr}) for name in SMALL for lr in (0.0, -1e-3, math.nan, math.inf)),
        ("beta_gvae", {"lr_discriminator": 0.0}),
        ("beta_gvae", {"width": 0}),
    ],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_refused_by_name(name: str, hyper: dict[str, object]) -> None:
    (key, value), = hyper.items()  # fmt: skip
    with pytest.raises(ValueError, match="lr" if key.startswith("lr") else key) as caught:
        build(name, **hyper)
    assert str(value) in str(caught.value)


def test_settings_name_the_model_and_every_hyperparameter() -> None:
    model = build("beta_gvae", gamma=2.0)
    assert model.settings == {"model": "beta_gvae", **models.hyperparameters("beta_gvae")} | {
        "code_dims": 3, "lr": 1e-3, "width": 16, "gamma": 2.0,
    }  # fmt: skip
    assert Model.settings == {}


# ---- what all share ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("likelihood", ["bernoulli", "squared_error"])
def test_a_step_returns_documented_detached_finite_scalars(name: str, likelihood: str, images: Tensor) -> None:
    model = build(name, likelihood=likelihood)
    losses = model.step(images, generator())
    assert set(losses) == set(model.loss_names)
    assert all(v.shape == () and v.isfinite() and not v.requires_grad for v in losses.values())


@pytest.mark.parametrize(
    ("name", "hyper", "beta", "gamma"),
    [("vae", {}, 1, 0), ("beta_vae", {"beta": 3.0}, 3, 0), ("beta_gvae", {"beta": 3.0, "gamma": 5.0}, 3, 5),
     ("beta_gvae", {"beta": 3.0, "gamma": 5.0, "adversarial_sign": -1}, 3, -5)],
)  # fmt: skip
def test_the_loss_is_the_sum_of_its_terms(name: str, hyper: dict, beta: float, gamma: float, images: Tensor) -> None:
    losses = build(name, **hyper).step(images, generator())
    expected = losses["reconstruction"] + beta * losses["kl"] - gamma * losses.get("adversarial", torch.tensor(0.0))
    torch.testing.assert_close(losses["loss"], expected)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_moves_and_a_seed_repeats_it(name: str, images: Tensor) -> None:
    first, again, other = build(name), build(name), build(name)
    before = weights(first)
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        noise = generator(seed)
        for _ in range(3):
            model.step(images, noise)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(first)))
    assert same(weights(first), weights(again)) and not same(weights(first), weights(other))


def test_models_of_one_seed_start_from_the_same_autoencoder() -> None:
    """Differences are paired by seed: nothing but the loss may differ."""
    starts = [weights(build(name, seed=7).autoencoder) for name in SMALL]
    assert all(map(same, starts, starts[1:]))
    assert not same(starts[0], weights(build("vae", seed=8).autoencoder))


@pytest.mark.parametrize("name", SMALL)
def test_encode_is_the_posteriors_mean_and_decode_a_picture(name: str, images: Tensor) -> None:
    model = build(name).eval()
    codes = model.encode(images)
    assert codes.shape == (12, 3) and torch.equal(codes, model.posterior(images)[0])
    pictures = model.decode(5 * codes)
    assert pictures.shape == images.shape and pictures.min() >= 0 and pictures.max() <= 1
    torch.testing.assert_close(pictures, torch.sigmoid(model.autoencoder.decoder(5 * codes)))


@pytest.mark.parametrize("name", SMALL)
def test_optimisers_hold_every_weight_exactly_once(name: str) -> None:
    model = build(name)
    held = [id(p) for o in model.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters())) and len(set(held)) == len(held)


# ---- β -------------------------------------------------------------------------------------------------------------


def test_with_beta_one_every_step_is_the_vaes_bit_for_bit(images: Tensor) -> None:
    vae, beta_vae, other = build("vae"), build("beta_vae", beta=1.0), build("beta_vae", beta=1.5)
    for model in (vae, beta_vae, other):
        noise = generator(4)
        for _ in range(5):
            model.step(images, noise)
    assert same(weights(vae), weights(beta_vae)) and not same(weights(vae), weights(other))


def test_beta_weighs_the_gradient_of_the_kl_and_nothing_else(images: Tensor) -> None:
    """Between β = 0 and β = 3 lies three times the KL's own gradient, and the decoder feels nothing of it."""
    none, three = (autoencoder_gradient(build("beta_vae", beta=beta), images) for beta in (0.0, 3.0))
    model = build("beta_vae")
    model.autoencoder.elbo_terms(images, noise_of(model, images)).kl.backward()
    for a, b, parameter in zip(none, three, model.autoencoder.parameters(), strict=True):
        own = torch.zeros_like(a) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(b - a, 3 * own, rtol=1e-3, atol=1e-4)


# ---- γ -------------------------------------------------------------------------------------------------------------


def autoencoder_gradient(model: Model, images: Tensor) -> list[Tensor]:
    """The gradient of what the autoencoder minimises, before any update, with the noise of seed 0."""
    model.zero_grad(set_to_none=True)
    model.autoencoder_loss(images, model.draw(len(images), generator()))[0].backward()
    return gradients(model.autoencoder)


def test_without_gamma_the_gradient_is_the_beta_vaes(images: Tensor) -> None:
    plain, without = build("beta_vae", beta=4.0), build("beta_gvae", beta=4.0, gamma=0.0)
    assert same(autoencoder_gradient(plain, images), autoencoder_gradient(without, images))


def test_gamma_adds_a_gradient_in_proportion_and_the_sign_turns_it_round(images: Tensor) -> None:
    def added(gamma: float, sign: int) -> Tensor:
        base = autoencoder_gradient(build("beta_gvae", gamma=0.0), images)
        model = build("beta_gvae", gamma=gamma, adversarial_sign=sign, adversarial_term="logit")
        return torch.cat([(a - b).flatten() for a, b in zip(autoencoder_gradient(model, images), base)])

    one = added(100.0, 1)
    assert one.norm() > 0.1
    torch.testing.assert_close(added(300.0, 1), 3 * one, rtol=0.01, atol=1e-3 * one.abs().max().item())
    torch.testing.assert_close(added(100.0, -1), -one, rtol=0.01, atol=1e-3 * one.abs().max().item())


@pytest.mark.parametrize("form", ADVERSARIAL_TERMS)
def test_the_term_that_is_asked_for_is_the_one_that_is_used(form: str, images: Tensor) -> None:
    model = build("beta_gvae", adversarial_term=form)
    with torch.no_grad():
        d = model.discriminator(model.autoencoder.elbo_terms(images, noise_of(model, images)).codes).double().sigmoid()
    expected = {"probability": d, "log": d.log(), "logit": d.log() - (1 - d).log()}[form].mean()
    torch.testing.assert_close(model.step(images, generator())["adversarial"].double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", ADVERSARIAL_TERMS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_encoder_climbs_d_with_sign_one_and_descends_with_minus_one(form: str, sign: int, images: Tensor) -> None:
    """Reading G1: one small step on the autoencoder's loss against a fixed discriminator, with the noise held."""
    model = build("beta_gvae", gamma=1e5, adversarial_term=form, adversarial_sign=sign)

    def mean_probability() -> float:
        terms = model.autoencoder.elbo_terms(images, noise_of(model, images))
        return model.discriminator(terms.codes).sigmoid().mean().item()

    before = mean_probability()
    step = autoencoder_gradient(model, images)
    length = torch.cat([g.flatten() for g in step]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(model.autoencoder.parameters(), step):
            parameter -= 0.1 * gradient / length
    assert sign * (mean_probability() - before) > 1e-5


def test_each_update_gives_gradients_to_its_own_weights_only(images: Tensor) -> None:
    model = build("beta_gvae")
    parts = {"autoencoder": model.autoencoder, "discriminator": model.discriminator}
    assert list(model.updates()) == list(model.optimisers) == list(parts)
    given = model.draw(len(images), generator())
    for name, update in model.updates().items():
        model.zero_grad(set_to_none=True)
        given = take_updates({name: update}, model.optimisers, images, given)
        for other, part in parts.items():
            assert all((p.grad is not None and p.grad.abs().sum() > 0) == (name == other) for p in part.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert not any(value.requires_grad for value in given.values())


def test_weights_are_released_after_an_error_too(images: Tensor) -> None:
    model = build("beta_gvae")
    with pytest.raises(KeyError):
        take_updates(model.updates(), model.optimisers, images, {})
    assert all(p.requires_grad for p in model.parameters())


def test_a_step_is_the_autoencoders_update_and_then_the_discriminators(images: Tensor) -> None:
    """Against both updates made by hand; D is fed the codes from before the encoder's update."""
    ours, by_hand = build("beta_gvae"), build("beta_gvae")
    noise = generator(3)
    reported = ours.step(images, noise)
    noise = generator(3)
    autoencoder, discriminator = by_hand.optimisers["autoencoder"], by_hand.optimisers["discriminator"]
    posterior = torch.randn(12, 3, generator=noise)
    loss, values = by_hand.autoencoder_loss(images, {"posterior": posterior})
    loss.backward()
    autoencoder.step()
    by_hand.zero_grad(set_to_none=True)  # of what the encoder's loss says to the discriminator
    prior = torch.randn(12, 3, generator=noise)
    logits = by_hand.discriminator(torch.cat([prior, values["codes"].detach()]))
    labels = torch.cat([torch.ones(12), torch.zeros(12)])  # prior samples are real (reading G2)
    paid = 2 * torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    paid.backward()
    discriminator.step()
    torch.testing.assert_close(reported["discriminator"], paid.detach())
    torch.testing.assert_close(reported["adversarial"], values["adversarial"].detach())
    assert same(weights(ours.autoencoder), weights(by_hand.autoencoder))
    torch.testing.assert_close(weights(ours.discriminator), weights(by_hand.discriminator), rtol=0, atol=2e-5)


def test_the_discriminator_learns_to_take_prior_samples_for_real() -> None:
    """Reading G2, with codes that are easy to tell."""
    model, noise = build("beta_gvae", lr_discriminator=3e-3), generator()
    optimiser = model.optimisers["discriminator"]
    for _ in range(60):
        codes = 4 + torch.randn(32, 3, generator=noise)
        optimiser.zero_grad()
        model.discriminator_loss(codes, {"codes": codes, "prior": torch.randn(32, 3, generator=noise)})[0].backward()
        optimiser.step()
    prior, codes = torch.randn(500, 3, generator=noise), 4 + torch.randn(500, 3, generator=noise)
    assert model.discriminator(prior).sigmoid().mean() > 0.9 > 0.1 > model.discriminator(codes).sigmoid().mean()
