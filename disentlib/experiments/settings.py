"""From a notebook's parameters to the specs of its trainings, in one place for all chapters of a family."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from disentlib import data
from disentlib.experiments.parameters import Parameter, ParameterError, checked, narrowed, profiles
from disentlib.experiments.runs import Spec, recorded, spec_of
from disentlib.models import hyperparameters, needs

__all__ = ["LIKELIHOOD", "model_spec", "training_spec", "vae_spec"]

# Reading G4: summed squared error for CelebA, whose printed errors can be nothing else; Bernoulli nats for black and
# white. For chairs nothing is printed: with a squared error short runs never leave the empty code, so Bernoulli.
# The Dis-GU paper's data sets have it as the standard study does.
LIKELIHOOD = {name: "squared_error" if name == "celeba" else "bernoulli" for name in data.names()}


def model_spec(
    p: SimpleNamespace, dataset: str, model: str, parents: Mapping[str, Spec] | None = None, **changed: object
) -> Spec:
    """The spec of one model under the parameters `p` of a notebook, built on the runs `parents`, if there are any.

    Each hyper-parameter comes from `changed`, else from the dicts in `p` that bear the model's or the data set's name,
    as `narrowed` has them, else from `p`, else from the model; so do the spec's own fields.
    """
    given = {"likelihood": LIKELIHOOD[dataset], **narrowed(vars(p), dataset, model), **changed}
    hyper = {name: given.get(name, default) for name, default in hyperparameters(model).items() if name != "seed"}
    return Spec(
        dataset=dataset,
        model=model,
        profile=given["profile"],
        seed=given["seed"],
        hyper=hyper,
        source=given["source"],
        image_size=given["image_size"],
        train_size=given["train_size"],
        steps=given["steps"],
        batch_size=given["batch_size"],
        precision=given["precision"],
        eval_points=given["eval_points"],
        parents=dict(parents or {}),
    )


def vae_spec(p: SimpleNamespace, dataset: str, model: str, **changed: object) -> Spec:
    """`model_spec` of a model of the VAE family, which builds on no other run."""
    return model_spec(p, dataset, model, **changed)


def training_spec(p: SimpleNamespace) -> Spec:
    """The spec of the notebook `training` under its parameters `p`: any model, with the settings of chapter `p.like`.

    Each hyper-parameter comes from `p.hyper`, else from the chapter's profile, else from the model. ParameterError for
    one that the model has not got, or of another type.
    """
    usual = {"likelihood": LIKELIHOOD[p.dataset]} if p.dataset in LIKELIHOOD else {}
    usual |= narrowed(profiles(p.like)[p.profile], p.dataset, p.model)
    own = _defaults(p.model)
    parents = {str(role): _parent(p, str(role), wanted) for role, wanted in p.parents.items()}
    if lost := [role for role in needs(p.model) if role not in parents]:
        raise ParameterError(f"{p.model} builds on another run: give parents, a dict with {lost[0]} in it")
    hyper = own | {name: usual[name] for name in own if name in usual} | _checked_hyper(p.model, own, p.hyper)
    return Spec(
        dataset=p.dataset,
        model=p.model,
        profile=p.profile,
        seed=p.seed,
        hyper=hyper,
        source=p.source,
        image_size=p.image_size,
        train_size=None if p.whole else p.train_size,
        steps=max(1, round(p.steps * p.fraction)),
        batch_size=p.batch_size,
        precision=p.precision,
        eval_points=p.eval_points,
        parents=parents,
        watch=list(p.watch),
        watch_every=p.watch_every if p.watch else None,
    )


_PARENT = {
    name: Parameter(name, kind, None, "of a run to build on")
    for name, kind in {
        "model": "str", "hyper": "dict", "seed": "int", "like": "str", "train_size": "int", "whole": "bool",
        "steps": "int", "batch_size": "int", "precision": "str", "parents": "dict",
    }.items()
}  # fmt: skip


def _parent(p: SimpleNamespace, role: str, wanted: object) -> Spec:
    """The spec of a run to build on: a record's by its id, or this run's own settings with those of `wanted` changed.

    What a parent leaves open is as in the run that builds on it, but for hyper-parameters, which come from the profile,
    and for `fraction`, which is the run's own.
    """
    if isinstance(wanted, str):
        record = recorded(wanted)
        if record is None:
            raise ParameterError(f"no record {wanted!r} for the {role} of {p.model}: neither in runs/ nor in the book")
        return spec_of(record)
    if not isinstance(wanted, Mapping) or "model" not in wanted or not set(wanted) <= set(_PARENT):
        raise ParameterError(f"the {role} is a record's id or a dict with model and any of {', '.join(_PARENT)}")
    wanted = {name: checked(_PARENT[name], value) for name, value in wanted.items()}
    settings = vars(p) | {"hyper": {}, "parents": {}, "watch": [], "fraction": 1.0, **wanted}
    if "like" in wanted:
        usual = narrowed(profiles(str(wanted["like"]))[p.profile], p.dataset, wanted["model"])
        settings |= {name: value for name, value in usual.items() if name in _PARENT and name not in wanted}
    return training_spec(SimpleNamespace(**settings))


def _defaults(model: str) -> dict[str, object]:
    return {name: default for name, default in hyperparameters(model).items() if name != "seed"}


def _checked_hyper(model: str, own: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """The given hyper-parameters in the types of the model's own: an id must not tell 4 from 4.0."""
    unknown = sorted(set(given) - set(own))
    if unknown:
        raise ParameterError(f"{model} has no hyper-parameter {', '.join(unknown)}; it takes {', '.join(own)}")
    found = {}
    for name, value in given.items():
        kind = type(own[name])
        whole = isinstance(value, int) and not isinstance(value, bool)
        found[name] = float(value) if kind is float and whole else value
        if own[name] is not None and type(found[name]) is not kind:
            raise ParameterError(f"{name} of {model} must be {kind.__name__}, got {value!r} ({type(value).__name__})")
    return found
