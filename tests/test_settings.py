"""The notebook `training` and the chapters ask for the same trainings, so that they share their records."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from disentlib import models
from disentlib.experiments import parameters, records
from disentlib.experiments.parameters import ParameterError
from disentlib.experiments.runs import Spec, sourced
from disentlib.experiments.settings import model_spec, training_spec, vae_spec

ROOT = Path(__file__).parents[1]
RECORDS = records.read_all(ROOT / "book" / "records")


def values(notebook: str, **given: object) -> SimpleNamespace:
    known = parameters.notebook_parameters(ROOT / "notebooks" / f"{notebook}.ipynb")
    return SimpleNamespace(notebook=notebook, **parameters.resolve(notebook, known, given))


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize(
    ("chapter", "dataset", "model", "hyper"),
    [
        ("beta_gvae", "celeba", "vae", {}),
        ("beta_gvae", "dsprites", "beta_vae", {"beta": 4}),
        ("beta_gvae", "chairs", "beta_gvae", {"beta": 4, "gamma": 10.0}),
        ("beta_gvae_ablation", "celeba", "beta_vae", {"beta": 3.0}),
        ("beta_gvae_ablation", "celeba", "beta_gvae", {"adversarial_term": "logit", "adversarial_sign": -1}),
        ("vae", "dsprites", "beta_vae", {"beta": 8.0}),
        ("quickstart", "dsprites", "beta_vae", {"beta": 4.0}),
        ("information_distillation", "dsprites", "beta_vae", {}),
        ("information_distillation", "celeba", "beta_vae", {}),
        ("information_distillation", "dsprites", "ib_gan", {"beta": 0.564}),
    ],
)  # fmt: skip
def test_a_chapter_and_the_training_notebook_ask_for_the_same(
    profile: str, chapter: str, dataset: str, model: str, hyper: dict
) -> None:
    typed = {name: float(value) if name in ("beta", "gamma") else value for name, value in hyper.items()}
    own = vae_spec(values(chapter, profile=profile), dataset, model, **{"seed": 2, **typed})
    same = values("training", profile=profile, like=chapter, dataset=dataset, model=model, hyper=hyper, seed=2)
    assert training_spec(same).id == own.id


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("dataset", ["dsprites", "celeba"])
def test_a_run_that_builds_on_another_too(profile: str, dataset: str) -> None:
    """The study's parent is `like` the chapter, so that it has the chapter's settings for the parent's own model."""
    chapter = "information_distillation"
    p = values(chapter, profile=profile)
    own = model_spec(p, dataset, "id_gan", {"stage1": model_spec(p, dataset, "beta_vae", seed=2)}, seed=2)
    given = {"parents": {"stage1": {"model": "beta_vae", "like": chapter}}, "like": chapter, "profile": profile}
    found = training_spec(values("training", dataset=dataset, model="id_gan", seed=2, **given))
    assert found == own and found.id == own.id
    for spec, settings in ((own, p.id_gan), (own.parents["stage1"], p.beta_vae)):
        narrower = settings.get(dataset, {})
        assert spec.steps == narrower.get("steps", settings["steps"])
        assert spec.train_size == narrower.get("train_size", p.train_size)
        assert spec.hyper["lr"] == narrower.get("lr", settings["lr"])


