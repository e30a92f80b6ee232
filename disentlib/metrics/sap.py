"""Separated attribute predictability (Kumar et al. 2018), as the field's standard study computes it.

How much better does the best single code dimension predict a factor than the second best?
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from disentlib.metrics.checks import Table, check_split
from disentlib.metrics.protocol import Protocol

__all__ = ["predictability", "sap", "squared_correlation"]

_LEAST_VARIANCE = 1e-12  # of a code dimension; below it the study calls a correlation 0


def sap(
    train_codes: np.ndarray,
    train_factors: np.ndarray,
    test_codes: np.ndarray | None = None,
    test_factors: np.ndarray | None = None,
    *,
    protocol: Protocol,
    nominal: Sequence[int] = (),
    workers: int = 1,
) -> float:
    """`SAP = mean_j (S_best,j − S_second,j)`, in [0, 1]; `S` `[d, k]` is `predictability`.

    Codes `[n, d]` with d ≥ 2, finite, raw; factors int `[n, k]`, with at least `train_points` and `test_points` rows;
    an in-sample protocol scores on the training rows and looks at no others. `nominal`: columns of factors whose values
    have no order; it matters only where `protocol.ordinal_sap` is "r2". `workers` threads share the work (-1: one a
    core) and do not change the number.
    Blind spots: a perfect code stays far below 1 where a factor has many values, because a line on one dimension can
    mostly pick out the outer ones; the SVM's penalty makes it depend on scale and shift of the codes.
    ValueError for lengths that differ or are too short, codes that are not finite, d < 2, or a factor with one value.

    >>> from dataclasses import replace; from disentlib.metrics import LOCATELLO
    >>> factors = np.stack(np.meshgrid(range(2), range(2)), -1).reshape(-1, 2).repeat(50, axis=0)
    >>> codes, protocol = 20.0 * factors - 10, replace(LOCATELLO, train_points=200, test_points=200)
    >>> round(sap(codes, factors, codes, factors, protocol=protocol), 3)
    0.5
    """
    train, test = check_split((train_codes, train_factors), (test_codes, test_factors), protocol, least_dimensions=2)
    ordered = np.sort(predictability(train, test, protocol, nominal, workers), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def predictability(
    train: Table, test: Table, protocol: Protocol, nominal: Sequence[int] = (), workers: int = 1
) -> np.ndarray:
    """How well each code dimension alone predicts each factor: `[d, k]`, in [0, 1].

    By a linear SVM (one against the rest, squared hinge, classes weighted equally; plain accuracy on `test`), or, for
    ordinal factors under "r2", by the squared correlation on `train`.
    """
    if protocol.ordinal_sap not in ("svm", "r2"):
        raise ValueError(f"unknown ordinal_sap {protocol.ordinal_sap!r}; known: svm, r2")
    k = train[1].shape[1]
    if not set(nominal) <= set(range(k)):
        raise ValueError(f"nominal names the columns {sorted(set(nominal) - set(range(k)))}, there are {k} factors")
    squared = protocol.ordinal_sap == "r2"
    by_svm = [j for j in range(k) if not squared or j in set(nominal)]
    found = squared_correlation(*train) if squared else np.empty((train[0].shape[1], k))
    cells = [(i, j) for i in range(len(found)) for j in by_svm]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the study's 1 000 iterations are part of the protocol
        # Threads: the SVM's own code leaves Python's lock free.
        accuracies = Parallel(n_jobs=workers, prefer="threads")(
            delayed(_accuracy)(protocol.svm_c, train, test, i, j) for i, j in cells
        )
    for cell, accuracy in zip(cells, accuracies):
        found[cell] = accuracy
    return found


def squared_correlation(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Squared Pearson correlation of each code dimension `[n, d]` with each factor `[n, k]`: `[d, k]`, in [0, 1].

    A dimension with (almost) no variance correlates with nothing.

    >>> squared_correlation(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[3], [5]])).tolist()
    [[1.0], [0.0]]
    """
    codes, factors = codes - codes.mean(0), factors - factors.mean(0)
    variances = (codes**2).mean(0)[:, None]
    covariances = codes.T @ factors / len(codes)
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = covariances**2 / (variances * (factors**2).mean(0))
    return np.where(variances > _LEAST_VARIANCE, squared, 0.0)


def _accuracy(svm_c: float, train: Table, test: Table, i: int, j: int) -> float:
    """Test accuracy of an SVM that reads factor j from code dimension i alone."""
    classifier = LinearSVC(C=svm_c, class_weight="balanced").fit(train[0][:, [i]], train[1][:, j])
    return float((classifier.predict(test[0][:, [i]]) == test[1][:, j]).mean())
