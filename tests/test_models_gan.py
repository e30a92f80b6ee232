"""InfoGAN, InfoGAN-CR and IDGAN-SC: which loss moves which weights, in which order, and what they build on."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from disentlib import models
from disentlib.data.dataset import Dataset
from disentlib.losses.contrastive import normalise, two_temperature_loss
from disentlib.models import Model
from disentlib.models.base import take_updates
from disentlib.models.collapse import code_recovery, image_signs, two_sample_auc

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 16, 16)
PAIRED = ("infogan_cr", "idgan_sc")
GANS = ("infogan", *PAIRED)
# IDGAN-SC with what InfoGAN-CR has: the corner of reading S5's 2 × 2 in which the two are one model.
AS_CR = {
    "pair_rule": "share_one", "head": "cross_entropy", "resample": "prior", "pair_network": "spectral_norm",
    "code_prior": "uniform", "generator_steps": 2, "lr_generator": 1e-3, "lr_discriminator": 2e-3, "lr_encoder": 2e-3,
}  # fmt: skip


def build(name: str, **hyper: object) -> Model:
    small = {"code_dims": 3, "noise_dims": 2} | ({"pairs": 12} if name in PAIRED else {})
    return models.build(name, SHAPE, **small | hyper)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images(toy: Dataset) -> Tensor:
    return toy.images(torch.arange(0, 48, 4))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(model: Model, before: dict[str, Tensor]) -> set[str]:
    """The parts of a model any of whose weights differ from `before`."""
    weights = dict(model.named_parameters())
    return {name.split(".")[0] for name in weights if not torch.equal(weights[name], before[name])}


def stage1(**hyper: object) -> Model:
    """A VAE whose first dimension says much and whose last says nothing."""
    model = models.build("beta_vae", SHAPE, **{"code_dims": 3} | hyper)
    if model.code_dims == 3:
        head, last = model.autoencoder.encoder.body[-1], torch.tensor([2.0, 1.0, 0.0])
        with torch.no_grad():
            head.weight[:3] *= 20 * last[:, None]
            head.weight[3:] *= 0
            head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -4.0, -4.0, 0.0]))
    return model


# ---- a step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GANS)
def test_a_step_returns_documented_detached_finite_scalars_in_both_precisions(name: str, images: Tensor) -> None:
    model, noise = build(name), generator()
    for lowered in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            losses = model.step(images, noise)
        assert list(losses) == list(model.loss_names)
        assert all(v.shape == () and v.isfinite() and not v.requires_grad for v in losses.values())
        assert all(v.dtype == torch.float32 for v in losses.values())


@pytest.mark.parametrize("name", GANS)
def test_every_weight_moves_and_a_seed_repeats_it(name: str, images: Tensor) -> None:
    first, again, other = build(name), build(name), build(name)
    before = state(first)
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        noise = generator(seed)
        for _ in range(2):
            model.step(images, noise)
    weights, second, third = (dict(model.named_parameters()) for model in (first, again, other))
    assert not any(torch.equal(before[key], weight) for key, weight in weights.items())
    assert all(torch.equal(weight, second[key]) for key, weight in weights.items())
    assert not all(torch.equal(weight, third[key]) for key, weight in weights.items())
    assert all(p.requires_grad for p in first.parameters())


@pytest.mark.parametrize("name", GANS)
def test_a_seed_decides_the_first_weights_and_nothing_global_is_drawn(name: str, images: Tensor) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two = state(build(name, seed=1)), state(build(name, seed=2))
    build(name).step(images, generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one["generator.0.weight"], two["generator.0.weight"])


@pytest.mark.parametrize("name", GANS)
def test_each_update_moves_its_own_network_only(name: str, images: Tensor) -> None:
    """E's update leaves G, D and Q alone, G's leaves E, D and Q alone (deliberately: G through a frozen E)."""
    model = build(name)
    assert list(model.updates()) == list(model.optimisers)
    given = model.draw(len(images), generator())
    for update, loss_function in model.updates().items():
        before = state(model)
        given = take_updates({update: loss_function}, model.optimisers, images, given)
        assert moved(model, before) == {update}
    assert not any(value.requires_grad for value in given.values())


def test_the_step_is_d_and_q_then_g_as_often_as_asked_then_e(images: Tensor) -> None:
    for name, steps in (("infogan", 3), ("idgan_sc", 1), ("infogan_cr", 2)):
        model = build(name, generator_steps=steps)
        order = []
        for key, optimiser in model.optimisers.items():
            optimiser.register_step_post_hook(lambda *_, key=key, order=order: order.append(key))
        model.step(images, generator())
        assert order == ["discriminator", *["generator"] * steps, *(["encoder"] if name in PAIRED else [])]
    assert models.hyperparameters("infogan_cr")["generator_steps"] == 2
    assert models.hyperparameters("idgan_sc")["generator_steps"] == 1  # reading S12


def test_the_discriminators_step_is_both_losses_made_by_hand(images: Tensor) -> None:
    model = build("infogan", lambda_info=0.7)
    given = model.draw(len(images), generator())
    twin = copy.deepcopy(model)
    loss, values = model.discriminator_loss(images, given)
    fakes = torch.sigmoid(twin.generator(torch.cat([given["code_draw"], given["noise"]], 1))).detach()
    logits, means = twin.discriminator(torch.cat([images, fakes]))
    real = nn.functional.binary_cross_entropy_with_logits(logits[:12], torch.ones(12))
    fake = nn.functional.binary_cross_entropy_with_logits(logits[12:], torch.zeros(12))
    nll = 0.5 * (means[12:] - given["code_draw"]).square().sum(1).mean() + 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss, real + fake + 0.7 * nll)
    torch.testing.assert_close(values["code_nll"], nll)


def test_the_information_loss_moves_the_trunk_of_d_and_the_generator(images: Tensor) -> None:
    """Reading S9: the difference that λ makes to the gradients is the code loss's own."""
    for part, name in (("discriminator", "discriminator_loss"), ("generator", "generator_loss")):
        gradients = []
        for weight in (0.0, 2.0):
            model = build("infogan", lambda_info=weight)
            given = model.draw(len(images), generator())
            given |= model.code_values(images, given)
            loss = getattr(model, name)(images, given)[0]
            network = model.discriminator.trunk if part == "discriminator" else model.generator
            gradients.append(torch.autograd.grad(loss, list(network.parameters())))
        assert all((a - b).abs().max() > 0 for a, b in zip(*gradients))


