"""One training with one record: spec → data → model → training → evaluation → record."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from disentlib import data, models, training
from disentlib.data import Dataset
from disentlib.experiments import fingerprint, parameters, places, precision, records, weights
from disentlib.experiments.drawn import kept
from disentlib.experiments.evaluation import (
    EVALUATION_SEED,
    MEASURED,
    VERSION,
    check_scores,
    evaluate,
    evaluation_points,
    lacking,
    score,
)
from disentlib.experiments.records import Record
from disentlib.models import Model

__all__ = ["Run", "Spec", "built_on", "only_one", "prerequisite", "recorded", "run", "run_all", "sourced", "spec_of"]

MOST_SEED = 2**32 - 1  # streams of their own are made of it by multiplication
FLOWS = ("glow",)  # their code is the whole latent: thousands of numbers that nobody takes for factors
HISTORY_POINTS = 40  # enough for a curve in the book, small enough for a record in git


@dataclass(frozen=True)
class Spec:
    """Everything that decides a training. `source` may be "auto"; a record always says which source it was.

    `parents`: the runs that the model builds on, by role (`Model.roles`), such as a stage-1 β-VAE; each is trained
    first, unless it is there. `watch`: scores to take every `watch_every` steps on the way, and with "measured" the
    single numbers that the model measures of itself; they change no weight.
    `precision` "bf16" is taken where the machine computes it; a record says what its run had.
    """

    dataset: str
    model: str
    profile: str
    seed: int = 0
    hyper: dict[str, object] = field(default_factory=dict)  # of the model, without its seed
    source: str = "auto"
    image_size: int = 64
    train_size: int | None = None
    steps: int = 1000
    batch_size: int = 64
    precision: str = "float32"
    eval_points: int = 10_000
    parents: dict[str, Spec] = field(default_factory=dict)
    watch: list[str] = field(default_factory=list)
    watch_every: int | None = None

    @property
    def id(self) -> str:
        """A readable name and 10 hex digits over all settings."""
        digest = hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.dataset}-{self.model}-{self.profile}-s{self.seed}-{digest}"

    def content(self) -> dict[str, object]:
        """As a record quotes it. What is empty is left out, so that a run without parents keeps its id."""
        later = {
            "parents": {role: parent.content() | {"id": parent.id} for role, parent in self.parents.items()},
            "watch": list(self.watch),
            "watch_every": self.watch_every,
        }
        return {k: v for k, v in asdict(self).items() if k not in later} | {k: v for k, v in later.items() if v}

    def models(self) -> list[str]:
        """The models whose code stands behind this run: its own, and those of its parents."""
        return sorted({self.model}.union(*(parent.models() for parent in self.parents.values())))

    @classmethod
    def of(cls, content: Mapping[str, object]) -> Spec:
        """The spec whose `content` this is."""
        own = {name: value for name, value in content.items() if name != "id"}
        return cls(**own | {"parents": {role: cls.of(c) for role, c in own.get("parents", {}).items()}})


def spec_of(record: Record, **changed: object) -> Spec:
    """The spec that a record answers, with settings or hyper-parameters changed; LookupError for an unknown one."""
    own, hyper = {f.name for f in fields(Spec)} - {"hyper"}, record.spec["hyper"]
    unknown = sorted(set(changed) - own - set(hyper))
    if unknown:
        known = ", ".join([*sorted(own), *hyper])
        raise LookupError(f"the record {record.id} has no setting {', '.join(unknown)}; it has {known}")
    chosen = {name: value for name, value in changed.items() if name in own}
    found = Spec.of(record.spec)
    return replace(found, **chosen, hyper=hyper | {name: value for name, value in changed.items() if name in hyper})


@dataclass(frozen=True)
class Run:
    """A finished training: its record, its model in evaluation mode, its data, and whether it was trained just now."""

    record: Record
    model: Model
    dataset: Dataset
    fresh: bool


def run(
    spec: Spec, reuse: bool = True, progress: bool = True, scores: Sequence[str] = (), compile: str = "none"
) -> Run:
    """Train and evaluate what `spec` says and write its record.

    With `reuse`, a finished run of the same spec on the same data is taken instead, this machine's or one whose weights
    the book ships, and a stopped one is resumed. Two processes never train the same spec at the same time: the second
    waits and then takes what the first has made.
    `scores`: metrics that take minutes (see `evaluation.SCORES`), added to the record if it has not got them yet.
    ValueError for whatever a spec, its parents' included, has out of range, and LookupError for scores of data that
    have no factors, before anything is trained. `compile`: "none", or a mode of torch.compile; it changes
    how fast the numbers come and not, but for rounding, what they are.
    """
    asked = [*scores, *_scores_watched(spec)]
    check_scores(asked)
    if compile not in parameters.CHOICES["compile"]:
        raise ValueError(f"unknown compile {compile!r}; known: {', '.join(parameters.CHOICES['compile'])}")
    dataset = _load(spec.dataset, spec.source, spec.image_size)
    if asked and dataset.grid is None:
        raise LookupError(f"{dataset.description} has no factors: no score of {', '.join(asked)} can be computed")
    for role, parent in spec.parents.items():
        if parent.source not in ("auto", dataset.source):
            raise ValueError(
                f"the {role} {parent.id} was made on {parent.source} data, this run is on {dataset.source}"
            )
    spec = sourced(spec, dataset.source)
    model = _built(spec, dataset)
    with only_one(places.runs() / spec.id):
        copies = {}
        for role, parent in spec.parents.items():
            found = prerequisite(parent)
            copies[found.record.id] = weights.digest(found.model)
            model.adopt(role, found.model)
        return _run(spec, model, dataset, copies, reuse, progress, scores, compile)


def sourced(spec: Spec, source: str) -> Spec:
    """The spec, and with it its parents, on data from `source`."""
    parents = {role: sourced(parent, source) for role, parent in spec.parents.items()}
    return replace(spec, source=source, parents=parents)


def _built(spec: Spec, dataset: Dataset) -> Model:
    """The untrained model, which accepts its parents; ValueError before anything is trained if it does not."""
    _check_sizes(spec, dataset)
    model = models.build(spec.model, dataset.image_shape, seed=spec.seed, **spec.hyper)
    if lost := [role for role in models.needs(spec.model) if role not in spec.parents]:
        raise ValueError(f"{spec.model} builds on a finished run in the role {lost[0]}: {model.roles[lost[0]]}")
    for role, parent in spec.parents.items():
        if (parent.dataset, parent.image_size) != (spec.dataset, spec.image_size):
            there, here = f"{parent.dataset} at {parent.image_size}", f"{spec.dataset} at {spec.image_size}"
            raise ValueError(f"the {role} of {spec.model} was trained on {there} pixels, this run is on {here}")
        model.accepts(role, _built(parent, dataset))
    if spec.parents:
        model.settings = model.settings | {"parents": {role: parent.id for role, parent in spec.parents.items()}}
    return model


def _check_sizes(spec: Spec, dataset: Dataset) -> None:
    """ValueError for a number of the spec that is out of range on this data, or an unknown precision."""
    count = len(dataset) if spec.train_size is None else spec.train_size
    ranges = {
        "seed": (spec.seed, 0, MOST_SEED),
        "steps": (spec.steps, 1, math.inf),
        "train_size": (count, 1, len(dataset)),
        "batch_size": (spec.batch_size, 1, count),
        "eval_points": (spec.eval_points, 2, math.inf),
    }
    for name, (value, least, most) in ranges.items():
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            wanted = f"between {least} and {most}" if most < math.inf else f"of at least {least}"
            raise ValueError(f"{name} of {spec.model} must be a whole number {wanted}, got {value!r}")
    if spec.precision not in training.PRECISIONS:
        raise ValueError(f"unknown precision {spec.precision!r}; known: {', '.join(training.PRECISIONS)}")


def prerequisite(spec: Spec) -> Run:
    """The finished run that another one builds on, such as a stage-1 β-VAE: trained once, by whoever asks first.

    All runs that ask for the same spec get the same weights, also if they ask at the same time: the others wait until
    the record is whole. A run that builds on it quotes `prerequisite(spec).record.id` among its own parameters.
    """
    return run(spec, progress=False)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of a run's folder: others wait outside, and the lock falls with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process is at {folder.name}; waiting for it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _run(
    spec: Spec,
    model: Model,
    dataset: Dataset,
    copies: Mapping[str, str],
    reuse: bool,
    progress: bool,
    scores: Sequence[str],
    compile: str,
) -> Run:
    folder = places.runs() / spec.id
    record_file, checkpoint = folder / "record.json", folder / "checkpoint.pt"
    if reuse:
        weights.unpack(spec.id, folder)
    finished = _finished(record_file, checkpoint, dataset) if reuse else None
    if finished is None and (record_file.exists() or not reuse):  # it is of other data, or not wanted
        record_file.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
    if finished is None:
        record = _train(spec, model, dataset, checkpoint, progress, compile)
        if copies:
            record = replace(record, environment=record.environment | {"built_on": dict(copies)})
        records.write(record, record_file)
    else:
        record = finished
        training.load_weights(model, checkpoint)
        model.to(training.best_device())
    missing = _missing(record, model.eval(), dataset, scores)
    if missing:
        record = replace(record, metrics=record.metrics | missing)
        records.write(record, record_file)
    _publish(record)
    return Run(record, model.eval(), dataset, fresh=finished is None)


def run_all(
    specs: Sequence[Spec],
    workers: int = 1,
    reuse: bool = True,
    compile: str = "none",
    scores: Sequence[str] = (),
) -> list[Record]:
    """Train all specs, `workers` at a time with the cores shared between them; the records in the order asked for.

    With `reuse`, a record of the same spec on the same data is enough, this checkout's own or one of the book's, if it
    has all of `scores` (see `run`).
    The first failure is raised when all others are done, so that one bad cell of a grid does not lose the rest.
    """
    check_scores(scores)
    found = [_known(spec, scores) if reuse else None for spec in specs]
    todo = [spec for spec, record in zip(specs, found) if record is None]
    print(f"{len(specs) - len(todo)} of {len(specs)} records are there already", flush=True)
    more = {"reuse": reuse, "compile": compile, "scores": tuple(scores), "progress": workers == 1}
    made = iter(_one_by_one(todo, more) if workers == 1 else _side_by_side(todo, workers, more))
    return [next(made) if record is None else record for record in found]


def recorded(id: str) -> Record | None:
    """The record with this id: that of this checkout's own run, else the one in the book; None if there is neither."""
    for path in (places.runs() / id / "record.json", places.published_records() / f"{id}.json"):
        if path.exists():
            return records.read(path)
    return None


