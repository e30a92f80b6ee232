"""Parameters of notebooks: one tagged cell of typed literals, read without running it, and checked strictly.

Papermill itself only warns about a parameter that a notebook does not know. `begin` stops the notebook instead,
also when plain `papermill` runs it, because the kernel remembers the cell that papermill injected.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import yaml

from disentlib import data, models, training
from disentlib.experiments.evaluation import SCORES
from disentlib.experiments.factor_reader import Settings
from disentlib.losses.adversarial import ADVERSARIAL_TERMS
from disentlib.losses.total_correlation import ESTIMATORS

__all__ = [
    "OWN_MEASURES",
    "Parameter",
    "ParameterError",
    "begin",
    "checked",
    "declared",
    "narrowed",
    "notebook_parameters",
    "profiles",
    "resolve",
]

OWN_MEASURES = "measured"  # among what is watched: the single numbers that a model measures of itself
_PROFILES = Path(__file__).parent / "profiles"
_INJECTED = "# Parameters"  # how papermill opens the cell that it injects
_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
# Smallest allowed value of every number that has one, whichever notebook asks for it.
LEAST = {
    "seed": 0, "steps": 1, "batch_size": 1, "code_dims": 1, "image_size": 8, "train_size": 1, "eval_points": 100,
    "beta": 0.0, "gamma": 0.0, "workers": 1, "width": 1, "columns": 2, "rows": 1, "watch_every": 1,
    "training_seed": 0, "shrink": 1, "sample_size": 100, "curve_points": 100, "tree_points": 100, "bin": 2,
    "value_count": 2, "spare_dims": 0, "copies": 1, "toy_batches": 2, "starts": 1, "samples": 1,
    "oracle_seed": 0, "oracle_steps": 1, "oracle_pairs": 4, "reader_images": 1, "reader_steps": 1, "bases": 1,
    "pictures": 2, "exact_seeds": 1, "other_seeds": 1, "temperature": 0.0,
}  # fmt: skip
NOT_EMPTY = {"seeds", "oracle_seeds", "temperatures", "betas", "value_counts"}  # a page has something to show of each
ABOVE_ZERO = {"lr", "lr_discriminator", "lr_generator", "lr_encoder", "oracle_lr", "fraction", "tau1", "tau2", "tau"}
# What a name or each item of a list may be.
CHOICES = {
    "source": data.SOURCES, "dataset": data.names(), "datasets": data.names(), "scored": data.names(),
    "model": models.names(), "models": models.names(),
    "precision": training.PRECISIONS, "compile": ("none", "default", "reduce-overhead", "max-autotune"),
    "adversarial_term": ADVERSARIAL_TERMS, "adversarial_terms": ADVERSARIAL_TERMS, "adversarial_sign": (1, -1),
    "scores": tuple(SCORES), "exact_scores": tuple(SCORES), "watch": (*SCORES, OWN_MEASURES),
    "estimators": tuple(ESTIMATORS), "trees": ("sklearn", "lightgbm"),
}  # fmt: skip


class ParameterError(ValueError):
    """An unknown, ill-typed or out-of-range parameter; the message lists what is known."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: type = default  # help`. A default of None means: the profile decides."""

    name: str
    type: str
    default: object
    help: str


def declared(source: str) -> dict[str, Parameter]:
    """The parameters that a cell's source declares, by name; ParameterError unless every line is a typed literal."""
    lines, found = source.splitlines(), {}
    for node in _statements(source):
        plain = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        if not plain or ast.unparse(node.annotation) not in _TYPES:
            raise ParameterError(f"a parameters cell holds only `name: type = literal`, not `{ast.unparse(node)}`")
        rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()  # ast counts in bytes
        name, comment = node.target.id, rest.partition("#")[2].strip()
        found[name] = Parameter(name, ast.unparse(node.annotation), _literal(name, node.value), comment)
    return found


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"a parameters cell that is not Python: {error}") from error


def _literal(name: str, value: ast.expr) -> object:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise ParameterError(f"the default of {name} must be a literal, not `{ast.unparse(value)}`") from None


