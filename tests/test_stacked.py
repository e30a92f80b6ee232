"""Many seeds as one model: each is, to rounding, what it would have become alone."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from disentlib import models, training
from disentlib.data.dataset import Dataset
from disentlib.models import Model
from disentlib.models.base import Values
from disentlib.models.stacked import Generators, Stack
from disentlib.training import Batches, CheckpointError, NonFiniteLoss, train, train_seeds

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE, SEEDS, CPU = (1, 16, 16), (3, 0, 8), torch.device("cpu")
SMALL = {"vae": {}, "beta_vae": {"beta": 2.0}, "beta_gvae": {"width": 16, "gamma": 20.0}}
SETTINGS = {"steps": 14, "batch_size": 8, "log_every": 5, "progress": False, "device": "cpu"}
ROUNDING = 1e-6


def build(name: str, seed: int, **hyper: object) -> Model:
    return models.build(name, SHAPE, **{"code_dims": 3, "lr": 1e-3, "seed": seed} | SMALL[name] | hyper)


def family(name: str, seeds: tuple[int, ...] = SEEDS, **hyper: object) -> list[Model]:
    return [build(name, seed, **hyper) for seed in seeds]


def together(some: list[Model], toy: Dataset, seeds: tuple[int, ...] = SEEDS, **more: object) -> list:
    return train_seeds(some, toy, seeds=seeds, stacked=True, **SETTINGS | more)


def moments(model: Model) -> list[Tensor]:
    states = [state for o in model.optimisers.values() for state in o.state_dict()["state"].values()]
    return [value for state in states for value in state.values()]


def distances(first: Model, second: Model) -> Tensor:
    """How far each weight of one model is from the other's, in one row."""
    return torch.cat([(a - b).abs().flatten() for a, b in zip(first.parameters(), second.parameters())])


def differing(first: Model, second: Model) -> float:
    """The share of weights that differ by more than rounding."""
    return (distances(first, second) > ROUNDING).double().mean().item()


def assert_same_to_rounding(first: Model, second: Model) -> None:
    """Where a gradient is itself nothing but rounding, Adam makes a step of it: few such weights, and short ones."""
    assert differing(first, second) < 1e-3 and distances(first, second).max() < 3e-4


# ---- equality with single runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("likelihood", ["bernoulli", "squared_error"])
def test_every_seed_is_what_it_becomes_alone(toy: Dataset, name: str, likelihood: str) -> None:
    """Weights, losses and optimisers, over more than two epochs."""
    stacked, alone = family(name, likelihood=likelihood), family(name, likelihood=likelihood)
    found = together(stacked, toy)
    expected = [train(model, toy, seed=seed, **SETTINGS) for model, seed in zip(alone, SEEDS)]
    for ours, theirs, a, b in zip(stacked, alone, found, expected):
        assert_same_to_rounding(ours, theirs)
        torch.testing.assert_close(moments(ours), moments(theirs), rtol=1e-3, atol=1e-4)
        assert a.steps == b.steps == [5, 10, 14] and a.seconds > 0
        assert a.losses.keys() == b.losses.keys()
        for key in a.losses:
            assert a.losses[key] == pytest.approx(b.losses[key], rel=1e-5, abs=1e-5), key


def test_noise_that_seeds_share_would_show_in_nearly_every_weight(toy: Dataset) -> None:
    """The right start and the right batches, but the first seed's noise for all."""

    class SharedNoise(Generators):
        def __init__(self, seeds: list[int], device: torch.device) -> None:
            super().__init__([seeds[0]] * len(seeds), device)

    patch = pytest.MonkeyPatch()
    patch.setattr(training, "Generators", SharedNoise)
    shared = family("beta_vae")
    together(shared, toy)
    patch.undo()
    own = family("beta_vae")
    together(own, toy)
    assert differing(shared[0], own[0]) == 0
    assert min(differing(a, b) for a, b in zip(shared[1:], own[1:])) > 0.8