@pytest.mark.parametrize("form", ["non_saturating", "saturating"])
def test_the_generator_climbs_the_discriminator(form: str, images: Tensor) -> None:
    model = build("infogan", lambda_info=0.0, generator_loss=form)
    given = model.draw(len(images), generator())
    given |= model.code_values(images, given)
    model.discriminator.eval()  # the spectral norms held

    def logit() -> Tensor:
        return model.discriminator(model.render(given["codes"], given["noise"]))[0].mean()

    before, gradients = (
        logit(),
        torch.autograd.grad(model.generator_loss(images, given)[0], model.generator.parameters()),
    )
    length = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(model.generator.parameters(), gradients):
            weight -= 0.05 * gradient / length
    assert logit() > before


# ---- pairs ---------------------------------------------------------------------------------------------------------


def test_idgan_sc_with_infogan_crs_settings_is_infogan_cr(images: Tensor) -> None:
    """Reading S5: rule, loss and network are all that tell them apart."""
    ours, theirs = build("idgan_sc", **AS_CR), build("infogan_cr")
    for model in (ours, theirs):
        noise = generator(4)
        for _ in range(2):
            losses = model.step(images, noise)
        model.last = losses
    assert all(torch.equal(ours.last[name], theirs.last[name]) for name in theirs.last)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())


def regularised(images: Tensor, **hyper: object) -> tuple[Model, Tensor, dict[str, Tensor]]:
    """A model, G's loss, and the values of the first two updates, none of which has been taken."""
    model = build("idgan_sc", **hyper)
    given = model.draw(len(images), generator())
    given |= model.code_values(images, given)
    loss, values = model.regularised_loss(images, given)
    return model, loss, given | values


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_g_and_e_minimise_the_signed_contrastive_loss(sign: int, reduction: str, images: Tensor) -> None:
    """Readings S1 and S4, against eq. 6 on E's outputs made by hand."""
    model, loss, values = regularised(images, contrast_sign=sign, reduction=reduction, alpha=3.0, normalise=False)
    outputs = model.encoder.network(values["first"], values["second"])
    contrast = two_temperature_loss(outputs, values["labels"], 0.07, 0.1, reduction)
    torch.testing.assert_close(loss, values["generator"] + 0.05 * values["code_nll"] + 3 * sign * contrast)
    torch.testing.assert_close(model.encoder_loss(images, values)[0], sign * contrast)


