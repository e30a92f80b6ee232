"""ID-GAN: a stage 1 that stays as it was, and a step made of the published parts in the published order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from disentlib import models
from disentlib.data.dataset import Dataset
from disentlib.models import Model

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 16, 16)


def stage1(name: str = "beta_vae", shape: tuple[int, int, int] = SHAPE, **hyper: object) -> Model:
    return models.build(name, shape, **{"code_dims": 3, "lr": 1e-3, "seed": 9} | hyper)


def build(adopt: bool = True, **hyper: object) -> Model:
    model = models.build("id_gan", SHAPE, **{"code_dims": 3, "noise_dims": 2} | hyper)
    if adopt:
        model.adopt("stage1", stage1())
    return model.train()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


# ---- stage 1 -------------------------------------------------------------------------------------------------------


def test_stage1_does_not_move_and_its_scores_are_the_models(images: Tensor) -> None:
    parent, model = stage1(), build()
    before = weights(parent.autoencoder.encoder)
    assert torch.equal(model.encode(images), parent.encode(images))
    moved = [*weights(model.generator), *weights(model.discriminator), *(w.clone() for w in model.averaged.values())]
    for step in range(3):
        model.step(images, generator(step))
    assert all(map(torch.equal, before, weights(model.encoder)))
    assert torch.equal(model.encode(images), parent.encode(images))
    assert not any(p.requires_grad or p.grad is not None for p in model.encoder.parameters())
    now = [*weights(model.generator), *weights(model.discriminator), *model.averaged.values()]
    assert not any(map(torch.equal, moved, now))


def test_it_is_a_copy_that_a_checkpoint_brings_along(images: Tensor) -> None:
    parent, first = stage1(), build(adopt=False)
    first.adopt("stage1", parent)
    with torch.no_grad():
        next(parent.autoencoder.encoder.parameters()).zero_()
    assert not torch.equal(first.encode(images), parent.encode(images))
    second = build(adopt=False, seed=5)
    second.load_state_dict(first.state_dict())
    second.step(images, generator())
    assert torch.equal(first.encode(images), second.encode(images))


def test_training_mode_leaves_the_frozen_encoder_in_evaluation_mode() -> None:
    model = build().eval().train()
    assert model.training and model.generator.training and not model.encoder.training


def test_a_step_without_a_stage1_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="ID-GAN needs a finished β-VAE in the role 'stage1'"):
        build(adopt=False).step(images, generator())


def test_a_stage1_that_does_not_fit_is_refused(images: Tensor) -> None:
    model = build(adopt=False)
    with pytest.raises(ValueError, match="must agree in code_dims, got 3 and 4"):
        model.adopt("stage1", stage1(code_dims=4))
    with pytest.raises(ValueError, match=r"must agree in image_shape, got \(1, 16, 16\) and \(1, 32, 32\)"):
        model.adopt("stage1", stage1(shape=(1, 32, 32)))
    with pytest.raises(ValueError, match="a model of the VAE family, got IBGAN"):
        model.accepts("stage1", models.build("ib_gan", SHAPE, code_dims=3))
    with pytest.raises(ValueError, match="no run in the role 'stage2'; known roles: stage1"):
        model.adopt("stage2", stage1())
    model.adopt("stage1", stage1())
    model.step(images, generator())
    with pytest.raises(ValueError, match="before the first step"):
        model.adopt("stage1", stage1())


def test_both_decoders_are_measured_on_the_same_codes(images: Tensor) -> None:
    parent = stage1()
    for step in range(20):
        parent.step(images, generator(step))
    model = build(adopt=False).eval()
    model.adopt("stage1", parent.eval())
    codes = parent.encode(images)
    torch.testing.assert_close(model.decode_stage1(codes), parent.decode(codes))
    found = model.measure(images, generator())
    for prefix, pictures in {"stage1_": parent.decode(codes), "": model.decode(codes)}.items():
        error = ((pictures - images) ** 2).sum() / len(images)
        assert found[f"{prefix}squared_error"] == pytest.approx(error.item(), rel=1e-5)
        read = (parent.encode(pictures) - codes).square().mean(0).sqrt()
        assert found[f"{prefix}code_error"] == pytest.approx(read.tolist(), rel=1e-4)
    assert found["stage1_squared_error"] < found["squared_error"]
    mean, variance = parent.posterior(images)[0], parent.posterior(images)[1].exp()
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    )
    assert found["kl_per_dimension"] == pytest.approx(kl.mean(0).tolist(), rel=1e-3, abs=1e-6)


# ---- a step --------------------------------------------------------------------------------------------------------


def test_a_step_is_the_discriminators_update_and_then_the_generators(images: Tensor) -> None:
    """Written out on images in [−1, 1] with cross-entropies; the codes are one sample for both, the noise is fresh."""
    ours, plain = build(information_weight=0.3), build(information_weight=0.3)
    reported = ours.step(images, generator(3))
    noise = generator(3)
    mean, logvar = plain.encoder(images)
    codes = mean + torch.exp(0.5 * logvar) * torch.randn(12, 3, generator=noise)
    one, zero = torch.ones(12), torch.zeros(12)

    def judge(signed: Tensor) -> Tensor:
        return plain.discriminator.body(signed).squeeze(1)

    fake = torch.tanh(plain.generator.body(torch.cat([codes, torch.randn(12, 2, generator=noise)], 1))).detach()
    real = (2 * images - 1).requires_grad_()
    logits = judge(real)
    slope = torch.autograd.grad(logits.sum(), real, create_graph=True)[0]
    r1 = slope.square().sum((1, 2, 3)).mean()
    paid = F.binary_cross_entropy_with_logits(logits, one) + F.binary_cross_entropy_with_logits(judge(fake), zero)
    plain.optimisers["discriminator"].zero_grad()
    (paid + 10 * r1).backward()
    plain.optimisers["discriminator"].step()

    fake = torch.tanh(plain.generator.body(torch.cat([codes, torch.randn(12, 2, generator=noise)], 1)))
    adversarial = F.binary_cross_entropy_with_logits(judge(fake), one)
    mean, logvar = plain.encoder((fake + 1) / 2)
    nll = -torch.distributions.Normal(mean, torch.exp(0.5 * logvar)).log_prob(codes).sum(1).mean()
    plain.optimisers["generator"].zero_grad()
    (adversarial + 0.3 * nll).backward()
    plain.optimisers["generator"].step()

    expected = {"discriminator": paid, "r1": r1, "generator": adversarial, "code_nll": nll}
    expected["loss"] = adversarial + 0.3 * nll
    assert set(expected) == set(reported)
    for name, value in expected.items():
        torch.testing.assert_close(reported[name], value.detach(), rtol=1e-4, atol=1e-5)
    assert math.isclose(reported["discriminator"].item(), 2 * math.log(2), abs_tol=0.05)
    for part in ("generator", "discriminator"):
        pairs = zip(weights(getattr(ours, part)), weights(getattr(plain, part)))
        distances = torch.cat([(a - b).abs().flatten() for a, b in pairs])
        assert (distances > 1e-5).double().mean() < 0.01  # RMSprop makes a whole step of a gradient that is rounding


def test_the_average_keeps_its_share_and_is_what_decodes(images: Tensor) -> None:
    model = build(average=0.9)
    start = weights(model.generator)
    model.step(images, generator())
    for old, new, averaged in zip(start, weights(model.generator), model.averaged.values()):
        torch.testing.assert_close(averaged, 0.9 * old + 0.1 * new)
    codes = torch.randn(4, 3, generator=generator())
    decoded = model.decode(codes)
    model.generator.load_state_dict(dict(model.averaged))
    torch.testing.assert_close(decoded, model.generator(torch.cat([codes, torch.zeros(4, 2)], 1)))


def test_the_generator_learns_the_codes_that_the_encoder_reads(images: Tensor) -> None:
    """A dimension that stage 1 reads off images: with all weight on it, what G draws is read as the code it got."""
    parent = stage1()
    for step in range(100):
        parent.step(images, generator(step))
    model = models.build("id_gan", SHAPE, code_dims=3, information_weight=1.0, average=0.0)
    model.adopt("stage1", parent)
    before = sum(model.measure(images, generator())["code_error"])
    for step in range(40):
        model.step(images, generator(step))
    assert sum(model.measure(images, generator())["code_error"]) < 0.7 * before


def test_optimisers_hold_what_is_trained_exactly_once() -> None:
    model = build()
    held = [id(p) for o in model.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    rates = {name: o.param_groups[0]["lr"] for name, o in model.optimisers.items()}
    assert rates == {"discriminator": 1e-4, "generator": 1e-3}


def test_a_seed_repeats_it_and_bf16_stays_finite(images: Tensor) -> None:
    first, again, other, low = build(), build(), build(), build()
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        model.step(images, generator(seed))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not all(map(torch.equal, first.parameters(), other.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        losses = low.step(images, generator())
    assert all(value.isfinite() and not value.requires_grad and value.shape == () for value in losses.values())
    assert losses["r1"].dtype == losses["code_nll"].dtype == torch.float32


@pytest.mark.parametrize(
    ("key", "value"), [("noise_dims", -1), ("average", 1.0), ("r1", -1.0), ("information_weight", math.nan), ("lr", 0)]
)
def test_a_hyperparameter_out_of_range_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        build(**{key: value})
