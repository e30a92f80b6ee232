"""The tables of the chapter on information distillation: differences by seed, and what they are said to show."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import pytest

from disentlib.experiments.distillation import counted, gained, unmoved
from disentlib.experiments.records import Record

Make = Callable[..., Record]


def cells(text: str) -> list[list[str]]:
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]


def seeded(record: Record, seed: int, metrics: Mapping[str, object]) -> Record:
    return dataclasses.replace(record, spec=record.spec | {"seed": seed}, metrics=record.metrics | metrics)


def test_the_verdict_is_the_side_of_zero_on_which_the_paired_interval_lies(make_record: Make) -> None:
    record = make_record()
    rows = {  # stage 1, ID-GAN
        "up": ([1.0, 5.0, 9.0], [1.5, 5.4, 9.6]),  # larger for each seed, although seeds differ by more
        "down": ([3.0, 3.0, 3.0], [2.0, 2.5, 1.0]),
        "even": ([1.0, 2.0, 3.0], [1.5, 1.5, 3.0]),
    }
    own = [
        seeded(record, s, {f"stage1_{k}": a[s] for k, (a, _) in rows.items()} | {k: b[s] for k, (_, b) in rows.items()})
        for s in range(3)
    ]
    lines = cells(gained({"sprites": own}, {name: name for name in rows}, "…").text)[1:]
    assert [line[1] for line in lines] == list(rows)
    assert [line[5].split(":")[0] for line in lines] == ["larger", "smaller", "undecided"]
    assert [line[2].split(" ")[0] for line in lines] == ["5.00", "3.00", "2.00"]
    assert [line[4].split(" ")[0] for line in lines] == ["0.50", "-1.17", "0.00"]
    assert cells(gained({"sprites": own[:1]}, {"up": "up"}, "…").text)[1][5] == "one seed"


def test_the_largest_difference_to_the_parent_is_shown(make_record: Make) -> None:
    record = make_record()
    parents = [seeded(record, s, {"mig": v}) for s, v in enumerate((0.1, 0.2, 0.3))]
    children = [seeded(record, s, {"mig": v}) for s, v in enumerate((0.1, 0.15, 0.31))]
    assert cells(unmoved(children, parents, {"mig": "MIG"}, "…").text)[1] == ["MIG", "0.0500"]
    assert cells(unmoved(parents, parents, {"mig": "MIG"}, "…").text)[1] == ["MIG", "0.0000"]
    with pytest.raises(ValueError, match="shorter"):
        unmoved(children, parents[:2], {"mig": "MIG"}, "…")


def test_active_dimensions_are_counted_without_a_change_to_the_record(make_record: Make) -> None:
    record = seeded(make_record(), 0, {"kl_per_dimension": [2.0, 0.1, 0.11, 0.0]})
    before = dict(record.metrics)
    (found,) = counted([record])
    assert found.metrics["active_dimensions"] == 2 and record.metrics == before and found.id == record.id
