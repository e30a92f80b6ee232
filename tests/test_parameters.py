"""Parameters: what a cell may declare, what a run is given, and what every notebook must keep to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import papermill
import pytest
import yaml

from disentlib import models
from disentlib.experiments import notebooks, parameters
from disentlib.experiments.parameters import (
    Parameter,
    ParameterError,
    begin,
    declared,
    narrowed,
    notebook_parameters,
    resolve,
)

HYPER = {name for model in models.names() for name in models.hyperparameters(model)}
FOLDER = Path(parameters.__file__).with_name("profiles")
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

CELL = """\
profile: str = "small"  # how much to compute
seed: int = 0  # initial weights
beta: float = 4.0  # weight of the KL term
lr: float = None  # rate
steps: int = None
seeds: list = [0, 1]  # one training each
reuse: bool = True  # take what is there
reader: dict = {}  # what reads factors
"""
PROFILES = """\
small: {lr: 1.0e-3, steps: 5}
large: {like: other, steps: 50}
"""
OTHER = "large: {lr: 0.5, steps: 7, width: 9}\n"


@pytest.fixture
def profile_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "demo.yml").write_text(PROFILES)
    (tmp_path / "other.yml").write_text(OTHER)
    monkeypatch.setattr(parameters, "_PROFILES", tmp_path)
    return tmp_path


@pytest.fixture
def demo(profile_folder: Path) -> dict[str, Parameter]:
    return declared(CELL)


# ---- cells ---------------------------------------------------------------------------------------------------------


def test_a_cell_declares_names_types_defaults_and_help() -> None:
    found = declared(CELL)
    assert list(found) == ["profile", "seed", "beta", "lr", "steps", "seeds", "reuse", "reader"]
    assert found["beta"] == Parameter("beta", "float", 4.0, "weight of the KL term")
    assert found["lr"].default is None and found["steps"].help == "" and found["seeds"].default == [0, 1]


@pytest.mark.parametrize(
    ("line", "default", "help"),
    [
        ('x: str = "a # b"  # c # d', "a # b", "c # d"),
        ('x: str = "#"', "#", ""),
        ('x: str = "β-VAE 解耦合"  # 含义', "β-VAE 解耦合", "含义"),
        ("x: list = [\n    1,  # one\n    2,\n]  # both", [1, 2], "both"),
        ("x: float = -1e-3  # negative", -0.001, "negative"),
        ("# above\nx: bool = False", False, ""),
    ],
)
def test_a_default_and_its_comment_are_told_apart(line: str, default: object, help: str) -> None:
    assert (declared(line)["x"].default, declared(line)["x"].help) == (default, help)


@pytest.mark.parametrize(
    "line",
    [
        "x = 3", "x: int", "x: int = 3 * 4", "x: int = other", "x: str = f'{1}'", "x: set = {1}", "x: A = None",
        "x: int | None = None", "import os", "print(1)", "a.b: int = 3", "x: list = [i for i in (1,)]", "x: int = = 3",
    ],
)  # fmt: skip
def test_anything_but_a_typed_literal_is_refused(line: str) -> None:
    with pytest.raises(ParameterError):
        declared('profile: str = "small"\n' + line)


def test_a_refused_line_is_shown() -> None:
    with pytest.raises(ParameterError, match="`x = 3`"):
        declared("x = 3")
    with pytest.raises(ParameterError, match=r"default of x must be a literal, not `3 \* 4`"):
        declared("x: int = 3 * 4")


@pytest.mark.parametrize("tags", [[], [["parameters"], ["parameters"]]])
def test_exactly_one_cell_is_tagged(tmp_path: Path, tags: list[list[str]]) -> None:
    cells = [{"cell_type": "code", "metadata": {"tags": t}, "source": ["x: int = 3"]} for t in tags]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "metadata": {}, "source": ""}, *cells]}))
    with pytest.raises(ParameterError, match=f"has {len(tags)} cells tagged"):
        notebook_parameters(path)


# ---- values --------------------------------------------------------------------------------------------------------


def test_none_means_that_the_profile_decides_and_a_given_value_overrides_it(demo: dict[str, Parameter]) -> None:
    values = resolve("demo", demo, {})
    assert (values["lr"], values["steps"], values["beta"]) == (1e-3, 5, 4.0)
    assert resolve("demo", demo, {"steps": 3})["steps"] == 3
    assert resolve("demo", demo, {"lr": None})["lr"] == 1e-3
    assert list(values) == list(demo)


def test_a_profile_can_start_from_another_notebooks(demo: dict[str, Parameter]) -> None:
    values = resolve("demo", demo, {"profile": "large"})
    assert (values["lr"], values["steps"]) == (0.5, 50) and "width" not in values


def test_an_unknown_parameter_lists_the_known_ones_with_their_help(demo: dict[str, Parameter]) -> None:
    with pytest.raises(ParameterError) as caught:
        resolve("demo", demo, {"betta": 1.0, "alpha": 2})
    text = str(caught.value)
    assert text.startswith("unknown parameter alpha, betta; demo takes:")
    assert "  beta: float = 4.0  # weight of the KL term" in text.splitlines() and len(text.splitlines()) == 9


@pytest.mark.parametrize("profile", ["huge", None, ["small"], 3, ""])
def test_an_unknown_profile_lists_the_known_ones(demo: dict[str, Parameter], profile: object) -> None:
    with pytest.raises(ParameterError, match="unknown profile .*demo has: small, large"):
        resolve("demo", demo, {"profile": profile})


def test_an_unknown_notebook_lists_those_with_profiles(demo: dict[str, Parameter]) -> None:
    with pytest.raises(ParameterError, match="'nothing'; known: demo, other"):
        resolve("nothing", demo, {})


@pytest.mark.parametrize(
    "given",
    [
        {"seed": 1.0}, {"seed": True}, {"seed": "3"}, {"beta": "4"}, {"beta": True}, {"beta": [4.0]}, {"reuse": 1},
        {"reuse": "true"}, {"seeds": 3}, {"seeds": (0, 1)}, {"steps": 2.0}, {"lr": "1e-3"},
    ],
)  # fmt: skip
def test_an_ill_typed_value_is_named_with_its_type(demo: dict[str, Parameter], given: dict[str, object]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ParameterError, match=f"{name} must be {demo[name].type}, got .*{type(value).__name__}"):
        resolve("demo", demo, given)


def test_a_whole_number_is_a_float_where_one_is_wanted(demo: dict[str, Parameter]) -> None:
    value = resolve("demo", demo, {"beta": 3})["beta"]
    assert value == 3.0 and type(value) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seeds": [0, -1]}, "seeds must be at least 0, got -1"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"beta": -0.5}, "beta must be at least 0.0, got -0.5"),
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"beta": float("nan")}, "beta must be a finite number, got nan"),
        ({"lr": float("inf")}, "lr must be a finite number, got inf"),
        ({"seeds": []}, "seeds must hold at least one value: one training each"),
        ({"seeds": ["a"]}, "seeds must be numbers, got 'a'"),
        ({"reader": {"imags": 5}}, "reader has no setting imags; it takes bases, batch_size, held_out, images"),
        ({"reader": {"images": 0}}, "reader: images, .* must be at least 1"),
        ({"reader": {"images": "x"}}, "reader: "),
    ],
)
def test_a_value_out_of_range_is_named(demo: dict[str, Parameter], given: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        resolve("demo", demo, given)


def test_the_edges_of_the_ranges_are_allowed(demo: dict[str, Parameter]) -> None:
    values = resolve("demo", demo, {"seed": 0, "steps": 1, "beta": 0.0, "seeds": [0]})
    assert (values["seed"], values["steps"], values["beta"]) == (0, 1, 0.0)


def test_a_value_that_nobody_gives_is_named(profile_folder: Path) -> None:
    with pytest.raises(ParameterError, match="width has no value: neither given, nor in the profile"):
        resolve("demo", declared(CELL + "width: int = None\n"), {})


# ---- begin ---------------------------------------------------------------------------------------------------------


def kernel(*cells: str) -> dict[str, object]:
    """The namespace of a kernel that has run these cells: `In` starts with an empty entry, as IPython's does."""
    namespace: dict[str, object] = {"In": [""]}
    for source in cells:
        namespace["In"].append(source)
        exec(source, namespace)
    return namespace


