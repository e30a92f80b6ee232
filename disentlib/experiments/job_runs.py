"""One run of a study where it happens: on a worker, in a kernel of its own, three times before it counts as failed."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from papermill import PapermillExecutionError

from disentlib.data.atomic import replacing
from disentlib.experiments import notebooks, places, records
from disentlib.experiments.evaluation import lacking
from disentlib.experiments.records import Record
from disentlib.experiments.studies import Job

__all__ = ["ATTEMPTS", "Outcome", "Share", "publish_failure", "record_failure", "run_job"]

ATTEMPTS = 3


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its record, or the traceback of the last attempt."""

    job: Job
    record: Record | None
    error: str = ""


@dataclass(frozen=True)
class Share:
    """What one worker may use: so many threads, and one of the GPUs if there are any."""

    threads: int
    gpus: Sequence[str] = ()

    def environment(self, worker: int) -> dict[str, str]:
        """The environment of the kernels of worker 0, 1, 2, …: GPUs are dealt out in turn.

        >>> Share(2, ("0", "1")).environment(3)["CUDA_VISIBLE_DEVICES"]
        '1'
        """
        pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        threads = dict.fromkeys(pools, str(self.threads))
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[worker % len(self.gpus)]} if self.gpus else {}
        return threads | {"LOKY_MAX_CPU_COUNT": str(self.threads)} | gpu


def run_job(job: Job, environment: Mapping[str, str] | None = None) -> Outcome:
    """Execute a job's notebook, up to `ATTEMPTS` times; what stopped an attempt is resumed from its checkpoint.

    It succeeds only if its record is there afterwards: a killed kernel's notebook looks like a finished one. A failure
    leaves `failed.json` with the traceback beside the half-executed notebook. An interrupt from outside is raised.
    """
    os.environ.update(environment or {})  # kernels inherit it; a worker does one job at a time
    error = ""
    for _ in range(ATTEMPTS):
        try:
            return Outcome(job, _attempt(job))
        except Exception as problem:
            if isinstance(problem, PapermillExecutionError) and problem.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt(f"{job.id} was stopped") from problem
            error = "".join(traceback.format_exception(problem))
    record_failure(job, error)
    return Outcome(job, None, error)


def record_failure(job: Job, error: str) -> None:
    """Write down that a job failed, and with what."""
    content = {"id": job.id, "study": job.study, "number": job.number, "parameters": job.parameters}
    content |= {"spec": job.spec.content(), "attempts": ATTEMPTS, "error": error}
    content["date"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    with replacing(job.failure) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def publish_failure(job: Job) -> None:
    """Put what is left of a failed job into the book, without its traceback, which names folders of this machine.

    The trace of a failure that has been mended since is taken away.
    """
    target = places.published_failures() / f"{job.id}.json"
    if not job.failure.exists():
        target.unlink(missing_ok=True)
        return
    content = json.loads(job.failure.read_text(encoding="utf-8"))
    content["error"] = (content["error"].strip().splitlines() or [""])[-1]
    with replacing(target) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _attempt(job: Job) -> Record:
    source = notebooks.source_of(job.notebook, places.project() / "notebooks")
    notebooks.execute(source, job.output, job.parameters, live=False)
    path = job.folder / "record.json"  # not the book's, which may be why this job is run again
    record = records.read(path) if path.exists() else None
    if record is None or lacking(record.metrics, job.parameters.get("scores", [])):
        raise RuntimeError(f"the notebook ended without the record of {job.id}: was its kernel killed?")
    job.failure.unlink(missing_ok=True)
    return record
