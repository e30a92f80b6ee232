"""Running studies for real, at toy size: on Dask, with a worker killed on the way, and with runs that must fail."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import yaml

from disentlib.experiments import cli, job_runs, notebooks, records, studies, study_runs
from disentlib.experiments.job_runs import ATTEMPTS, Share, run_job
from disentlib.experiments.job_states import state
from disentlib.experiments.studies import Job, StudyError, plan

TINY = {
    "title": "Tiny",
    "notebook": "training",
    "profile": "smoke",
    "seeds": [0, 1],
    "grid": [{"model": ["vae", "beta_vae"], "dataset": "mnist", "image_size": 28, "train_size": 100}],
}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs_folder: Path) -> Callable[..., list[Job]]:
    """`tiny(seeds=[0])`: the jobs of a study `tiny` with these things changed."""
    monkeypatch.setattr(studies, "_folder", lambda: tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def jobs(**changed: object) -> list[Job]:
        (tmp_path / "tiny.yml").write_text(yaml.safe_dump(TINY | changed), encoding="utf-8")
        return plan("tiny")

    return jobs


def kernel(do: Callable[[Job, Path], None], jobs: list[Job]) -> Callable:
    """A stand-in for executing a notebook: `do(job, part)` in its place."""
    by_output = {job.output: job for job in jobs}

    def execute(source: Path, output: Path, given: dict, live: bool = True) -> Path:
        output.parent.mkdir(parents=True, exist_ok=True)
        do(by_output[output], output.with_suffix(".part.ipynb"))
        return output

    return execute


# ---- one job, without Dask and without a kernel ---------------------------------------------------------------------


def test_a_job_that_fails_is_tried_three_times_and_then_recorded(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, tries = tiny()[0], []

    def fail(job: Job, part: Path) -> None:
        tries.append(part)
        part.write_text("half")
        raise RuntimeError(f"broken in try {len(tries)}")

    monkeypatch.setattr(notebooks, "execute", kernel(fail, [job]))
    outcome = run_job(job)
    assert outcome.record is None and len(tries) == ATTEMPTS == 3
    left = json.loads(job.failure.read_text(encoding="utf-8"))
    assert "RuntimeError: broken in try 3" in left["error"] and "Traceback" in left["error"]
    assert left["parameters"] == job.parameters and tries[0].read_text() == "half"
    assert state(job).kind == "failed"


def test_a_job_that_comes_right_is_no_failure(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch, make_record: Callable
) -> None:
    job, tries = tiny()[0], []

    def third_time(job: Job, part: Path) -> None:
        tries.append(part)
        if len(tries) < 3:
            raise RuntimeError("no")
        records.write(make_record(), job.folder / "record.json")

    monkeypatch.setattr(notebooks, "execute", kernel(third_time, [job]))
    job_runs.record_failure(job, "an older one")
    assert run_job(job).record == make_record() and not job.failure.exists()


def test_a_notebook_that_leaves_no_record_has_failed(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch, make_record: Callable
) -> None:
    """Papermill calls a notebook complete whose kernel was killed; so would a record in the book that lacks a score."""
    first, second = tiny(scores=["dci"])[:2]
    monkeypatch.setattr(notebooks, "execute", kernel(lambda job, part: None, [first, second]))
    assert "ended without the record" in run_job(first).error
    records.write(make_record(), second.folder / "record.json")
    assert "ended without the record" in run_job(second).error


def test_index_runs_one_job_in_this_process_and_skips_it_next_time(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch, make_record: Callable, capsys: pytest.CaptureFixture
) -> None:
    jobs, ran = tiny(), []

    def write(job: Job, part: Path) -> None:
        ran.append(job.number)
        data = {"hash": study_runs.content_hashes([job])[(job.spec.dataset, job.spec.source, job.spec.image_size)]}
        record = make_record(seed=job.number)
        records.write(type(record)(**vars(record) | {"data": record.data | data}), job.folder / "record.json")

    monkeypatch.setattr(notebooks, "execute", kernel(write, jobs))
    assert cli.main(["study", "run", "tiny", "--index", "2"]) == 0 and ran == [2]
    assert cli.main(["study", "run", "tiny", "--index", "2"]) == 0 and ran == [2]
    assert "1 runs: 1 finished" in capsys.readouterr().out


def test_a_study_with_a_failure_ends_with_status_one_and_the_others_done(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    jobs = tiny()

    def outcomes(todo: list[Job], *_: object) -> list[job_runs.Outcome]:
        return [job_runs.Outcome(job, None, "Traceback\nValueError: no good") for job in todo]

    monkeypatch.setattr(study_runs, "local", lambda workers: contextlib.nullcontext())
    monkeypatch.setattr(study_runs, "outcomes", outcomes)
    assert cli.main(["study", "run", "tiny", "--only", "seed=0"]) == 1
    said = capsys.readouterr().out
    assert all(f"{job.id}  failed: ValueError: no good" in said for job in jobs[:2]) and jobs[2].id not in said


# ---- schedulers ----------------------------------------------------------------------------------------------------


def test_an_unreachable_scheduler_is_one_line(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, runs_folder: Path
) -> None:
    monkeypatch.setattr(study_runs, "PATIENCE", 1)
    tiny()
    assert cli.main(["study", "run", "tiny", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert re.match("disentlib: no scheduler answers at tcp://127.0.0.1:1 within 1 s", capsys.readouterr().err)
    assert cli.main(["study", "run", "tiny", "--scheduler", "over there"]) == 2
    assert capsys.readouterr().err == "disentlib: a scheduler's address reads tcp://host:port, got 'over there'\n"
    assert not runs_folder.exists()


class Answers:
    """A client whose workers answer so."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers

    def run(self, function: Callable, on_error: str) -> dict[str, object]:
        return self.answers


