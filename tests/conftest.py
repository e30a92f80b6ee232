"""What several test files share: a tiny data set in memory, records made by hand, a folder for runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.data.grid import FactorGrid

matplotlib.use("Agg")

GRID = FactorGrid(("y", "x"), (6, 8))


def squares() -> Tensor:
    """A 4×4 square at each of 6 × 8 places, no two pictures alike, uint8 `[48, 1, 16, 16]`."""
    images = torch.zeros(48, 1, 16, 16, dtype=torch.uint8)
    for index, (y, x) in enumerate(GRID.factors(torch.arange(48)).tolist()):
        images[index, 0, 2 * y : 2 * y + 4, x : x + 4] = 255 - index
    return images


def in_memory(images: Tensor, name: str = "toy", grid: FactorGrid | None = None) -> Dataset:
    """A data set over uint8 images `[n, c, h, w]`."""
    shape = tuple(images.shape[1:])
    return Dataset(name, "rendered", f"{name} squares", shape, len(images), lambda i: images.to(i.device)[i], grid)


FACTOR_SIZES = (5, 6, 7, 8)


def factor_pixels(sizes: tuple[int, ...] = FACTOR_SIZES) -> Dataset:
    """A data set whose images are their own factors: one pixel a factor, its brightness the factor's value."""
    grid = FactorGrid(tuple(f"f{i}" for i in range(len(sizes))), sizes)
    return Dataset(
        name="pixels",
        source="bundled",
        description="factors as pixels",
        image_shape=(1, 1, len(sizes)),
        count=len(grid),
        fetch=lambda indices: grid.factors(indices).to(torch.uint8)[:, None, None],
        grid=grid,
    )


@pytest.fixture(scope="session")
def toy() -> Dataset:
    return in_memory(squares(), grid=GRID)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread: small tensors are quicker so, and a sum always runs in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that trainings write to, with nothing published."""
    monkeypatch.setenv("DISENTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DISENTLIB_PUBLISH", raising=False)
    return tmp_path / "runs"


@pytest.fixture
def make_record() -> Callable[..., object]:
    """`make_record(seed=…, hyper=…, mig=…)`: a whole record in which only the named things differ."""
    from disentlib.experiments.records import SCHEMA, Record

    def make(seed: int = 0, model: str = "beta_vae", hyper: dict | None = None, **metrics: float) -> Record:
        spec = {"dataset": "toy", "model": model, "profile": "laptop", "seed": seed, "hyper": hyper or {"beta": 4.0}}
        more = {"source": "rendered", "image_size": 16, "train_size": None, "steps": 100, "batch_size": 8}
        return Record(
            id=f"toy-{model}-laptop-s{seed}-0123456789",
            schema=SCHEMA,
            spec=spec | more | {"precision": "float32", "eval_points": 100},
            data={"name": "toy", "source": "rendered", "description": "drawn squares <&>", "count": 48,
                  "image_shape": [1, 16, 16], "hash": "feedfacefeedface"},
            metrics={"reconstruction": 20.0, "kl": 3.0} | metrics,
            losses={"loss": 23.0},
            history={"steps": [50, 100], "loss": [30.0, 23.0]},
            seconds=1.5,
            peak_memory_mb=300.0,
            environment={"device": "x86_64 CPU", "threads": 1, "versions": {"torch": "2.15.0"}, "commit": "abc1234",
                         "clean": True, "date": "2025-01-02 03:04"},
        )  # fmt: skip

    return make