def test_begin_returns_the_values_and_says_which_profile(profile_folder: Path, capsys: pytest.CaptureFixture) -> None:
    p = begin("demo", kernel("import os", CELL))
    assert isinstance(p, SimpleNamespace) and (p.notebook, p.steps, p.beta) == ("demo", 5, 4.0)
    said = capsys.readouterr().out
    assert "demo" in said and "profile small" in said


def test_begin_takes_what_papermill_injects(profile_folder: Path) -> None:
    p = begin("demo", kernel(CELL, '# Parameters\nprofile = "large"\nbeta = 1\n'))
    assert (p.profile, p.beta, p.steps, type(p.beta)) == ("large", 1.0, 50, float)


def test_begin_stops_at_an_injected_name_that_the_cell_does_not_declare(profile_folder: Path) -> None:
    with pytest.raises(ParameterError, match="unknown parameter betta; demo takes:"):
        begin("demo", kernel(CELL, "# Parameters\nbetta = 1.0\n"))
    with pytest.raises(ParameterError, match="beta must be float"):
        begin("demo", kernel(CELL, '# Parameters\nbeta = "one"\n'))


def test_begin_is_not_disturbed_by_other_cells(profile_folder: Path) -> None:
    p = begin("demo", kernel("betta = 1", "# Parameters\nold = 1", CELL, "other = 2\n# Parameters\nx = 3"))
    assert set(vars(p)) == {"notebook", *declared(CELL)}


def test_begin_takes_the_cell_that_ran_last(profile_folder: Path) -> None:
    """By hand one changes the cell and runs it again; what was injected before belongs to the older one."""
    changed = CELL.replace("beta: float = 4.0", "beta: float = 7.0").replace("seed: int = 0", "seed: int = 2")
    p = begin("demo", kernel(CELL, "# Parameters\nbeta = 1.0\nold_name = 3", changed))
    assert (p.beta, p.seed) == (7.0, 2)


