"""Run records: what a training was, what came out, and where; JSON, written atomically, validated on reading."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from disentlib.data.atomic import replacing

__all__ = ["SCHEMA", "Record", "RecordError", "environment", "keep", "read", "read_all", "select", "write"]

SCHEMA = 1
_INSIDE = {
    "spec": ("dataset", "model", "profile", "seed", "hyper", "steps"),
    "data": ("name", "source", "description", "image_shape", "hash"),
    "environment": ("device", "threads", "versions", "commit", "clean", "date"),
}


class RecordError(RuntimeError):
    """A record file is broken, incomplete, or of another schema; the message names the file and what to do."""


@dataclass(frozen=True)
class Record:
    """One training. `spec` is everything that was asked for; two records with equal specs have equal ids."""

    id: str
    schema: int
    spec: dict
    data: dict  # name, source, description, count, hash
    metrics: dict  # name → value, on the evaluation points
    losses: dict  # name → last mean over training
    history: dict  # {"steps": […], name: […]}, thinned
    seconds: float  # of training, without drawing the data or evaluating
    peak_memory_mb: float
    environment: dict  # device, threads, versions, commit, clean, date

    def get(self, key: str) -> object:
        """A value by name: from spec, hyper-parameters, metrics, or last losses, in this order; KeyError if nowhere."""
        for place in (self.spec, self.spec["hyper"], self.metrics, self.losses):
            if key in place:
                return place[key]
        raise KeyError(f"record {self.id} has no {key!r}")

    def has(self, key: str) -> bool:
        """Whether `get` finds it: a run that one study made has not got every score that another asks for."""
        try:
            self.get(key)
        except KeyError:
            return False
        return True


def write(record: Record, path: str | Path) -> Path:
    """Write a record as JSON; the old file stays whole if the disk is full or the process dies."""
    text = json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return Path(path)


def keep(record: Record, folder: Path) -> None:
    """Put a record among those that the book quotes, unless the same code's record there has scores that it lacks.

    A run may be trained again where its weights were lost, for its pictures or for what builds on it. It is then scored
    no further, and must not take away what tables are made of.
    """
    path = folder / f"{record.id}.json"
    there = read(path) if path.exists() else None
    if there is None or _code(there) != _code(record) or there.metrics.keys() <= record.metrics.keys():
        write(record, path)


def _code(record: Record) -> str | None:
    return record.environment.get("code", {}).get("training")


def read(path: str | Path) -> Record:
    """Read and validate a record; RecordError says what is wrong with the file."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path} cannot be read as a record ({error}); delete it and run its settings again"
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise RecordError(f"{path} has record schema {found!r}, this version reads {SCHEMA}; run its settings again")
    wrong = [f.name for f in fields(Record) if f.name in content and not _fits(content[f.name], f.type)]
    missing = sorted({f.name for f in fields(Record)} ^ set(content)) + ([] if wrong else _lacking(content))
    if missing or wrong:
        raise RecordError(
            f"{path} is not a whole record (missing or unknown: {missing}, ill-typed: {wrong}); run its settings again"
        )
    return Record(**content)


def read_all(folder: str | Path) -> list[Record]:
    """All records of a folder, sorted by file name; an absent folder holds none."""
    return [read(path) for path in sorted(Path(folder).glob("*.json"))]


def select(records: Iterable[Record], **wanted: object) -> list[Record]:
    """The records whose spec, hyper-parameters or metrics hold all the wanted values, e.g. `model="vae", seed=0`."""
    return [r for r in records if all(_holds(r, key, value) for key, value in wanted.items())]


def environment(device: torch.device) -> dict[str, object]:
    """Where this process runs, without naming the machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    packages = ("torch", "numpy", "scikit-learn")
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        **_git(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    }


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory held so far: the GPU's if the run was there, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _lacking(content: dict) -> list[str]:
    """What pages read inside a record's parts and this one has not, as `data.hash`."""
    return [f"{part}.{key}" for part, keys in _INSIDE.items() for key in keys if key not in content.get(part, keys)]


def _fits(value: object, annotation: str) -> bool:
    kinds = {"str": str, "int": int, "dict": dict, "float": (int, float)}
    return isinstance(value, kinds[annotation]) and not isinstance(value, bool)


def _holds(record: Record, key: str, value: object) -> bool:
    try:
        return record.get(key) == value
    except KeyError:
        return False


@lru_cache(maxsize=1)  # the code that runs is the code that was imported, whatever is edited meanwhile
def _git() -> dict[str, object]:
    folder = Path(__file__).parents[1]  # the package: a changed README changes no number

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    changed = ask("status", "--porcelain", "--", ".")
    return {"commit": ask("rev-parse", "--short", "HEAD"), "clean": changed == "" if changed is not None else None}
