"""Glow's layers and scales: inverses, and log-determinants against the Jacobian, in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from disentlib.networks import seeded
from disentlib.networks.flow import PRIORS, ConditionalPrior, Flow
from disentlib.networks.flow_layers import COUPLINGS, ActNorm, Coupling, FlowStep, InvertibleConv, ZeroConv

pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def shaken(module: nn.Module, size: float = 0.1) -> nn.Module:
    """In float64 and with every parameter moved, so that nothing is at the zeros it begins with."""
    module.double()
    for index, parameter in enumerate(module.parameters()):
        parameter.data += size * noise(*parameter.shape, seed=index)
    return module


def tiny(shape: tuple[int, int, int] = (3, 4, 4), levels: int = 1, **settings: object) -> Flow:
    return shaken(seeded(lambda: Flow(shape, levels, steps=2, width=5, **settings), seed=1))


def jacobian_log_det(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`ln|det|` of the Jacobian at one `x`, `[c, h, w]`, by automatic differentiation."""
    matrix = torch.autograd.functional.jacobian(lambda flat: function(flat.view_as(x)).flatten(), x.flatten())
    return torch.linalg.slogdet(matrix).logabsdet


def log_dets(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.stack([jacobian_log_det(lambda one: function(one[None])[0], each) for each in x])


# ---- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COUPLINGS)
@pytest.mark.parametrize("layer", [Coupling, FlowStep])
def test_a_layers_log_determinant_is_its_jacobians_and_its_inverse_undoes_it(layer: type, kind: str) -> None:
    module, x = shaken(seeded(layer, 4, 5, kind, seed=0)), noise(3, 4, 4, 4)
    y, log_det = module(x)
    assert log_det.shape == (3,)
    torch.testing.assert_close(log_det, log_dets(lambda v: module(v)[0], x))
    torch.testing.assert_close(module.inverse(y), x)
    assert (y - x).abs().max() > 0.1


def test_an_affine_coupling_is_the_formula_and_an_additive_one_adds() -> None:
    x = noise(2, 4, 3, 3)
    affine, additive = (shaken(seeded(Coupling, 4, 5, kind, seed=0)) for kind in COUPLINGS)
    shift, raw = affine.net(x[:, :2]).chunk(2, 1)
    expected = torch.cat([x[:, :2], (x[:, 2:] + shift) / (1 + torch.exp(-(raw + 2)))], 1)
    torch.testing.assert_close(affine(x)[0], expected)
    torch.testing.assert_close(additive(x)[0], torch.cat([x[:, :2], x[:, 2:] + additive.net(x[:, :2])], 1))
    assert additive(x)[1].tolist() == [0, 0]


def test_couplings_begin_as_a_scaling_or_as_nothing() -> None:
    x = noise(2, 6, 4, 4)
    affine, additive = (seeded(Coupling, 6, 5, kind, seed=0).double() for kind in COUPLINGS)
    assert torch.equal(additive(x)[0], x)
    torch.testing.assert_close(affine(x)[0][:, 3:], x[:, 3:] / (1 + math.exp(-2)))


def test_the_convolution_begins_as_a_rotation_and_keeps_the_sign_of_its_determinant() -> None:
    conv = seeded(InvertibleConv, 6, seed=3).double()
    weight = conv.weight()
    torch.testing.assert_close(weight @ weight.T, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-6)
    before = torch.linalg.slogdet(weight)
    after = torch.linalg.slogdet(shaken(conv, 3.0).weight())
    assert before.sign == after.sign and (after.logabsdet - conv.log_diagonal.sum()).abs() < 1e-9


def test_only_the_triangles_of_the_convolution_are_learned() -> None:
    conv = seeded(InvertibleConv, 4, seed=0)
    (conv.weight() * torch.rand(4, 4, generator=generator())).sum().backward()
    assert torch.equal(conv.lower.grad, conv.lower.grad.tril(-1)) and conv.lower.grad.any()
    assert torch.equal(conv.upper.grad, conv.upper.grad.triu(1)) and conv.upper.grad.any()


def test_activation_normalisation_makes_its_first_batch_white() -> None:
    norm, x = ActNorm(3).double(), 7 * noise(8, 3, 4, 4) - torch.tensor([1.0, 20, -5])[:, None, None]
    norm.initialise(x)
    y = (norm.log_scale.exp() * (x.movedim(1, -1) + norm.loc)).flatten(0, 2)
    torch.testing.assert_close(y.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(3).double(), rtol=0, atol=1e-5)


def test_a_constant_channel_is_normalised_to_finite_numbers() -> None:
    norm = ActNorm(1)
    norm.initialise(torch.full((4, 1, 2, 2), 0.5))
    assert norm.log_scale.isfinite().all() and norm.loc.tolist() == [-0.5]


def test_a_step_is_normalisation_then_mixing_then_coupling() -> None:
    """The two linear layers, computed as one, against one after the other."""
    step, x = shaken(seeded(FlowStep, 4, 5, "affine", seed=0)), noise(2, 4, 3, 3)
    normal = step.actnorm.log_scale.exp()[:, None, None] * (x + step.actnorm.loc[:, None, None])
    mixed = torch.einsum("ij,njhw->nihw", step.mixing.weight(), normal)
    torch.testing.assert_close(step(x)[0], step.coupling(mixed)[0])
    expected = torch.diag(torch.exp(-step.actnorm.log_scale)) @ torch.linalg.inv(step.mixing.weight())
    torch.testing.assert_close(step.linear(), expected)


def test_a_zero_convolution_begins_at_zero_and_its_gain_is_exponential() -> None:
    conv, x = ZeroConv(2, 3).double(), noise(1, 2, 4, 4)
    assert not conv(x).any()
    conv.weight.data, conv.bias.data = noise(3, 2, 3, 3), noise(3)
    plain = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
    conv.gain.data = torch.tensor([0.0, 0.1, -0.2]).double()
    torch.testing.assert_close(conv(x), plain * torch.tensor([1, math.exp(0.3), math.exp(-0.6)])[:, None, None])


# ---- frozen --------------------------------------------------------------------------------------------------------


def test_a_frozen_step_keeps_its_inverse_until_its_weights_change() -> None:
    step, y = shaken(seeded(FlowStep, 4, 5, "affine", seed=0)), noise(2, 4, 3, 3)
    other = shaken(seeded(FlowStep, 4, 5, "affine", seed=7))
    unfrozen = step.inverse(y)
    step.requires_grad_(False)
    assert torch.equal(step.inverse(y), unfrozen) and step.linear() is step.linear()
    step.load_state_dict(other.state_dict())
    torch.testing.assert_close(step.inverse(y), other.inverse(y))
    step.float().double()
    assert step.inverse(y.float().double()).dtype == torch.float64


@pytest.mark.parametrize("fused", [True, False])
def test_an_update_between_two_freezes_is_seen(fused: bool) -> None:
    """The fused Adam changes weights without saying so."""
    step, y = shaken(seeded(FlowStep, 4, 5, "affine", seed=0)), noise(2, 4, 3, 3)
    step.eval().requires_grad_(False)
    before = step.inverse(y)
    step.requires_grad_(True)
    step(y)[0].square().sum().backward()
    torch.optim.Adam(step.parameters(), lr=0.1, fused=fused).step()
    step.requires_grad_(False)
    torch.testing.assert_close(step.inverse(step(y)[0]), y)
    assert (step.inverse(y) - before).abs().max() > 1e-3


def test_what_is_kept_under_autocast_is_in_full_precision() -> None:
    step = seeded(FlowStep, 6, 5, "affine", seed=0).requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        kept = step.linear()
    assert kept.dtype == torch.float32 and kept is step.linear()
    product = kept.double() @ step.mixing.weight().double()
    torch.testing.assert_close(product, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-6)


def test_what_inference_mode_has_computed_can_be_used_with_gradients() -> None:
    step, y = seeded(FlowStep, 4, 5, "affine", seed=0).requires_grad_(False), noise(2, 4, 3, 3).float()
    with torch.inference_mode():
        step.inverse(y)
    y.requires_grad_(True)
    step.inverse(y).sum().backward()
    assert y.grad.isfinite().all() and y.grad.any()


# ---- the whole flow ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(
    ("shape", "levels", "coupling"),
    [((1, 4, 4), 1, "affine"), ((3, 4, 4), 2, "affine"), ((1, 8, 8), 2, "additive"), ((3, 2, 4), 1, "additive")],
)
def test_the_log_determinant_is_the_jacobians_and_the_round_trips_close(
    shape: tuple[int, int, int], levels: int, coupling: str, prior: str
) -> None:
    flow, x = tiny(shape, levels, coupling=coupling, prior=prior), noise(2, *shape)

    def flat(x: Tensor) -> Tensor:
        return torch.cat([latent.raw.flatten(1) for latent in flow(x)[0]], 1)

    latents, log_det = flow(x)
    torch.testing.assert_close(log_det, log_dets(flat, x))
    torch.testing.assert_close(flow.inverse([latent.raw for latent in latents], whitened=False), x)
    torch.testing.assert_close(flow.inverse([latent.eps() for latent in latents], whitened=True), x)
    assert [tuple(latent.raw.shape[1:]) for latent in latents] == flow.shapes
    assert sum(math.prod(each) for each in flow.shapes) == math.prod(shape)


