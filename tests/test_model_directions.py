"""Direction methods on a linear flow, where everything is known exactly, and on a tiny Glow."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentlib import models
from disentlib.models import Model
from disentlib.models.base import take_updates
from disentlib.models.closed_form import cosine_patterns, spread
from disentlib.models.contrast import Contrast
from disentlib.models.deep_spectral import jacobian
from disentlib.models.directions import collapse_signs
from disentlib.models.frozen_flow import Pairs
from disentlib.models.ganspace import Moments, regressed_axes
from disentlib.models.regressed import code_regression

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 8, 8)
TOP = 32
FIXED = ("closed_form", "ganspace", "deep_spectral")
LEARNED = ("latent_discovery", "disco", "dis_gu")
CONTRASTIVE = ("disco", "dis_gu")
SMALL = {
    **{name: {"directions": 5} for name in FIXED},
    "ganspace": {"directions": 5, "samples": 300},
    "latent_discovery": {"directions": 5, "bases": 20},
    "disco": {"directions": 5, "code_dims": 4, "queries": 4, "positives": 3, "negatives": 6, "bases": 20},
    "dis_gu": {"directions": 5, "code_dims": 4, "queries": 4, "positives": 3, "negatives": 6, "bases": 20},
}


class LinearFlow(Model):
    """`x = 0.5 + M·eps` for an invertible M; `broken`: images whose first latent is above it are NaN."""

    image_shape, code_dims, loss_names = SHAPE, TOP, {}
    level_shapes, top_dims = [(2, 4, 4), (8, 2, 2)], TOP

    def __init__(self, broken: float = math.inf) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(5)
        self.matrix = nn.Parameter(0.02 * (torch.randn(64, 64, generator=drawn) + 4 * torch.eye(64)))
        self.activate = torch.randn(TOP, TOP, generator=drawn)
        self.linear = torch.randn(8, 8, generator=drawn)
        self.broken, self.decoded = broken, 0

    def eps(self, images: Tensor) -> list[Tensor]:
        whole = torch.linalg.solve(self.matrix, (images.flatten(1) - 0.5).T).T
        return [p.unflatten(1, s) for p, s in zip(whole.split([32, 32], 1), self.level_shapes)]

    def from_eps(self, eps: list[Tensor]) -> Tensor:
        whole = torch.cat([level.flatten(1) for level in eps], 1)
        self.decoded += len(whole)
        images = 0.5 + (whole @ self.matrix.T).unflatten(1, SHAPE)
        factor = torch.where(whole[:, 0].detach() > self.broken, math.nan, 1.0)
        return images * factor[:, None, None, None]  # so that the gradients of broken images are NaN as well

    def sample_eps(self, n: int, temperature: float, generator: torch.Generator) -> list[Tensor]:
        return [temperature * torch.randn(n, *shape, generator=generator) for shape in self.level_shapes]

    def top_linear(self) -> Tensor:
        return self.linear

    def top_activation(self, top: Tensor, rest: list[Tensor]) -> Tensor:
        return (top @ self.activate.T).unflatten(1, (2, 4, 4))

    optimisers = {}

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        return self.eps(images)[-1].flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        raise NotImplementedError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, flow: Model | None = None, **hyper: object) -> Model:
    model = models.build(name, SHAPE, **{"encoder_width": 8, "lr": 1e-3} | SMALL[name] | hyper)
    model.adopt("glow", flow or LinearFlow())
    return model.train()


def images(n: int = 6) -> Tensor:
    return torch.rand(n, *SHAPE, generator=generator(9))


def state(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def steps(model: Model, count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    noise = generator(seed)
    return [model.step(images(), noise) for _ in range(count)]


def loss_and_gradients(model: Model, given: dict[str, Tensor]) -> list[Tensor]:
    (update,) = model.updates().values()
    loss, _ = update(images(), {key: value.clone() for key, value in given.items()})
    weights = [p for group in next(iter(model.optimisers.values())).param_groups for p in group["params"]]
    return [loss.detach(), *torch.autograd.grad(loss, weights)]


# ---- directions against linear algebra -------------------------------------------------------------------------------


def test_deep_spectral_is_the_svd_of_a_linear_decoder() -> None:
    model = build("deep_spectral")
    top = model.frozen.flow.matrix.detach()[:, TOP:]
    torch.testing.assert_close(jacobian(model.frozen), top)
    _, values, rows = np.linalg.svd(top.double().numpy())
    np.testing.assert_allclose(model.spectrum, values, rtol=1e-4)
    overlap = np.abs(rows[:5] @ model.directions().double().numpy())
    np.testing.assert_allclose(overlap, np.eye(5), atol=1e-3)


def test_closed_form_spreads_the_channels_singular_vectors_evenly() -> None:
    model = build("closed_form", directions=12)
    _, values, rows = np.linalg.svd(model.frozen.flow.linear.double().numpy())
    np.testing.assert_allclose(model.spectrum, values, rtol=1e-5)
    directions = model.directions().unflatten(0, (8, 2, 2))
    for k in range(8):
        assert (directions[..., k] - directions[:, :1, :1, k]).abs().max() < 1e-6  # constant over the grid
        assert abs(rows[k] @ directions[:, 0, 0, k].double().numpy()) == pytest.approx(0.5, abs=1e-4)
    torch.testing.assert_close(model.directions().T @ model.directions(), torch.eye(12), rtol=0, atol=1e-5)
    assert directions[..., 8].sum((1, 2)).abs().max() < 1e-5  # the next pattern has no mean


def test_cosine_patterns_are_orthonormal_and_products_fill_the_latent() -> None:
    patterns = cosine_patterns(4, 4)
    torch.testing.assert_close(patterns.T @ patterns, torch.eye(16, dtype=torch.float64))
    assert (patterns[:, 0] - 0.25).abs().max() < 1e-12
    channels = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator()))[0]
    every = spread(channels, patterns, 48)
    torch.testing.assert_close(every.T @ every, torch.eye(48, dtype=torch.float64))


def test_ganspace_is_lstsq_on_principal_coordinates() -> None:
    x, w = torch.randn(500, 4, generator=generator()).double(), torch.randn(500, 3, generator=generator(1)).double()
    x = x @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5]).double()) + 2
    w = w + x[:, :3] + 1
    centred, targets = x - x.mean(0), w - w.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False)[2]
    slopes = np.linalg.lstsq((centred @ axes.T).numpy(), targets.numpy(), rcond=None)[0]
    expected = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    ours, variances = regressed_axes(centred.T @ centred / 500, centred.T @ targets / 500, 4)
    np.testing.assert_allclose(np.abs((expected @ ours.numpy()).diagonal()), 1, atol=1e-8)
    np.testing.assert_allclose(variances, np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[::-1], rtol=1e-8)


def test_ganspace_finds_the_latent_axes_behind_a_linear_activation() -> None:
    """For `y = Bw` with white w, `B = U S Vᵀ`, the coordinate along u_k answers to the latent direction v_k."""
    model = build("ganspace", samples=20_000, directions=3)
    rows = np.linalg.svd(model.frozen.flow.activate.double().numpy())[2]
    flow = model.frozen.flow
    overlap = np.abs(rows[:3] @ model.directions().double().numpy())
    assert overlap.diagonal().min() > 0.95
    top = 0.7 * torch.randn(20_000, TOP, generator=generator(3))
    variance = np.linalg.eigvalsh(np.cov((top @ flow.activate.T).double().numpy().T))[::-1]
    np.testing.assert_allclose(model.spectrum[:3], variance[:3], rtol=0.08)


def test_ganspace_can_take_the_axes_of_encoded_images() -> None:
    model = build("ganspace", axes_from="data", samples=300)
    batches = [torch.rand(100, *SHAPE, generator=generator(k)) for k in range(4)]
    sampled, noise = model.directions().clone(), generator()
    for count, batch in enumerate(batches):
        assert torch.equal(model.directions(), sampled) == (count < 3)
        model.step(batch, noise)
    latents = model.frozen.flow.encode(torch.cat(batches[:3])).double().detach().numpy()
    values, axes = np.linalg.eigh(np.cov(latents.T, bias=True))
    overlap = np.abs(axes[:, ::-1][:, :5].T @ model.directions().double().numpy())
    np.testing.assert_allclose(overlap, np.eye(5), atol=1e-3)
    np.testing.assert_allclose(model.spectrum, values[::-1], rtol=1e-3)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_directions_repeat_and_only_the_encoder_moves(name: str) -> None:
    first, again = build(name), build(name)
    before = first.directions().clone()
    assert torch.equal(before, again.directions())
    torch.testing.assert_close(before.norm(dim=0), torch.ones(5), rtol=0, atol=1e-5)
    steps(first, 3)
    assert torch.equal(first.directions(), before)
    moved = [not torch.equal(a, b) for a, b in zip(first.encoder.parameters(), again.encoder.parameters())]
    assert all(moved)


def test_the_regression_is_what_is_written_and_training_lowers_it() -> None:
    model = build("closed_form", lr=3e-3)
    given = model.draw(6, generator())
    loss, _ = model.encoder_loss(images(), given)
    latents = given["latents"]
    pictures = 0.5 + (latents @ model.frozen.flow.matrix.T).unflatten(1, SHAPE)
    expected = (model.encoder(pictures) - latents[:, TOP:] @ model.directions()).square().sum() / 6
    torch.testing.assert_close(loss, expected)
    losses = [step["regression"].item() for step in steps(model, 200)]
    assert np.mean(losses[-50:]) < 0.8 * 5 * 0.7**2  # what the answer 0 costs: five codes of variance 0.49


# ---- codes ----------------------------------------------------------------------------------------------------------


def test_exact_codes_are_coordinates_and_decoding_inverts_them() -> None:
    model = build("latent_discovery", level="all", directions=64)
    flow, x = model.frozen.flow, images()
    latents = torch.cat([level.flatten(1) for level in flow.eps(x)], 1)
    torch.testing.assert_close(model.exact_codes(x), latents @ model.directions())
    torch.testing.assert_close(model.decode(model.exact_codes(x)), x, rtol=0, atol=1e-4)


def test_decode_moves_the_top_level_only() -> None:
    model = build("disco", code_dims=7)
    codes = torch.randn(3, 5, generator=generator())
    expected = 0.5 + codes @ model.directions().T @ model.frozen.flow.matrix[:, TOP:].T
    torch.testing.assert_close(model.decode(codes), expected.unflatten(1, SHAPE).clamp(0, 1))
    assert model.encode(images()).shape == (6, 7) and model.code_dims == 7
    with pytest.raises(ValueError, match="each of the 5 directions, got 7"):
        model.decode(model.encode(images()))


# ---- what all share -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_step_reports_all_losses_moves_what_is_learned_and_leaves_the_glow(name: str) -> None:
    glow = LinearFlow()
    model, again, other = build(name, glow), build(name, glow), build(name, glow)
    start, frozen = [p.clone() for p in model.parameters() if p.requires_grad], state(model.frozen)
    losses = steps(model, 3)[-1]
    steps(again, 3)
    steps(other, 3, seed=1)
    assert set(losses) == set(model.loss_names)
    assert all(x.shape == () and x.isfinite() and not x.requires_grad for x in losses.values())
    moved = [not torch.equal(a, b) for a, b in zip(start, [p for p in model.parameters() if p.requires_grad])]
    assert all(moved)
    assert same(state(model), state(again)) and not same(state(model), state(other))
    assert same(frozen, state(model.frozen)) and same(frozen, state(glow))
    assert glow.matrix.requires_grad and not any(p.requires_grad for p in model.frozen.parameters())
    assert model.encoder.training and not model.frozen.flow.training
    assert any(key.startswith("frozen.flow.") for key in model.state_dict())


@pytest.mark.parametrize("name", SMALL)
def test_optimisers_hold_every_learned_weight_once(name: str) -> None:
    model = build(name)
    held = [id(p) for o in model.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", SMALL)
def test_a_saved_model_goes_on_as_if_it_had_not_stopped(name: str) -> None:
    hyper = {"refresh": 2, "cached_bases": True} | ({"flip_warmup": 3} if name in CONTRASTIVE else {})
    straight, noise = build(name, **hyper), generator()
    for _ in range(2):
        straight.step(images(), noise)
    resumed = build(name, **hyper)
    resumed.load_state_dict(straight.state_dict())
    for key, optimiser in resumed.optimisers.items():
        optimiser.load_state_dict(deepcopy(straight.optimisers[key].state_dict()))
    copy = generator()
    copy.set_state(noise.get_state())
    for _ in range(3):
        straight.step(images(), noise)
        resumed.step(images(), copy)
    assert same(state(straight), state(resumed)) and resumed.steps_taken == 5


@pytest.mark.parametrize("name", SMALL)
def test_it_runs_in_half_precision(name: str) -> None:
    model = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(value.isfinite() for value in steps(model, 1)[0].values())


@pytest.mark.parametrize("name", SMALL)
def test_broken_images_are_counted_and_harm_nothing(name: str) -> None:
    model = build(name, LinearFlow(broken=0.3), cached_bases=False)
    counts = [step["non_finite"].item() for step in steps(model, 4)]
    assert max(counts) > 0
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_broken_pair_weighs_nothing() -> None:
    """The loss and its gradient are those of the pairs that are whole."""
    model = build("latent_discovery", LinearFlow(broken=0.3), cached_bases=False).eval()
    given = model.draw(12, generator())
    whole = given["latents"][:, 0] <= 0.3
    assert 0 < whole.sum() < 12
    results = []
    for part in (given, {key: value[whole] for key, value in given.items()}):
        loss, values = model.learner_loss(images(12), part)
        results.append([loss, torch.autograd.grad(loss, model.navigator.weight)[0], values["image_change"]])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


def test_codes_that_are_not_finite_count_no_more_than_images() -> None:
    encoder, pictures = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images(6)
    codes = torch.randn(6, 2, generator=generator())
    broken, harmed = codes.clone(), pictures.clone()
    broken[0, 1], broken[1, 0], harmed[2, 0, 3, 3] = math.nan, math.inf, math.nan
    results = []
    for part in ((harmed, broken), (pictures[3:], codes[3:])):
        loss, count = code_regression(encoder, *part)
        results.append([loss, *torch.autograd.grad(loss, encoder.parameters())])
        assert count == (3 if part[0] is harmed else 0)
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


def test_ganspace_leaves_out_what_is_not_finite() -> None:
    drawn = torch.randn(300, 12, generator=generator())
    whole, harmed = Moments(), Moments()
    whole.add(drawn[2:, :5], drawn[2:, 5:])
    drawn[0, 2], drawn[1, 9] = math.nan, math.inf
    harmed.add(drawn[:100, :5], drawn[:100, 5:])
    harmed.add(drawn[100:, :5], drawn[100:, 5:])
    for ours, theirs in zip(harmed.covariances(), whole.covariances()):
        torch.testing.assert_close(ours, theirs)

    axes = []
    for broken in (False, True):
        model = build("ganspace", axes_from="data", samples=300)
        batch = torch.rand(300 + broken, *SHAPE, generator=generator(1))
        batch[300:] = math.nan
        model._collect(batch)
        axes.append(model.directions())
    torch.testing.assert_close(*axes)


def test_deep_spectral_refuses_a_glow_that_is_broken_where_it_looks() -> None:
    with pytest.raises(ValueError, match="at latent 0, and there this Glow is not finite"):
        build("deep_spectral", LinearFlow(broken=-1.0))


def test_signs_of_collapse_are_those_of_whole_pairs() -> None:
    variations, valid = torch.rand(3, 8, 5, generator=generator()), torch.ones(3, 8)
    valid[:, 5:] = 0
    harmed = variations.clone()
    harmed[:, 5:] = 0  # what the variation of two equal images is
    expected = collapse_signs(variations[:, :5], 0.9)
    assert collapse_signs(harmed, 0.9, valid) == pytest.approx(expected)
    assert collapse_signs(harmed, 0.9) != pytest.approx(expected, rel=0.05)
    assert collapse_signs(harmed, 0.9, 0 * valid) == {}  # nothing can be said

    model = build("dis_gu", LinearFlow(broken=0.3)).eval()
    measured = model.measure(images(), generator())
    assert measured["non_finite"] > 0 and measured["positive_cosine"] > 0.1


# ---- bases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_the_literal_step_has_the_same_loss_and_gradient(name: str) -> None:
    quick, literal = build(name, cached_bases=False), build(name, literal=True)
    given = quick.draw(6, generator())
    assert given.keys() == literal.draw(6, generator()).keys()
    for ours, theirs in zip(loss_and_gradients(quick, given), loss_and_gradients(literal, given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_cached_bases_halve_the_decoding(name: str) -> None:
    pairs = 13 + (4 if name == "dis_gu" else 0)
    cached, literal = build(name), build(name, literal=True)
    steps(cached, 1)
    for model, decoded in ((cached, pairs), (literal, 2 * pairs)):
        before = model.frozen.flow.decoded
        steps(model, 1)
        assert model.frozen.flow.decoded - before == decoded


def test_the_pool_holds_decoded_samples_and_is_a_function_of_seed_and_step() -> None:
    model, again, other = build("disco", refresh=3), build("disco", refresh=3), build("disco", refresh=3, seed=1)
    given = {"rows": torch.arange(20)}
    latents, pictures = model.bases.take(model.frozen, images(), given, 0)
    torch.testing.assert_close(pictures, model.frozen.images(latents))
    assert latents.std().item() == pytest.approx(0.7, abs=0.05)
    at = lambda m, step: m.bases.take(m.frozen, images(), given, step)[0]  # noqa: E731
    assert torch.equal(latents, at(model, 2)) and not torch.equal(latents, at(model, 3))
    assert torch.equal(at(model, 4), at(again, 5)) and not torch.equal(latents, at(other, 0))


@pytest.mark.parametrize("cached", [True, False])
def test_half_of_the_bases_can_be_real_with_exact_latents(cached: bool) -> None:
    model = build("disco", real_bases=True, cached_bases=cached)
    x, given = images(), model.draw(6, generator())
    latents, pictures = model.bases.take(model.frozen, x, given, 0)
    assert torch.equal(pictures[::2], x[given["real_rows"][::2]])
    torch.testing.assert_close(model.frozen.images(latents), pictures, rtol=0, atol=1e-5)
    assert latents[1::2].abs().max() < latents[::2].abs().max()
    assert all(value.isfinite() for value in model.step(x, generator()).values())


# ---- shifts, contrast, learner --------------------------------------------------------------------------------------


def test_pairs_are_shifted_along_their_direction_by_their_amount() -> None:
    model = build("latent_discovery", shift_scale=4.0)
    given = model.draw(6, generator())
    shifts = model.shifts(model.directions(), given)
    expected = given["amounts"] * math.sqrt(TOP / 128)
    torch.testing.assert_close((shifts @ model.directions())[torch.arange(6), given["directions"]], expected)
    torch.testing.assert_close(shifts.norm(dim=1), expected.abs())
    assert given["amounts"].abs().max() <= 4 and given["amounts"].abs().min() >= 4 / 12


def test_queries_and_positives_share_a_direction_that_no_negative_has() -> None:
    contrast, noise = Contrast(3, 2, 400), generator()
    targets = set()
    for _ in range(60):
        drawn = contrast.draw_directions(4, noise)
        assert drawn[:5].unique().numel() == 1
        assert set(drawn[5:].tolist()) == set(range(4)) - {drawn[0].item()}
        targets.add(drawn[0].item())
    assert targets == set(range(4))


def test_dis_gu_is_the_learners_loss_plus_the_contrast() -> None:
    losses = steps(build("dis_gu", eta=0.5, entropy_weight=2.0), 1)[0]
    torch.testing.assert_close(losses["learner"], losses["cross_entropy"] + 0.5 * losses["shift_error"])
    torch.testing.assert_close(losses["loss"], losses["learner"] + losses["contrast"] + losses["entropy"])
    assert losses["entropy"] > 0


def test_raw_variations_are_paid_by_their_length() -> None:
    """With an encoder that answers with the picture: lengths 2 and 3 along one axis, a negative along the other."""
    base = torch.zeros(3, 2, 1, 1)
    shifted = torch.tensor([[2.0, 0.0], [-3.0, 0.0], [0.0, 1.5]])[:, :, None, None]
    attracted, others = Pairs(base[:2], shifted[:2], torch.ones(2)), Pairs(base[2:], shifted[2:], torch.ones(1))
    for normalise, product in ((True, 1.0), (False, 6.0)):
        contrast = Contrast(1, 1, 1, flip_warmup=1, normalise=normalise)
        values = contrast.terms(nn.Flatten(), attracted, others, step=0)
        expected = (math.log1p(math.exp(-product)) + math.log(2)) / 2
        assert values["contrast"].item() == pytest.approx(expected)
        assert values["positive_similarity"].item() == 1
    assert build("dis_gu", normalise=False).contrast.normalise is False


def test_flipping_begins_after_the_warmup() -> None:
    """With a threshold below every cosine, labels are changed from the first step that may."""
    paid = {}
    for warmup in (0, 2):
        model, noise = build("disco", threshold=1e-6, flip_warmup=warmup, lr=1e-12), generator()
        paid[warmup] = [model.step(images(), noise)["contrast"].item() for _ in range(4)]
    assert all(a < b for a, b in zip(paid[0][:2], paid[2][:2]))
    assert paid[0][2:] == pytest.approx(paid[2][2:], abs=1e-5)


def test_staged_training_finds_directions_and_then_keeps_them() -> None:
    model = build("dis_gu", staged=2)
    start = {part: state(getattr(model, part)) for part in ("navigator", "encoder")}
    noise = generator()
    first = [model.step(images(), noise) for _ in range(2)][-1]
    after = {part: state(getattr(model, part)) for part in start}
    assert first["contrast"] == 0 and first["learner"] > 0
    assert same(start["encoder"], after["encoder"]) and not same(start["navigator"], after["navigator"])
    second = [model.step(images(), noise) for _ in range(2)][-1]
    assert second["learner"] == 0 and second["contrast"] > 0
    assert same(after["navigator"], state(model.navigator)) and not same(after["encoder"], state(model.encoder))


def test_the_warm_up_of_pseudo_labels_counts_from_the_encoders_first_step() -> None:
    paid = {}
    for warmup in (0, 2):
        model, noise = build("dis_gu", staged=2, threshold=1e-6, flip_warmup=warmup, lr=1e-12), generator()
        paid[warmup] = [model.step(images(), noise)["contrast"].item() for _ in range(6)]
    assert paid[0][:2] == paid[2][:2] == [0, 0]
    assert all(a < b for a, b in zip(paid[0][2:4], paid[2][2:4]))
    assert paid[0][4:] == pytest.approx(paid[2][4:], abs=1e-5)


def test_latent_discovery_trains_directions_by_the_learner_only() -> None:
    model = build("latent_discovery")
    given = model.draw(6, generator())
    updates = model.updates()
    before = model.directions().detach().clone()
    given = take_updates({"learner": updates["learner"]}, model.optimisers, images(), given)
    between = model.directions().detach().clone()
    take_updates({"encoder": updates["encoder"]}, model.optimisers, images(), given)
    assert not torch.equal(before, between) and torch.equal(between, model.directions())
    torch.testing.assert_close(between.T @ between, torch.eye(5), rtol=0, atol=1e-5)


def test_the_reconstructor_learns_which_way_an_image_was_shifted() -> None:
    model = build("latent_discovery", directions=2, lr=1e-2, bases=200)
    noise = generator()
    accuracy = [model.step(images(32), noise)["reconstructor_accuracy"].item() for _ in range(40)]
    assert np.mean(accuracy[-10:]) > 0.8 > 0.7 > np.mean(accuracy[:5])


# ---- measure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_measured_image_changes_are_those_of_the_linear_map(name: str) -> None:
    model = build(name).eval()
    measured = model.measure(images(), generator())
    with torch.no_grad():
        moved = model.frozen.flow.matrix[:, TOP:] @ model.directions()
    expected = 3 * math.sqrt(TOP / 128) * moved.abs().mean(0)
    assert measured["image_change"] == pytest.approx(expected.tolist(), rel=1e-4)
    assert measured["visible_directions"] == (expected >= 1 / 255).sum()
    assert 0 <= measured["negative_cosine"] <= 1 and 0 <= measured["flipped_fraction"] <= 1
    assert 1 <= measured["effective_rank"] <= model.code_dims and measured["non_finite"] == 0
    assert ("reconstructor_accuracy" in measured) == (name in ("latent_discovery", "dis_gu"))
    assert ("spectrum" in measured) == (name in FIXED)


def test_a_collapsed_encoder_is_seen() -> None:
    model = build("disco").eval()
    with torch.no_grad():  # all variations along the first code
        model.encoder[-1].weight[1:] = 0
    measured = model.measure(images(), generator())
    assert measured["negative_cosine"] == pytest.approx(1) and measured["flipped_fraction"] == 1
    assert measured["effective_rank"] == pytest.approx(1, abs=1e-4)


def test_code_r2_is_one_for_an_encoder_that_is_exact() -> None:
    model = build("closed_form").eval()
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    with torch.no_grad():
        inverse = torch.linalg.inv(model.frozen.flow.matrix)[TOP:].T @ model.directions()
        model.encoder[1].weight.copy_(inverse.T)
        model.encoder[1].bias.copy_(-0.5 * inverse.sum(0))
    assert model.measure(images(), generator())["code_r2"] == pytest.approx(1, abs=1e-4)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        *((name, {"directions": value}) for name in SMALL for value in (0, 1.5)),
        *((name, {"temperature": 0.0}) for name in SMALL),
        *((name, {"shift_scale": value}) for name in SMALL for value in (0.0, math.nan)),
        *((name, {"lr": 0.0}) for name in SMALL),
        *((name, {"encoder_width": 4}) for name in SMALL),
        *((name, {"level": "bottom"}) for name in LEARNED),
        *((name, {"columns": "square"}) for name in LEARNED),
        *((name, {"bases": 0}) for name in LEARNED),
        *((name, {"refresh": -1}) for name in LEARNED),
        *((name, {key: 0}) for name in CONTRASTIVE for key in ("queries", "positives", "negatives")),
        *((name, {"threshold": value}) for name in CONTRASTIVE for value in (0.0, 1.01, math.nan)),
        *((name, {"tau": value}) for name in CONTRASTIVE for value in (0.0, -1.0, math.inf)),
        *((name, {"pseudo_label": "hard"}) for name in CONTRASTIVE),
        *((name, {"flip_warmup": -1}) for name in CONTRASTIVE),
        *((name, {"entropy_weight": -0.5}) for name in CONTRASTIVE),
        *((name, {"directions": 1}) for name in CONTRASTIVE),
        ("dis_gu", {"staged": -1}),
        ("dis_gu", {"queries": 1}),
        ("dis_gu", {"eta": -1.0}),
        ("latent_discovery", {"eta": math.nan}),
        ("ganspace", {"samples": 1}),
        ("ganspace", {"axes_from": "pixels"}),
    ],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_refused_by_name(name: str, hyper: dict[str, object]) -> None:
    (key, value), = hyper.items()  # fmt: skip
    with pytest.raises(ValueError, match={"encoder_width": "width", "lr": "lr"}.get(key, key)) as caught:
        models.build(name, SHAPE, **SMALL[name] | hyper)
    assert str(value) in str(caught.value)


def test_latent_discovery_refuses_a_batch_that_cannot_be_normalised_over() -> None:
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 2, got 1"):
        build("latent_discovery").step(images(1), generator())


@pytest.mark.parametrize("name", SMALL)
def test_a_parent_that_does_not_fit_is_refused(name: str) -> None:
    model = models.build(name, SHAPE, **SMALL[name])
    with pytest.raises(ValueError, match="finds directions in a Glow, got VAE"):
        model.accepts("glow", models.build("vae", (1, 16, 16)))
    with pytest.raises(ValueError, match=r"for images \(1, 8, 8\), this model for \(1, 16, 16\)"):
        models.build(name, (1, 16, 16), **SMALL[name]).adopt("glow", LinearFlow())
    with pytest.raises(ValueError, match="at most the latent's 32 dimensions, got 33"):
        models.build(name, SHAPE, **SMALL[name] | {"directions": 33}).adopt("glow", LinearFlow())
    if name in LEARNED:  # columns that are no more than of unit length may be more than the latent has dimensions
        models.build(name, SHAPE, **SMALL[name] | {"directions": 33, "columns": "unit"}).adopt("glow", LinearFlow())
    with pytest.raises(ValueError, match="known roles: glow"):
        model.adopt("flow", LinearFlow())
    with pytest.raises(ValueError, match="needs a finished Glow first"):
        model.step(images(), generator())


# ---- a real Glow ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def glow() -> Model:
    model, noise = models.build("glow", SHAPE, steps_per_level=2, levels=2, width=8, lr=1e-2), generator()
    for _ in range(5):
        model.step(0.25 + 0.5 * torch.rand(32, *SHAPE, generator=noise), noise)
    return model


@pytest.mark.parametrize("name", SMALL)
def test_a_glow_takes_all_of_them(name: str, glow: Model) -> None:
    model = build(name, glow)
    before = state(glow)
    losses = steps(model, 2)[-1]
    assert all(value.isfinite() for value in losses.values()) and losses["non_finite"] == 0
    assert same(before, state(glow))
    assert min(model.eval().measure(images(), generator())["image_change"]) > 0
    torch.testing.assert_close(model.exact_codes(images()), glow.encode(images()) @ model.directions())


def test_the_jacobian_of_a_glow_is_that_of_finite_differences(glow: Model) -> None:
    frozen = build("deep_spectral", glow).frozen
    ours, step = jacobian(frozen), 1e-2
    for column in (0, 7, 31):
        shift = step * torch.eye(TOP)[column : column + 1]
        both = frozen.images(frozen.placed(torch.cat([shift, -shift]))).flatten(1)
        torch.testing.assert_close(ours[:, column], (both[0] - both[1]) / (2 * step), rtol=2e-2, atol=2e-3)