@pytest.mark.parametrize("name", SMALL)
def test_models_of_one_start_differ_by_their_seeds_noise_and_batches(toy: Dataset, name: str) -> None:
    first, again, other = [build(name, 0) for _ in range(3)]
    together([first, again, other], toy, seeds=(5, 5, 6))
    assert differing(first, again) == 0 and differing(first, other) > 0.8


def test_a_models_neighbours_do_not_matter(toy: Dataset) -> None:
    two, three = family("beta_gvae", (0, 8)), family("beta_gvae", (4, 8, 1))
    together(two, toy, seeds=(0, 8)), together(three, toy, seeds=(4, 8, 1))
    assert_same_to_rounding(two[1], three[1])


@pytest.mark.parametrize("name", SMALL)
def test_autocast_reaches_the_stack(toy: Dataset, name: str) -> None:
    """The first losses are those of single runs in bf16, more closely than bf16 is float32's; the last stay near."""
    once = {"steps": 1, "precision": "bf16"}
    first = [history.last()["loss"] for history in together(family(name), toy, **once)]
    for loss, seed in zip(first, SEEDS):
        half, full = (
            train(build(name, seed), toy, seed=seed, **SETTINGS | once | {"precision": precision}).last()["loss"]
            for precision in ("bf16", "float32")
        )
        assert abs(loss - half) < 0.5 * abs(half - full)
    for history, seed in zip(together(family(name), toy, precision="bf16"), SEEDS):
        alone = train(build(name, seed), toy, seed=seed, precision="bf16", **SETTINGS)
        assert history.last()["loss"] == pytest.approx(alone.last()["loss"], rel=0.02)


def test_a_model_goes_on_alone_after_the_stack(toy: Dataset) -> None:
    """The optimiser's moments and its count have come with the weights."""
    stacked, alone = family("beta_gvae")[1], build("beta_gvae", SEEDS[1])
    together([build("beta_gvae", SEEDS[0]), stacked], toy, seeds=SEEDS[:2])
    train(alone, toy, seed=SEEDS[1], **SETTINGS)
    for model in (stacked, alone):
        noise = torch.Generator().manual_seed(1)
        for _ in range(3):
            model.step(toy.images(torch.arange(12)), noise)
    assert_same_to_rounding(stacked, alone)