def test_outputs_have_length_one_unless_asked_otherwise(images: Tensor) -> None:
    first, second = images[:6], images[6:]
    ours, raw = build("idgan_sc"), build("idgan_sc", normalise=False)
    torch.testing.assert_close(ours.encoder(first, second).norm(dim=1), torch.ones(6))
    torch.testing.assert_close(normalise(raw.encoder(first, second)), ours.encoder(first, second))
    assert ours.encoder(first, second).shape == (6, 128)


def test_with_alpha_zero_g_is_infogans_and_e_still_learns(images: Tensor) -> None:
    model, loss, values = regularised(images, alpha=0.0)
    torch.testing.assert_close(loss, values["generator"] + 0.05 * values["code_nll"])
    before = state(model)
    model.step(images, generator())
    assert moved(model, before) == {"generator", "discriminator", "encoder"}


def test_g_does_not_see_e_before_the_warm_up_is_over(images: Tensor) -> None:
    warm, plain, none = build("idgan_sc", encoder_warmup=2), build("idgan_sc"), build("idgan_sc", alpha=0.0)
    noises = {id(model): generator(1) for model in (warm, plain, none)}
    for step in range(4):
        for model in (warm, plain, none):
            model.step(images, noises[id(model)])
        same = torch.equal(warm.generator[0].weight, none.generator[0].weight)
        assert same == (step < 2) and not torch.equal(warm.generator[0].weight, plain.generator[0].weight)
    assert warm.state_dict()["steps_taken"] == 4


def test_e_learns_pairs_that_can_be_told_apart() -> None:
    """The images themselves as codes, one column brightened each: E finds which, by either loss and either rule."""
    for head in ("supcon", "cross_entropy"):
        model = build("idgan_sc", head=head, pairs=24, tau1=0.1, lr_encoder=2e-3)
        labels = torch.arange(24) % 3
        first = torch.rand(24, 1, 16, 16, generator=generator()) * 0.3
        second = first.clone()
        second[torch.arange(24), :, :, 5 * labels + 1] += 0.7
        given = {"labels": labels, "first": first, "second": second}
        for _ in range(25):
            given = take_updates({"encoder": model.encoder_loss}, model.optimisers, first, given)
        assert given["pair_accuracy"] > 0.9 and given["within_cosine"] > given["between_cosine"] + 0.3


# ---- what they build on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GANS)
def test_a_stage_1_encoder_gives_the_codes_and_never_moves(name: str, images: Tensor) -> None:
    parent, model = stage1(), build(name, code_prior="gaussian")
    model.adopt("stage1", parent)
    frozen = state(parent.autoencoder.encoder)
    for _ in range(2):
        model.train().step(images, generator())
    kept = state(model.stage1)
    assert all(torch.equal(kept[key], value) for key, value in frozen.items())
    assert not any(p.requires_grad for p in model.stage1.parameters()) and not model.stage1.training
    assert any(name.startswith("stage1.") for name in model.state_dict()) and model.stage1 in model.networks
    draws = model.draw(len(images), generator())
    mean, logvar = parent.posterior(images)
    torch.testing.assert_close(
        model.code_values(images, draws)["codes"], mean + (logvar / 2).exp() * draws["code_draw"]
    )


@pytest.mark.parametrize("resample", ["batch", "prior", "posterior"])
def test_pairs_of_posterior_codes_leave_dead_dimensions_out_if_asked(resample: str, images: Tensor) -> None:
    model = build("idgan_sc", active_only=True, resample=resample)
    with pytest.raises(ValueError, match="stage1"):
        model.step(images, generator())
    model.adopt("stage1", stage1())
    given = model.draw(len(images), generator())
    given |= model.code_values(images, given)
    assert set(model.regularised_loss(images, given)[1]["labels"].tolist()) == {0, 1}
    assert model.step(images, generator())["pair_loss"].isfinite()


