"""`python -m disentlib`: what it refuses in one line, and what it lists."""

from __future__ import annotations

import dataclasses
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

from disentlib import data, models
from disentlib.experiments import chapters, cli, notebooks, places, records, runs
from disentlib.experiments.parameters import notebook_parameters

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def nothing_is_executed(monkeypatch: pytest.MonkeyPatch, runs_folder: Path) -> None:
    def papermill_called(*_: object, **__: object) -> None:
        pytest.fail("a kernel would have been started")

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", papermill_called)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nothing"], "no notebook 'nothing'; known: .*beta_gvae.*quickstart"),
        (["publish", "nothing"], "no notebook 'nothing'"),
        (["run", "quickstart", "-p", "betta", "3"], "unknown parameter betta; quickstart takes:"),
        (["run", "quickstart", "-p", "beta", "four"], "beta must be float, got 'four'"),
        (["run", "quickstart", "-p", "steps", "2.5"], "steps must be int, got 2.5"),
        (["run", "quickstart", "-p", "steps", "0"], "steps must be at least 1, got 0"),
        (["run", "quickstart", "-p", "reuse", "1"], "reuse must be bool, got 1"),
        (["run", "quickstart", "--profile", "huge"], "unknown profile 'huge'; quickstart has: smoke, laptop, paper"),
        (["run", "beta_gvae", "-p", "datasets", "dsprites"], "datasets must be list, got 'dsprites'"),
    ],
)
def test_what_the_caller_gets_wrong_is_one_clear_line_and_status_two(
    words: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(words) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("disentlib: ")
    assert re.search(said, first) and all(line.startswith("  ") for line in rest)  # the listing


@pytest.mark.parametrize(("name", "status"), [("ParameterError", 2), ("DataError", 2), ("ZeroDivisionError", 1)])
def test_an_error_inside_a_notebook_is_told_in_two_lines(
    name: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PapermillExecutionError(3, 3, "1 / 0", name, "what went wrong", ["line of a traceback"] * 60)

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", fails)
    assert cli.main(["run", "quickstart"]) == status
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"disentlib: {name}: what went wrong" and ".part.ipynb" in second


def test_a_rerun_with_a_setting_out_of_range_is_one_line(capsys: pytest.CaptureFixture) -> None:
    record = sorted(places.published_records().glob("dsprites-beta_vae-*.json"))[0].stem
    assert cli.main(["rerun", record, "-p", "steps", "-5"]) == 2
    assert "must be a whole number of at least 1, got -5" in capsys.readouterr().err


def test_a_rerun_prints_scores_beside_the_book_s_and_no_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = sorted(places.published_records().glob("dsprites-beta_vae-*.json"))[0]
    old = records.read(path)
    again = dataclasses.replace(old, metrics=old.metrics | {"mig": 0.125, "evaluation_seconds": 9.0})
    monkeypatch.setattr(runs, "run", lambda spec, reuse: SimpleNamespace(record=again))
    assert cli.main(["rerun", path.stem]) == 0
    told = capsys.readouterr().out
    assert re.search(rf"^mig +0\.1250 .*: {old.metrics['mig']}$", told, re.MULTILINE)
    assert "evaluation_seconds" not in told


def test_status_two_reaches_the_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["disentlib", "run", "nothing"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("disentlib", run_name="__main__")
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["paint"], ["run"], ["run", "quickstart", "-p", "beta"]])
def test_a_command_that_is_none_gets_the_usage(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2 and "usage: python -m disentlib" in capsys.readouterr().err


def test_list_names_everything_with_its_parameters(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for path in NOTEBOOKS:
        start = shown.index(f"{path.stem} (profiles: smoke, laptop, paper)")
        expected = [f"  {p.name}: {p.type} = {p.default!r}  # {p.help}" for p in notebook_parameters(path).values()]
        assert shown[start + 1 : start + 1 + len(expected)] == expected
    assert f"models: {', '.join(models.names())}" in shown and f"data sets: {', '.join(data.names())}" in shown


def test_run_passes_typed_values_and_names_its_output_after_them(
    monkeypatch: pytest.MonkeyPatch, runs_folder: Path
) -> None:
    calls = []
    monkeypatch.setattr(notebooks, "execute", lambda *given: calls.append(given))
    words = ["run", "quickstart", "--profile", "smoke", "-p", "beta", "2"]
    assert cli.main([*words, "-p", "seed", "3"]) == cli.main([*words, "-p", "seed", "4"]) == 0
    assert cli.main([*words, "-o", "here.ipynb"]) == 0
    source, output, given = calls[0]
    assert source.stem == "quickstart" and given == {"beta": 2.0, "seed": 3, "profile": "smoke"}
    assert output.parent == runs_folder / "notebooks" and output.name.startswith("quickstart-smoke")
    assert calls[1][1] != output and calls[2][1] == Path("here.ipynb")


def test_chapters_check_fails_for_a_stale_chapter_and_passes_for_fresh_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(chapters, "stale", lambda source: "stale" if source.stem == "beta_gvae" else None)
    assert cli.main(["chapters", "--check"]) == 1
    assert capsys.readouterr().out == "beta_gvae: stale\n"
    monkeypatch.setattr(chapters, "stale", lambda source: "missing" if source.stem in chapters.LIVE else None)
    assert cli.main(["chapters", "--check"]) == 0
    assert capsys.readouterr().out == "every chapter is fresh\n"


def test_chapters_executes_what_is_stale_and_what_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(chapters, "stale", lambda source: "stale" if source.stem == "vae" else None)
    monkeypatch.setattr(chapters, "publish", lambda source, given: made.append(source.stem))
    assert cli.main(["chapters"]) == 0
    assert made == sorted({"vae", *chapters.LIVE})


def test_publish_if_missing_leaves_a_fresh_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(chapters, "publish", lambda source, given: made.append(given))
    for why in (None, "stale"):
        monkeypatch.setattr(chapters, "stale", lambda source, why=why: why)
        assert cli.main(["publish", "quickstart", "--profile", "smoke", "--if-missing"]) == 0
    assert made == [{"profile": "smoke"}]


def test_an_output_appears_under_its_name_only_when_every_cell_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a papermill that writes its file as it goes, as the real one does."""
    source, output = NOTEBOOKS[[p.stem for p in NOTEBOOKS].index("quickstart")], tmp_path / "out.ipynb"

    def papermill(given: str, part: str, **_: object) -> None:
        nbformat.write(nbformat.read(given, as_version=4), part)
        if fails:
            raise RuntimeError("the last cell failed")

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", papermill)
    fails = True
    with pytest.raises(RuntimeError, match="last cell"):
        notebooks.execute(source, output, {"profile": "smoke"}, live=False)
    assert [p.name for p in tmp_path.glob("*.ipynb")] == ["out.part.ipynb"]
    fails = False
    assert notebooks.execute(source, output, {"profile": "smoke"}, live=False) == output
    assert [p.name for p in tmp_path.glob("*.ipynb")] == ["out.ipynb"]


def test_a_notebook_is_found_by_name_or_path(tmp_path: Path) -> None:
    folder = places.project() / "notebooks"
    path = folder / "quickstart.ipynb"
    assert notebooks.source_of("quickstart", folder) == notebooks.source_of("quickstart.ipynb", folder) == path
    assert notebooks.source_of(str(path), tmp_path) == path
    with pytest.raises(LookupError, match="no notebook"):
        notebooks.source_of(str(tmp_path), folder)