def test_begin_asks_for_the_parameters_first(profile_folder: Path) -> None:
    for namespace in ({}, kernel(), kernel("import os")):
        with pytest.raises(ParameterError, match="run the cell tagged `parameters` first"):
            begin("demo", namespace)


# ---- settings of one model ------------------------------------------------------------------------------------------


def test_the_narrower_section_comes_before_the_wider() -> None:
    settings = {"lr": 1, "steps": 1, "celeba": {"lr": 2, "steps": 2}, "id_gan": {"lr": 3, "celeba": {"lr": 4}}}
    assert narrowed(settings, "dsprites", "vae") == settings == narrowed(settings, None, None)
    found = {(d, m): narrowed(settings, d, m) for d in ("dsprites", "celeba") for m in ("vae", "id_gan")}
    assert {key: value["lr"] for key, value in found.items()} == {
        ("dsprites", "vae"): 1,
        ("dsprites", "id_gan"): 3,
        ("celeba", "vae"): 2,
        ("celeba", "id_gan"): 4,
    }
    assert [value["steps"] for value in found.values()] == [1, 1, 2, 2]


def test_a_dict_that_is_given_changes_only_its_own_keys(profile_folder: Path) -> None:
    (profile_folder / "demo.yml").write_text("small: {gan: {lr: 0.5, steps: 5}}\n")
    known = declared("profile: str = 'small'\ngan: dict = None\n")
    assert resolve("demo", known, {})["gan"] == {"lr": 0.5, "steps": 5}
    assert resolve("demo", known, {"gan": {"lr": 0.1}})["gan"] == {"lr": 0.1, "steps": 5}
    with pytest.raises(ParameterError, match="steps must be at least 1, got 0"):
        resolve("demo", known, {"gan": {"steps": 0}})


# ---- every notebook ------------------------------------------------------------------------------------------------


def content(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_there_are_notebooks_and_each_profile_file_belongs_to_one() -> None:
    assert len(NOTEBOOKS) >= 2
    assert {path.stem for path in FOLDER.glob("*.yml")} == {path.stem for path in NOTEBOOKS}


@each_notebook
def test_profiles_cover_exactly_what_the_cell_leaves_open(path: Path) -> None:
    """A profile's value for a parameter with a default of its own would silently have no effect.

    What is no parameter of the notebook is for the runs of its studies: a model's hyper-parameter, or a section.
    """
    known = notebook_parameters(path)
    left_open = {name for name, p in known.items() if p.default is None}
    whole = parameters.profiles(path.stem)
    written = yaml.safe_load((FOLDER / f"{path.stem}.yml").read_text(encoding="utf-8"))
    assert list(whole) == ["smoke", "laptop", "paper"]
    for name, settings in whole.items():
        assert left_open <= set(settings), (name, left_open - set(settings))
        more = set(written[name]) - {"like"} - left_open
        assert not more & set(known), (name, more & set(known))
        assert {key for key in more if not isinstance(settings[key], dict)} <= HYPER, (name, more - HYPER)
        values = resolve(path.stem, known, {"profile": name})
        assert {key: values[key] for key in left_open} == {key: settings[key] for key in left_open}


@each_notebook
def test_every_parameter_says_what_it_means_in_a_line_that_papermill_reads_too(path: Path) -> None:
    ours, theirs = notebook_parameters(path), papermill.inspect_notebook(str(path))
    assert list(ours) == list(theirs)
    for name, parameter in ours.items():
        assert parameter.help and theirs[name]["help"] == parameter.help
        assert theirs[name]["inferred_type_name"] == parameter.type
    assert list(ours)[0] == "profile" and ours["profile"].default == "laptop"


@each_notebook
def test_a_notebook_is_committed_without_outputs_and_in_small_cells(path: Path) -> None:
    code = [cell for cell in content(path) if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    long = {
        "".join(cell["source"]).splitlines()[0]: len("".join(cell["source"]).splitlines())
        for cell in code
        if "parameters" not in cell["metadata"].get("tags", []) and len("".join(cell["source"]).splitlines()) > 25
    }
    assert not long


@each_notebook
def test_a_notebook_begins_under_its_own_name(path: Path) -> None:
    """Its parameters would be checked against another notebook's profiles."""
    sources = ["".join(cell["source"]) for cell in content(path) if cell["cell_type"] == "code"]
    assert sum(f'experiments.begin("{path.stem}", globals())' in source for source in sources) == 1


def test_values_from_a_command_line_take_the_declared_type() -> None:
    known = declared(CELL)
    for name, text, value in [
        ("seed", "3", 3), ("beta", "2", 2.0), ("beta", "1e-3", 0.001), ("seeds", "[1, 2]", [1, 2]),
        ("reuse", "False", False), ("reuse", "true", True), ("profile", "3", "3"),
    ]:  # fmt: skip
        found = notebooks.parse_value(text, known[name])
        assert found == value and type(found) is type(value)
    with pytest.raises(ParameterError, match="seed must be int, got 'three'"):
        notebooks.parse_value("three", known["seed"])