@pytest.mark.parametrize("name", GANS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_phase_1_is_taken_over_exactly_and_goes_on_as_itself(
    name: str, layout: torch.memory_format, images: Tensor
) -> None:
    parent = build("infogan", generator_steps=1).to(memory_format=layout)
    for _ in range(2):
        parent.step(images, generator(1))
    hyper = {"code_prior": "uniform", "generator_steps": 1, "lr_generator": 1e-3, "lr_discriminator": 2e-3}
    model = build(name, seed=7, **hyper, **({"alpha": 0.0} if name in PAIRED else {}))
    fresh = state(model)
    model.adopt("phase1", parent)
    mine, theirs = model.state_dict(), parent.state_dict()
    assert all(torch.equal(mine[key], value) for key, value in theirs.items())
    assert all(torch.equal(mine[key], fresh[key]) for key in mine if key.startswith("encoder"))
    for key, optimiser in parent.optimisers.items():
        ours = model.optimisers[key].state_dict()["state"]
        for index, values in optimiser.state_dict()["state"].items():
            assert all(torch.equal(ours[index][kind], value) for kind, value in values.items())
    assert "encoder" not in model.optimisers or not model.optimisers["encoder"].state
    draws = parent.draw(len(images), generator(2))
    more = model.draw(len(images), generator(3)) | draws  # both see one draw of codes and noise
    updates = {key: model.updates()[key] for key in parent.updates()}
    take_updates(parent.updates(), parent.optimisers, images, draws)
    take_updates(updates, model.optimisers, images, more)
    for key, weight in parent.named_parameters():
        # Not all: where a gradient is nearly 0, Adam makes a whole step of its last digits, and a step is 1e-3.
        alike = torch.isclose(model.state_dict()[key], weight.detach(), rtol=1e-3, atol=1e-4)
        assert alike.float().mean() > 0.99
    assert not any(a.data_ptr() == b.data_ptr() for a, b in zip(model.parameters(), parent.parameters()))


def test_phase_1_hands_its_stage_1_on_and_rates_stay_the_models_own() -> None:
    first, parent, model = stage1(), build("infogan", code_prior="gaussian"), build("idgan_sc", lr_generator=5e-4)
    parent.adopt("stage1", first)
    model.adopt("phase1", parent)
    assert torch.equal(next(model.stage1.parameters()), next(first.autoencoder.encoder.parameters()))
    assert model.stage1 is not parent.stage1
    rates = [o.param_groups[0]["lr"] for o in model.optimisers.values()]
    assert rates == [2e-4, 5e-4, 2e-4]
    other, chosen = stage1(seed=3), build("idgan_sc")
    chosen.adopt("stage1", other)
    chosen.adopt("phase1", parent)
    assert torch.equal(next(chosen.stage1.parameters()), next(other.autoencoder.encoder.parameters()))


def test_a_parent_that_does_not_fit_is_refused() -> None:
    model = build("idgan_sc")
    for role, parent, said in (
        ("stage1", stage1(code_dims=4), "same code_dims as the model: 3 here, 4 there"),
        ("stage1", models.build("beta_vae", (1, 32, 32), code_dims=3), "same image_shape"),
        ("stage1", build("infogan"), "VAE family, got InfoGAN"),
        ("phase1", build("infogan", code_prior="gaussian", noise_dims=3), "same noise_dims .* 2 here, 3 there"),
        ("phase1", build("infogan", code_prior="gaussian", code_dims=4), "same code_dims"),
        ("phase1", build("infogan"), "same prior as the model: 'gaussian' here, 'uniform' there"),
        ("phase1", build("infogan_cr", code_prior="gaussian"), "an InfoGAN, got InfoGANCR"),
        ("phase1", stage1(), "an InfoGAN, got BetaVAE"),
        ("phase3", stage1(), "known roles: stage1, phase1"),
    ):
        for call in (model.accepts, model.adopt):
            with pytest.raises(ValueError, match=said):
                call(role, parent)
    with pytest.raises(ValueError, match="code_prior='gaussian', got 'uniform'"):
        build("infogan").accepts("stage1", stage1())


# ---- a finished model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GANS)
def test_codes_and_images_come_from_evaluation_mode_and_change_nothing(name: str, images: Tensor) -> None:
    model = build(name)
    model.step(images, generator())
    before = state(model)
    codes, noise = torch.randn(5, 3, generator=generator()), torch.randn(5, 2, generator=generator(1))
    made, encoded = model.generate(codes, noise), model.encode(images)
    assert encoded.shape == (12, 3) and made.shape == (5, *SHAPE) and made.min() >= 0 and made.max() <= 1
    torch.testing.assert_close(model.generate(codes[:1], noise[:1]), made[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.decode(codes), model.generate(codes, torch.zeros(5, 2)))
    assert model.training and all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    torch.testing.assert_close(model.eval().discriminator(images)[1], encoded)


@pytest.mark.parametrize("name", GANS)
def test_measures_are_named_finite_and_leave_the_model_alone(name: str, images: Tensor) -> None:
    model = build(name).eval()
    before = state(model)
    signs = model.measure(images, generator())
    expected = {"pixel_std_ratio", "foreground_ratio", "two_sample_auc", "code_recovery"}
    paired = {"pair_loss", "pair_accuracy", "within_cosine", "between_cosine"}
    assert set(signs) == expected | (paired if name in PAIRED else set())
    assert len(signs.pop("code_recovery")) == 3 and all(math.isfinite(value) for value in signs.values())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.measure(images, generator()) == model.measure(images, generator())


def test_signs_of_collapse_tell_it() -> None:
    real = (torch.rand(60, 1, 16, 16, generator=generator()) > 0.8).float()
    same = (torch.rand(60, 1, 16, 16, generator=generator(1)) > 0.8).float()
    fine, empty, one = (
        image_signs(same, real),
        image_signs(torch.zeros_like(real), real),
        image_signs(real[:1].expand_as(real), real),
    )
    assert fine["foreground_ratio"] == pytest.approx(1, abs=0.05) and abs(fine["two_sample_auc"] - 0.5) < 0.25
    assert empty == {"pixel_std_ratio": 0, "foreground_ratio": 0, "two_sample_auc": 1}
    assert one["pixel_std_ratio"] < 1e-6 and one["two_sample_auc"] > 0.9
    with pytest.raises(ValueError, match="8 images of each kind, got 7 and 60"):
        two_sample_auc(real[:7], real)


def test_code_recovery_is_the_r_squared_of_sklearn() -> None:
    from sklearn.metrics import r2_score

    codes = torch.randn(50, 3, generator=generator())
    read = codes * torch.tensor([1.0, 0.5, -1.0])
    assert code_recovery(read, codes) == pytest.approx(r2_score(codes, read, multioutput="raw_values").tolist())


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        *((name, {"code_dims": dims}) for name in GANS for dims in (0, 2.0)),
        *((name, {"code_dims": 1}) for name in PAIRED),
        *((name, {"lr_generator": 0.0}) for name in GANS),
        *((name, {"noise_dims": -1}) for name in GANS),
        *((name, {"lambda_info": -1.0}) for name in GANS),
        *((name, {"code_prior": "cube"}) for name in GANS),
        *((name, {"generator_loss": "hinge"}) for name in GANS),
        *((name, {"generator_steps": 0}) for name in GANS),
        *((name, {"pairs": 3}) for name in PAIRED),
        *((name, {"alpha": math.nan}) for name in PAIRED),
        *((name, {"lr_encoder": -1.0}) for name in PAIRED),
        *(("idgan_sc", {key: value}) for key in ("tau1", "tau2") for value in (0.0, -0.1, math.inf)),
        ("idgan_sc", {"contrast_sign": 0}), ("idgan_sc", {"reduction": "max"}), ("idgan_sc", {"normalise": 1}),
        ("idgan_sc", {"pair_rule": "change_two"}), ("idgan_sc", {"head": "triplet"}),
        ("idgan_sc", {"pair_network": "layer_norm"}), ("idgan_sc", {"resample": "data"}),
        ("idgan_sc", {"encoder_warmup": -1}), ("idgan_sc", {"active_only": None}),
        ("infogan_cr", {"min_gap": 2.5}), ("idgan_sc", {"min_gap": -0.5}),
    ],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_refused_by_name(name: str, hyper: dict[str, object]) -> None:
    (key, value), = hyper.items()  # fmt: skip
    with pytest.raises(ValueError, match="lr" if key.startswith("lr") else key) as caught:
        build(name, **hyper)
    assert str(value) in str(caught.value)


def test_defaults_are_the_papers() -> None:
    """§3.2 of IDGAN-SC, and InfoGAN-CR's configuration for dSprites."""
    ours = models.hyperparameters("idgan_sc")
    printed = {
        "code_dims": 10, "noise_dims": 5, "lambda_info": 0.05, "alpha": 2.0, "tau1": 0.07, "tau2": 0.1, "pairs": 384,
        "lr_generator": 1e-4, "lr_discriminator": 2e-4, "lr_encoder": 2e-4, "code_prior": "gaussian",
    }  # fmt: skip
    assert printed.items() <= ours.items()
    theirs = {
        "code_dims": 5, "noise_dims": 5, "lambda_info": 0.05, "code_prior": "uniform", "generator_steps": 2,
        "lr_generator": 1e-3, "lr_discriminator": 2e-3,
    }  # fmt: skip
    assert theirs.items() <= models.hyperparameters("infogan").items()
    regularised = theirs | {"alpha": 2.0, "pairs": 64, "lr_encoder": 2e-3}
    assert regularised.items() <= models.hyperparameters("infogan_cr").items()
