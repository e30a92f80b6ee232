"""Disentanglement, completeness, informativeness (Eastwood & Williams 2018), as the field's study computes them.

One estimator a factor learns to read it from the codes; how much it leans on each dimension is the importance
matrix, and how evenly that is spread along rows and columns gives the first two numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from disentlib.metrics.checks import Table, check_split
from disentlib.metrics.estimators import ESTIMATORS, Estimator
from disentlib.metrics.protocol import Protocol

__all__ = ["DCI", "completeness", "dci", "disentanglement", "importances"]

_TINY = 1e-11  # the study adds it before the logarithm, which keeps a perfect score a hair under 1


class DCI(NamedTuple):
    """Three numbers, each in [0, 1]."""

    disentanglement: float  # does a dimension serve one factor?
    completeness: float  # is a factor served by one dimension?
    informativeness: float  # test accuracy, mean over the factors


def dci(
    train_codes: np.ndarray,
    train_factors: np.ndarray,
    test_codes: np.ndarray | None = None,
    test_factors: np.ndarray | None = None,
    *,
    protocol: Protocol,
    estimator: str | None = None,
    seed: int = 0,
    workers: int = 1,
) -> DCI:
    """`disentanglement` and `completeness` of an estimator's importances, and how well it reads unseen points.

    Codes `[n, d]`, finite, raw (constant dimensions are legal), factors int `[n, k]`, with at least `train_points` and
    `test_points` rows; an in-sample protocol scores on the training rows and looks at no others. One estimator a
    factor on all dimensions, with random state `seed`: `estimator`, else the protocol's, of `estimators.ESTIMATORS`.
    "sklearn" is the study's, "lightgbm" the same kind of trees, many times faster and close to it (`make bench-metrics`
    prints how close), with a floor under its leaves for factors with more than `estimators.MANY_VALUES` values.
    `workers` share the factors (-1: one a core) and do not change the numbers.
    Informativeness is an accuracy, not the error of the paper, and is not corrected for chance: a factor with few or
    uneven values starts high; for a regressor (infogan_cr) it is R², at least 0. Blind spots: trees overfit factors
    with many values, so that a *perfect* code with a little noise stays below 1; d is the base of completeness, so
    that useless dimensions raise it.
    ValueError for lengths that differ or are too short, codes that are not finite, a factor with one value.

    >>> from dataclasses import replace; from disentlib.metrics import LOCATELLO
    >>> factors = np.stack(np.meshgrid(range(3), range(3)), -1).reshape(-1, 2)
    >>> protocol = replace(LOCATELLO, train_points=9, test_points=9)
    >>> [round(v, 3) for v in dci(factors, factors, factors, factors, protocol=protocol)]
    [1.0, 1.0, 1.0]
    """
    train, test = check_split((train_codes, train_factors), (test_codes, test_factors), protocol)
    chosen = estimator or protocol.dci_estimator
    matrix, quality = importances(train, test, estimator=chosen, seed=seed, workers=workers)
    return DCI(disentanglement(matrix), completeness(matrix), float(quality.mean()))


def disentanglement(importance: np.ndarray) -> float:
    """`D = Σ_i w_i (1 − H_k(R_i))`, in [0, 1] up to rounding: 1 where each dimension serves one factor alone.

    `importance` `[d, k]`, not negative, any unit. `H_k(R_i)` is the entropy of row i, summing to 1 after 1e-11 was
    added everywhere, with logarithms to base k; `w_i` is the row's share of all importance. Nothing important: 0.
    With one factor (k = 1), where base 1 means nothing, a dimension that matters serves that factor alone: 1.
    It is blind to redundancy: copies of a dimension do not lower it.

    >>> round(disentanglement(np.array([[3.0, 0.0], [1.0, 1.0]])), 3)  # (3/5) · 1 + (2/5) · 0
    0.6
    """
    return _weighted_concentration(_checked(importance))


def completeness(importance: np.ndarray) -> float:
    """`C = Σ_j w_j (1 − H_d(R_·j))`, in [0, 1] up to rounding: 1 where each factor is served by one dimension alone.

    As `disentanglement`, but for columns of `importance` `[d, k]` and logarithms to base d, dead dimensions counted.
    With one dimension (d = 1), a factor that it serves is served by it alone: 1.
    It is blind to entanglement: one dimension that serves all factors scores 1.

    >>> round(completeness(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]])), 3)  # (1 + 1 − log_3 2) / 2
    0.685
    """
    return _weighted_concentration(_checked(importance).T)


def importances(train: Table, test: Table, *, estimator: str, seed: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each factor's estimator leans on each dimension, `[d, k]`, and how well it reads `test`, `[k]`.

    `train` and `test` are pairs of codes `[n, d]` and factors `[n, k]`. A column of a tree's importances sums to 1, or
    to 0 if none ever split; a Lasso's are absolute coefficients. ValueError for an estimator that is not known.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    kind = ESTIMATORS[estimator]
    columns = list(zip(train[1].T, test[1].T))
    # The longest first, so that no core waits for one that was started last: time goes with a factor's values.
    order = sorted(range(len(columns)), key=lambda j: -len(np.unique(columns[j][0])))
    parallel = Parallel(n_jobs=min(workers, len(columns)), prefer="threads" if kind.frees_the_lock else "processes")
    fits = parallel(delayed(_fit)(kind, seed, train[0], columns[j][0], test[0], columns[j][1]) for j in order)
    found = dict(zip(order, fits))
    return np.stack([found[j][0] for j in range(len(columns))], 1), np.array([found[j][1] for j in range(len(columns))])


def _fit(
    kind: Estimator, seed: int, codes: np.ndarray, factor: np.ndarray, test_codes: np.ndarray, test_factor: np.ndarray
) -> tuple[np.ndarray, float]:
    model = kind.make(seed, len(np.unique(factor))).fit(codes, factor)
    return kind.importances(model), max(0.0, float(model.score(test_codes, test_factor)))


def _weighted_concentration(rows: np.ndarray) -> float:
    """Mean of the rows' concentrations, weighted with their sums."""
    total = rows.sum()
    return float(rows.sum(1) / total @ _concentration(rows)) if total > 0 else 0.0


def _concentration(rows: np.ndarray) -> np.ndarray:
    """`1 − H` of each row `[m, n] → [m]`, logarithms to base n: 0 for an even spread, 1 for a single entry."""
    if rows.shape[1] == 1:
        return (rows[:, 0] > 0).astype(np.float64)
    shares = (rows + _TINY) / (rows + _TINY).sum(1, keepdims=True)
    return 1 + (shares * np.log(shares)).sum(1) / np.log(rows.shape[1])


def _checked(importance: np.ndarray) -> np.ndarray:
    importance = np.asarray(importance, dtype=np.float64)
    if importance.ndim != 2 or not importance.size or not (np.isfinite(importance) & (importance >= 0)).all():
        raise ValueError(f"expected importances [d, k], finite and not negative, got {importance.shape}")
    return importance
