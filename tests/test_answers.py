"""From claims and records to the pages `reproduction`, `errata` and `status`: nothing typed, lost or mixed."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml

from disentlib.experiments import answers, chapters, ledger, places, readings, records, reproduction, studies
from disentlib.experiments.answers import Library
from disentlib.experiments.claims import claims, papers, tables
from disentlib.experiments.job_runs import publish_failure, record_failure
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap
from disentlib.experiments.studies import Job, StudyError, plan

Make = Callable[..., Record]
ROOT = Path(__file__).parents[1]
FEED = {
    "table": "beta_gvae/table2",
    "metrics": {"KL divergence": "kl"},
    "runs": {"VAE": {"model": "vae"}, "β-VAE": {"model": "beta_vae", "beta": 4.0}},
    "comparable": {"image_size": 28},
}
STUDY = {
    "title": "Small",
    "notebook": "training",
    "profile": "laptop",
    "seeds": [0, 1, 2],
    "grid": [
        {"dataset": "mnist", "image_size": 28, "model": "vae"},
        {"dataset": "mnist", "image_size": 28, "model": "beta_vae", "hyper": {"beta": [1.0, 4.0]}},
    ],
    "feeds": [FEED],
}


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[html.unescape(re.sub("<.*?>", "", c)) for c in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)] for row in rows]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs_folder: Path) -> Callable[..., list[Job]]:
    """`write(seeds=[0])`: the only study, `small`, with these things changed, and an empty book; the study's jobs."""
    (tmp_path / "studies").mkdir()
    monkeypatch.setattr(studies, "_folder", lambda: tmp_path / "studies")
    monkeypatch.setattr(places, "published_records", lambda: tmp_path / "records")
    monkeypatch.setattr(places, "published_failures", lambda: tmp_path / "failures")

    def write(**changed: object) -> list[Job]:
        (tmp_path / "studies" / "small.yml").write_text(yaml.safe_dump(STUDY | changed), encoding="utf-8")
        return plan("small")

    return write


def publish(job: Job, make: Make, source: str = "bundled", **metrics: float) -> Record:
    record = make(**metrics)
    spec = job.spec.content() | {"source": source}
    data = record.data | {"source": source, "image_shape": [1, 28, 28]}
    record = dataclasses.replace(record, id=f"{job.id}-{source}", spec=spec, data=data)
    records.write(record, places.published_records() / f"{record.id}.json")
    return record


# ---- which records answer ------------------------------------------------------------------------------------------


def test_without_records_every_value_is_there_and_not_run(write: Callable) -> None:
    write()
    rows = Library().rows("beta_gvae", "table2")
    assert [row.claim for row in rows] == [c for c in claims("beta_gvae") if c.table == "table2"]
    assert all(not row.records for row in rows)


def test_the_records_of_a_setting_answer_its_claim_and_no_other(write: Callable, make_record: Make) -> None:
    jobs = write()
    made = {job.number: publish(job, make_record, kl=float(job.number)) for job in jobs}
    vae = [made[j.number] for j in jobs if j.spec.model == "vae"]
    strong = [made[j.number] for j in jobs if j.spec.hyper.get("beta") == 4.0]
    answered = {row.claim.row: row for row in Library().rows("beta_gvae", "table2") if row.records}
    assert {r.id for r in answered["VAE"].records} == {r.id for r in vae}
    assert {r.id for r in answered["β-VAE"].records} == {r.id for r in strong}
    assert set(answered) == {"VAE", "β-VAE"} and {row.claim.column for row in answered.values()} == {"KL divergence"}


def test_sources_and_profiles_are_never_mixed(write: Callable, make_record: Make) -> None:
    jobs = write()
    for source in ("real", "rendered"):
        for job in jobs:
            publish(job, make_record, source=source, kl=1.0)
    publish(plan("small", "paper")[0], make_record, kl=9.0)
    found = [
        ({r.data["source"] for r in row.records}, {r.spec["profile"] for r in row.records}, len(row.records))
        for row in Library().rows("beta_gvae", "table2")
        if row.claim.row == "VAE" and row.records
    ]
    assert found == [({"real"}, {"laptop"}, 3), ({"rendered"}, {"laptop"}, 3), ({"bundled"}, {"paper"}, 1)]


def test_what_is_not_comparable_says_why(write: Callable, make_record: Make) -> None:
    for job in write():
        publish(job, make_record, kl=1.0)
    assert {row.why_not for row in Library().rows("beta_gvae", "table2") if row.records} == {None}
    write(feeds=[FEED | {"comparable": {"source": "real", "image_size": 64}}])
    (why,) = {row.why_not for row in Library().rows("beta_gvae", "table2") if row.records}
    assert why.startswith("drawn squares <&>, 28 px")


