"""Runs that build on other runs, and scores that are taken on the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from disentlib import data, models, training
from disentlib.experiments import parameters, records, runs, study_cli
from disentlib.experiments.evaluation import REPEATS, SCORES, _prefix, check_scores, score
from disentlib.experiments.runs import Spec, sourced, spec_of
from disentlib.experiments.settings import training_spec
from disentlib.models.autoencoder import AutoencoderModel
from disentlib.models.base import Model

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
PARENT = Spec(
    "mnist", "beta_vae", "test", source="bundled", image_size=28, train_size=64, steps=3, batch_size=8,
    eval_points=100,
    hyper={"code_dims": 3, "beta": 1.0, "likelihood": "bernoulli", "lr": 1e-3},
)  # fmt: skip


class Heir(AutoencoderModel):
    """A β-VAE that starts with the weights of a finished run."""

    roles = {"stage1": "its weights"}

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int = 3, seed: int = 0) -> None:
        super().__init__(image_shape, code_dims, "bernoulli", 1e-3, seed)

    def accepts(self, role: str, parent: Model) -> None:
        super().accepts(role, parent)
        if parent.code_dims != self.code_dims:
            raise ValueError(f"{parent.code_dims} code dimensions there, {self.code_dims} here")

    def adopt(self, role: str, parent: Model) -> None:
        super().adopt(role, parent)
        self.autoencoder.load_state_dict(parent.autoencoder.state_dict())

    def updates(self) -> dict:
        return {"autoencoder": lambda images, given: self._loss(images, given)}

    def _loss(self, images: torch.Tensor, given: dict) -> tuple[torch.Tensor, dict]:
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        loss = terms.reconstruction * 0 + terms.kl * 0
        return loss, {"loss": loss, **terms._asdict()}


@pytest.fixture
def heir(monkeypatch: pytest.MonkeyPatch) -> Spec:
    monkeypatch.setitem(models._MODELS, "heir", Heir)
    monkeypatch.setitem(parameters.CHOICES, "model", (*models.names(),))
    monkeypatch.setattr(runs.fingerprint, "code_of", lambda names, dataset: {"training": "+".join(names)})
    return dataclasses.replace(PARENT, model="heir", hyper={"code_dims": 3}, parents={"stage1": PARENT})


def test_a_run_takes_over_from_its_parent_which_is_trained_once(runs_folder: Path, heir: Spec) -> None:
    first = runs.run(heir, progress=False)
    parent = runs.prerequisite(PARENT)
    assert first.fresh and not parent.fresh
    for name, weight in parent.model.state_dict().items():  # a loss of nothing moves nothing
        torch.testing.assert_close(first.model.state_dict()[name], weight, rtol=0, atol=0)
    again = runs.run(heir, progress=False)
    assert not again.fresh and again.record == first.record
    assert first.record.environment["code"]["training"] == "beta_vae+heir"


def test_a_record_quotes_its_parents_and_can_be_asked_for_again(runs_folder: Path, heir: Spec) -> None:
    record = runs.run(heir, progress=False).record
    assert record.spec["parents"]["stage1"]["id"] == PARENT.id
    assert spec_of(record) == heir and spec_of(record).id == record.id
    assert spec_of(record, seed=4).parents == heir.parents
    assert records.read(runs_folder / record.id / "record.json") == record


def test_another_parent_is_another_run(heir: Spec) -> None:
    assert sourced(heir, "bundled").id == heir.id
    other = dataclasses.replace(heir, parents={"stage1": dataclasses.replace(PARENT, seed=1)})
    assert other.id != heir.id
    assert sourced(heir, "real").parents["stage1"].source == "real"
    alone = dataclasses.replace(heir, parents={})
    assert "parents" not in alone.content() and alone.id != heir.id


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hyper": {"code_dims": 4}}, "3 code dimensions there, 4 here"),
        ({"parents": {"glow": PARENT}}, "role 'glow'; known roles: stage1"),
        ({"parents": {"stage1": dataclasses.replace(PARENT, dataset="dsprites", image_size=32)}}, "dsprites at 32"),
    ],
)
def test_an_unfit_parent_is_refused_before_anything_is_trained(
    runs_folder: Path, heir: Spec, changed: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runs.run(dataclasses.replace(heir, **changed), progress=False)
    assert not list(runs_folder.glob("*/checkpoint.pt"))


def test_the_training_notebook_names_parents_by_settings_or_by_id(runs_folder: Path, heir: Spec) -> None:
    known = parameters.notebook_parameters(ROOT / "notebooks" / "training.ipynb")

    def asked(parents: dict) -> Spec:
        given = {"profile": "smoke", "dataset": "mnist", "model": "heir", "seed": 2, "parents": parents}
        return training_spec(SimpleNamespace(**parameters.resolve("training", known, given)))

    spec = asked({"stage1": {"model": "beta_vae", "hyper": {"beta": 8}, "steps": 7}})
    stage1 = spec.parents["stage1"]
    assert (stage1.seed, stage1.steps, stage1.hyper["beta"], stage1.parents) == (2, 7, 8.0, {})
    record = runs.prerequisite(PARENT).record
    assert asked({"stage1": record.id}).parents["stage1"] == PARENT
    with pytest.raises(parameters.ParameterError, match="no record 'nothing-such'"):
        asked({"stage1": "nothing-such"})
    with pytest.raises(parameters.ParameterError, match="a record's id or a dict"):
        asked({"stage1": {"hyper": {}}})


@pytest.mark.parametrize(
    ("changed", "more", "message"),
    [
        ({"steps": 0}, {}, "steps of heir must be a whole number of at least 1, got 0"),
        ({"batch_size": 65}, {}, "batch_size of heir must be a whole number between 1 and 64, got 65"),
        ({"train_size": 10**9}, {}, "train_size of heir must be a whole number between 1 and [0-9]+"),
        ({"seed": 10**14}, {}, "seed of heir must be a whole number between 0 and 4294967295"),
        ({"eval_points": 1}, {}, "eval_points of heir must be a whole number of at least 2, got 1"),
        ({"precision": "fp16"}, {}, "unknown precision 'fp16'; known: float32"),
        ({"parents": {"stage1": dataclasses.replace(PARENT, steps=0)}}, {}, "steps of beta_vae must be"),
        (
            {"parents": {"stage1": dataclasses.replace(PARENT, source="real")}},
            {},
            "the stage1 mnist-beta_vae-.* was made on real data, this run is on bundled",
        ),
        ({}, {"compile": "fast"}, "unknown compile 'fast'; known: none, default"),
    ],
)
def test_what_a_run_has_out_of_range_is_found_before_its_parent_is_trained(
    runs_folder: Path, heir: Spec, changed: dict, more: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runs.run(dataclasses.replace(heir, **changed), progress=False, **more)
    assert not list(runs_folder.glob("*/checkpoint.pt"))


def test_scores_of_data_without_factors_are_refused_before_anything_is_trained(runs_folder: Path, heir: Spec) -> None:
    for asked, watched in ((["dci"], []), ([], ["dci"])):
        with pytest.raises(LookupError, match="has no factors: no score of dci can be computed"):
            runs.run(dataclasses.replace(heir, watch=watched, watch_every=1), progress=False, scores=asked)
    assert not list(runs_folder.glob("*/checkpoint.pt"))


def test_what_a_model_needs_is_asked_for_before_the_first_step(runs_folder: Path) -> None:
    needy = [name for name in models.names() if models.needs(name)]
    assert {"id_gan", "disco", "closed_form"} <= set(needy) and "infogan_cr" not in needy
    for name in needy:
        spec = dataclasses.replace(PARENT, model=name, hyper={})
        with pytest.raises(ValueError, match=f"{name} builds on a finished run in the role {models.needs(name)[0]}"):
            runs.run(spec, progress=False)


@pytest.mark.usefixtures("runs_folder")
def test_a_run_can_watch_what_its_model_measures_of_itself() -> None:
    hyper = {"steps_per_level": 1, "levels": 2, "width": 8, "warmup": 0}
    rooms = dataclasses.replace(PARENT, dataset="shapes3d", source="rendered", image_size=32)
    spec = dataclasses.replace(rooms, model="glow", hyper=hyper, watch=["measured"], watch_every=2)
    record = runs.run(spec, progress=False).record
    watched = dict(record.history["watched"])
    assert watched.pop("steps") == [0, 2, 3]
    assert set(watched) == {"bits_per_dim", "round_trip_error", "non_finite"}
    assert all(values[-1] == record.metrics[name] for name, values in watched.items())
    assert watched["bits_per_dim"][0] != watched["bits_per_dim"][-1]
    assert "mig" not in record.metrics  # though the data set has factors: a flow's code is its whole latent


def test_what_is_watched_changes_no_weight_and_survives_an_interruption(tmp_path: Path) -> None:
    digits = data.load("mnist", source="rendered")
    asked: list[bool] = []

    def watch(model: Model) -> dict[str, float]:
        asked.append(model.training)
        return {"first": next(model.parameters()).sum().item()}

    settings = {"train_size": 64, "batch_size": 8, "progress": False, "checkpoint_every": 2}
    plain, watched, resumed = (models.build("vae", digits.image_shape) for _ in range(3))
    training.train(plain, digits, steps=5, **settings)
    history = training.train(watched, digits, steps=5, watch=watch, watch_every=2, **settings)
    assert history.watched["steps"] == [0, 2, 4, 5] and not any(asked)
    file = tmp_path / "c.pt"
    training.train(resumed, digits, steps=4, checkpoint=file, watch=watch, watch_every=2, **settings)
    again = models.build("vae", digits.image_shape)
    assert training.train(again, digits, steps=5, checkpoint=file, watch=watch, watch_every=2, **settings).watched == (
        history.watched
    )
    for one, other in zip(plain.parameters(), watched.parameters()):
        assert torch.equal(one, other)


def test_scores_under_two_protocols_and_repeated_ones(toy: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from disentlib.experiments import evaluation

    small = {
        prefix: dataclasses.replace(
            protocol, train_points=200, test_points=0 if protocol.in_sample else 100, train_votes=60,
            variance_points=200, test_votes=0 if protocol.in_sample else 60, vote_batch=8,
        )
        for prefix, protocol in evaluation.PROTOCOLS.items()
    }  # fmt: skip
    monkeypatch.setattr(evaluation, "PROTOCOLS", small)
    model = models.build("vae", (1, 32, 32)).eval()
    model.encode = lambda images: images.flatten(1)[:, ::37]
    names = ["factor_vae", "infogan_cr_factor_vae", "infogan_cr_mig", "factor_vae_evaluations"]
    found = score(model, toy, names)
    assert set(found) == set(names)
    repeated = found["factor_vae_evaluations"]
    assert len(repeated) == REPEATS and len(set(repeated)) > 1 and all(0 <= value <= 1 for value in repeated)
    alone = score(model, toy, ["infogan_cr_factor_vae"])
    assert alone["infogan_cr_factor_vae"] == found["infogan_cr_factor_vae"]
    assert {_prefix(name) for name in SCORES} == {"", "infogan_cr_"}
    with pytest.raises(ValueError, match="unknown metric"):
        check_scores(["infogan_cr_entropy"])


def test_what_the_book_keeps_of_a_parent_loses_no_score(
    runs_folder: Path, heir: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent that was trained again has the plain scores alone; the book's record of it may have more."""
    book = tmp_path / "published"
    monkeypatch.setattr(study_cli.places, "published_records", lambda: book)
    monkeypatch.setattr(study_cli, "record_of", lambda job: job)
    monkeypatch.setattr(study_cli, "publish_failure", lambda job: None)
    child, parent = runs.run(heir, progress=False).record, runs.prerequisite(PARENT).record
    scored = dataclasses.replace(parent, metrics=parent.metrics | {"sap": 0.25})
    for there, expected in [(None, parent), (scored, scored), (parent, parent)]:
        if there is not None:
            records.write(there, book / f"{parent.id}.json")
        study_cli._keep([child])
        assert records.read(book / f"{parent.id}.json") == expected
    assert (book / f"{child.id}.json").exists()
