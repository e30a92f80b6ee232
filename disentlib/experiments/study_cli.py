"""`python -m disentlib study list|show|run`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import yaml
from tqdm import tqdm

from disentlib.experiments import places, records, studies
from disentlib.experiments.job_runs import Outcome, publish_failure, run_job
from disentlib.experiments.job_states import DONE, counted, expected_seconds, forget, record_of, state
from disentlib.experiments.runs import built_on
from disentlib.experiments.studies import Job, StudyError, differing, plan, select, values_of

__all__ = ["add_study"]


def add_study(commands: argparse._SubParsersAction) -> None:
    """Add the command `study` with its three parts."""
    study = commands.add_parser("study", help="many trainings from one file: list, show or run them")
    parts = study.add_subparsers(required=True, metavar="list|show|run")
    _part(parts, "list", _list, "the studies and how far they are")
    show = _part(parts, "show", _show, "the numbered runs of a study, or everything about one of them")
    run = _part(parts, "run", _run, "run what is not finished yet")
    for command in (show, run):
        command.add_argument("study", help="its name, such as table1")
        command.add_argument("--only", action="append", default=[], metavar="NAME=VALUE", help="such as gamma=1,4")
        command.add_argument("--profile", help="another profile than the study's own")
    show.add_argument("number", type=int, nargs="?", help="show this run")
    run.add_argument("--workers", type=int, default=1, help="trainings at a time; they share the cores (default: 1)")
    run.add_argument("--scheduler", metavar="tcp://…", help="run on the workers of this Dask scheduler instead")
    run.add_argument("--threads", type=int, help="threads of a training (default: cores ÷ workers)")
    run.add_argument("--index", type=int, metavar="N", help="run number N alone, without Dask: for job arrays")
    run.add_argument("--stale", action="store_true", help="also train again what other code has made")
    run.add_argument("--keep", action="store_true", help="also put the records into book/records/")


def _part(parts: argparse._SubParsersAction, name: str, do: Callable, help: str) -> argparse.ArgumentParser:
    part = parts.add_parser(name, help=help)
    part.set_defaults(do=do)
    return part


def _list(_: argparse.Namespace) -> int:
    for name in studies.names():
        jobs = plan(name)
        print(f"{name}: {studies.load(name).title}")
        print(f"  {len(jobs)} runs of {jobs[0].notebook}, profile {jobs[0].spec.profile}: {_progress(jobs)}")
    return 0


def _show(options: argparse.Namespace) -> int:
    jobs = plan(options.study, options.profile)
    if options.number is not None:
        return _show_one(_numbered(jobs, options.number))
    print(f"{options.study}: {studies.load(options.study).title}")
    chosen = select(jobs, options.only)
    print(f"{len(chosen)} of {len(jobs)} runs, profile {jobs[0].spec.profile}: {_progress(chosen)}")
    for job in chosen:
        print(f"{job.number:4d}  {_settings(job, differing(jobs))}  {job.id}  {state(job)}")
    return 0


def _show_one(job: Job) -> int:
    print(f"run {job.number} of {job.study}: {state(job)}\n")
    print(
        yaml.safe_dump({"parameters": job.parameters, "spec": job.spec.content()}, allow_unicode=True, sort_keys=False)
    )
    print(f"record: {job.id}\noutput: {job.output}")
    given = json.dumps(job.parameters, ensure_ascii=False)  # JSON is YAML
    print(f"command: papermill notebooks/{job.notebook}.ipynb out.ipynb -y '{given}'")
    return 0


def _run(options: argparse.Namespace) -> int:
    from disentlib.experiments import study_runs  # Dask takes a second to import

    for name in ("workers", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise StudyError(f"--{name} must be at least 1, got {value}")
    jobs = plan(options.study, options.profile)
    chosen = [_numbered(jobs, options.index)] if options.index is not None else select(jobs, options.only)
    hashes = study_runs.content_hashes(chosen)
    states = [state(job, hashes) for job in chosen]
    todo = [job for job, s in zip(chosen, states) if s.kind != "finished" and (options.stale or s.kind != "stale")]
    print(f"{len(chosen)} runs: {counted(states)}{_estimate(todo, options.workers)}", flush=True)
    with _place(options, todo) as execute:
        for job, s in zip(chosen, states):
            if s.kind == "stale":
                print(f"  {job.number}: {s}; {'again' if options.stale else '--stale runs it again'}")
                if options.stale:
                    forget(job)
        failed = _follow(execute(todo), len(todo))
    if options.keep:
        _keep(chosen)
    return 1 if failed else 0


def _place(options: argparse.Namespace, jobs: Sequence[Job]) -> AbstractContextManager[Callable]:
    """Where the jobs run: in this process, on a cluster of this machine, or on the workers of a scheduler."""
    from disentlib.experiments import study_runs

    if options.scheduler:
        return study_runs.there(options.scheduler, options.threads)
    if options.index is not None or not jobs:
        share = study_runs.share_of(1, options.threads)
        return nullcontext(lambda jobs: (run_job(job, share.environment(0)) for job in jobs))
    return study_runs.here(min(options.workers, len(jobs)), options.threads)


def _follow(outcomes: Iterable[Outcome], total: int) -> int:
    """Say what becomes of each job, with a bar and an estimate; the number of those that failed."""
    from disentlib.experiments.study_runs import collect

    failed = 0
    with tqdm(total=total, desc="runs", unit="run", smoothing=0.1, disable=total == 0) as bar:
        for outcome in outcomes:
            collect(outcome)
            failed += outcome.record is None
            said = (
                f"failed: {_last_line(outcome.error)}; see {outcome.job.failure}" if outcome.record is None else "done"
            )
            bar.write(f"  {outcome.job.number}  {outcome.job.id}  {said}", file=sys.stdout)
            bar.set_postfix(failed=failed)
            bar.update()
    return failed


def _keep(jobs: Sequence[Job]) -> None:
    """Put the jobs' records, and those that they build on, among those that the book quotes; failures where it counts.

    Without what a run builds on, nobody could train it again from the book.
    """
    found = [record for job in jobs if (record := record_of(job)) is not None]
    parents = {id: parent for record in found for id, parent in built_on(record).items() if parent is not None}
    for record in [*found, *parents.values()]:
        records.keep(record, places.published_records())
    for job in jobs:
        publish_failure(job)
    print(f"{len(found)} records are in book/records/")


def _numbered(jobs: Sequence[Job], number: int) -> Job:
    if not 0 <= number < len(jobs):
        raise StudyError(f"study {jobs[0].study} has runs 0 to {len(jobs) - 1}, no run {number}")
    return jobs[number]


def _progress(jobs: Sequence[Job]) -> str:
    states = [state(job) for job in jobs]
    todo = [job for job, s in zip(jobs, states) if s.kind not in DONE]
    return counted(states) + _estimate(todo, 1)


def _estimate(jobs: Sequence[Job], workers: int) -> str:
    """What is left should take so long, as far as records tell."""
    known = records.read_all(places.published_records())
    seconds = expected_seconds(jobs, known) if jobs else None
    return f"; {len(jobs)} to run, about {seconds / workers / 60:.0f} min on {workers} worker(s)" if seconds else ""


def _settings(job: Job, names: Sequence[str]) -> str:
    own = values_of(job)
    return " ".join(f"{name}={own[name]}" for name in names if name in own)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:160]