def test_failed_runs_are_counted_until_they_are_mended(write: Callable, make_record: Make) -> None:
    jobs = [job for job in write() if job.spec.model == "vae"]

    def counts() -> tuple[int, int]:
        row = next(row for row in Library().rows("beta_gvae", "table2") if row.label == "VAE, KL divergence")
        return len(row.records), row.failed

    for job in jobs:
        record_failure(job, f"Traceback of {Path.home()}/secret\nValueError: no good")
        publish_failure(job)
    left = json.loads((places.published_failures() / f"{jobs[0].id}.json").read_text())
    assert left["error"] == "ValueError: no good" and str(Path.home()) not in json.dumps(left)
    assert counts() == (0, 3)
    publish(jobs[0], make_record, kl=1.0)
    jobs[0].failure.unlink()
    publish_failure(jobs[0])
    assert counts() == (1, 2)


def test_a_choice_that_holds_several_settings_is_refused(write: Callable, make_record: Make) -> None:
    for job in write(feeds=[FEED | {"runs": {"β-VAE": {"model": "beta_vae"}}}]):
        publish(job, make_record, kl=1.0)
    with pytest.raises(StudyError, match="several settings with .*beta_vae.*say which"):
        Library().rows("beta_gvae", "table2")


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        ({"table": "beta_gvae/table2"}, "study small: a feed has comparable, dataset, metrics, runs, table"),
        (FEED | {"metric": "kl"}, "a feed has"),
        ("table2", "a feed has"),
        (FEED | {"runs": {"VAE": {"model": "gan"}}}, "study small has no run with .*gan"),
    ],
)
def test_a_feed_that_is_wrong_is_named(write: Callable, feed: object, said: str) -> None:
    write(feeds=[feed])
    with pytest.raises(StudyError, match=said):
        Library().rows("beta_gvae", "table2")


def test_an_unknown_table_lists_those_there_are(write: Callable) -> None:
    write()
    with pytest.raises(LookupError, match="beta_gvae has no table 'table9'; known: table1, table2"):
        Library().rows("beta_gvae", "table9")


def test_what_the_books_studies_feed_exists() -> None:
    """Each metric and setting of a feed is a row or column of the table, and each setting has as many runs as seeds."""
    found = answers.feeds()
    assert {feed["table"] for _, feed in found} >= {"beta_gvae/table1", "beta_gvae/table2"}
    for name, feed in found:
        paper, table = feed["table"].split("/")
        own = [c for c in claims(paper) if c.table == table and feed.get("dataset", c.dataset) == c.dataset]
        words = {c.row for c in own} | {c.column for c in own}
        assert set(feed["metrics"]) | set(feed["runs"]) <= words
        assert len(feed["metrics"]) * len(feed["runs"]) == len(own)
        for wanted in feed["runs"].values():
            assert len(studies.matching(plan(name), wanted)) == len(studies.load(name).seeds)


# ---- reproduction --------------------------------------------------------------------------------------------------


def test_the_overview_counts_every_value_once(write: Callable, make_record: Make) -> None:
    for job in write():
        publish(job, make_record, kl=24.878 if job.spec.model == "vae" else 100.0 + job.spec.seed)
    shown = {(row[0], row[1]): row[2:] for row in cells(reproduction.overview(Library()).text)[1:]}
    assert shown["β-GVAE", "Table 2"] == ["6", "1", "1", "–", "–", "4"]
    assert shown["β-GVAE", "Table 1"] == ["14", "–", "–", "–", "–", "14"]
    assert sum(int(row[0]) for row in shown.values()) == sum(len(claims(p)) for p in papers())


def test_a_table_shows_ours_and_a_table_without_runs_is_folded(write: Callable, make_record: Make) -> None:
    values = [20.0, 30.0, 25.0]
    for job in write():
        publish(job, make_record, kl=values[job.spec.seed])
    text = reproduction.paper_tables("beta_gvae", Library()).text
    row = next(row for row in cells(text) if row[:2] == ["VAE, KL divergence", "24.878"])
    assert row[2] == bootstrap(values).text(2) and row[-1] == "inside" and row[3] == "20.00, 30.00, 25.00"
    assert "β-GVAE, Table 1: 14 values, not run</summary>" in text and "Table 2: 6 values" not in text


# ---- errata --------------------------------------------------------------------------------------------------------


def test_every_reading_is_there_once() -> None:
    expected = [f"G{i}" for i in range(1, 8)] + [f"S{i}" for i in range(1, 19)] + [f"D{i}" for i in range(1, 19)]
    found = readings.readings()
    assert [r.id for r in found] == expected
    assert {r.paper for r in found} == set(papers()) and all(r.test and r.default for r in found)


def test_readings_hang_on_tables_that_exist_and_on_runs_that_are_planned() -> None:
    library = Library()
    for reading in readings.readings():
        known = {reproduction._named(name) for name in tables(reading.paper)}
        assert set(reading.tables) <= known, reading.id
        for experiment in reading.experiments:
            jobs = library.jobs(experiment["study"], "laptop")
            seeds = len(studies.load(experiment["study"]).seeds)
            for side in ("first", "second"):
                assert len(studies.matching(jobs, experiment[side])) == seeds, (reading.id, experiment)