def built_on(record: Record) -> dict[str, Record | None]:
    """The records of all runs that a run builds on, directly or not, by id; None for one that is not `recorded`."""
    waiting, found = list(record.spec.get("parents", {}).values()), {}
    while waiting:
        parent = waiting.pop()
        found[parent["id"]] = recorded(parent["id"])
        waiting += parent.get("parents", {}).values()
    return found


def _known(spec: Spec, scores: Sequence[str]) -> Record | None:
    """A record that answers `spec` as the data and the evaluation are today."""
    dataset = _load(spec.dataset, spec.source, spec.image_size)
    record = recorded(sourced(spec, dataset.source).id)
    if record is None or record.data["hash"] != dataset.content_hash():
        return None
    if record.metrics.get("evaluation_version") != VERSION or lacking(record.metrics, scores):
        return None
    _publish(record)
    return record


def _side_by_side(specs: Sequence[Spec], workers: int, more: Mapping[str, object]) -> list[Record]:
    threads = max(1, (os.cpu_count() or 1) // workers)
    # Kernels and torch hold threads that a forked child would inherit locked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        futures = [pool.submit(_record, spec, more) for spec in specs]
        for _ in tqdm(as_completed(futures), total=len(futures), desc="runs", unit="run"):
            pass
    return [future.result() for future in futures]


def _one_by_one(specs: Sequence[Spec], more: Mapping[str, object]) -> list[Record]:
    found, failures = [], []
    for spec in tqdm(specs, desc="runs", unit="run"):
        try:
            found.append(_record(spec, more))
        except Exception as error:  # the rest of the grid first
            failures.append(error)
    if failures:
        raise failures[0]
    return found


def _record(spec: Spec, more: Mapping[str, object]) -> Record:
    return run(spec, **more).record


@lru_cache(maxsize=4)  # a grid of runs draws its images once
def _load(name: str, source: str, image_size: int) -> Dataset:
    asked = source if source in data.SOURCES else "auto"  # a record may name a source that cannot be asked for
    return kept(data.load(name, source=asked, image_size=image_size))


def _finished(record_file: Path, checkpoint: Path, dataset: Dataset) -> Record | None:
    """The record of a finished run on the same data, if its weights are there too."""
    if not (record_file.exists() and checkpoint.exists()):
        return None
    record = records.read(record_file)
    return record if record.data["hash"] == dataset.content_hash() else None


def _train(spec: Spec, model: Model, dataset: Dataset, checkpoint: Path, progress: bool, compile: str) -> Record:
    device = training.best_device()
    code = fingerprint.code_of(spec.models(), spec.dataset)  # now, since files may be edited while it trains
    arithmetic = precision.available(spec.precision, device)
    history = training.train(
        model,
        dataset,
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=spec.seed,
        checkpoint=checkpoint,
        train_size=spec.train_size,
        precision=arithmetic,
        progress=progress,
        device=device,
        compile=None if compile == "none" else compile,
        watch=(lambda trained: _watched(spec, trained, dataset)) if spec.watch else None,
        watch_every=spec.watch_every,
    )
    started = time.perf_counter()
    metrics = _evaluated(spec.model, model.eval(), dataset, spec.eval_points)
    metrics["evaluation_seconds"] = round(time.perf_counter() - started, 2)
    return Record(
        id=spec.id,
        schema=records.SCHEMA,
        spec=spec.content(),
        data=_describe(dataset),
        metrics=metrics,
        losses=history.last(),
        history=_thinned(history) | ({"watched": history.watched} if history.watched else {}),
        seconds=round(history.seconds, 2),
        peak_memory_mb=round(records.peak_memory_mb(device), 1),
        environment=records.environment(device) | {"code": code, "arithmetic": arithmetic},
    )


def _evaluated(name: str, model: Model, dataset: Dataset, n: int) -> dict[str, object]:
    """What a record holds of the model. For a flow no MIG: over every number of its latent it would take a minute."""
    seen = replace(dataset, grid=None) if name in FLOWS else dataset
    return evaluate(model, seen, n, next(model.parameters()).device)


def _watched(spec: Spec, model: Model, dataset: Dataset) -> dict[str, float]:
    """What `spec` asks of a model on the way, on the points that it will be evaluated on."""
    found = score(model, dataset, _scores_watched(spec))
    if parameters.OWN_MEASURES in spec.watch:
        device = next(model.parameters()).device
        images = evaluation_points(dataset, spec.eval_points)[1][:MEASURED].to(device).float() / 255
        values = model.measure(images, torch.Generator(device).manual_seed(EVALUATION_SEED))
        found |= {name: round(value, 4) for name, value in values.items() if not isinstance(value, list)}
    return found


def _scores_watched(spec: Spec) -> list[str]:
    return [name for name in spec.watch if name != parameters.OWN_MEASURES]


def _missing(record: Record, model: Model, dataset: Dataset, scores: Sequence[str]) -> dict[str, object]:
    """Metrics that the record has not got, or has from an older way of evaluating."""
    current, wanted = record.metrics.get("evaluation_version") == VERSION, lacking(record.metrics, scores)
    if current and not wanted:
        return {}
    started, found = time.perf_counter(), {}
    if not current:
        found |= _evaluated(record.spec["model"], model, dataset, record.spec["eval_points"])
    found |= score(_InParts(model), dataset, wanted)
    spent = time.perf_counter() - started
    return found | {"evaluation_seconds": round(float(record.metrics.get("evaluation_seconds", 0)) + spent, 2)}


class _InParts:
    """A model that encodes images a part at a time, since what a network keeps of many does not fit a CPU's cache.

    A whole grid is then encoded in two thirds to three quarters of the time.
    """

    SIZE = 256  # images

    def __init__(self, model: Model) -> None:
        self.model = model

    def parameters(self) -> Iterator[Tensor]:
        return self.model.parameters()

    def encode(self, images: Tensor) -> Tensor:
        parts = images.split(self.SIZE) if images.device.type == "cpu" else (images,)
        return torch.cat([self.model.encode(part) for part in parts])


def _describe(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "source": dataset.source,
        "description": dataset.description,
        "count": len(dataset),
        "image_shape": list(dataset.image_shape),
        "hash": dataset.content_hash(),
    }


def _thinned(history: training.History) -> dict[str, list]:
    every = max(1, -(-len(history.steps) // HISTORY_POINTS))
    keep = slice((len(history.steps) - 1) % every, None, every)  # the last point is always one of them
    curves = {name: [float(f"{v:.5g}") for v in values[keep]] for name, values in history.losses.items()}
    return {"steps": history.steps[keep], **curves}


def _publish(record: Record) -> None:
    """While a chapter of the book is executed, its records go beside it."""
    folder = os.environ.get("DISENTLIB_PUBLISH")
    if folder:
        records.keep(record, Path(folder))
