"""The one loop: data → step → log → checkpoint → resume. No model has its own."""

from __future__ import annotations

import pickle
import signal
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from disentlib.data.atomic import replacing
from disentlib.data.dataset import Dataset
from disentlib.models.base import Losses, Model

__all__ = [
    "CheckpointError",
    "History",
    "NonFiniteLoss",
    "best_device",
    "load_weights",
    "train",
    "training_images",
]

PRECISIONS = ("float32", "bf16")
SUBSET_SEED = 0  # every model of a comparison sees the same images, whatever its own seed
HELD_BYTES = (
    2 * 2**30
)  # a training set up to this size is held as uint8 on the device; a larger one is drawn batch by batch
_FORMAT = 1
# What zipfile and torch raise for files that are cut short or damaged.
_UNREADABLE = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class NonFiniteLoss(ArithmeticError):
    """A loss or a weight became infinite or NaN; the message says which, at which step, and what checkpoint is good."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or belongs to another training."""


@dataclass
class History:
    """Losses over training: `losses[name][i]` is the mean over the `log_every` steps that end with `steps[i]`.

    `watched` holds what `watch` gave on the way: `watched[name][i]` after step `watched["steps"][i]`.
    """

    steps: list[int] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    watched: dict[str, list] = field(default_factory=dict)

    def last(self) -> dict[str, float]:
        """The last mean of each loss."""
        return {name: values[-1] for name, values in self.losses.items()}

    def watch(self, step: int, values: dict[str, float]) -> None:
        """Append what was watched after `step`; the same names each time."""
        for name, value in {"steps": step, **values}.items():
            self.watched.setdefault(name, []).append(value)


def best_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@lru_cache(maxsize=4)
def training_images(dataset: Dataset, train_size: int | None, device: torch.device) -> Tensor:
    """The images that a training of this size uses, uint8 `[n, c, h, w]` on `device`; a fixed subset."""
    chunks = subset_indices(len(dataset), train_size).split(1024)
    bar = tqdm(chunks, desc=f"{dataset.name} ({dataset.source})", unit="k images", disable=len(chunks) < 8, leave=False)
    return torch.cat([dataset.bytes(chunk, device) for chunk in bar])


def subset_indices(count: int, train_size: int | None) -> Tensor:
    """`train_size` of `count` indices, int64, drawn without replacement from a fixed generator (all if None)."""
    if train_size is None:
        return torch.arange(count)
    if not 1 <= train_size <= count:
        raise ValueError(f"train_size must lie between 1 and the {count} images there are, got {train_size}")
    return torch.randperm(count, generator=torch.Generator().manual_seed(SUBSET_SEED))[:train_size]


