"""IB-GAN: a step made of its published parts, a schedule that a checkpoint keeps, and what is scored."""

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


def build(**hyper: object) -> Model:
    return models.build("ib_gan", SHAPE, **{"code_dims": 3, "noise_dims": 5, "noise_steps": 10} | hyper).train()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


def test_a_step_is_the_published_one(images: Tensor) -> None:
    """Written out on images in [−1, 1], with torch's own divergences; D's update comes first."""
    ours, plain = build(beta=0.4), build(beta=0.4)
    reported = ours.step(images, generator(3))
    given = plain.draw(12, generator(3))

    def judge(signed: Tensor, noise: str, network: torch.nn.Module) -> Tensor:
        return network.body((signed + given[noise]).clamp(-1, 1))  # σ = 1 in the first step

    one, zero = torch.ones(12, 1), torch.zeros(12, 1)
    mean, logvar = plain.representation(given["noise"])
    codes = mean + torch.exp(0.5 * logvar) * given["representation"]
    fake = torch.tanh(plain.generator.body(codes))
    real = judge(2 * images - 1, "real_instance", plain.discriminator)
    fakes = judge(fake.detach(), "fake_instance", plain.discriminator)
    paid = F.binary_cross_entropy_with_logits(real, one) + F.binary_cross_entropy_with_logits(fakes, zero)
    plain.optimisers["discriminator"].zero_grad()
    paid.backward()
    plain.optimisers["discriminator"].step()
    adversarial = F.binary_cross_entropy_with_logits(
        judge(fake, "generator_instance", plain.discriminator), one
    )  # fmt: skip
    predicted = judge(fake, "generator_instance", plain.reconstructor)
    z = given["noise"]
    information = 0.5 * (z.norm(dim=1) ** 2 - (z - predicted).norm(dim=1) ** 2).mean()
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * logvar))
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    expected = {"discriminator": paid, "generator": adversarial, "information": information, "kl": kl,
                "loss": adversarial - information + 0.4 * kl, "instance_noise": torch.tensor(1.0)}  # fmt: skip
    assert set(reported) == set(expected) == set(ours.loss_names)
    for name, value in expected.items():
        torch.testing.assert_close(reported[name], value.detach(), rtol=1e-4, atol=1e-5)


def test_each_update_moves_its_own_networks(images: Tensor) -> None:
    model = build()
    parts = {"representation", "generator", "reconstructor", "discriminator"}
    before = {name: [p.detach().clone() for p in getattr(model, name).parameters()] for name in parts}
    held = [id(p) for o in model.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))
    assert all(group["momentum"] == 0.9 for o in model.optimisers.values() for group in o.param_groups)
    given = model.draw(12, generator())
    for update, moved in (
        ("discriminator", {"discriminator"}),
        ("generator", {"representation", "generator", "reconstructor"}),
    ):
        model.zero_grad(set_to_none=True)
        loss, values = model.updates()[update](images, given | {"instance_noise": torch.tensor(1.0)})
        model.optimisers[update].zero_grad()
        loss.backward()
        model.optimisers[update].step()
        for name in parts:
            same = [torch.equal(a, b) for a, b in zip(before[name], getattr(model, name).parameters())]
            assert not all(same) if name in moved else all(same)
        before = {name: [p.detach().clone() for p in getattr(model, name).parameters()] for name in parts}


def test_the_schedule_counts_steps_and_goes_on_after_a_checkpoint(images: Tensor) -> None:
    model = build(noise_steps=4, noise_start=0.8)
    first = [model.step(images, generator(i))["instance_noise"].item() for i in range(3)]
    resumed = build(noise_steps=4, noise_start=0.8)
    resumed.load_state_dict(model.state_dict())
    rest = [resumed.step(images, generator(i))["instance_noise"].item() for i in range(3)]
    assert first + rest == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0, 0.0])


def test_the_scored_code_is_the_mean_of_the_read_noise_without_any_noise(images: Tensor) -> None:
    model = build()
    model.step(images, generator())
    model.eval()
    codes = model.encode(images)
    assert codes.shape == (12, 3) and torch.equal(codes, model.encode(images))
    torch.testing.assert_close(codes[:4], model.encode(images[:4]))  # batch norm looks at no other image
    z = model.reconstructor.body(2 * images - 1)
    torch.testing.assert_close(codes, model.representation.body(z)[:, :3])
    pictures = model.decode(codes)
    assert pictures.shape == images.shape and pictures.min() >= 0 and pictures.max() <= 1
    variances = model.measure(images, generator())["code_variance"]
    assert variances == pytest.approx(codes.detach().numpy().var(0).tolist(), rel=1e-4)


def test_the_bottleneck_is_measured_over_fresh_noise_in_nats(images: Tensor) -> None:
    """A bottleneck set to `r = ¾ z + N(0, 7/16)` on its first dimension, nothing on the others: −½ ln(7/16) nats."""
    model = build(noise_dims=3).eval()

    class Channel(torch.nn.Module):
        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            used = torch.tensor([1.0, 0.0, 0.0])
            return 0.75 * z * used, used * math.log(7 / 16)

    model.representation = Channel()
    found = model.measure(images.repeat(200, 1, 1, 1), generator())
    assert found["kl_per_dimension"] == pytest.approx([-0.5 * math.log(7 / 16), 0, 0], abs=0.02)
    assert found["bottleneck"] == pytest.approx(sum(found["kl_per_dimension"]), rel=1e-5)
    assert found["information"] < 0.1  # a reconstructor that has learnt nothing


def reached(beta: float, steps: int) -> dict[str, Tensor]:
    """What the generator's updates alone come to, D as it was drawn, without instance noise."""
    model = models.build("ib_gan", (1, 12, 12), code_dims=3, noise_dims=5, beta=beta, lr=1e-3, noise_start=0.0)
    noise, images = generator(), torch.rand(32, 1, 12, 12, generator=generator())
    model.discriminator.requires_grad_(False)
    for _ in range(steps):
        given = model.draw(32, noise) | {"instance_noise": torch.tensor(0.0)}
        loss, values = model.generator_loss(images, given)
        model.optimisers["generator"].zero_grad()
        loss.backward()
        model.optimisers["generator"].step()
    return values


def test_beta_is_the_price_of_what_passes() -> None:
    """For nothing, KL explodes within a few updates, and the bound rises above 0; at β = 20 nothing is worth it."""
    assert reached(0.0, 12)["kl"] > 1 and reached(20.0, 12)["kl"] < 0.1
    assert reached(0.0, 120)["information"] > 0.2  # after 40 it is near 0 still, on some processors


def test_a_seed_repeats_it_and_bf16_stays_finite(images: Tensor) -> None:
    first, again, other, low = build(), build(), build(), build()
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        model.step(images, generator(seed))
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    assert not all(map(torch.equal, first.parameters(), other.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        losses = low.step(images, generator())
    assert all(value.isfinite() and not value.requires_grad and value.shape == () for value in losses.values())


@pytest.mark.parametrize(
    ("key", "value"), [("noise_dims", 0), ("noise_steps", 0), ("noise_start", -1.0), ("beta", math.nan), ("lr", 0)]
)
def test_a_hyperparameter_out_of_range_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        build(**{key: value})