def notebook_parameters(path: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook file; ParameterError unless exactly one cell is tagged `parameters`."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise ParameterError(f"{path} has {len(tagged)} cells tagged `parameters`; it must have exactly one")
    return declared("".join(tagged[0]["source"]))


def profiles(notebook: str) -> dict[str, dict[str, object]]:
    """The profiles of a notebook by name: what each sets; ParameterError if the notebook has none.

    A profile with `like: other` starts from the profile of the same name of the notebook `other`.
    """
    path = _PROFILES / f"{notebook}.yml"
    if not path.exists():
        known = sorted(p.stem for p in _PROFILES.glob("*.yml"))
        raise ParameterError(f"no profiles for a notebook {notebook!r}; known: {', '.join(known)}")
    own = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    return {name: _inherited(name, dict(settings)) for name, settings in own.items()}


@lru_cache(maxsize=64)  # a study asks for the same profiles once a run and once a parent
def _parsed(text: str) -> dict[str, dict[str, object]]:
    return yaml.safe_load(text)


def _inherited(name: str, settings: dict[str, object]) -> dict[str, object]:
    like = settings.pop("like", None)
    return settings if like is None else profiles(str(like))[name] | settings


def narrowed(settings: Mapping[str, object], dataset: object, model: object) -> dict[str, object]:
    """The settings with what stands under the name of the data set, of the model, and of the data set in the model's.

    The narrower comes before the wider.

    >>> narrowed({"lr": 1e-3, "id_gan": {"lr": 1e-4, "celeba": {"noise_dims": 16}}}, "dsprites", "id_gan")["lr"]
    0.0001
    """
    own = _section(settings, model)
    return {**settings, **_section(settings, dataset), **own, **_section(own, dataset)}


def _section(settings: Mapping[str, object], name: object) -> Mapping[str, object]:
    found = settings.get(name) if isinstance(name, str) else None
    return found if isinstance(found, Mapping) else {}


def _filled(from_profile: object, given: object) -> object:
    """The given value, or the profile's for None; of a dict, only the keys that are given are changed."""
    if isinstance(from_profile, dict) and isinstance(given, dict):
        return from_profile | given
    return from_profile if given is None else given


def resolve(notebook: str, parameters: Mapping[str, Parameter], given: Mapping[str, object]) -> dict[str, object]:
    """Defaults, then the profile for what is None, then checks: the values a run uses.

    `given` overrides defaults and profile. A notebook with a parameter `like` takes the profiles of the notebook that
    it names. ParameterError names an unknown parameter, type, profile or range.
    """
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise ParameterError(f"unknown parameter {', '.join(unknown)}; {notebook} takes:\n{_listing(parameters)}")
    values = {name: p.default for name, p in parameters.items()} | dict(given)
    notebook = str(values.get("like") or notebook)
    known = profiles(notebook)
    if values["profile"] not in tuple(known):
        raise ParameterError(f"unknown profile {values['profile']!r}; {notebook} has: {', '.join(known)}")
    profile = narrowed(known[values["profile"]], values.get("dataset"), values.get("model"))
    values = {name: _filled(profile.get(name), value) for name, value in values.items()}
    return {name: checked(parameters[name], value) for name, value in values.items()}


def begin(notebook: str, namespace: dict[str, object]) -> SimpleNamespace:
    """Check this notebook's parameters and return their values; call it with `globals()` right below the parameters.

    Raises ParameterError within the first second for anything that `resolve` refuses.
    """
    history = [source for source in namespace.get("In", []) if source]
    cell = next((s for s in reversed(history) if re.search(r"^profile: str = ", s, re.M)), None)
    if cell is None:
        raise ParameterError("run the cell tagged `parameters` first")
    after = history[len(history) - history[::-1].index(cell) :]
    injected = [source for source in after if source.startswith(_INJECTED)]
    parameters = declared(cell)
    assigned = {t.id for s in injected for n in ast.parse(s).body if isinstance(n, ast.Assign) for t in n.targets}
    values = resolve(notebook, parameters, {name: namespace[name] for name in [*parameters, *sorted(assigned)]})
    print(f"{notebook}: profile {values['profile']}")
    return SimpleNamespace(notebook=notebook, **values)


def checked(parameter: Parameter, value: object) -> object:
    """The value, a whole number as float where one is declared; ParameterError for another type or out of range."""
    name, kind = parameter.name, _TYPES[parameter.type]
    if value is None:
        raise ParameterError(f"{name} has no value: neither given, nor in the profile")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ParameterError(
            f"{name} must be {parameter.type}, got {value!r} ({type(value).__name__}): {parameter.help}"
        )
    if name in NOT_EMPTY and value == []:
        raise ParameterError(f"{name} must hold at least one value: {parameter.help}")
    if name == "reader":
        _check_reader(value)
    for key, item in _items(name, value):
        _check_range(key, item)
    return value


def _check_reader(given: Mapping[str, object]) -> None:
    """ParameterError unless these are settings of a factor reader; its own module says which there are."""
    known = {f.name for f in fields(Settings)}
    if unknown := sorted(set(given) - known):
        raise ParameterError(f"reader has no setting {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    try:
        Settings(**given)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"reader: {error}") from error


def _items(name: str, value: object) -> list[tuple[str, object]]:
    """What has a range of its own: the entries of a dict under their own names, the items of a list, or the value."""
    if isinstance(value, dict):
        return [(str(key), item) for key, item in value.items()]
    return [(name, item) for item in (value if isinstance(value, list) else [value])]


def _check_range(name: str, value: object) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        known = ", ".join(map(str, CHOICES[name]))
        raise ParameterError(f"unknown {name} {value!r}; known: {known}")
    if name.endswith("s") and name not in LEAST and name.removesuffix("s") in LEAST and not _is_number(value):
        raise ParameterError(f"{name} must be numbers, got {value!r}")
    if isinstance(value, (int, float)) and name.removesuffix("s") in LEAST and value < LEAST[name.removesuffix("s")]:
        raise ParameterError(f"{name} must be at least {LEAST[name.removesuffix('s')]}, got {value!r}")
    if isinstance(value, (int, float)) and name in LEAST and value < LEAST[name]:
        raise ParameterError(f"{name} must be at least {LEAST[name]}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(f"{name} must be a finite number, got {value!r}")
    if name in ABOVE_ZERO and not value > 0:
        raise ParameterError(f"{name} must be above 0, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listing(parameters: Mapping[str, Parameter]) -> str:
    return "\n".join(f"  {p.name}: {p.type} = {p.default!r}  # {p.help}" for p in parameters.values())
