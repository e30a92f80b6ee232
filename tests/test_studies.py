"""Studies without running any: how a file expands, what is refused, how far a run is, what the command line says."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from disentlib.experiments import cli, fingerprint, job_states, places, records, studies
from disentlib.experiments.job_runs import Share, record_failure
from disentlib.experiments.job_states import State, aged, expected_seconds, forget, state
from disentlib.experiments.records import Record
from disentlib.experiments.studies import Job, StudyError, differing, load, plan, select

Make = Callable[..., Record]
STUDIES = sorted((Path(__file__).parents[1] / "notebooks" / "studies").glob("*.yml"))
SMALL = {
    "title": "Small",
    "notebook": "training",
    "profile": "smoke",
    "seeds": [3, 1],
    "grid": [
        {"dataset": "mnist", "image_size": 28, "model": ["vae"]},
        {"dataset": "mnist", "image_size": 28, "model": "beta_gvae", "hyper": {"beta": [2, 4], "gamma": [0.0, 1.0]}},
    ],
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs_folder: Path) -> Callable[..., str]:
    """`write(seeds=[0])`: a study `small` with these things changed, in a folder of its own; its name."""
    monkeypatch.setattr(studies, "_folder", lambda: tmp_path)

    def write(**changed: object) -> str:
        content = {key: value for key, value in (SMALL | changed).items() if value is not ...}
        (tmp_path / "small.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return "small"

    return write


# ---- expansion -----------------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_seed_by_seed(write: Callable) -> None:
    jobs = plan(write())
    settings = [("vae",)] + [("beta_gvae", b, g) for b, g in itertools.product([2, 4], [0.0, 1.0])]
    expected = [(*setting, seed) for seed in (3, 1) for setting in settings]
    found = [(j.parameters["model"], *j.parameters.get("hyper", {}).values(), j.parameters["seed"]) for j in jobs]
    assert found == expected and [job.number for job in jobs] == list(range(10))
    assert len({job.id for job in jobs}) == len({job.output for job in jobs}) == 10
    assert all(job.spec.steps == 25 and job.spec.source == "bundled" for job in jobs)


def test_an_expansion_starts_nothing_and_writes_nothing(write: Callable, runs_folder: Path) -> None:
    plan(write())
    assert not runs_folder.exists()


def test_another_profile_gives_other_runs(write: Callable) -> None:
    jobs, longer = plan(write()), plan(write(), profile="laptop")
    assert {job.spec.profile for job in longer} == {"laptop"} and not {j.id for j in jobs} & {j.id for j in longer}


def test_scores_reach_the_notebook(write: Callable) -> None:
    assert all(job.parameters["scores"] == ["dci"] for job in plan(write(scores=["dci"])))
    assert all("scores" not in job.parameters for job in plan(write()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"notebook": "paint"}, "no notebook 'paint'; known: .*training"),
        ({"notebook": "quickstart"}, "quickstart is no single training; a study runs: training"),
        ({"profile": "huge"}, "study small: unknown profile 'huge'; training has: smoke, laptop, paper"),
        ({"grid": []}, "study small has an empty grid: nothing to run"),
        ({"seeds": []}, "study small has an empty list of seeds: nothing to run"),
        ({"grid": [{"model": []}]}, "study small has an empty list of values for model: nothing to run"),
        ({"grid": [{"hyper": {"beta": []}}]}, "empty list of values for beta"),
        ({"grid": ["vae"]}, "a block of the grid of study small maps parameters to values, got 'vae'"),
        ({"grid": [{"modell": "vae"}]}, "study small: unknown parameter modell; training takes:"),
        ({"grid": [{"model": "gan"}]}, "study small: unknown model 'gan'; known: vae"),
        ({"grid": [{"model": "vae", "hyper": {"beta": 4.0}}]}, "study small: vae has no hyper-parameter beta"),
        ({"grid": [{"steps": "many"}]}, "study small: steps must be int, got 'many'"),
        ({"seeds": [0, -1]}, "study small: seed must be at least 0, got -1"),
        ({"seeds": [0, 0]}, "runs 0 and 5 of study small are the same: .*seed=0"),
        ({"grid": [{"model": ["vae", "vae"]}]}, "runs 0 and 1 of study small are the same"),
        ({"grid": [{"hyper": [{"beta": 4}, {"beta": 4.0}]}]}, "runs 0 and 1 of study small are the same"),
        ({"scores": ["bleu"]}, "study small: unknown metric bleu; known: "),
        ({"grid": {"model": "vae"}}, "small.yml: grid must be a list"),
        ({"seeds": 3}, "small.yml: seeds must be a list, got 3"),
        ({"epochs": 3}, r"small.yml: unknown \['epochs'\], missing \[\]; a study has feeds, grid"),
        ({"title": ..., "grid": ...}, r"small.yml: unknown \[\], missing \['title', 'grid'\]"),
    ],
)
def test_a_study_that_cannot_run_is_refused_before_anything_starts(
    write: Callable, changed: dict, said: str, capsys: pytest.CaptureFixture, runs_folder: Path
) -> None:
    name = write(**changed)
    with pytest.raises((StudyError, LookupError), match=said):
        plan(name)
    assert cli.main(["study", "run", name]) == 2
    assert re.search(said, capsys.readouterr().err.splitlines()[0]) and not runs_folder.exists()


def test_an_unknown_study_lists_those_there_are(write: Callable) -> None:
    write()
    with pytest.raises(StudyError, match="no study 'tabel'; known: small"):
        load("tabel")


@pytest.mark.parametrize("text", ["- a", "title: [", ""])
def test_a_file_that_is_no_study_is_named(write: Callable, tmp_path: Path, text: str) -> None:
    (tmp_path / "small.yml").write_text(text)
    with pytest.raises(StudyError, match="small.yml"):
        load("small")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_books_studies_expand(path: Path, runs_folder: Path) -> None:
    jobs = plan(path.stem)
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert len(study["seeds"]) >= (2 if study.get("feeds") else 1) and len(jobs) % len(study["seeds"]) == 0
    assert {job.spec.seed for job in jobs} == set(study["seeds"])


# ---- selection -----------------------------------------------------------------------------------------------------


def test_conditions_choose_runs(write: Callable) -> None:
    jobs = plan(write())
    assert [j.number for j in select(jobs, ["beta=4"])] == [3, 4, 8, 9]
    assert [j.number for j in select(jobs, ["beta=4", "gamma=0.0,7"])] == [3, 8]
    assert [j.number for j in select(jobs, ["model=vae"])] == [0, 5]
    assert select(jobs, ["beta=5"]) == [] and select(jobs, []) == jobs
    for wrong in ("betta=4", "beta"):
        with pytest.raises(StudyError, match=f"with a name out of .*beta.*; got '{wrong}'"):
            select(jobs, [wrong])


def test_what_tells_runs_apart(write: Callable) -> None:
    jobs = plan(write())
    assert differing(select(jobs, ["model=beta_gvae"])) == ["seed", "beta", "gamma"]
    assert differing(jobs[:1]) == []


# ---- how far a run is ----------------------------------------------------------------------------------------------


@pytest.fixture
def job(write: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Job:
    monkeypatch.setattr(places, "published_records", lambda: tmp_path / "published")
    return plan(write(scores=["dci"]))[1]


def made(job: Job, make: Make, folder: Path | None = None, code: dict | None = None, **metrics: float) -> Record:
    """A record of this job, written where its run would have written it."""
    record = make(**{"dci": 0.5, "evaluation_version": job_states.VERSION} | metrics)
    more = {} if code is None else {"code": code}
    record = dataclasses.replace(record, id=job.id, spec=job.spec.content(), environment=record.environment | more)
    records.write(record, (folder / f"{job.id}.json") if folder else job.folder / "record.json")
    return record


def today(job: Job) -> dict[str, str]:
    return fingerprint.code_of([job.spec.model], job.spec.dataset)


def test_a_run_goes_from_not_run_over_begun_to_finished(job: Job, make_record: Make) -> None:
    assert state(job) == State("not run")
    job.folder.mkdir(parents=True)
    (job.folder / "checkpoint.pt").touch()
    assert state(job) == State("begun")
    record_failure(job, "Traceback\nValueError: no good\n")
    assert state(job) == State("failed", "ValueError: no good")
    made(job, make_record, code=today(job))
    assert state(job) == State("finished")


def test_a_record_of_the_book_counts_and_says_if_it_knows_its_code(job: Job, make_record: Make) -> None:
    made(job, make_record, folder=places.published_records())
    assert state(job) == State("finished", "code unknown")


@pytest.mark.parametrize(
    ("change", "metrics", "expected"),
    [
        ({"training": "0" * 16}, {}, "trained by other code"),
        ({"evaluation": "0" * 16}, {}, "evaluated by other code"),
        ({}, {"evaluation_version": 0}, "evaluated by other code"),
        ({"training": "0" * 16, "evaluation": "0" * 16}, {}, "trained by other code"),
    ],
)
def test_what_other_code_made_is_stale(job: Job, make_record: Make, change: dict, metrics: dict, expected: str) -> None:
    record = made(job, make_record, code=today(job) | change, **metrics)
    assert aged(record) == expected and state(job) == State("stale", expected)


def test_a_record_of_other_data_is_none_and_one_without_a_score_is_not_enough(job: Job, make_record: Make) -> None:
    record = made(job, make_record)
    key = (job.spec.dataset, job.spec.source, job.spec.image_size)
    assert state(job, {key: record.data["hash"]}).kind == "finished"
    assert state(job, {key: "another"}) == State("not run", "its record is of other data")
    made(job, lambda **m: make_record(**{k: v for k, v in m.items() if k != "dci"}))
    assert state(job) == State("incomplete", "dci not scored")


@pytest.mark.parametrize(("part", "kept"), [("training", False), ("evaluation", True)])
def test_weights_outlive_a_change_of_the_evaluation_alone(job: Job, make_record: Make, part: str, kept: bool) -> None:
    made(job, make_record, code=today(job) | {part: "0" * 16})
    (job.folder / "checkpoint.pt").touch()
    forget(job)
    assert state(job).kind == ("begun" if kept else "not run")


def test_what_is_left_is_reckoned_from_runs_of_the_same_kind(write: Callable, make_record: Make) -> None:
    jobs = plan(write())

    def took(seconds: float, model: str, dataset: str = "mnist", profile: str = "smoke") -> Record:
        record = make_record(model=model, evaluation_seconds=1.0)
        spec = record.spec | {"dataset": dataset, "profile": profile}
        return dataclasses.replace(record, seconds=seconds, spec=spec)

    known = [took(9, "vae"), took(19, "vae"), took(4, "beta_gvae"), took(1000, "vae", profile="paper")]
    assert expected_seconds(jobs, known) == 2 * 15 + 8 * 5
    assert expected_seconds(jobs, []) is None
    assert expected_seconds(jobs[:1], [took(99, "beta_vae", "chairs")]) == 100


# ---- sharing a machine ---------------------------------------------------------------------------------------------


def test_workers_share_threads_and_take_gpus_in_turn() -> None:
    shares = [Share(3, ("0", "GPU-b")).environment(worker) for worker in range(4)]
    assert [s["CUDA_VISIBLE_DEVICES"] for s in shares] == ["0", "GPU-b", "0", "GPU-b"]
    assert {s[name] for s in shares for name in s if name.endswith("_NUM_THREADS")} == {"3"}
    assert "CUDA_VISIBLE_DEVICES" not in Share(3).environment(0)


# ---- the command line ----------------------------------------------------------------------------------------------


def test_list_counts_and_show_numbers(write: Callable, capsys: pytest.CaptureFixture) -> None:
    name = write()
    jobs = plan(name)
    assert cli.main(["study", "list"]) == 0
    assert "10 runs of training, profile smoke: 10 not run" in capsys.readouterr().out
    assert cli.main(["study", "show", name, "--only", "beta=4", "--only", "seed=1"]) == 0
    head, count, *lines = capsys.readouterr().out.splitlines()
    assert head == "small: Small" and count.startswith("2 of 10 runs")
    assert [line.split()[0] for line in lines] == ["8", "9"] and all(jobs[n].id in lines[n - 8] for n in (8, 9))


def test_show_one_run_prints_what_would_run_it(write: Callable, capsys: pytest.CaptureFixture) -> None:
    name = write()
    assert cli.main(["study", "show", name, "9"]) == 0
    shown = capsys.readouterr().out
    job = plan(name)[9]
    command = re.search(r"-y '(.*)'", shown)[1]
    assert json.loads(command) == yaml.safe_load(command) == job.parameters
    assert job.id in shown and "width: 64" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "small", "10"], "study small has runs 0 to 9, no run 10"),
        (["run", "small", "--index", "-1"], "study small has runs 0 to 9, no run -1"),
        (["run", "small", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["run", "small", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["run", "small", "--only", "depth=3"], "--only takes name=value with a name out of"),
        (["run", "small", "--profile", "huge"], "unknown profile 'huge'"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_two(
    write: Callable, words: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    write()
    assert cli.main(["study", *words]) == 2
    assert re.search(f"^disentlib: .*{re.escape(said)}", capsys.readouterr().err)
