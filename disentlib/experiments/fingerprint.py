"""Which code made a number: a hash over the modules that a training or an evaluation uses, and over no others.

Comments, docstrings and layout do not count, nor does a module that is not used: a new model makes no old run stale.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import yaml

from disentlib.models import class_of

__all__ = ["code_of", "data_code", "modules_of", "package", "same_numbers"]

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT.name
_TRAINING, _EVALUATION = f"{_PACKAGE}.training", f"{_PACKAGE}.experiments.evaluation"


def code_of(models: Iterable[str], dataset: str) -> dict[str, str]:
    """`{"training": …, "evaluation": …}`: 16 hex digits each over the code behind a run of these models and this data.

    More than one model where a run builds on others.
    """
    data = f"{_PACKAGE}.data.{dataset}"
    own = [
        *(class_of(name).__module__ for name in models),
        *([data] if _is_module(data) else []),
    ]  # data made in memory have no module
    return {"training": _digest((*own, _TRAINING)), "evaluation": _digest((_EVALUATION,))}


def same_numbers(made: str, now: str, dataset: str) -> bool:
    """Whether code with digest `made` gives the numbers of code with digest `now`, on this data set.

    It does if the two are one, or if `successors.yml` leads from the first to the second.
    """
    known = _successors()
    while made != now and made in known and dataset not in known[made][1]:
        made = known[made][0]
    return made == now


def data_code(dataset: str) -> str:
    """16 hex digits over the code that reads or draws a data set; of one made in memory, those of no code."""
    module = f"{_PACKAGE}.data.{dataset}"
    return _digest((module,) if _is_module(module) else ())


def package() -> str:
    """16 hex digits over all code of the package: what all workers of a study must have in common."""
    return _hash(sorted(_ROOT.rglob("*.py")))


def modules_of(start: str) -> frozenset[str]:
    """The module `start` and all modules of this package that it uses, directly or not; packages' own files left out.

    >>> "disentlib.losses.elbo" in modules_of("disentlib.models.vae")
    True
    """
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _used(_tree(_path(name)))
    return frozenset(found)


@lru_cache(maxsize=1)
def _successors() -> dict[str, tuple[str, frozenset[str]]]:
    """Digest → the later one that agrees with it, and the data sets on which it does not."""
    blocks = yaml.safe_load((Path(__file__).parent / "successors.yml").read_text(encoding="utf-8"))
    return {old: (new, frozenset(b["but_for"])) for b in blocks for old, new in b["digests"].items()}


@lru_cache(maxsize=32)  # the code that runs is the code that was imported, whatever is edited meanwhile
def _digest(start: tuple[str, ...]) -> str:
    return _hash(_path(name) for name in sorted(set().union(*map(modules_of, start))))


def _hash(files: Iterable[Path]) -> str:
    texts = [f"{file.relative_to(_ROOT).as_posix()}\n{_plain(_tree(file))}" for file in files]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _plain(tree: ast.Module) -> str:
    """The code without comments, docstrings and layout."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _used(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports names from. Of a package imported whole, those behind the names it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                taken = _attributes(tree, alias.asname or alias.name) if _is_package(whole) else [alias.name]
                yield from filter(None, (_home(whole if _is_package(whole) else node.module, name) for name in taken))


def _attributes(tree: ast.Module, name: str) -> list[str]:
    """All `x` in `name.x`."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name))
    return sorted({node.attr for node in found if node.value.id == name})


def _home(place: str, name: str) -> str | None:
    """The module that `from place import name` takes something from; None for what a package's own file defines."""
    if _is_module(f"{place}.{name}"):
        return f"{place}.{name}"
    if not _is_package(place):
        return place
    for node in _tree(_path(place) / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _home(node.module, alias.name)
    return None


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _path(module: str) -> Path:
    """The file of a module, or the folder of a package."""
    path = _ROOT.joinpath(*module.split(".")[1:])
    return path if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return _path(name).is_file()


def _is_package(name: str) -> bool:
    return (_path(name) / "__init__.py").is_file()