def test_no_number_of_ours_is_typed_in_the_readings() -> None:
    """What a run said would have decimals and an interval; the settings have few digits."""
    text = (ROOT / "book" / "readings.yml").read_text(encoding="utf-8")
    assert not re.search(r"\d\.\d{3}|\[-?\d+\.\d+, -?\d+\.\d+\]", text)


def reading(**changed: object) -> readings.Reading:
    experiment = {"what": "a `b`", "study": "small", "metric": "kl", "first": {"beta": 4.0}, "second": {"beta": 1.0}}
    own = {"id": "X1", "paper": "beta_gvae", "place": "eq. 1", "printed": "<x>", "readings": ["one", "two"]}
    return readings.Reading(**own, default="A", test="t", experiments=[experiment | changed], tables=["Table 2"])


def test_a_difference_is_paired_by_seed_and_decided_if_it_leaves_zero_out(write: Callable, make_record: Make) -> None:
    for job in write():
        noise = float(np.exp(job.spec.seed))
        publish(
            job, make_record, kl=noise + {4.0: 1.0 + job.spec.seed / 10}.get(job.spec.hyper.get("beta"), 0.0), mig=noise
        )
    (found,) = readings.differences(reading(), Library())
    assert (
        found.interval.mean == pytest.approx(1.1)
        and found.interval.low == pytest.approx(1.0)
        and found.decided
        and found.profile == "laptop"
    )
    (same,) = readings.differences(reading(metric="mig"), Library())
    assert same.interval.mean == 0 and not same.decided
    assert readings.differences(reading(metric="factor_vae"), Library()) == []  # these runs were not asked for it


def test_errata_say_not_run_without_records_and_show_intervals_with_them(
    write: Callable, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = write()
    monkeypatch.setattr(readings, "readings", lambda: (reading(table=True),))
    row = cells(readings.errata("beta_gvae", Library()).text)[1]
    assert row[0] == "X1" and row[1] == "eq. 1: <x>" and row[5] == "not run" and row[6] == "Table 2: not run"
    for job in jobs:
        publish(job, make_record, kl=job.spec.hyper.get("beta", 0.0) + job.spec.seed)
    row = cells(readings.errata("beta_gvae", Library()).text)[1]
    assert row[5] == f"a b: {bootstrap([3.0] * 3).text(3)} (laptop, 3 seeds)" and row[6] == "Table 2: yes"
    monkeypatch.setattr(readings, "readings", lambda: (reading(table=True, second={"beta": 4.0}),))
    assert cells(readings.errata("beta_gvae", Library()).text)[1][6] == "Table 2: not by more than seeds do"


# ---- status --------------------------------------------------------------------------------------------------------


def test_costs_are_sums_over_records(make_record: Make) -> None:
    made = [dataclasses.replace(make_record(seed=s, evaluation_seconds=36.0), seconds=324.0) for s in range(10)]
    made[0].environment["threads"] = 11
    head, *rows = cells(ledger.book_costs(made).text)
    assert [row[0] for row in rows] == ["smoke", "laptop", "paper"] and rows[0][2] == rows[2][2] == "not run"
    assert rows[1][1:5] == ["10", "0.90", "0.10", "2.00"]


def test_records_tell_by_which_code_they_were_made(make_record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [make_record(seed=s) for s in range(4)]
    for record in made[:3]:
        record.environment["code"] = {"training": "a", "evaluation": "b"}
    made[0].environment["code"] = {"training": "x", "evaluation": "b"}
    monkeypatch.setattr("disentlib.experiments.fingerprint.code_of", lambda *_: {"training": "a", "evaluation": "b"})
    counts = dict(cells(ledger.record_states(made).text)[1:])
    assert counts == {"made by this code": "2", "trained by other code": "1", "older than this check: unknown": "1"}


def test_a_chapters_line_says_when_where_and_how_it_was_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ROOT / "notebooks" / "vae.ipynb"
    monkeypatch.setattr(places, "book", lambda: tmp_path)
    assert ledger._chapter(source)[1] == "not run"
    stamp = {"date": "2026-01-02 03:04", "commit": "abc", "clean": False, "device": "a CPU", "seconds": 7}
    stamp |= {"parameters": {"seed": 3}, "source_hash": chapters.source_hash(source)}
    notebook = nbformat.v4.new_notebook(metadata={"disentlib": stamp})
    chapters.chapter_file("vae").parent.mkdir(parents=True)
    nbformat.write(notebook, chapters.chapter_file("vae"))
    line = ledger._chapter(source)
    assert line[:6] == ["vae", "2026-01-02 03:04", "abc, changed", "laptop", "a CPU", "7"] and "fresh" in line[6]
    notebook.metadata["disentlib"]["source_hash"] = "0"
    nbformat.write(notebook, chapters.chapter_file("vae"))
    assert "stale" in ledger._chapter(source)[6]


def test_every_chapter_has_a_line_and_tools_have_none() -> None:
    listed = [row[0] for row in cells(ledger.chapter_states().text)[1:]]
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(listed) == notebooks - set(chapters.TOOLS) and len(listed) == len(set(listed))
