"""The loop: batches, interruption, resumption, broken files, and losses that are not finite."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import in_memory, squares
from torch import Tensor, nn

from disentlib import models, training
from disentlib.data.dataset import Dataset
from disentlib.models.autoencoder import AutoencoderModel
from disentlib.models.base import Losses, Model, step_optimiser
from disentlib.training import Batches, CheckpointError, NonFiniteLoss, load_weights, train

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


class Line(Model):
    """The smallest model: one weight that learns the mean brightness, disturbed by noise. A step calls `during`."""

    image_shape, code_dims = (1, 16, 16), 1
    loss_names = {"loss": "squared distance", "noise": "what was drawn"}

    def __init__(self, during: Callable[[Line], None] = lambda model: None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.optimiser = torch.optim.Adam(self.parameters(), lr=0.1)
        self.settings = {"model": "line"}
        self.during, self.calls, self.seen = during, 0, []

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"line": self.optimiser}

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        self.calls += 1
        noise = 0.1 * torch.randn((), generator=generator)
        loss = (self.weight - images.mean() - noise).square()
        step_optimiser(self.optimiser, loss)
        losses = {"loss": loss.detach(), "noise": noise}
        self.during(self)
        self.seen.append(losses["loss"].item())
        return losses

    def encode(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        return codes[:, :, None, None].expand(-1, 1, 16, 16)


def stop_at(step: int, number: int = signal.SIGINT) -> Callable[[Line], None]:
    return lambda model: os.kill(os.getpid(), number) if model.calls == step else None


class Broken(Line):
    """Reports a value that is not finite at one step, and leaves its weight alone."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__()
        self.bad_step, self.value = step, value

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        losses = super().step(images, generator)
        return losses | {"noise": torch.tensor(self.value)} if self.calls == self.bad_step else losses


def gvae(**hyper: object) -> Model:
    return models.build("beta_gvae", (1, 16, 16), **{"code_dims": 3, "lr": 1e-3, "width": 16} | hyper)


def fit(model: Model, dataset: Dataset, steps: int, checkpoint: Path | None = None, **more: object) -> training.History:
    settings = {"batch_size": 8, "log_every": 5, "device": "cpu", "progress": False} | more
    return train(model, dataset, steps=steps, checkpoint=checkpoint, **settings)


def equal(first: object, second: object) -> bool:
    """Deep equality, tensors bit by bit."""
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def content(checkpoint: Path) -> dict:
    """A checkpoint without what a clock decides."""
    state = torch.load(checkpoint, weights_only=True)
    del state["history"]["seconds"]
    return state


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".part" in path.name]


# ---- batches -------------------------------------------------------------------------------------------------------


def indices_of(images: Tensor) -> list[int]:
    """Which of the toy's pictures these are: each has its own brightness."""
    return (255 - (images.amax((1, 2, 3)) * 255).round().int()).tolist()


