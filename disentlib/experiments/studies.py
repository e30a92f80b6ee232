"""Studies: many trainings from one file, expanded to a numbered list of jobs that can be read without running any.

A study is `notebooks/studies/<name>.yml`: a title, the notebook, a profile, seeds, the slower scores to add, what it
feeds, and a grid. The grid is a list of blocks; a block maps each parameter to its values and stands for all their
combinations. `hyper` is a block of its own inside. A single value needs no brackets.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import yaml

from disentlib import data
from disentlib.experiments import places
from disentlib.experiments.evaluation import check_scores
from disentlib.experiments.parameters import Parameter, ParameterError, notebook_parameters, resolve
from disentlib.experiments.runs import Spec, sourced
from disentlib.experiments.settings import training_spec

__all__ = ["Job", "Study", "StudyError", "differing", "load", "matching", "names", "plan", "select", "values_of"]

SPECS = {"training": training_spec}  # notebook → the spec of its one training, from its parameters
_KEYS = {"title", "notebook", "profile", "seeds", "scores", "grid", "feeds"}
_NEEDED = ("title", "notebook", "profile", "seeds", "grid")


class StudyError(ValueError):
    """A study that cannot be run as it is written, or where it is asked for; nothing has been started."""


@dataclass(frozen=True)
class Study:
    """What a study's file says."""

    name: str
    title: str
    notebook: str
    profile: str
    seeds: list[int]
    grid: list[dict]
    scores: list[str] = field(default_factory=list)
    feeds: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One run of a study: what the notebook is given, and the training that follows from it."""

    study: str
    number: int
    notebook: str
    parameters: dict[str, object]
    spec: Spec

    @property
    def id(self) -> str:
        """The id of the record that it ends in."""
        return self.spec.id

    @property
    def folder(self) -> Path:
        """Its folder in `runs/`: record, checkpoint and executed notebook."""
        return places.runs() / self.id

    @property
    def output(self) -> Path:
        """The executed notebook; it is there only if every cell has run."""
        return self.folder / f"{self.notebook}.ipynb"

    @property
    def failure(self) -> Path:
        """What a run that failed three times leaves, beside its half-executed notebook."""
        return self.folder / "failed.json"


def names() -> list[str]:
    """The studies that there are."""
    return sorted(path.stem for path in _folder().glob("*.yml"))


def load(name: str, profile: str | None = None) -> Study:
    """The study `name`, under another profile if one is given; StudyError if its file is not as it has to be."""
    path = _folder() / f"{name}.yml"
    if not path.is_file():
        raise StudyError(f"no study {name!r}; known: {', '.join(names()) or 'none'}")
    content = _content(path)
    if profile is not None:
        content["profile"] = profile
    study = Study(name, **content)
    if not study.grid or not study.seeds:
        raise StudyError(f"study {name} has an empty {'grid' if not study.grid else 'list of seeds'}: nothing to run")
    return study


def plan(name: str, profile: str | None = None, seeds: Sequence[int] | None = None) -> list[Job]:
    """All runs of a study, numbered from 0: seed by seed, so that the first seed's table is whole first.

    Under another profile or with other seeds than its file says, if they are given.
    StudyError or ParameterError for an unknown notebook, profile or parameter, an empty grid, or a run that is there
    twice. Nothing is run.

    >>> len(plan("table1")) == 7 * len(load("table1").seeds)
    True
    """
    study = load(name, profile)
    study = study if seeds is None else replace(study, seeds=list(seeds))
    settings = [setting for block in study.grid for setting in _combinations(study.name, block)]
    known = _declared(study)
    jobs = [_job(study, known, s, seed) for seed in study.seeds for s in settings]
    jobs = [replace(job, number=number) for number, job in enumerate(jobs)]
    seen: dict[str, Job] = {}
    for job in jobs:
        if (first := seen.setdefault(job.id, job)) is not job:
            raise StudyError(f"runs {first.number} and {job.number} of study {name} are the same: {_said(job)}")
    return jobs


def select(jobs: Sequence[Job], only: Sequence[str]) -> list[Job]:
    """The jobs in which each `name=value` of `only` holds; `gamma=1,4` allows both. StudyError for an unknown name.

    A name is a parameter of the notebook or a hyper-parameter of the model; jobs that have no such name are left out.
    """
    for condition in only:
        name, equals, text = condition.partition("=")
        known = sorted(set().union(*map(values_of, jobs))) if jobs else []
        if not equals or (jobs and name not in known):
            raise StudyError(f"--only takes name=value with a name out of {', '.join(known)}; got {condition!r}")
        wanted = [yaml.safe_load(part) for part in text.split(",")]
        jobs = [job for job in jobs if values_of(job).get(name, ...) in wanted]
    return list(jobs)


def matching(jobs: Sequence[Job], wanted: Mapping[str, object]) -> list[Job]:
    """The jobs whose spec or hyper-parameters hold all the wanted values; StudyError if there is none.

    A list is any of its items, for what is not a list itself: profiles may differ in the usual value.
    """
    found = [job for job in jobs if all(_is(values_of(job).get(name, ...), value) for name, value in wanted.items())]
    if not found:
        raise StudyError(f"study {jobs[0].study} has no run with {dict(wanted)}")
    return found


def _is(value: object, wanted: object) -> bool:
    return value == wanted or (isinstance(wanted, list) and value in wanted)


def differing(jobs: Sequence[Job]) -> list[str]:
    """The names whose value is not the same in all jobs: what tells them apart."""
    values = [values_of(job) for job in jobs]
    listed = dict.fromkeys(name for each in values for name in each)
    return [name for name in listed if any(each.get(name, ...) != values[0].get(name, ...) for each in values)]


def values_of(job: Job) -> dict[str, object]:
    """Everything that a job can be chosen by: the spec, its hyper-parameters in its midst, and its parents'.

    A parent's values have its role before them, as `stage1.beta`; `parents` is the list of the roles.
    """
    return _spec_values(job.spec)


def _spec_values(spec: Spec) -> dict[str, object]:
    own = {name: value for name, value in vars(spec).items() if name not in ("hyper", "parents")}
    parents = {f"{role}.{k}": v for role, parent in spec.parents.items() for k, v in _spec_values(parent).items()}
    return own | spec.hyper | {"parents": sorted(spec.parents)} | parents


def _said(job: Job) -> str:
    own = {name: value for name, value in job.parameters.items() if name not in ("profile", "scores")}
    return ", ".join(f"{name}={value}" for name, value in own.items())


def _content(path: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise StudyError(f"{path.name} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path.name} holds no study: it needs {', '.join(_NEEDED)}")
    unknown, missing = sorted(set(content) - _KEYS), [key for key in _NEEDED if key not in content]
    if unknown or missing:
        raise StudyError(f"{path.name}: unknown {unknown}, missing {missing}; a study has {', '.join(sorted(_KEYS))}")
    for key in ("grid", "seeds", "scores", "feeds"):
        if key in content and not isinstance(content[key], list):
            raise StudyError(f"{path.name}: {key} must be a list, got {content[key]!r}")
    return content


def _combinations(study: str, block: object) -> Iterator[dict[str, object]]:
    """Every choice of one value for each parameter of a block, and for each hyper-parameter in it."""
    if not isinstance(block, Mapping):
        raise StudyError(f"a block of the grid of study {study} maps parameters to values, got {block!r}")
    names, choices = [], []
    for name, values in block.items():
        if isinstance(values, Mapping):
            values = list(_combinations(study, values))
        values = values if isinstance(values, list) else [values]
        if not values:
            raise StudyError(f"study {study} has an empty list of values for {name}: nothing to run")
        names.append(str(name))
        choices.append(values)
    for chosen in itertools.product(*choices):
        yield dict(zip(names, chosen))


def _declared(study: Study) -> dict[str, Parameter]:
    known = notebook_parameters(places.source_of(study.notebook, places.project() / "notebooks"))
    if study.notebook not in SPECS:
        raise StudyError(f"notebook {study.notebook} is no single training; a study runs: {', '.join(SPECS)}")
    return known


def _job(study: Study, known: Mapping[str, Parameter], setting: Mapping[str, object], seed: int) -> Job:
    given = {"profile": study.profile, **setting, "seed": seed}
    if study.scores:
        given["scores"] = study.scores
    try:
        check_scores(study.scores)
        values = resolve(study.notebook, known, given)
        spec = SPECS[study.notebook](SimpleNamespace(notebook=study.notebook, **values))
    except (ParameterError, ValueError) as error:
        raise StudyError(f"study {study.name}: {error}") from error
    return Job(study.name, -1, study.notebook, given, sourced(spec, _source(spec)))


def _source(spec: Spec) -> str:
    return _found(spec.dataset, spec.source, spec.image_size)


@lru_cache(maxsize=32)
def _found(dataset: str, source: str, image_size: int) -> str:
    """Which source "auto" means here: an id depends on it."""
    return data.load(dataset, source=source, image_size=image_size).source


def _folder() -> Path:
    return places.project() / "notebooks" / "studies"