def test_the_published_latent_shapes() -> None:
    """Of 3×64×64 with four levels, and of one channel: `notes/flow_side.md`, §1.1."""
    assert Flow((3, 64, 64), 4, 1, 2).shapes == [(6, 32, 32), (12, 16, 16), (24, 8, 8), (96, 4, 4)]
    assert Flow((1, 32, 32), 3, 1, 2).shapes == [(2, 16, 16), (4, 8, 8), (16, 4, 4)]


def test_the_latents_of_a_level_are_whitened_by_the_prior_that_the_kept_half_gives() -> None:
    flow, x = tiny((1, 8, 8), levels=2), noise(2, 1, 8, 8)
    low = flow(x)[0][0]
    squeezed = nn.functional.pixel_unshuffle(x, 2)
    for step in flow.levels[0]:
        squeezed = step(squeezed)[0]
    kept, split = squeezed[:, :2], squeezed[:, 2:]
    mean, log_sd = flow.priors[0].conv(kept).chunk(2, 1)
    torch.testing.assert_close(low.raw, split)
    torch.testing.assert_close(low.eps(), (split - mean) / log_sd.exp())
    assert log_sd.abs().max() > 0.01


def test_priors_begin_as_the_standard_normal() -> None:
    x = noise(2, 3, 8, 8)
    learned, standard = (seeded(lambda p=p: Flow((3, 8, 8), 2, 2, 5, prior=p), seed=0).double() for p in PRIORS)
    for ours, theirs in zip(learned(x)[0], standard(x)[0]):
        assert torch.equal(ours.eps(), theirs.raw) and torch.equal(theirs.eps(), theirs.raw)
    assert not any(value.any() for value in ConditionalPrior(3).double()(x))
    assert not list(standard.priors.parameters())