def test_an_epoch_visits_every_image_exactly_once(toy: Dataset) -> None:
    batches = Batches(toy, None, 8, 3, CPU)
    epochs = [[i for step in range(6 * e, 6 * e + 6) for i in indices_of(batches(step))] for e in range(3)]
    assert all(sorted(epoch) == list(range(48)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_an_epoch_that_does_not_divide_drops_the_rest_and_repeats_nothing(toy: Dataset) -> None:
    batches = Batches(toy, None, 10, 3, CPU)
    seen = [i for step in range(4) for i in indices_of(batches(step))]
    assert len(set(seen)) == 40
    assert set(indices_of(batches(4))) & set(seen)  # the next epoch has begun


def test_a_batch_is_a_function_of_seed_and_step_alone(toy: Dataset) -> None:
    forwards, backwards, other = (Batches(toy, None, 8, seed, CPU) for seed in (3, 3, 4))
    expected = {step: forwards(step) for step in range(14)}
    torch.manual_seed(99)
    assert all(torch.equal(backwards(step), expected[step]) for step in reversed(range(14)))
    assert not any(torch.equal(other(step), expected[step]) for step in range(14))


def test_batches_are_the_data_sets_images(toy: Dataset) -> None:
    batch = Batches(toy, None, 8, 0, CPU)(0)
    assert batch.dtype == torch.float32 and batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, toy.images(torch.tensor(indices_of(batch))))


@pytest.mark.parametrize("train_size", [None, 17])
def test_a_data_set_too_large_to_be_held_gives_the_same_batches(
    toy: Dataset, train_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Batches(toy, train_size, 8, 1, CPU)
    monkeypatch.setattr(training, "HELD_BYTES", 100)
    drawn = Batches(toy, train_size, 8, 1, CPU)
    assert held.held is not None and drawn.held is None
    assert all(torch.equal(held(step), drawn(step)) for step in range(7))


def test_a_subset_is_the_same_for_every_seed_and_nested_in_larger_ones(toy: Dataset) -> None:
    def subset(size: int, seed: int) -> set[int]:
        batches = Batches(toy, size, 4, seed, CPU)
        return {i for step in range(size // 4) for i in indices_of(batches(step))}

    assert len(subset(16, 0)) == 16
    assert subset(16, 0) == subset(16, 1) < subset(24, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0}, {"steps": 2.0}, {"log_every": 0}, {"checkpoint_every": 0}, {"batch_size": 0}, {"batch_size": 49},
        {"batch_size": 2.5}, {"train_size": 0}, {"train_size": -3}, {"train_size": 49}, {"precision": "fp8"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(toy: Dataset, wrong: dict[str, object]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"{name}.*{value}"):
        fit(Line(), toy, **{"steps": 1} | wrong)


def test_a_batch_larger_than_the_subset_is_refused(toy: Dataset) -> None:
    with pytest.raises(ValueError, match="batch_size must lie between 1 and the 6 training images, got 8"):
        fit(Line(), toy, 1, train_size=6)


def test_a_model_for_other_images_is_refused(toy: Dataset) -> None:
    with pytest.raises(ValueError, match=r"\(3, 16, 16\).*toy has \(1, 16, 16\)"):
        fit(models.build("vae", (3, 16, 16)), toy, 1)


# ---- what a training is --------------------------------------------------------------------------------------------


def test_the_loop_is_the_plain_one(toy: Dataset) -> None:
    """Against a loop written out here, in the usual memory format: channels last only changes the rounding."""
    ours, plain = gvae(seed=1), gvae(seed=1)
    fit(ours, toy, 8, seed=5)
    noise = torch.Generator().manual_seed(5)
    for step in range(8):
        epoch, position = divmod(step, 6)
        order = torch.randperm(48, generator=torch.Generator().manual_seed(5 * 1_000_003 + epoch))
        plain.step(toy.images(order[8 * position : 8 * position + 8]), noise)
    assert next(ours.parameters()).is_contiguous(memory_format=torch.channels_last)
    # Adam turns rounding into whole steps where a gradient is nearly 0; how often, depends on the processor. So single
    # weights may differ; another batch or other noise would move most of them by about the learning rate.
    for weight, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert (weight - other).abs().mean() < 1e-6


@pytest.mark.parametrize("name", [n for n in models.names() if issubclass(models.class_of(n), AutoencoderModel)])
def test_the_loss_falls(toy: Dataset, name: str) -> None:
    hyper = {"width": 16} if name in ("beta_gvae", "factor_vae") else {}
    model = models.build(name, toy.image_shape, code_dims=3, lr=2e-3, **hyper)
    losses = fit(model, toy, 40, batch_size=16, log_every=10).losses["reconstruction"]
    assert losses[-1] < 0.5 * losses[0]


def test_history_holds_the_mean_of_each_window(toy: Dataset) -> None:
    model = Line()
    history = fit(model, toy, 13, log_every=5)
    assert history.steps == [5, 10, 13]
    expected = [sum(model.seen[a:b]) / (b - a) for a, b in ((0, 5), (5, 10), (10, 13))]
    assert history.losses["loss"] == pytest.approx(expected)
    assert history.last() == {name: values[-1] for name, values in history.losses.items()} and history.seconds > 0


def test_training_needs_no_main_thread(toy: Dataset) -> None:
    """Signals reach the main thread only; elsewhere the loop does without."""
    found: list[training.History] = []
    thread = threading.Thread(target=lambda: found.append(fit(Line(), toy, 3)))
    thread.start(), thread.join()
    assert found[0].steps == [3]


# ---- resuming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_resuming_equals_no_interruption_bit_for_bit(toy: Dataset, tmp_path: Path, precision: str) -> None:
    """Weights, both optimisers, generator and history; stopped twice, once between two lines of the log."""
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    straight = gvae()
    fit(straight, toy, 14, whole, precision=precision)
    for asked, every in ((14, 7), (14, 10)):
        with pytest.raises(KeyboardInterrupt):
            _stopped_after(gvae(), toy, asked, every, parts, precision)
        assert content(parts)["step"] == every
    resumed = gvae(seed=0)
    history = fit(resumed, toy, 14, parts, precision=precision)
    assert equal(content(whole), content(parts))
    assert equal(straight.state_dict(), resumed.state_dict())
    assert history.steps == [5, 10, 14]


def _stopped_after(model: Model, toy: Dataset, steps: int, stop: int, path: Path, precision: str) -> None:
    plain = model.step
    done = content(path)["step"] if path.exists() else 0

    def step(images: Tensor, generator: torch.Generator) -> Losses:
        nonlocal done
        done += 1
        if done == stop:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(images, generator)

    model.step = step
    fit(model, toy, steps, path, precision=precision)


def test_resuming_from_every_step_gives_the_same_end(toy: Dataset, tmp_path: Path) -> None:
    whole = tmp_path / "whole.pt"
    fit(Line(), toy, 12, whole)
    for stop in range(1, 12):
        parts = tmp_path / f"{stop}.pt"
        with pytest.raises(KeyboardInterrupt):
            fit(Line(stop_at(stop)), toy, 12, parts)
        fit(Line(), toy, 12, parts)
        assert equal(content(whole), content(parts)), stop


def test_a_finished_training_is_not_trained_again_and_can_be_prolonged(toy: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    first = fit(Line(), toy, 10, path)
    idle = Line()
    again = fit(idle, toy, 10, path)
    assert idle.calls == 0 and again == first
    longer, straight = Line(), Line()
    fit(longer, toy, 15, path), fit(straight, toy, 15)
    assert longer.calls == 5 and torch.equal(longer.weight, straight.weight)


def test_a_checkpoint_beyond_the_steps_asked_for_is_refused(toy: Dataset, tmp_path: Path) -> None:
    fit(Line(), toy, 10, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="step 10, beyond the 9 asked for"):
        fit(Line(), toy, 9, tmp_path / "c.pt")


# ---- stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_restores_the_handlers(toy: Dataset, tmp_path: Path, number: int) -> None:
    path = tmp_path / "c.pt"
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    model = Line(stop_at(3, number))
    with pytest.raises(KeyboardInterrupt, match=f"step 3.*{path}"):
        fit(model, toy, 10, path)
    assert model.calls == 3 and (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    fresh = Line()
    assert load_weights(fresh, path) == 3 and torch.equal(fresh.weight, model.weight) and not leftovers(tmp_path)


def test_handlers_are_restored_after_an_error_too(toy: Dataset) -> None:
    def fail(model: Line) -> None:
        raise RuntimeError("from inside a step")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="from inside a step"):
        fit(Line(fail), toy, 3)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_without_a_checkpoint_says_so(toy: Dataset) -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped at step 2; no checkpoint was asked for"):
        fit(Line(stop_at(2)), toy, 10)


# ---- losses that are not finite ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bad_loss_stops_with_its_name_step_and_the_last_good_checkpoint(
    toy: Dataset, tmp_path: Path, value: float
) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(NonFiniteLoss, match=rf"'noise' is {value} at step 8; the last good.*{path} \(step 6\)"):
        fit(Broken(8, value), toy, 20, path, log_every=5, checkpoint_every=3)
    state = content(path)
    assert state["step"] == 6 and state["model"]["weight"].isfinite()


def test_a_bad_loss_is_found_before_a_checkpoint_is_written(toy: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(NonFiniteLoss, match="at step 2; no checkpoint was written before it"):
        fit(Broken(2, math.nan), toy, 20, path, log_every=100, checkpoint_every=3)
    assert not path.exists()


def test_bad_weights_behind_a_good_loss_are_not_saved(toy: Dataset, tmp_path: Path) -> None:
    """A loss is from before the update: an update that ruins the weights shows in it only one step later."""

    def ruin(model: Line) -> None:
        if model.calls == 6:
            model.weight.data.fill_(math.nan)

    path = tmp_path / "c.pt"
    with pytest.raises(NonFiniteLoss, match=r"weights 'weight' are not finite after step 6.*\(step 3\)"):
        fit(Line(ruin), toy, 20, path, log_every=100, checkpoint_every=3)
    assert content(path)["model"]["weight"].isfinite()


# ---- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(toy: Dataset, tmp_path: Path) -> Path:
    fit(gvae(), toy, 2, tmp_path / "c.pt")
    return tmp_path / "c.pt"


@pytest.mark.parametrize(
    ("hyper", "settings", "named"),
    [
        ({"beta": 2.0}, {}, r"model.beta: 4.0 there, 2.0 here"),
        ({"seed": 1}, {}, r"model.seed: 0 there, 1 here"),
        ({}, {"seed": 1}, r"\(seed: 0 there, 1 here"),
        ({}, {"batch_size": 4}, r"batch_size: 8 there, 4 here"),
        ({}, {"train_size": 40}, r"train_size: None there, 40 here"),
        ({}, {"precision": "bf16"}, r"precision: 'float32' there, 'bf16' here"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_and_the_difference_named(
    toy: Dataset, finished: Path, hyper: dict, settings: dict, named: str
) -> None:
    before = finished.read_bytes()
    with pytest.raises(CheckpointError, match=named) as caught:
        fit(gvae(**hyper), toy, 4, finished, **settings)
    assert str(finished) in str(caught.value) and str(caught.value).count(" there, ") == 1
    assert finished.read_bytes() == before


def test_a_checkpoint_of_another_model_or_other_data_is_refused(toy: Dataset, finished: Path) -> None:
    with pytest.raises(CheckpointError, match="model: 'beta_gvae' there, 'vae' here"):
        fit(models.build("vae", (1, 16, 16), code_dims=3), toy, 4, finished)
    darker = in_memory(squares() // 2)
    with pytest.raises(CheckpointError, match=f"data: .*{toy.content_hash()}.*there, .*{darker.content_hash()}.*here"):
        fit(gvae(), darker, 4, finished)


def test_weights_are_not_loaded_into_another_model(finished: Path) -> None:
    with pytest.raises(CheckpointError, match="model.gamma: 10.0 there, 1.0 here"):
        load_weights(gvae(gamma=1.0), finished)
    with pytest.raises(CheckpointError, match="weights of another network"):
        load_weights(models.build("beta_gvae", (1, 32, 32), code_dims=3, lr=1e-3, width=16), finished)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_weights(gvae(), finished.with_name("none.pt"))


def test_a_cut_or_damaged_checkpoint_is_refused(toy: Dataset, finished: Path) -> None:
    whole = finished.read_bytes()
    broken = [whole[:cut] for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    for place in (2000, len(whole) // 3, len(whole) // 2):  # a flipped bit, which torch.load takes as it finds it
        broken.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    for written in [*broken, b"not a checkpoint", b"PK\x03\x04"]:
        finished.write_bytes(written)
        with pytest.raises(CheckpointError, match=f"{finished} is not a readable checkpoint.*delete it"):
            fit(gvae(), toy, 4, finished)


def test_a_file_of_another_format_is_refused(toy: Dataset, finished: Path) -> None:
    torch.save({"format": 0}, finished)
    with pytest.raises(CheckpointError, match="not a checkpoint of format 1"):
        fit(gvae(), toy, 4, finished)


def test_a_full_disk_leaves_the_old_checkpoint_whole(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    fit(Line(), toy, 4, path)
    before = path.read_bytes()

    def full(state: object, target: Path) -> None:
        Path(target).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        fit(Line(), toy, 8, path)
    assert path.read_bytes() == before and not leftovers(tmp_path)
    monkeypatch.undo()
    resumed, straight = Line(), Line()
    fit(resumed, toy, 8, path), fit(straight, toy, 8)
    assert torch.equal(resumed.weight, straight.weight)


def test_a_checkpoint_is_written_every_so_often_and_at_the_end(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, plain = [], torch.save
    monkeypatch.setattr(torch, "save", lambda state, target: (steps.append(state["step"]), plain(state, target)))
    fit(Line(), toy, 10, tmp_path / "deep" / "c.pt", checkpoint_every=4)
    assert steps == [4, 8, 10]


def test_a_history_survives_the_file(toy: Dataset, tmp_path: Path) -> None:
    history = fit(Line(), toy, 10, tmp_path / "c.pt")
    assert torch.load(tmp_path / "c.pt", weights_only=True)["history"] == asdict(history)


def test_weights_bring_their_optimisers_along(toy: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "c.pt"
    trained, other = gvae(seed=1), gvae(seed=1)
    fit(trained, toy, 3, checkpoint=file)
    assert training.load_weights(other, file) == 3
    for name, optimiser in trained.optimisers.items():
        mine, theirs = (o.state_dict()["state"] for o in (other.optimisers[name], optimiser))
        assert mine.keys() == theirs.keys() and len(mine) > 0
        for key, values in theirs.items():
            for part, value in values.items():
                torch.testing.assert_close(mine[key][part], value, rtol=0, atol=0)
