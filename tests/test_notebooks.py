"""Every notebook runs under Papermill in the smoke profile; what must stop a notebook does stop it."""

import json
import os
import re
import time
from pathlib import Path

import nbformat
import papermill
import pytest

from disentlib.experiments import chapters, notebooks
from disentlib.experiments.parameters import ParameterError

ROOT = Path(__file__).parents[1]
ALL = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [path for path in ALL if path.stem not in chapters.PAGES]
PAGES = [path for path in ALL if path.stem in chapters.PAGES]
RECORD_ID = re.compile(r"\b[a-z0-9]+-\w+-smoke-s\d+-[0-9a-f]{10}\b")
pytestmark = pytest.mark.notebook


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    """No run of an earlier session answers for this one."""
    monkeypatch.setenv("DISENTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DISENTLIB_DATA", raising=False)


@pytest.fixture
def shared_runs(own_runs, tmp_path_factory, monkeypatch):
    """One folder for this session, whatever its workers, as a reader has it: a Glow that six need is trained once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runs"
    monkeypatch.setenv("DISENTLIB_RUNS", str(folder))
    return folder


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_smoke_profile_runs_and_names_the_records_behind_it(source, tmp_path, shared_runs):
    started = time.monotonic()
    output = notebooks.execute(source, tmp_path / source.name, {"profile": "smoke"}, live=False)
    seconds = time.monotonic() - started
    executed = nbformat.read(output, as_version=4)
    outputs = [o for cell in executed.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 2
    named = set(RECORD_ID.findall(json.dumps(outputs)))
    records = [json.loads((shared_runs / name / "record.json").read_text()) for name in named]
    assert records and all(r["spec"]["profile"] == "smoke" and r["metrics"].get("kl", 0) >= 0 for r in records)
    assert seconds < 180, f"the smoke profile took {seconds:.0f} s; it should take under a minute on two idle cores"


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.stem)
def test_a_page_that_reads_records_trains_nothing_and_is_quick(source, tmp_path):
    started = time.monotonic()
    output = notebooks.execute(source, tmp_path / source.name, {"profile": "smoke"}, live=False)
    seconds = time.monotonic() - started
    outputs = [o for cell in nbformat.read(output, as_version=4).cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("book-table" in o.get("data", {}).get("text/html", "") for o in outputs)
    assert not (tmp_path / "runs").exists()
    assert seconds < 60, f"the page took {seconds:.0f} s; every build of the book waits for it"


def test_plain_papermill_stops_at_an_unknown_parameter(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="unknown parameter betta"):
        papermill.execute_notebook(
            str(ROOT / "notebooks" / "quickstart.ipynb"),
            str(tmp_path / "out.ipynb"),
            {"betta": 3.0},
            progress_bar=False,
        )


def test_plain_papermill_stops_at_an_ill_typed_parameter(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="beta must be float"):
        papermill.execute_notebook(
            str(ROOT / "notebooks" / "quickstart.ipynb"),
            str(tmp_path / "out.ipynb"),
            {"beta": "four"},
            progress_bar=False,
        )


def test_a_failing_notebook_leaves_no_output_under_its_name(tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    first = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    notebook.cells[first + 1].source = "raise RuntimeError('stopped here')"
    source = tmp_path / "quickstart.ipynb"
    nbformat.write(notebook, source)
    output = tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="stopped here"):
        notebooks.execute(source, output, {"profile": "smoke"}, live=False)
    assert not output.exists()
    assert output.with_suffix(".part.ipynb").exists()


def test_the_runner_refuses_before_starting_a_kernel(tmp_path):
    source = ROOT / "notebooks" / "quickstart.ipynb"
    with pytest.raises(ParameterError, match="unknown parameter betta"):
        notebooks.execute(source, tmp_path / "out.ipynb", {"betta": 3.0}, live=False)
    assert not list(tmp_path.glob("*.ipynb"))
