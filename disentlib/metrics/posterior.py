"""Numbers about posteriors and codes that need no ground-truth factors."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

__all__ = ["active_dimensions", "two_sample_auc"]


def active_dimensions(kl: np.ndarray, threshold: float) -> int:
    """How many dimensions carry more than `threshold` nats of `KL(q(z_j|x) ‖ p(z_j))`; `kl` is `[d]`, in nats.

    >>> active_dimensions(np.array([2.0, 0.001, 0.5]), threshold=0.1)
    2
    """
    return int((np.asarray(kl) > threshold).sum())


def two_sample_auc(first: np.ndarray, second: np.ndarray, *, seed: int) -> float:
    """How well a fresh classifier tells two samples apart: area under the ROC curve on the held-out half, about ½…1.

    `first` `[n, d]`, `second` `[m, d]`. ½ means that the boosted trees find no difference; that they would
    find every difference is not claimed. Used for codes against the prior (reading G1).

    >>> g = np.random.default_rng(0)
    >>> two_sample_auc(g.normal(size=(500, 2)), g.normal(5, 1, size=(500, 2)), seed=0) > 0.95
    True
    """
    points = np.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first), len(second)])
    order = np.random.default_rng(seed).permutation(len(points))
    train, test = np.array_split(order, 2)
    classifier = HistGradientBoostingClassifier(max_iter=50, random_state=seed).fit(points[train], labels[train])
    return float(roc_auc_score(labels[test], classifier.predict_proba(points[test])[:, 1]))
