"""What a chapter trains is what its studies say: one list of runs for the page, the command line and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

from disentlib.experiments.parameters import profiles
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Spec, run_all
from disentlib.experiments.studies import Job, matching, plan

__all__ = ["chosen", "planned", "run_planned"]

# Hyper-parameters that count steps.
_SCHEDULE = ("encoder_warmup", "flip_warmup", "noise_steps", "refresh", "staged", "warmup")
_OWN = ("source", "image_size", "train_size", "batch_size", "precision", "eval_points")


def planned(study: str, p: SimpleNamespace) -> list[Job]:
    """The runs of a study under the profile and seeds of a notebook's parameters `p`, and under what else `p` changes.

    `p` may hold source, image_size, train_size, batch_size, precision and eval_points. What differs there from the
    profile was given by hand, and goes for each run and for all that it builds on; the rest is as the study has it,
    where a model or a data set may have a value of its own. `fraction` multiplies every number of steps, those of a
    warm-up too (at least one step is left of a training).
    In the profile `smoke` nothing is watched and no slow score is taken: they would take longer than the trainings.
    """
    jobs = [replace(job, spec=_changed(job.spec, p)) for job in plan(study, p.profile, p.seeds)]
    if p.profile != "smoke":
        return jobs
    quick = [{name: value for name, value in job.parameters.items() if name != "scores"} for job in jobs]
    return [replace(job, parameters=given, spec=_unwatched(job.spec)) for job, given in zip(jobs, quick)]


def chosen(jobs: Sequence[Job], **wanted: object) -> list[Job]:
    """The jobs in which all of `wanted` holds, as in a study's `feeds`; `stage1.beta=4.0` is `{"stage1.beta": 4.0}`."""
    return matching(jobs, wanted)


def run_planned(jobs: Sequence[Job], p: SimpleNamespace) -> list[Record]:
    """Train what has no record yet, score what the study scores, and give all records in the order of the jobs.

    `p` may hold workers, reuse and compile, as for `run_all`.
    """
    scores = jobs[0].parameters.get("scores", []) if jobs else []
    options = {name: getattr(p, name) for name in ("workers", "reuse", "compile") if hasattr(p, name)}
    return run_all([job.spec for job in jobs], scores=scores, **options)


def _changed(spec: Spec, p: SimpleNamespace) -> Spec:
    own = {name: getattr(p, name) for name in _OWN if _by_hand(p, name)}
    share = getattr(p, "fraction", 1.0)
    shorter = {name: _part(spec.hyper[name], share) for name in _SCHEDULE if spec.hyper.get(name)}
    parents = {role: _changed(parent, p) for role, parent in spec.parents.items()}
    return replace(spec, **own, steps=_part(spec.steps, share), hyper=spec.hyper | shorter, parents=parents)


def _part(steps: int, share: float) -> int:
    return max(1, round(steps * share))


def _by_hand(p: SimpleNamespace, name: str) -> bool:
    """Whether `p` says something else than the profile of its notebook."""
    usual = profiles(p.notebook)[p.profile] if hasattr(p, "notebook") else {}
    return hasattr(p, name) and getattr(p, name) != usual.get(name)


def _unwatched(spec: Spec) -> Spec:
    parents = {role: _unwatched(parent) for role, parent in spec.parents.items()}
    return replace(spec, watch=[], watch_every=None, parents=parents)
