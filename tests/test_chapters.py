"""The committed edition of the book: fresh, small, clean, and every figure and table with its origin."""

import json
import re
from pathlib import Path

import pytest

from disentlib.experiments import chapters, records, studies
from disentlib.experiments.claims import claims

ROOT = Path(__file__).parents[1]
SOURCES = {path.stem: path for path in (ROOT / "notebooks").glob("*.ipynb")}
CHAPTERS = {
    name: chapters.chapter_file(name)
    for name in SOURCES
    if name not in chapters.LIVE + chapters.TOOLS and not chapters.draft(name)
}
RECORDS = records.read_all(ROOT / "book" / "records")
each_chapter = pytest.mark.parametrize("name", sorted(CHAPTERS))


def cells(name):
    return json.loads(CHAPTERS[name].read_text(encoding="utf-8"))["cells"]


def lineage(spec):
    """Ids of all that a run builds on."""
    return {i for parent in spec.get("parents", {}).values() for i in ({parent["id"]} | lineage(parent))}


def is_picture(output):
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def outputs(name):
    return [o for cell in cells(name) for o in cell.get("outputs", [])]


def test_a_notebook_that_the_contents_do_not_name_is_a_draft():
    named = re.findall(r"book/chapters/(\w+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert {"vae", "beta_gvae", "errata"} <= set(named) <= set(SOURCES)
    assert not any(map(chapters.draft, named)) and chapters.draft("no_such_chapter")
    assert not chapters.draft("training")  # a tool, which is to have no page


@each_chapter
def test_chapter_is_fresh(name):
    assert chapters.stale(SOURCES[name]) is None


@each_chapter
def test_chapter_is_whole_and_small(name):
    assert CHAPTERS[name].stat().st_size < 1.5e6
    assert not [o for o in outputs(name) if o["output_type"] == "error"]
    code = [c for c in cells(name) if c["cell_type"] == "code"]
    assert all(c["execution_count"] for c in code)


@each_chapter
def test_chapter_names_no_machine(name):
    text = CHAPTERS[name].read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|work|Users|tmp)/", text)


@each_chapter
def test_every_figure_is_captioned_and_says_where_it_comes_from(name):
    listed = cells(name)
    pictures = [i for i, c in enumerate(listed) if any(is_picture(o) for o in c.get("outputs", []))]
    assert pictures
    for i in pictures:
        figure = listed[i]["metadata"]["mystnb"]["figure"]
        assert figure["caption"] and figure["name"]
        assert "provenance" in "".join(listed[i + 1]["source"])


@each_chapter
def test_quoted_records_are_in_the_book(name):
    known = {record.id for record in RECORDS}
    text = CHAPTERS[name].read_text(encoding="utf-8")
    quoted = set(re.findall(r"<code>([\w]+-\w+-(?:laptop|paper|smoke)-s\d+-[0-9a-f]{10}):", text))
    assert quoted and quoted <= known


def test_no_record_is_kept_for_nothing():
    executed = (ROOT / "book" / "chapters").glob("*.ipynb")  # those too that are not in the contents yet
    text = "".join(path.read_text(encoding="utf-8") for path in executed)
    live = {"model": "beta_vae", "dataset": "dsprites"}  # what the quickstart quotes; its page is made at each build
    plans = [studies.plan(name, profile) for name in studies.names() for profile in ("laptop", "paper")]
    planned = {job.id for plan in plans for job in plan}  # the live pages show these
    shown = [r for r in RECORDS if r.id in planned or r.id in text or {k: r.spec[k] for k in live} == live]
    known = {r.id for r in shown}.union(*(lineage(r.spec) for r in shown))
    unused = [r.id for r in RECORDS if r.id not in known]
    assert not unused


def test_records_come_from_clean_trees():
    assert [r.id for r in RECORDS if r.environment["clean"] is not True] == []


def test_published_tables_have_three_seeds():
    celeba = [r for r in RECORDS if r.spec["dataset"] == "celeba"]
    figures = {job.id for job in studies.plan("idgan_sc_figures", "laptop")}  # 7 and 8 quote no score
    drawn = figures.union(*(lineage(r.spec) for r in celeba if r.id in figures))
    celeba = [r for r in celeba if r.id not in drawn]
    settings = {json.dumps([r.spec["model"], r.spec["hyper"]], sort_keys=True) for r in celeba}
    for setting in settings:
        same = [r for r in celeba if json.dumps([r.spec["model"], r.spec["hyper"]], sort_keys=True) == setting]
        assert len({r.spec["seed"] for r in same}) >= 3, setting


def test_the_papers_numbers_shown_are_the_claims():
    text = "".join("".join(o.get("data", {}).get("text/html", "")) for o in outputs("beta_gvae"))
    shown = [claim for claim in claims("beta_gvae") if claim.table == "table2"]
    assert len(shown) == 6
    assert [claim for claim in shown if f"<td>{claim.value:.3f}</td>" not in text] == []
