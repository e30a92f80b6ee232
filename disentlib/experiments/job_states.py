"""How far each run of a study is: read from what lies in `runs/` and in the book, without training anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from disentlib.experiments import fingerprint
from disentlib.experiments.evaluation import VERSION, lacking
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Spec, recorded
from disentlib.experiments.studies import Job

__all__ = ["DONE", "State", "aged", "counted", "expected_seconds", "forget", "record_of", "state"]

DONE = ("finished", "stale")  # there is a record; a stale one is made again only if that is asked for


@dataclass(frozen=True)
class State:
    """`kind`: finished, stale, incomplete, failed, begun or not run. `why` says more where there is more to say."""

    kind: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.why})" if self.why else self.kind


def record_of(job: Job) -> Record | None:
    """The record of a job: that of this checkout's own run, else the one in the book; None if there is neither."""
    return recorded(job.id)


def state(job: Job, hashes: Mapping[tuple, str] | None = None) -> State:
    """How far a job is. `hashes`: the content of each data set, by `(dataset, source, image_size)`, if it is known.

    A record of other data counts as none. One by other code is stale; one from before code was recorded is not.
    """
    record = record_of(job)
    if record is None:
        return _without_record(job)
    key = (job.spec.dataset, job.spec.source, job.spec.image_size)
    if hashes is not None and record.data["hash"] != hashes[key]:
        return State("not run", "its record is of other data")
    missing = lacking(record.metrics, job.parameters.get("scores", []))
    if missing:
        return State("incomplete", f"{', '.join(missing)} not scored")
    age = aged(record)
    return State("stale", age) if age else State("finished", "" if "code" in record.environment else "code unknown")


def aged(record: Record) -> str | None:
    """Which part of a record other code than today's has made; None if none, or if the record does not say."""
    models, dataset = _code_key(record)
    made, now = record.environment.get("code"), fingerprint.code_of(models, dataset)
    agrees = {part: made is None or fingerprint.same_numbers(made[part], code, dataset) for part, code in now.items()}
    if not agrees["training"]:
        return "trained by other code"
    current = record.metrics.get("evaluation_version", VERSION) == VERSION
    return None if current and agrees["evaluation"] else "evaluated by other code"


def forget(job: Job) -> None:
    """Take away what makes a stale job count as done: its record, and its weights if those are stale too."""
    record = record_of(job)
    if record is None or aged(record) == "trained by other code":
        (job.folder / "checkpoint.pt").unlink(missing_ok=True)
    (job.folder / "record.json").unlink(missing_ok=True)


def counted(states: Sequence[State]) -> str:
    """`21 finished, 14 not run`."""
    return ", ".join(f"{number} {kind}" for kind, number in Counter(s.kind for s in states).items()) or "none"


def expected_seconds(jobs: Sequence[Job], known: Sequence[Record]) -> float | None:
    """What the jobs should cost one worker, from records of the same model, data and profile; None without any."""
    costs: dict[tuple, list[float]] = {}
    for r in known:
        seconds = r.seconds + float(r.metrics.get("evaluation_seconds", 0))
        costs.setdefault((r.spec["model"], r.spec["dataset"], r.spec["profile"]), []).append(seconds)
    everything = [seconds for group in costs.values() for seconds in group]
    if not everything:
        return None
    keys = [(job.spec.model, job.spec.dataset, job.spec.profile) for job in jobs]
    same_profile = [s for key, group in costs.items() for s in group if jobs and key[2] == jobs[0].spec.profile]
    return sum(mean(costs.get(key) or same_profile or everything) for key in keys)


def _without_record(job: Job) -> State:
    if job.failure.exists():
        error = str(json.loads(job.failure.read_text(encoding="utf-8"))["error"]).strip().splitlines()
        return State("failed", error[-1][:100] if error else "")
    return State("begun") if (job.folder / "checkpoint.pt").exists() else State("not run")


def _code_key(record: Record) -> tuple[list[str], str]:
    return Spec.of(record.spec).models(), record.spec["dataset"]
