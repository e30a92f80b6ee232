"""Controlled codes: known factors turned into codes that are right, or wrong in one known way, and scored.

The "images" are the factors themselves, one pixel a factor, so that every metric runs on them, the voting ones too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor

from disentlib import metrics
from disentlib.data import Dataset, FactorGrid
from disentlib.metrics import Protocol

__all__ = [
    "CASES",
    "GRID",
    "Case",
    "Score",
    "Task",
    "codes",
    "encoder",
    "factor_images",
    "in_processes",
    "score_cases",
    "score_tasks",
    "shrunk",
    "standardised",
]

# As dSprites' factors, but with fewer values, so that trees and support vectors take seconds.
GRID = FactorGrid(("shape", "scale", "orientation", "pos_x", "pos_y"), (3, 6, 8, 10, 10), nominal=("shape",))
NOISE = 0.05  # standard deviation of the noise on a standardised factor
_WORTH_IT = 30_000  # points and votes of all tasks together
_MIXING = 0.3  # weight of the other factors in a partly mixed dimension
_WARPS = (np.sinh, np.tanh, lambda x: -np.exp(x), lambda x: x**3 + 0.1 * x)

Make = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # standardised factors [n, k] → codes [n, d]


@dataclass(frozen=True)
class Case:
    """One way to make codes, and what they lack: letters of "DCI", as DCI's three parts; "" if nothing."""

    label: str
    lacks: str
    make: Make


class Task(NamedTuple):
    """Codes to be scored: row i of the table is the code of image i of the grid."""

    case: str
    seed: int
    table: np.ndarray  # [len(grid), d]
    protocol: Protocol
    at: float = 0.0  # the place on a swept axis, if there is one


class Score(NamedTuple):
    """One number: which codes, which draw of them, which metric, and where on a swept axis."""

    case: str
    seed: int
    metric: str
    value: float
    at: float = 0.0


def _blurred(codes: np.ndarray, g: np.random.Generator) -> np.ndarray:
    return codes + NOISE * g.normal(size=codes.shape)


