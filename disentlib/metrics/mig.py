"""Mutual information gap (Chen et al. 2018), as the field's standard study computes it (Locatello et al. 2019)."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import mutual_info_score

from disentlib.metrics.checks import check_points
from disentlib.metrics.protocol import Protocol

__all__ = ["discretise", "entropies", "gap", "mig", "mutual_information"]


def discretise(codes: np.ndarray, bins: int) -> np.ndarray:
    """Codes `[n, d]` → bin numbers 1…`bins`, int64 `[n, d]`: equal widths over each dimension's own range.

    A constant dimension falls into one bin. The maximum belongs to the last bin.

    >>> discretise(np.array([[0.0], [0.5], [1.0]]), bins=2).ravel().tolist()
    [1, 2, 2]
    """
    columns = [np.digitize(column, np.histogram_bin_edges(column, bins)[:-1]) for column in codes.T]
    return np.stack(columns, axis=1)


def mutual_information(codes: np.ndarray, factors: np.ndarray, bins: int) -> np.ndarray:
    """Plug-in mutual information in nats of each binned code dimension with each factor, `[d, k]`.

    `codes` `[n, d]` real, `factors` `[n, k]` integers; no bias correction, as in the study.
    """
    binned = discretise(codes, bins)
    return np.array([[mutual_info_score(factor, code) for factor in factors.T] for code in binned.T])


def entropies(factors: np.ndarray) -> np.ndarray:
    """Plug-in entropy of each factor in nats, `[k]`: `H(v) = I(v; v)`."""
    return np.array([mutual_info_score(factor, factor) for factor in factors.T])


def gap(information: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """`(I_best − I_second) / H` of each factor, `[k]`; `information` `[d, k]` with d ≥ 2 and `entropy` `[k]`, in nats.

    >>> gap(np.array([[0.7, 0.1], [0.2, 0.1]]), np.array([1.0, 0.5])).round(3).tolist()
    [0.5, 0.0]
    """
    ordered = np.sort(information, axis=0)
    return (ordered[-1] - ordered[-2]) / entropy


def mig(codes: np.ndarray, factors: np.ndarray, *, protocol: Protocol) -> float:
    """`MIG = mean_j (I(z_best; v_j) − I(z_second; v_j)) / H(v_j)`, in [0, 1]; 1 means one dimension a factor.

    `codes` `[n, d]` with d ≥ 2, finite; `factors` int `[n, k]`, each with at least two values; `protocol.train_points`
    rows at least, all of them used. Natural logarithms, mean codes, `protocol.bins` equal-width bins, no bias
    correction; H is that of the sample. This is not the estimator of Chen et al., which integrates over `q(z|x)`.
    It is blind to *which* dimension wins: two factors in one dimension still score. One outlier empties the bins.
    ValueError for lengths that differ or are too short, codes that are not finite, d < 2, or a factor with one value.

    >>> from dataclasses import replace; from disentlib.metrics import LOCATELLO
    >>> factors = np.stack(np.meshgrid(range(8), range(8)), -1).reshape(-1, 2)
    >>> round(mig(factors.astype(float), factors, protocol=replace(LOCATELLO, train_points=64)), 3)
    1.0
    """
    codes, factors = check_points(codes, factors, protocol, least_dimensions=2)
    return float(gap(mutual_information(codes, factors, protocol.bins), entropies(factors)).mean())