def test_the_digit_models_of_the_vae_chapter_too() -> None:
    own = vae_spec(values("vae"), "mnist", "vae", image_size=28, train_size=None, code_dims=2)
    p = values("training", like="vae", dataset="mnist", model="vae", image_size=28, whole=True, hyper={"code_dims": 2})
    assert training_spec(p).id == own.id


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.id)
def test_every_record_of_the_book_can_be_asked_for(
    record: records.Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From what the record itself says, the notebook arrives at the record's id; on a machine without runs too."""
    monkeypatch.setenv("DISENTLIB_RUNS", str(tmp_path))
    spec = record.spec
    given = {name: spec[name] for name in ("dataset", "model", "profile", "seed", "hyper", "steps", "batch_size")}
    given |= {name: spec[name] for name in ("image_size", "precision", "eval_points")}
    given |= {"whole": True} if spec["train_size"] is None else {"train_size": spec["train_size"]}
    given |= {name: spec[name] for name in ("watch", "watch_every") if name in spec}
    given["parents"] = {role: parent["id"] for role, parent in spec.get("parents", {}).items()}  # in the book too
    found = training_spec(values("training", **given))
    assert training_spec(values("training", **given | {"hyper": json.loads(json.dumps(spec["hyper"]))})) == found
    assert sourced(found, spec["source"]) == Spec.of(spec)
    assert sourced(found, spec["source"]).id == record.id


def test_a_share_of_the_steps_is_a_runs_own_and_not_that_of_what_it_builds_on() -> None:
    given = {"dataset": "dsprites", "model": "id_gan", "like": "information_distillation", "profile": "smoke"}
    given |= {"parents": {"stage1": {"model": "beta_vae", "like": "information_distillation"}}}
    whole, half, least = (training_spec(values("training", fraction=f, **given)) for f in (1.0, 0.5, 1e-6))
    assert (half.steps, least.steps) == (round(whole.steps / 2), 1)
    assert half.parents == least.parents == whole.parents


def test_what_is_given_comes_before_the_profile_and_that_before_the_model() -> None:
    laptop = parameters.profiles("beta_gvae")["laptop"]
    hyper = training_spec(values("training", hyper={"lr": 0.5})).hyper
    own = models.hyperparameters("beta_gvae")
    assert (hyper["lr"], hyper["width"], hyper["gamma"]) == (0.5, laptop["width"], own["gamma"])
    assert laptop["width"] != own["width"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "vae", "hyper": {"gamma": 1.0}}, "vae has no hyper-parameter gamma; it takes code_dims, likelihood"),
        ({"hyper": {"seed": 1}}, "no hyper-parameter seed"),
        ({"hyper": {"beta": "four"}}, r"beta of beta_gvae must be float, got 'four' \(str\)"),
        ({"hyper": {"code_dims": 2.5}}, "code_dims of beta_gvae must be int, got 2.5"),
        ({"hyper": {"beta": True}}, "beta of beta_gvae must be float, got True"),
        ({"hyper": {"beta": -1.0}}, "beta must be at least 0.0, got -1.0"),
        ({"hyper": {"adversarial_term": "square"}}, "unknown adversarial_term 'square'; known: probability"),
        ({"hyper": ["beta", 4.0]}, "hyper must be dict, got"),
        ({"model": "gan"}, "unknown model 'gan'; known: vae, beta_vae, beta_gvae"),
        ({"dataset": "faces"}, "unknown dataset 'faces'; known: dsprites"),
        ({"like": "nothing"}, "no profiles for a notebook 'nothing'; known: .*vae"),
        ({"like": "vae", "profile": "huge"}, "unknown profile 'huge'; vae has: smoke, laptop, paper"),
        ({"model": "disco", "like": "dis_gu"}, "disco builds on another run: give parents, a dict with glow in it"),
        ({"model": "id_gan"}, "id_gan builds on another run: give parents, a dict with stage1 in it"),
        ({"parents": "vae"}, "parents must be dict, got 'vae'"),
        *(({"model": "id_gan", "parents": {"stage1": {"model": "beta_vae"} | wrong}}, said) for wrong, said in [
            ({"steps": 0}, "steps must be at least 1, got 0"),
            ({"steps": 1.5}, "steps must be int, got 1.5"),
            ({"steps": "100"}, "steps must be int, got '100'"),
            ({"seed": -1}, "seed must be at least 0, got -1"),
            ({"whole": "yes"}, "whole must be bool, got 'yes'"),
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"precision": "fp16"}, "unknown precision 'fp16'"),
            ({"model": ["beta_vae"]}, "model must be str, got"),
            ({"hyper": "abc"}, "hyper must be dict, got 'abc'"),
            ({"parents": "abc"}, "parents must be dict, got 'abc'"),
        ]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(given: dict, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        training_spec(values("training", **given))
