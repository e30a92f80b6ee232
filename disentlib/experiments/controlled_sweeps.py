"""How each metric depends on what it should not depend on: points, bins, useless and redundant dimensions, trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from disentlib.experiments.controlled import GRID, Score, Task, codes, score_tasks
from disentlib.metrics import Protocol

__all__ = ["by_bins", "by_copies", "by_estimator", "by_points", "by_spare_dims", "repeated", "sized", "widened"]


def sized(protocol: Protocol, points: int) -> Protocol:
    """The protocol with `points` points and votes to fit on and half as many to be scored on.

    >>> from disentlib.metrics import LOCATELLO
    >>> sized(LOCATELLO, 300).test_points
    150
    """
    test = 0 if protocol.in_sample else max(2, points // 2)
    name = f"{protocol.name}, {points} points"
    return replace(protocol, name=name, train_points=points, test_points=test, train_votes=points, test_votes=test,
                   variance_points=points)  # fmt: skip


def widened(table: np.ndarray, spare: int, seed: int) -> np.ndarray:
    """Codes `[n, d]` with `spare` dimensions of standard normal noise behind them, float32 `[n, d + spare]`."""
    generator = np.random.default_rng([seed, 10_007])
    return np.hstack([table, generator.normal(size=(len(table), spare))]).astype(np.float32)


def repeated(table: np.ndarray, copies: int, noise: float, seed: int) -> np.ndarray:
    """Codes `[n, d]`, each dimension `copies` times with noise of its own on every copy, float32 `[n, copies·d]`."""
    generator = np.random.default_rng([seed, 10_009])
    tiled = np.tile(table, (1, copies))
    return (tiled + noise * generator.normal(size=tiled.shape)).astype(np.float32)


def by_points(
    cases: Iterable[str], seeds: Sequence[int], protocol: Protocol, points: Sequence[int], workers: int = -1
) -> list[Score]:
    """Every metric against the number of points (and votes) that it is fitted on."""
    tasks = [Task(c, s, codes(c, s), sized(protocol, n), n) for c in cases for s in seeds for n in points]
    return score_tasks(tasks, workers=workers)


def by_bins(
    cases: Iterable[str], seeds: Sequence[int], protocol: Protocol, bins: Sequence[int], workers: int = -1
) -> list[Score]:
    """MIG against the number of bins of a code dimension."""
    tasks = [Task(c, s, codes(c, s), replace(protocol, bins=b), b) for c in cases for s in seeds for b in bins]
    return score_tasks(tasks, ["mig"], workers)


def by_spare_dims(seeds: Sequence[int], protocol: Protocol, dims: Sequence[int], workers: int = -1) -> list[Score]:
    """Every metric on exact factors, with more and more dimensions of pure noise behind them."""
    tasks = [Task("spare", s, widened(codes("exact", s), n, s), protocol, n) for s in seeds for n in dims]
    return score_tasks(tasks, workers=workers)


def by_copies(seeds: Sequence[int], protocol: Protocol, copies: Sequence[int], workers: int = -1) -> list[Score]:
    """Every metric on factors that are each coded in so many dimensions, with a little noise on each."""
    tasks = [Task("copies", s, repeated(codes("exact", s), n, 0.05, s), protocol, n) for s in seeds for n in copies]
    return score_tasks(tasks, workers=workers)


def by_estimator(
    cases: Iterable[str], seeds: Sequence[int], protocol: Protocol, estimators: Sequence[str], workers: int = -1
) -> dict[str, list[Score]]:
    """DCI's parts for each estimator that may read the factors, on the same points of the same codes."""
    readings = [replace(protocol, name=f"{protocol.name}, {e}", dci_estimator=e) for e in estimators]
    tasks = [Task(c, s, codes(c, s), reading) for reading in readings for c in cases for s in seeds]
    found = score_tasks(tasks, ["dci"], workers, GRID)
    size = len(found) // len(estimators)
    return {name: found[i * size : (i + 1) * size] for i, name in enumerate(estimators)}
