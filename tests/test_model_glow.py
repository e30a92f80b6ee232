"""Glow as a model: what it reports, how it begins, round trips, the top level, and what a step does to its weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from disentlib import models, training
from disentlib.data.dataset import Dataset
from disentlib.models import Model
from disentlib.models.glow import GRADIENT_NORM

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (3, 8, 8)
SMALL = {"steps_per_level": 2, "levels": 2, "width": 8, "warmup": 0}


def build(shape: tuple[int, int, int] = SHAPE, **hyper: object) -> Model:
    return models.build("glow", shape, **SMALL | hyper)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 12, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    """Smooth-ish random images of 8 bits."""
    coarse = torch.rand(n, shape[0], 2, 2, generator=generator(seed))
    smooth = torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear")
    return (smooth * 255).round() / 255


def trained(steps: int = 5, **hyper: object) -> Model:
    model, noise = build(**{"lr": 3e-3} | hyper), generator(1)
    for _ in range(steps):
        model.step(pictures(), noise)
    return model.eval().requires_grad_(False)


def weights(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


# ---- the step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hyper", [{}, {"coupling": "additive"}, {"prior": "standard"}, {"levels": 1, "bits": 8}])
def test_a_step_returns_documented_detached_finite_scalars(hyper: dict[str, object]) -> None:
    model, images = build(**hyper), pictures()
    losses = model.step(images, generator())
    assert list(losses) == list(model.loss_names) and losses["skipped"] == 0 and losses["gradient_norm"] > 0
    assert all(value.shape == () and value.isfinite() and not value.requires_grad for value in losses.values())
    torch.testing.assert_close(losses["loss"], losses["bits_per_dim"] * 192 * math.log(2))


def test_the_loss_falls_below_that_of_noise(toy: Dataset) -> None:
    model = build(toy.image_shape, levels=3, lr=3e-3)
    history = training.train(model, toy, steps=60, batch_size=16, log_every=15, progress=False).losses["bits_per_dim"]
    assert history[-1] < history[0] and history[-1] < 4 < model.bits


def test_the_first_step_initialises_from_its_batch_before_the_update() -> None:
    model, images = build(lr=1e-12), pictures(64)
    assert not model.flow.ready
    model.step(images, generator())
    assert model.flow.ready and model.flow.initialised
    by_hand = build()
    by_hand.flow.initialise(by_hand_dequantised(images))
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-5)


def by_hand_dequantised(images: Tensor) -> Tensor:
    """Five bits, with the noise that seed 0 draws first."""
    noise = torch.rand(images.shape, generator=generator())
    return (((images * 255).round().long() // 8) + noise) / 32 - 0.5


def test_later_steps_do_not_initialise_again_nor_those_of_a_loaded_model() -> None:
    model = build()
    model.step(pictures(), generator())
    loaded = build(lr=1e-12)
    loaded.load_state_dict(model.state_dict())
    for each in (model, loaded):
        before = each.flow.levels[0][0].actnorm.loc.clone()
        each.step(1 - pictures(), generator())
        assert (each.flow.levels[0][0].actnorm.loc - before).abs().max() < 0.01


def test_every_weight_moves_and_a_seed_repeats_it() -> None:
    runs = []
    for seed in (0, 0, 1):
        model, noise = build(), generator(seed)
        before = weights(model)
        for _ in range(3):
            model.step(pictures(), noise)
        runs.append(weights(model))
    moved = {name for name in before if not torch.equal(before[name], runs[0][name])}
    fixed = {name for name in before if name.endswith(("permutation", "sign", "_extra_state"))}
    assert moved == set(before) - fixed
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in before)
    assert not all(torch.equal(runs[0][name], runs[2][name]) for name in before)


def test_the_seed_sets_the_weights_and_nothing_else_does() -> None:
    first, again, other = (weights(build(seed=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["flow.levels.0.0.mixing.lower"], other["flow.levels.0.0.mixing.lower"])


def test_the_rate_rises_linearly_and_resumes_with_the_optimiser() -> None:
    model, rates = build(lr=0.01, warmup=4), []
    for _ in range(3):
        model.step(pictures(), generator())
        rates.append(model.optimisers["flow"].param_groups[0]["lr"])
    resumed = build(lr=0.01, warmup=4)
    resumed.load_state_dict(model.state_dict())
    resumed.optimisers["flow"].load_state_dict(model.optimisers["flow"].state_dict())
    for _ in range(3):
        resumed.step(pictures(), generator())
        rates.append(resumed.optimisers["flow"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


def test_a_gradient_that_is_not_finite_leaves_the_weights_and_the_moments_as_they_were() -> None:
    model = build()
    model.step(pictures(), generator())
    before, moments = weights(model), model.optimisers["flow"].state_dict()["state"][0]["exp_avg"].clone()
    handle = model.flow.levels[0][0].actnorm.loc.register_hook(lambda gradient: gradient * math.nan)
    losses = model.step(pictures(), generator())
    assert losses["skipped"] == 1 and losses["gradient_norm"] == 0 and losses["loss"].isfinite()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model.optimisers["flow"].state_dict()["state"][0]["exp_avg"], moments)
    handle.remove()
    assert model.step(pictures(), generator())["skipped"] == 0
    assert not torch.equal(before["flow.levels.0.0.actnorm.loc"], model.state_dict()["flow.levels.0.0.actnorm.loc"])


def test_a_large_gradient_is_clipped() -> None:
    model = build()
    model.step(pictures(), generator())
    model.flow.levels[0][0].actnorm.loc.register_hook(lambda gradient: gradient + 1e6)
    reported = model.step(pictures(), generator())["gradient_norm"]
    taken = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    assert reported > 1e6 and taken.item() == pytest.approx(GRADIENT_NORM, rel=1e-3)


def test_resuming_equals_no_interruption_bit_for_bit(toy: Dataset, tmp_path: Path) -> None:
    settings = {"batch_size": 8, "progress": False}
    whole, first, second = (build(toy.image_shape, warmup=5) for _ in range(3))
    training.train(whole, toy, steps=6, **settings)
    training.train(first, toy, steps=3, checkpoint=tmp_path / "c.pt", **settings)
    training.train(second, toy, steps=6, checkpoint=tmp_path / "c.pt", **settings)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


# ---- likelihood ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [3, 8])
def test_a_fresh_additive_flow_is_a_rotation_whose_density_is_known(bits: int) -> None:
    """Without actnorm, rotations and identities: `N(x; 0, I)` of the dequantised image itself."""
    model, images = build(coupling="additive", bits=bits), pictures()
    u = torch.rand(images.shape, generator=generator(5))
    x = ((images * 255).round().long() // 2 ** (8 - bits) + u) / 2**bits - 0.5
    expected = -0.5 * (x.square() + math.log(2 * math.pi)).sum((1, 2, 3)) - 192 * math.log(2**bits)
    torch.testing.assert_close(model.log_prob(images, generator(5)), expected, rtol=1e-5, atol=1e-3)


def test_the_likelihood_is_the_change_of_variables() -> None:
    """Against the Jacobian of the whole map from an image to its whitened latents, which are N(0, I)."""
    model = build((1, 4, 4), bits=8)
    images, noise = pictures(16, (1, 4, 4)), generator(2)
    for _ in range(5):
        model.step(images, noise)
    model.double().requires_grad_(False)
    images = images[:2].double()
    u = torch.rand(images.shape, generator=generator(3), dtype=torch.float64)
    x = ((images * 255).round() + u) / 256 - 0.5

    def eps(flat: Tensor) -> Tensor:
        return torch.cat([latent.eps().flatten() for latent in model.flow(flat.view(1, 1, 4, 4))[0]])

    for image, value in zip(x.flatten(1), model.log_prob(images, generator(3))):
        matrix = torch.autograd.functional.jacobian(eps, image)
        normal = torch.distributions.Normal(0, 1).log_prob(eps(image)).sum()
        torch.testing.assert_close(value, normal + torch.linalg.slogdet(matrix).logabsdet - 16 * math.log(256))


# ---- latents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hyper", [{}, {"coupling": "additive"}, {"prior": "standard"}, {"levels": 1}, {"levels": 3}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_each_kind_of_latent_goes_back_to_the_image(dtype: torch.dtype, tolerance: float, hyper: dict) -> None:
    model, images = trained(**hyper).to(dtype), pictures().to(dtype)
    for forth, back in ((model.raw, model.from_raw), (model.eps, model.from_eps)):
        latents = forth(images)
        assert [tuple(latent.shape) for latent in latents] == [(12, *shape) for shape in model.level_shapes]
        torch.testing.assert_close(back(latents), images, rtol=0, atol=tolerance)


def test_latents_go_to_an_image_and_back() -> None:
    model, images = trained().double(), 0.3 + 0.4 * pictures().double()
    eps = [latent + 1e-3 * torch.randn(latent.shape, generator=generator()) for latent in model.eps(images)]
    moved = model.from_eps(eps)
    assert moved.min() > 0 and moved.max() < 1
    torch.testing.assert_close(model.eps(moved), eps)


def test_eps_and_raw_differ_and_are_not_mistaken_for_one_another() -> None:
    model, images = trained(30), pictures()
    for eps, raw in zip(model.eps(images), model.raw(images)):
        assert (eps - raw).abs().max() > 1e-3
    assert (model.from_eps(model.raw(images)) - images).abs().max() > 1e-3


def test_with_a_standard_prior_eps_is_raw() -> None:
    model, images = trained(prior="standard"), pictures()
    assert all(torch.equal(eps, raw) for eps, raw in zip(model.eps(images), model.raw(images)))


def test_samples_are_pictures_of_a_temperature() -> None:
    model = trained()
    eps = model.sample_eps(500, 0.7, generator())
    assert [tuple(each.shape[1:]) for each in eps] == model.level_shapes
    assert torch.cat([each.flatten() for each in eps]).std().item() == pytest.approx(0.7, rel=0.01)
    again = model.sample_eps(500, 1.4, generator())
    torch.testing.assert_close(again[0], 2 * eps[0])
    images = model.from_eps(eps)
    assert images.shape == (500, *SHAPE) and images.min() >= 0 and images.max() <= 1


# ---- the top level -------------------------------------------------------------------------------------------------


def test_codes_are_the_top_levels_whitened_latents() -> None:
    model, images = trained(), pictures()
    assert model.code_dims == model.top_dims == 24 * 2 * 2
    low, top = model.eps(images)
    codes = model.encode(images)
    assert torch.equal(codes, top.flatten(1))
    torch.testing.assert_close(model.decode_top(codes, [low]), images, rtol=0, atol=1e-4)
    torch.testing.assert_close(model.decode(codes), model.from_eps([torch.zeros_like(low), top]), rtol=0, atol=0)
    assert (model.decode(codes) - images).abs().max() > 1e-3


def test_gradients_flow_to_the_latent_of_a_frozen_model() -> None:
    model = trained().double()
    top, low = (
        each.double() for each in (torch.randn(2, 96, generator=generator()), model.sample_eps(2, 0.1, generator())[0])
    )
    top.requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.decode_top(0.1 * top, [low])[0].sum(), top)
    direction = torch.randn(96, generator=generator(3), dtype=torch.float64)

    def moved(step: float) -> Tensor:
        return model.decode_top(0.1 * (top.detach() + step * direction), [low])[0].sum()

    torch.testing.assert_close(gradient[0] @ direction, (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-4, atol=1e-6)
    assert not gradient[1].any() and gradient[0].any()


def test_the_top_linear_map_is_the_jacobian_of_the_last_step_alone() -> None:
    """With one step whose coupling adds nothing, the reverse pass of the top level is linear in the channels."""
    model = build((1, 4, 4), levels=1, steps_per_level=1, coupling="additive").double().requires_grad_(False)
    for index, name in enumerate(("loc", "log_scale")):
        getattr(model.flow.levels[0][0].actnorm, name).copy_(torch.randn(4, generator=generator(index)))
    model.flow.priors[0].log_sd.copy_(torch.tensor([0.3, -0.2, 0.5, 0.0]))
    model.flow.priors[0].mean.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))

    def activation(site: Tensor) -> Tensor:
        top = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
        top[0, :, 0, 0] = site
        return torch.nn.functional.pixel_unshuffle(model.top_activation(top.flatten(1)), 2)[0, :, 0, 0]

    zero = torch.zeros(4, dtype=torch.float64)
    columns = torch.stack([activation(e) - activation(zero) for e in torch.eye(4, dtype=torch.float64)], 1)
    torch.testing.assert_close(model.top_linear(), columns)
    torch.testing.assert_close(model.top_linear(whitened=False), columns / model.flow.priors[0].log_sd.exp())


def test_the_top_activation_is_what_the_level_below_is_joined_to() -> None:
    model, images = trained().double(), pictures().double()
    x = torch.nn.functional.pixel_unshuffle(images * 255 / 256 + 0.5 / 256 - 0.5, 2)
    for step in model.flow.levels[0]:
        x = step(x)[0]
    low, _ = model.eps(images)
    activation = model.top_activation(model.encode(images), [low])
    torch.testing.assert_close(activation, x.chunk(2, 1)[0])
    assert tuple(activation.shape[1:]) == (6, 4, 4)


# ---- diagnostics and refusals --------------------------------------------------------------------------------------


def test_measure_gives_bits_round_trip_and_broken_samples() -> None:
    model, images = trained(), pictures(70)
    found = model.measure(images, generator())
    assert set(found) == {"bits_per_dim", "round_trip_error", "non_finite"}
    assert found["round_trip_error"] < 1e-4 and found["non_finite"] == 0
    expected = -model.log_prob(images, generator(8)).mean() / (192 * math.log(2))
    assert found["bits_per_dim"] == pytest.approx(expected.item(), rel=0.01)  # other noise
    model.flow.levels[0][0].actnorm.loc.fill_(math.nan)  # nothing is finite any more, the measurements still are
    assert model.measure(images, generator()) == {"round_trip_error": 1, "non_finite": 1}


def test_infinite_decodes_are_broken_and_not_black_or_white() -> None:
    model = trained()
    latents = model.sample_eps(5, 0.7, generator())
    model.flow.levels[0][0].actnorm.log_scale.data.fill_(-88.5)  # its inverse overflows
    assert model.flow.inverse(latents, True).isinf().flatten(1).any(1).all()
    assert model.from_eps(latents).isnan().flatten(1).any(1).all()


def test_the_weights_of_a_glow_for_other_sizes_are_refused(toy: Dataset, tmp_path: Path) -> None:
    """All of them would fit: a flow is made of convolutions."""
    training.train(build(toy.image_shape), toy, steps=1, batch_size=8, progress=False, checkpoint=tmp_path / "c.pt")
    c, h, w = toy.image_shape
    with pytest.raises(training.CheckpointError, match=rf"for images \({c}, {h}, {w}\), this one is for \({c}, 8, 8\)"):
        training.load_weights(build((c, 8, 8)), tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("key", "value"),
    [("bits", 0), ("bits", 9), ("warmup", -1), ("warmup", 0.5), ("lr", 0.0), ("lr", math.nan), ("coupling", "spline"),
     ("prior", "uniform"), ("levels", 0), ("steps_per_level", 0), ("width", 0)],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key) as caught:
        build(**{key: value})
    assert str(value) in str(caught.value)


def test_latents_of_other_shapes_are_refused() -> None:
    model = build()
    low, top = model.sample_eps(2, 1.0, generator())
    for wrong in ([top, low], [top], [low[:, :3], top]):
        with pytest.raises(ValueError, match=r"\[\(6, 4, 4\), \(24, 2, 2\)\], the top last; got"):
            model.from_eps(wrong)
    with pytest.raises(ValueError, match=r"\[n, 96\], got \[2, 95\]"):
        model.decode(top.flatten(1)[:, :95])
