"""Images kept on disk: the same bytes, drawn once, never half written, and never those of another code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import in_memory, squares

from disentlib.data import Dataset
from disentlib.experiments import drawn, fingerprint
from disentlib.experiments.drawn import kept

MANY = torch.arange(400) % 48


def counted(dataset: Dataset) -> tuple[Dataset, list[int]]:
    asked: list[int] = []

    def fetch(indices: torch.Tensor) -> torch.Tensor:
        asked.append(len(indices))
        return dataset.fetch(indices)

    return replace(dataset, fetch=fetch), asked


def test_a_second_process_reads_what_the_first_has_drawn(toy: Dataset, runs_folder: Path) -> None:
    dataset, asked = counted(toy)
    first = kept(dataset).bytes(MANY)
    asked.clear()
    again = kept(dataset)
    assert torch.equal(again.bytes(MANY), first) and torch.equal(first, toy.bytes(MANY))
    assert again.content_hash() == toy.content_hash()
    assert 400 not in asked


def test_small_requests_and_real_data_are_left_alone(toy: Dataset, runs_folder: Path) -> None:
    kept(toy).bytes(MANY[:100])
    assert not list(runs_folder.rglob("*.npy"))
    real = replace(toy, source="real")
    assert kept(real) is real


def test_other_images_other_data_and_other_code_are_not_confused(
    toy: Dataset, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = in_memory(255 - squares(), grid=toy.grid)
    for dataset in (toy, other):
        for indices in (MANY, MANY.flip(0)):
            assert torch.equal(kept(dataset).bytes(indices), dataset.bytes(indices))
    monkeypatch.setattr(fingerprint, "data_code", lambda name: "another")
    redrawn, asked = counted(toy)
    kept(redrawn).bytes(MANY)
    assert 400 in asked


def test_what_does_not_fit_is_drawn_each_time(toy: Dataset, runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "ROOM", 1000)
    dataset, asked = counted(toy)
    assert torch.equal(kept(dataset).bytes(MANY), kept(dataset).bytes(MANY))
    assert asked.count(400) == 2 and not list(runs_folder.rglob("*.npy"))