class Batches:
    """Batch `step` of an endless shuffled stream: a function of seed and step alone, so a resumed run sees the same."""

    def __init__(
        self, dataset: Dataset, train_size: int | None, batch_size: int, seed: int, device: torch.device
    ) -> None:
        count = len(dataset) if train_size is None else train_size
        if not 1 <= batch_size <= count:
            raise ValueError(f"batch_size must lie between 1 and the {count} training images, got {batch_size}")
        self.dataset, self.device, self.seed = dataset, device, seed
        self.batch_size, self.per_epoch = batch_size, count // batch_size
        c, h, w = dataset.image_shape
        self.held = training_images(dataset, train_size, device) if count * c * h * w <= HELD_BYTES else None
        self.indices = None if self.held is not None else subset_indices(len(dataset), train_size)
        self.count, self.epoch, self.order = count, -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """Images of step 0, 1, 2, …: float32 `[batch_size, c, h, w]` in [0, 1] on the device, channels last."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            shuffle = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self.order, self.epoch = torch.randperm(self.count, generator=shuffle).to(self.device), epoch
        images = self._images(self.order[position * self.batch_size : (position + 1) * self.batch_size])
        return (images.to(torch.float32) / 255).contiguous(memory_format=torch.channels_last)

    def _images(self, rows: Tensor) -> Tensor:
        if self.held is not None:
            return self.held[rows]
        return self.dataset.bytes(self.indices[rows.cpu()], self.device)


def train(
    model: Model,
    dataset: Dataset,
    *,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 500,
    log_every: int = 50,
    train_size: int | None = None,
    device: torch.device | str | None = None,
    precision: str = "float32",
    compile: str | None = None,
    progress: bool = True,
    watch: Callable[[Model], dict[str, float]] | None = None,
    watch_every: int | None = None,
) -> History:
    """Train `model` for `steps` updates in all and return its loss history.

    `train_size`: how many images to train on (a fixed random subset; None: all). `precision`: "float32", or "bf16" for
    autocast on CPU or GPU. `compile`: None, or a mode of torch.compile ("default"; "reduce-overhead" uses CUDA graphs).
    `watch` is asked every `watch_every` steps, before the first, and after the last, with the model in evaluation mode;
    what it gives goes into the history, and the seconds that it takes do not count.
    With `checkpoint`, an existing file is resumed, bit-identically on the CPU, and one is written every
    `checkpoint_every` steps, at the end, and on SIGINT or SIGTERM. Raises ValueError for settings out of range,
    CheckpointError for a file of another training, NonFiniteLoss for an infinite or NaN loss or weight.

    >>> from disentlib import data, models
    >>> digits = data.load("mnist", source="rendered")
    >>> train(models.build("vae", digits.image_shape), digits, steps=2, log_every=1, progress=False).steps
    [1, 2]
    """
    seed = int(seed)
    _check(model, dataset, precision)
    counts = {"steps": steps, "batch_size": batch_size, "checkpoint_every": checkpoint_every, "log_every": log_every}
    optional = {"train_size": train_size, "watch_every": watch_every}
    _check_counts(**counts, **{name: value for name, value in optional.items() if value is not None})
    device = torch.device(device) if device is not None else best_device()
    model.to(device, memory_format=torch.channels_last).train()
    batches = Batches(dataset, train_size, batch_size, seed, device)
    identity = _identity(model, dataset, batch_size, seed, train_size, precision)
    run = _Run(model, torch.Generator(device).manual_seed(seed), identity, Path(checkpoint) if checkpoint else None)
    run.resume(steps)
    if compile is not None:
        for network in model.networks:
            network.compile(mode=compile)
    with _stop_signals() as stopped, _bar(run, steps, progress) as bar:
        started = time.perf_counter() - run.history.seconds
        while run.step < steps:
            if watch is not None and watch_every is not None and run.step % watch_every == 0:
                started += run.watch(watch)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                losses = model.step(batches(run.step), run.generator)
            run.record(losses)
            if run.step % log_every == 0 or run.step == steps:
                run.history.seconds = time.perf_counter() - started
                run.flush()
                bar.update(run.step - bar.n)
                bar.set_postfix(_shown(run.history.last()), refresh=False)
            if run.step % checkpoint_every == 0 or run.step == steps or stopped:
                run.save()
            if stopped:
                raise KeyboardInterrupt(f"stopped at step {run.step}{run.where()}")
    if watch is not None and watch_every is not None:
        run.watch(watch)
    return run.history


def _shown(losses: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in losses.items()}


class _Run:
    """The state of one training: step, generator, losses not yet read from the device, history; saved and resumed."""

    def __init__(self, model: Model, generator: torch.Generator, identity: dict, checkpoint: Path | None) -> None:
        self.model, self.generator, self.identity, self.checkpoint = model, generator, identity, checkpoint
        self.step, self.saved_step, self.history = 0, 0, History()
        self.pending: list[Tensor] = []
        self.names: list[str] = []

    def record(self, losses: Losses) -> None:
        """Keep this step's losses on the device: reading them at once would make a GPU wait for the host."""
        self.names = list(losses)
        self.pending.append(torch.stack([value.float() for value in losses.values()]))
        self.step += 1

    def flush(self) -> None:
        """Read the pending losses, stop if one is not finite, and append their means to the history."""
        if not self.pending:
            return
        values = self._finite_pending()
        self.pending = []
        self.history.steps.append(self.step)
        for name, mean in zip(self.names, values.mean(0).tolist()):
            self.history.losses.setdefault(name, []).append(mean)

    def _finite_pending(self) -> Tensor:
        """The pending losses on the host, float64 `[steps, names]`; NonFiniteLoss names the first bad one."""
        values = torch.stack(self.pending).cpu().double()
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            step, value = self.step - len(self.pending) + 1 + row, values[row, column].item()
            raise NonFiniteLoss(f"the loss {self.names[column]!r} is {value} at step {step}{self.where()}")
        return values

    def watch(self, ask: Callable[[Model], dict[str, float]]) -> float:
        """Ask for what is watched at this step, unless it was before the interruption; the seconds that it took."""
        started = time.perf_counter()
        if self.step not in self.history.watched.get("steps", []):
            with torch.no_grad():
                self.history.watch(self.step, ask(self.model.eval()))
            self.model.train()
        return time.perf_counter() - started

    def where(self) -> str:
        if self.checkpoint is None:
            return "; no checkpoint was asked for"
        if self.saved_step == 0:
            return "; no checkpoint was written before it"
        return f"; the last good checkpoint is {self.checkpoint} (step {self.saved_step})"

    def save(self) -> None:
        """Write a checkpoint, if one is wanted; NonFiniteLoss instead if a pending loss or a weight is not finite."""
        if self.checkpoint is None or self.saved_step == self.step:
            return
        pending = self._finite_pending() if self.pending else None
        state = {
            "format": _FORMAT,
            "identity": self.identity,
            "step": self.step,
            "model": self._finite_weights(),
            "optimisers": {name: o.state_dict() for name, o in self.model.optimisers.items()},
            "generator": self.generator.get_state(),
            "history": asdict(self.history),
            "pending": pending,
        }
        with replacing(self.checkpoint) as part:
            torch.save(state, part)
        self.saved_step = self.step

    def _finite_weights(self) -> dict[str, Tensor]:
        """The model's state. Its losses are from before the update, so that they can be finite where it is not."""
        weights = self.model.state_dict()
        for name, value in weights.items():
            if not value.isfinite().all():
                raise NonFiniteLoss(f"the weights {name!r} are not finite after step {self.step}{self.where()}")
        return weights

    def resume(self, steps: int) -> None:
        """Take up the checkpoint, if there is one; CheckpointError if it is not one of the way to `steps`."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = _read(self.checkpoint)
        _check_same(self.checkpoint, state["identity"], self.identity)
        if state["step"] > steps:
            raise CheckpointError(f"{self.checkpoint} is at step {state['step']}, beyond the {steps} asked for")
        self.model.load_state_dict(state["model"])
        for name, optimiser in self.model.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.generator.set_state(state["generator"].cpu())
        self.step = self.saved_step = state["step"]
        self.history = History(**state["history"])
        self.pending = [] if state["pending"] is None else list(state["pending"].float().to(self.generator.device))


def load_weights(model: Model, checkpoint: str | Path) -> int:
    """Put a checkpoint's weights into a model built with the same settings and return the step they are from.

    The optimisers' states come too, since a run that builds on this one may go on with them. CheckpointError if the
    file cannot be read or was written for other settings or other images.
    """
    state = _read(Path(checkpoint))
    _check_same(Path(checkpoint), {"model": state["identity"]["model"]}, {"model": _settings(model)})
    try:
        model.load_state_dict(state["model"])
        for name, optimiser in model.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} holds the weights of another network ({error})") from error
    return state["step"]


def _settings(model: Model) -> dict[str, object]:
    return dict(model.settings) or {"model": type(model).__name__}


def _identity(
    model: Model, dataset: Dataset, batch_size: int, seed: int, train_size: int | None, precision: str
) -> dict[str, object]:
    return {
        "model": _settings(model),
        "data": f"{dataset.name} ({dataset.source}) {dataset.content_hash()}",
        "batch_size": batch_size,
        "seed": seed,
        "train_size": train_size,
        "precision": precision,
    }


def _read(path: Path) -> dict:
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not compare checksums
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is not a readable checkpoint ({error}); delete it to start again") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of format {_FORMAT}; delete it to start again")
    return state


def _check_same(path: Path, found: dict, wanted: dict) -> None:
    there, here = _flat(found), _flat(wanted)
    different = [
        f"{key}: {there.get(key)!r} there, {here.get(key)!r} here"
        for key in there | here
        if there.get(key) != here.get(key)
    ]
    if different:
        raise CheckpointError(f"{path} belongs to another training ({'; '.join(different)}); delete it to start again")


def _flat(identity: dict) -> dict[str, object]:
    """The identity with the model's settings spread out as `model.beta`, so that a message can name one."""
    spread = {"model" if key == "model" else f"model.{key}": value for key, value in identity["model"].items()}
    return spread | {key: value for key, value in identity.items() if key != "model"}


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _check(model: Model, dataset: Dataset, precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if tuple(model.image_shape) != tuple(dataset.image_shape):
        raise ValueError(f"the model takes images {model.image_shape}, {dataset.name} has {dataset.image_shape}")


def _bar(run: _Run, steps: int, progress: bool) -> tqdm:
    name = str(run.identity["model"]["model"])
    return tqdm(total=steps, initial=run.step, desc=name, unit="step", disable=not progress, mininterval=1.0)


class _Stop:
    """True once a stop signal has come."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """While inside, SIGINT and SIGTERM ask the loop to end after the current step, with a checkpoint."""
    stop, before = _Stop(), {}

    def ask(*_: object) -> None:
        stop.asked = True

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    except ValueError:  # not the main thread: Python delivers no signals here
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