def test_separate_runs_are_the_single_ones_bit_for_bit(toy: Dataset, tmp_path: Path) -> None:
    apart, alone = family("vae"), family("vae")
    train_seeds(apart, toy, seeds=SEEDS, stacked=False, checkpoint=tmp_path / "c.pt", **SETTINGS)
    for ours, theirs, seed in zip(apart, alone, SEEDS):
        train(theirs, toy, seed=seed, **SETTINGS)
        assert torch.equal(distances(ours, theirs), torch.zeros_like(distances(ours, theirs)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c-s0.pt", "c-s3.pt", "c-s8.pt"]


def test_nothing_is_stacked_unless_asked(toy: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "__init__", lambda *_: pytest.fail("stacked"))
    train_seeds(family("beta_vae"), toy, seeds=SEEDS, **SETTINGS)


# ---- batches, networks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [True, False])
def test_each_seed_sees_its_own_batches(toy: Dataset, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not held:
        monkeypatch.setattr(training, "HELD_BYTES", 100)
    many, single = Batches(toy, 40, 8, list(SEEDS), CPU), [Batches(toy, 40, 8, seed, CPU) for seed in SEEDS]
    for step in range(7):
        assert torch.equal(many(step), torch.stack([batches(step) for batches in single]))


def test_a_stack_encodes_and_decodes_with_each_models_weights() -> None:
    some = family("beta_gvae")
    stack, images = Stack(some), torch.rand(3, 4, *SHAPE)
    codes = stack.encode(images)
    torch.testing.assert_close(codes, torch.stack([m.encode(x) for m, x in zip(some, images)]))
    torch.testing.assert_close(stack.decode(codes), torch.stack([m.decode(z) for m, z in zip(some, codes)]))


# ---- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_resuming_a_stack_equals_no_interruption_bit_for_bit(
    toy: Dataset, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, resumed = family("beta_gvae"), family("beta_gvae")
    whole = together(straight, toy, checkpoint=tmp_path / "whole.pt", precision=precision)
    step, calls = Stack.step, 0

    def stopped(stack: Stack, images: Tensor, generators: Generators) -> Values:
        nonlocal calls
        calls += 1
        if calls == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return step(stack, images, generators)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "step", stopped)
        with pytest.raises(KeyboardInterrupt, match="step 7"):
            together(family("beta_gvae"), toy, checkpoint=tmp_path / "parts.pt", precision=precision)
    parts = together(resumed, toy, checkpoint=tmp_path / "parts.pt", precision=precision)
    assert [a.losses for a in whole] == [b.losses for b in parts]
    for ours, theirs in zip(resumed, straight):
        assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
        assert all(map(torch.equal, moments(ours), moments(theirs)))


def test_a_stacks_checkpoint_is_its_own(toy: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    together(family("vae"), toy, checkpoint=path)
    with pytest.raises(CheckpointError, match=r"seed: \[3, 0, 8\] there, \[3, 0, 9\] here"):
        together(family("vae"), toy, seeds=(3, 0, 9), checkpoint=path)
    with pytest.raises(CheckpointError, match=r"model.seed: \[3, 0, 8\] there, 3 here"):
        train(build("vae", 3), toy, seed=3, checkpoint=path, **SETTINGS)


# ---- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_bad_loss_names_its_seed(toy: Dataset) -> None:
    some = family("beta_gvae")
    with torch.no_grad():
        next(some[1].autoencoder.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteLoss, match="the loss 'loss' of seed 0 is nan at step 1;"):
        together(some, toy)


def test_bad_weights_name_their_seed(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Stack.step

    def ruin(stack: Stack, images: Tensor, generators: Generators) -> Values:
        losses = step(stack, images, generators)
        next(stack.parameters()).data[2, 1].fill_(math.inf)
        return losses

    monkeypatch.setattr(Stack, "step", ruin)
    with pytest.raises(NonFiniteLoss, match="weights 'stacked.autoencoder.* of seed 8 are not finite after step 1"):
        together(family("vae"), toy, checkpoint=tmp_path / "c.pt", checkpoint_every=1)


@pytest.mark.parametrize(
    ("some", "message"),
    [
        (lambda: [], "at least one"),
        (lambda: [build("vae", 0), build("beta_vae", 1)], r"one class.*VAE.*BetaVAE"),
        (lambda: [build("vae", 0), models.build("vae", (1, 32, 32))], r"\(1, 16, 16\).*\(1, 32, 32\)"),
        (lambda: [build("beta_vae", 0), build("beta_vae", 1, beta=9.0)], "beta: 2.0 and 9.0"),
    ],
)
def test_models_that_are_not_alike_are_refused(some: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stack(some())


def test_trained_models_and_other_kinds_are_refused(toy: Dataset) -> None:
    trained = build("vae", 0)
    train(trained, toy, **SETTINGS | {"steps": 1})
    with pytest.raises(ValueError, match="has been trained"):
        Stack([build("vae", 1), trained])
    with pytest.raises(ValueError, match="Stack cannot be stacked: it is not a FunctionalModel"):
        Stack([Stack(family("vae"))])


def test_seeds_are_one_for_each_model(toy: Dataset) -> None:
    with pytest.raises(ValueError, match="got 2 for 3"):
        together(family("vae"), toy, seeds=(1, 2))
    with pytest.raises(ValueError, match=r"\(3\); got 1"):
        train(Stack(family("vae")), toy, seed=1, **SETTINGS)
    with pytest.raises(ValueError, match=r"one seed.*got \[1\]"):
        train(build("vae", 0), toy, seed=[1], **SETTINGS)


def test_a_stack_is_not_compiled_in_silence(toy: Dataset) -> None:
    with pytest.raises(ValueError, match="compile='default'"):
        together(family("vae"), toy, compile="default")
