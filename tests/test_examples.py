"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import disentlib

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(disentlib.__path__, "disentlib.") if not m.name.endswith("__main__")
)
pytestmark = pytest.mark.usefixtures("one_thread")


def examples(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module, name) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISENTLIB_DATA", raising=False)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(name):
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_there_are_examples_in_every_room() -> None:
    found = {name: sum(len(test.examples) for test in examples(name)) for name in MODULES}
    assert sum(found.values()) > 15
    for room in ("data", "losses", "metrics", "models", "networks", "training", "figures", "experiments"):
        assert sum(count for name, count in found.items() if name.split(".")[1] == room) > 0, room


def test_every_module_says_what_it_is_for() -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        assert (module.__doc__ or "").strip(), name
        assert Path(module.__file__).suffix == ".py"
