"""What the book ships of a network stands in for its training, and a record says on which copy it was built."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from disentlib import models
from disentlib.experiments import cli, places, records, runs, weights
from disentlib.experiments.runs import Spec

FLOW = Spec(
    "mnist", "glow", "test", image_size=28, train_size=64, steps=3, batch_size=8, eval_points=100,
    hyper={"steps_per_level": 1, "levels": 2, "width": 8, "warmup": 1},
)  # fmt: skip


@pytest.fixture
def book(runs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of its own, with nothing in it."""
    monkeypatch.setattr(places, "book", lambda: tmp_path / "book")
    return tmp_path / "book"


def forget(id: str) -> None:
    for file in (places.runs() / id).glob("*"):
        file.unlink()


def test_a_shipped_network_is_taken_instead_of_trained(book: Path) -> None:
    first = runs.run(FLOW, progress=False)
    path = weights.ship(first.record.id)
    assert path.parent == book / "weights"
    forget(first.record.id)
    again = runs.run(FLOW, progress=False)
    assert first.fresh and not again.fresh
    assert again.record == first.record
    kept = first.model.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in again.model.state_dict().items())


def test_shipping_leaves_the_optimisers_moments_behind(book: Path) -> None:
    first = runs.run(FLOW, progress=False)
    whole = places.runs() / first.record.id / "checkpoint.pt"
    assert weights.ship(first.record.id).stat().st_size < 0.6 * whole.stat().st_size


def test_who_does_not_want_what_is_there_trains_anew(book: Path) -> None:
    first = runs.run(FLOW, progress=False)
    weights.ship(first.record.id)
    forget(first.record.id)
    assert runs.run(FLOW, reuse=False, progress=False).fresh


def test_weights_for_other_data_are_not_taken(book: Path) -> None:
    first = runs.run(FLOW, progress=False)
    weights.ship(first.record.id)
    path = places.published_records() / f"{first.record.id}.json"
    other = dataclasses.replace(first.record, data=first.record.data | {"hash": "0" * 16})
    records.write(other, path)
    forget(first.record.id)
    again = runs.run(FLOW, progress=False)
    assert again.fresh and again.record.data["hash"] == first.record.data["hash"]


def test_own_weights_come_before_the_books(book: Path) -> None:
    first = runs.run(FLOW, progress=False)
    weights.ship(first.record.id)
    changed = dataclasses.replace(first.record, seconds=12345.0)
    records.write(changed, places.published_records() / f"{first.record.id}.json")
    assert runs.run(FLOW, progress=False).record.seconds == first.record.seconds


def test_a_record_names_the_copy_that_it_was_built_on(book: Path) -> None:
    hyper = {"directions": 2, "bases": 4, "encoder_width": 16}
    spec = dataclasses.replace(FLOW, model="closed_form", hyper=hyper, parents={"glow": FLOW}, steps=1)
    found = runs.run(spec, progress=False)
    flow_run = runs.prerequisite(FLOW)
    assert found.record.environment["built_on"] == {flow_run.record.id: slow_digest(flow_run.model)}
    assert "built_on" not in flow_run.record.environment


def test_a_digest_sees_a_single_weight() -> None:
    model = models.build("vae", (1, 28, 28), seed=0)
    before = weights.digest(model)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert weights.digest(model) != before


def test_only_a_finished_run_is_shipped(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ship", "mnist-glow-test-s0-0000000000"]) == 2
    assert "no finished run" in capsys.readouterr().err
    id = runs.run(FLOW, progress=False).record.id
    (places.runs() / id / "checkpoint.pt").unlink()
    with pytest.raises(LookupError):
        weights.ship(id)


def slow_digest(model: models.Model) -> str:
    text = b""
    for name in sorted(model.state_dict()):
        value = model.state_dict()[name]
        text += f"{name} {value.dtype} {tuple(value.shape)}".encode() + value.float().numpy().tobytes()
    return hashlib.sha256(text).hexdigest()[:12]
