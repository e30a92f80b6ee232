"""Drawn pictures are the same bits on every processor: exact roots, and contents that are those of the records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import disentlib.data
from disentlib import data
from disentlib.data.exact import square_root
from disentlib.experiments import places

_BOOK = Path(places.__file__).parents[2] / "book" / "records"
_RECORDS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(_BOOK.glob("*.json"))]
DRAWN = sorted(
    {
        (r["spec"]["dataset"], r["spec"]["image_size"], r["data"]["hash"])
        for r in _RECORDS
        if r["data"]["source"] == "rendered"
    }
)


def test_a_root_is_the_closest_float_to_the_true_one() -> None:
    x = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0)) * torch.tensor(2.0) ** torch.arange(
        -20, 20
    ).repeat(25_000)
    exact = np.sqrt(x.numpy().astype(np.longdouble)).astype(np.float32)
    assert (square_root(x).numpy() == exact).all()
    assert (square_root(x.view(1000, 1000)[:, 3:7]).numpy() == exact.reshape(1000, 1000)[:, 3:7]).all()


def test_roots_of_corner_cases_keep_shape_and_type() -> None:
    corner = square_root(torch.tensor([0.0, float("inf"), -1.0, 1e-45]))
    assert corner[0] == 0 and corner[1] == float("inf") and corner[2].isnan() and corner[3] > 0
    assert square_root(torch.tensor(4.0)).shape == () and corner.dtype == torch.float32
    assert square_root(torch.empty(2, 3, device="meta")).shape == (2, 3)


def test_no_drawing_takes_another_root() -> None:
    for path in Path(disentlib.data.__file__).parent.glob("*.py"):
        if path.name != "exact.py":
            assert ".sqrt(" not in path.read_text(encoding="utf-8").replace("math.sqrt(", ""), path.name


@pytest.mark.parametrize(("name", "size", "recorded"), DRAWN)
def test_what_is_drawn_is_what_was_recorded(name: str, size: int, recorded: str) -> None:
    """The promise of `successors.yml` for drawings; it lets a reader's machine use the book's records and flows."""
    assert data.load(name, source="rendered", image_size=size).content_hash() == recorded
