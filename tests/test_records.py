"""Records: what is written is what is read, and what is not a whole record is refused with its file and the remedy."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from disentlib.experiments import records
from disentlib.experiments.records import Record, RecordError, read, read_all, select, write

Make = Callable[..., Record]


def test_a_record_survives_the_file(make_record: Make, tmp_path: Path) -> None:
    record = make_record(seed=3, mig=0.123456789012345, hyper={"beta": 1e-7, "likelihood": "bernoulli"})
    path = write(record, tmp_path / "deep" / "r.json")
    assert read(path) == record
    assert json.loads(path.read_text(encoding="utf-8")) == dataclasses.asdict(record)


def change(path: Path, **changed: object) -> None:
    content = json.loads(path.read_text())
    content |= changed
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema": 0}, "record schema 0, this version reads 1"),
        ({"schema": ...}, "record schema None"),
        ({"seconds": ...}, "missing or unknown: .'seconds'"),
        ({"extra": 1}, "missing or unknown: .'extra'"),
        ({"seconds": "long"}, "ill-typed: .'seconds'"),
        ({"seconds": True}, "ill-typed: .'seconds'"),
        ({"metrics": []}, "ill-typed: .'metrics'"),
        ({"id": 7}, "ill-typed: .'id'"),
        ({"spec": {"seed": 0}}, "missing or unknown: .'spec.dataset', 'spec.model'"),
        ({"data": {}}, "'data.hash'"),
        ({"environment": None}, "ill-typed: .'environment'"),
    ],
)
def test_a_record_that_is_not_whole_is_refused(make_record: Make, tmp_path: Path, changed: dict, said: str) -> None:
    path = write(make_record(), tmp_path / "r.json")
    change(path, **changed)
    with pytest.raises(RecordError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value) and "run its settings again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b'{"schema": 1', b"\xff\xfe\x00"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="run its settings again") as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_an_absent_file_is_refused_and_an_absent_folder_is_empty(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="none.json"):
        read(tmp_path / "none.json")
    assert read_all(tmp_path / "nowhere") == []


def test_a_failing_write_leaves_the_old_record(
    make_record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(make_record(seed=1), tmp_path / "r.json")
    before = path.read_bytes()
    plain = Path.write_text

    def full(self: Path, text: str, *arguments: object, **more: object) -> None:
        plain(self, text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write(make_record(seed=2), path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="JSON"):  # which has no NaN
        write(make_record(mig=math.nan), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_all_records_of_a_folder_come_by_name(make_record: Make, tmp_path: Path) -> None:
    for name, seed in (("b", 1), ("a", 2), ("c", 0)):
        write(make_record(seed=seed), tmp_path / f"{name}.json")
    (tmp_path / "note.txt").write_text("no record")
    assert [r.spec["seed"] for r in read_all(tmp_path)] == [2, 1, 0]


def test_a_value_is_found_wherever_it_stands(make_record: Make) -> None:
    record = make_record(seed=5, hyper={"beta": 2.0}, mig=0.5)
    assert (record.get("seed"), record.get("beta"), record.get("mig")) == (5, 2.0, 0.5)
    with pytest.raises(KeyError, match="toy-beta_vae-laptop-s5.* has no 'dci'"):
        record.get("dci")


def test_select_takes_records_that_hold_every_value(make_record: Make) -> None:
    made = [make_record(seed=s, hyper={"beta": b}) for s in (0, 1) for b in (1.0, 4.0)]
    assert select(made, seed=1, beta=4.0) == [made[3]]
    assert select(made, beta=1) == [made[0], made[2]]
    assert select(made, gamma=1.0) == [] and select(made) == made


def test_the_environment_names_versions_and_no_machine() -> None:
    found = records.environment(torch.device("cpu"))
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert found["threads"] == torch.get_num_threads() and found["device"].endswith("CPU")
    assert platform.node() not in json.dumps(found) and str(Path.home()) not in json.dumps(found)
    assert found["clean"] in (True, False, None)


def test_a_kept_record_gives_way_to_more_scores_or_other_code(make_record: Callable, tmp_path: Path) -> None:
    def record(code: str, **metrics: float) -> Record:
        made = make_record(**metrics)
        return dataclasses.replace(made, environment=made.environment | {"code": {"training": code}})

    scored, bare, other = record("a", sap=0.5), record("a"), record("b")
    for new, expected in [(bare, bare), (scored, scored), (bare, scored), (other, other)]:
        records.keep(new, tmp_path)
        assert records.read(tmp_path / f"{new.id}.json") == expected