def test_initialisation_whitens_what_reaches_every_step() -> None:
    flow, x = Flow((3, 8, 8), levels=2, steps=2, width=5).double(), 3 + 2 * noise(16, 3, 8, 8)
    flow.initialise(x)
    seen: list[Tensor] = []
    for steps in flow.levels:
        for step in steps:  # the input of a coupling is a rotation of what its normalisation gives
            step.coupling.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    flow(x)
    assert len(seen) == 4
    for mixed, step in zip(seen, [step for steps in flow.levels for step in steps]):
        normal = torch.einsum("ji,njhw->nihw", step.mixing.weight(), mixed).movedim(1, -1).flatten(0, 2)
        torch.testing.assert_close(normal.mean(0), torch.zeros_like(normal[0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(normal.std(0, correction=0), torch.ones_like(normal[0]), rtol=0, atol=1e-4)


def test_that_it_is_initialised_survives_a_checkpoint_and_a_copy() -> None:
    flow = Flow((1, 4, 4), 1, 1, 4)
    fresh = Flow((1, 4, 4), 1, 1, 4)
    assert not flow.ready and not flow.state_dict()["initialised"]
    flow.initialise(noise(8, 1, 4, 4).float())
    assert flow.ready and copy.deepcopy(flow).ready
    fresh.load_state_dict(flow.state_dict())
    assert fresh.ready and fresh.initialised
    flow.load_state_dict(Flow((1, 4, 4), 1, 1, 4).state_dict())
    assert not flow.ready


def test_under_autocast_the_latents_still_invert() -> None:
    flow = tiny((3, 8, 8), 2).float()
    x = noise(4, 3, 8, 8).float()
    with torch.autocast("cpu", torch.bfloat16):
        latents, log_det = flow(x)
        again = flow.inverse([latent.eps() for latent in latents], whitened=True)
    assert log_det.dtype == latents[0].raw.dtype == latents[0].eps().dtype == torch.float32
    torch.testing.assert_close(again, x, rtol=0, atol=1e-4)
    torch.testing.assert_close(log_det, flow(x)[1], rtol=0.05, atol=0.5)


@pytest.mark.parametrize("channels", [1, 3, 0])
def test_an_odd_number_of_channels_is_not_halved(channels: int) -> None:
    with pytest.raises(ValueError, match=f"only an even number of channels can be halved, got {channels}"):
        Coupling(channels, 4, "affine")


@pytest.mark.parametrize("shape", [(1, 12, 16), (1, 16, 10), (3, 4, 4), (0, 8, 8), (1, 0, 8)])
def test_sides_that_the_levels_do_not_halve_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="3 levels need sides that 8 divides, got images " + "×".join(map(str, shape))):
        Flow(shape, levels=3, steps=1, width=4)


@pytest.mark.parametrize("name", ["levels", "steps_per_level", "width"])
@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
def test_sizes_out_of_range_are_named(name: str, size: object) -> None:
    sizes = {"levels": 1, "steps_per_level": 1, "width": 4} | {name: size}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {size!r}"):
        Flow((1, 4, 4), sizes["levels"], sizes["steps_per_level"], sizes["width"])


@pytest.mark.parametrize("name", ["coupling", "prior"])
def test_unknown_kinds_list_the_known_ones(name: str) -> None:
    known = {"coupling": COUPLINGS, "prior": PRIORS}[name]
    with pytest.raises(ValueError, match=f"unknown {name} 'spline'; known: {', '.join(known)}"):
        Flow((1, 4, 4), 1, 1, 4, **{name: "spline"})