def _aligned(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    return np.hstack([_blurred(s, g), g.normal(size=(len(s), 2))])


def _warped(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    columns = _blurred(s, g).T
    return np.stack([_WARPS[i % len(_WARPS)](column) for i, column in enumerate(columns)], axis=1)


def _scaled(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    return _blurred(s, g) * np.geomspace(0.02, 50.0, s.shape[1])


def _dead(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    return np.hstack([np.zeros((len(s), 1)), _blurred(s, g)])


def _merged(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    return _blurred(np.hstack([s[:, :1] + s[:, 1:2], s[:, 2:]]), g)


def _partly_mixed(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    k = s.shape[1]
    return _blurred(s @ (np.eye(k) + _MIXING * g.normal(size=(k, k)) * (1 - np.eye(k))), g)


def _mixtures_too(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    k = s.shape[1]
    return np.hstack([_blurred(np.hstack([s, s @ g.normal(size=(k, k)) / np.sqrt(k)]), g), g.normal(size=(len(s), 2))])


def _rotated(s: np.ndarray, g: np.random.Generator) -> np.ndarray:
    rotation, triangle = np.linalg.qr(g.normal(size=(s.shape[1], s.shape[1])))
    return _blurred(s @ (rotation * np.sign(np.diag(triangle))), g)  # the signs make the draw uniform


CASES: Mapping[str, Case] = {
    "exact": Case("exact factors", "", lambda s, g: s),
    "aligned": Case("aligned, 2 noise dims", "", _aligned),
    "warped": Case("warped, monotone", "", _warped),
    "dead": Case("aligned, 1 dead dim", "", _dead),
    "scaled": Case("scales 0.02 … 50", "", _scaled),
    "duplicated": Case("every factor twice", "C", lambda s, g: _blurred(np.hstack([s, s]), g)),
    "merged": Case("two factors merged", "D", _merged),
    "fewer": Case("two factors missing", "I", lambda s, g: _blurred(s[:, : max(1, s.shape[1] - 2)], g)),
    "partly_mixed": Case("partly mixed", "DC", _partly_mixed),
    "more": Case("aligned, 5 mixtures", "DC", _mixtures_too),
    "rotated": Case("rotated", "DC", _rotated),
    "noise": Case("pure noise", "DCI", lambda s, g: g.normal(size=s.shape)),
    "constant": Case("constant", "DCI", lambda s, g: np.tile(np.arange(s.shape[1]) / 4, (len(s), 1))),
}


def factor_images(grid: FactorGrid = GRID) -> Dataset:
    """A data set whose images `[n, 1, 1, k]` are their own factors: pixel j is factor j, as a byte."""
    return Dataset(
        name="factors",
        source="rendered",
        description=f"a grid of {' × '.join(map(str, grid.sizes))} factor values, the images being the factors",
        image_shape=(1, 1, len(grid.sizes)),
        count=len(grid),
        fetch=lambda indices: grid.factors(indices).to(torch.uint8)[:, None, None],
        grid=grid,
    )


def encoder(dataset: Dataset, table: np.ndarray) -> Callable[[Tensor], Tensor]:
    """A function from images of `factor_images` to their rows of `table` `[len(dataset), d]`: one code an image."""
    rows = torch.tensor(table)  # a copy: tables that came from another process cannot be written to
    return lambda images: rows[dataset.index((images.flatten(1) * 255).round().long())]


@lru_cache(maxsize=4)
def standardised(grid: FactorGrid) -> np.ndarray:
    """The factors of every image, each with mean 0 and variance 1 over the grid: float64 `[len(grid), k]`."""
    factors, sizes = grid.factors(torch.arange(len(grid))).numpy(), np.array(grid.sizes)
    return (factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12)


def codes(case: str, seed: int, grid: FactorGrid = GRID) -> np.ndarray:
    """The codes of every image of the grid, float32 `[len(grid), d]`; a pure function of its arguments.

    An image has one code: its noise is drawn once, from the seed. LookupError for an unknown case.

    >>> codes("fewer", seed=0).shape
    (14400, 3)
    """
    if case not in CASES:
        raise LookupError(f"no controlled codes {case!r}; known: {', '.join(CASES)}")
    generator = np.random.default_rng([seed, list(CASES).index(case)])
    return CASES[case].make(standardised(grid), generator).astype(np.float32)


def shrunk(protocol: Protocol, by: int) -> Protocol:
    """The protocol with its numbers of points and votes divided by `by`, and a name that says so; `by` 1 is itself.

    >>> shrunk(metrics.LOCATELLO, 10).train_points
    1000
    """
    counts = ("train_points", "test_points", "train_votes", "test_votes", "variance_points")
    smaller = {name: -(-getattr(protocol, name) // by) for name in counts}
    return replace(protocol, name=f"{protocol.name}, counts / {by}", **smaller) if by > 1 else protocol


def score_cases(
    cases: Iterable[str],
    seeds: Sequence[int],
    protocol: Protocol,
    scores: Sequence[str] | None = None,
    workers: int = -1,
    grid: FactorGrid = GRID,
) -> list[Score]:
    """`score_tasks` for each case and seed; a seed draws both the codes and the points that they are scored on."""
    tasks = [Task(case, seed, codes(case, seed, grid), protocol) for case in cases for seed in seeds]
    return score_tasks(tasks, scores, workers, grid)


def score_tasks(
    tasks: Sequence[Task], scores: Sequence[str] | None = None, workers: int = -1, grid: FactorGrid = GRID
) -> list[Score]:
    """`metrics.evaluate` of each task, one row a number; `workers` processes (-1: one a core) do not change them.

    Small tasks are done here, one by one: starting a process takes longer.
    """
    points = sum(task.protocol.train_points + task.protocol.train_votes for task in tasks)
    found = in_processes(_scored, [(task, scores, grid) for task in tasks], workers if points > _WORTH_IT else 1)
    return [row for rows in found for row in rows]


def in_processes(function: Callable, arguments: Sequence[tuple], workers: int) -> list:
    """`[function(*a) for a in arguments]` by so many processes with one thread each (-1: one a core)."""
    if workers == 1:
        return [function(*a) for a in arguments]
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        return joblib.Parallel(n_jobs=workers)(joblib.delayed(function)(*a) for a in arguments)


def _scored(task: Task, scores: Sequence[str] | None, grid: FactorGrid) -> list[Score]:
    dataset = factor_images(grid)
    generator = torch.Generator().manual_seed(task.seed)
    asked = {"protocol": task.protocol, "generator": generator, "scores": scores}
    found = metrics.evaluate(dataset, encoder(dataset, task.table), **asked)
    return [Score(task.case, task.seed, name, value, task.at) for name, value in found.items()]