def test_a_worker_with_other_code_or_none_is_refused() -> None:
    ours = study_runs._version()
    study_runs.check_workers(Answers({"tcp://a": ours, "tcp://b": ours}))
    with pytest.raises(StudyError, match=r"worker tcp://b has disentlib 0\.0\.9, code .*install the same version"):
        study_runs.check_workers(Answers({"tcp://a": ours, "tcp://b": ("0.0.9", ours[1])}))
    with pytest.raises(StudyError, match=f"worker tcp://b has disentlib {ours[0]}, code feed"):
        study_runs.check_workers(Answers({"tcp://b": (ours[0], "feed")}))
    with pytest.raises(StudyError, match="worker tcp://b cannot run this study .ModuleNotFoundError: no disentlib"):
        study_runs.check_workers(Answers({"tcp://b": ModuleNotFoundError("no disentlib")}))


# ---- for real ------------------------------------------------------------------------------------------------------


@pytest.mark.notebook
def test_a_study_survives_a_killed_worker_and_shares_the_threads(tiny: Callable, runs_folder: Path) -> None:
    """One of two workers is killed while it trains: every run still finishes, and none is trained twice at a time."""
    grid = [TINY["grid"][0] | {"model": ["vae", "beta_vae", "beta_gvae"]}]
    jobs = tiny(seeds=[0], grid=grid)
    with study_runs.local(2) as client:
        pids = client.run(os.getpid)
        killed: list[str] = []

        def kill_one_that_is_at_work() -> None:
            while not killed:
                busy = [address for address, tasks in client.processing().items() if tasks]
                begun = [job for job in jobs if job.output.with_suffix(".part.ipynb").exists()]
                if busy and begun:
                    os.kill(pids[busy[0]], signal.SIGKILL)
                    killed.append(busy[0])
                time.sleep(0.2)

        killer = threading.Thread(target=kill_one_that_is_at_work)
        killer.start()
        done = list(study_runs.outcomes(jobs, client, Share(1)))
        killer.join()
    assert killed and sorted(o.job.number for o in done) == [0, 1, 2]
    assert [o.error for o in done if o.record is None] == []
    assert {o.record.id for o in done} == {job.id for job in jobs}
    assert {o.record.environment["threads"] for o in done} == {1}
    assert all(job.output.exists() and state(job).kind == "finished" for job in jobs)
    text = nbformat.writes(nbformat.read(jobs[0].output, as_version=4))
    assert jobs[0].id in text and "image/png" in text


@pytest.mark.notebook
def test_a_study_whose_training_breaks_reports_it_and_the_rest_finishes(
    tiny: Callable, capsys: pytest.CaptureFixture
) -> None:
    """A learning rate that ends in infinities: three tries in a real kernel, a traceback, and a notebook to look at."""
    broken = {"dataset": "mnist", "image_size": 28, "model": "vae", "train_size": 100, "eval_points": 100}
    jobs = tiny(seeds=[0], grid=[{**broken, "hyper": {"lr": [1e-3, 1e30]}}])
    assert cli.main(["study", "run", "tiny", "--workers", "2"]) == 1
    good, bad = jobs
    assert state(good).kind == "finished" and state(bad).kind == "failed"
    assert "NonFiniteLoss" in json.loads(bad.failure.read_text(encoding="utf-8"))["error"]
    assert bad.output.with_suffix(".part.ipynb").exists() and not bad.output.exists()
    assert cli.main(["study", "run", "tiny", "--only", "lr=0.001"]) == 0
    assert "1 runs: 1 finished" in capsys.readouterr().out
