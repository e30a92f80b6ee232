"""Numbers about posteriors and codes that need no ground-truth factors."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from disentlib.losses import elbo
from disentlib.losses.total_correlation import log_mixtures

__all__ = ["active_dimensions", "kl_per_dimension", "reconstruction_error", "total_correlation", "two_sample_auc"]

_PAIRS_AT_ONCE = 4_000_000  # densities held at a time: 32 MB


def reconstruction_error(images: np.ndarray, reconstructions: np.ndarray, *, likelihood: str) -> float:
    """Mean over images of the reconstruction error, summed over pixels (reading G4).

    `images`, `reconstructions` `[n, c, h, w]` in [0, 1]. `likelihood` "bernoulli": cross-entropy in nats, where a
    reconstruction of exactly 0 or 1 counts as 1e-6 from it; "squared_error": summed squared differences, no unit.
    ValueError for shapes that differ, values outside [0, 1] or not finite, an unknown likelihood.

    >>> half = np.full((2, 1, 4, 4), 0.5)
    >>> round(reconstruction_error(np.ones((2, 1, 4, 4)), half, likelihood="bernoulli"), 3)  # 16 ln 2
    11.09
    """
    x, y = (np.asarray(a, dtype=np.float64) for a in (images, reconstructions))
    if x.shape != y.shape or not x.size:
        raise ValueError(f"expected images and reconstructions of one shape, got {x.shape} and {y.shape}")
    if not ((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)).all():
        raise ValueError("images and reconstructions must lie in [0, 1]")
    return elbo.reconstruction(likelihood, torch.logit(torch.from_numpy(y), eps=1e-6), torch.from_numpy(x)).item()


def kl_per_dimension(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """`KL(q(z_j|x) ‖ N(0, 1))` in nats, mean over the `n` images: `mean`, `logvar` `[n, d]` → `[d]`, never negative.

    >>> kl_per_dimension(np.ones((3, 2)), np.zeros((3, 2))).tolist()
    [0.5, 0.5]
    """
    return elbo.kl_per_dimension(*_posteriors(mean, logvar)).numpy()


def active_dimensions(kl: np.ndarray, threshold: float) -> int:
    """How many dimensions carry more than `threshold` nats of `KL(q(z_j|x) ‖ p(z_j))`; `kl` is `[d]`, in nats.

    >>> active_dimensions(np.array([2.0, 0.001, 0.5]), threshold=0.1)
    2
    """
    return int((np.asarray(kl) > threshold).sum())


def total_correlation(
    mean: np.ndarray, logvar: np.ndarray, *, generator: torch.Generator, dataset_size: int | None = None
) -> float:
    """`TC = KL(q(z) ‖ Π_j q(z_j))` of the aggregate of Gaussian posteriors, in nats; 0: independent dimensions.

    `mean`, `logvar` `[n, d]` of n images; one sample of each posterior is drawn from `generator`. If the n images are a
    random part of a set of `dataset_size` N, each sample's own posterior weighs `1/N` and each other `(N − 1) / (N (n −
    1))`, which makes the estimated `q(z)` unbiased (Chen et al. 2018, appendix C, with its constants); by default N = n
    and `q` is exact. Too few images make it too large: a mixture of far-apart posteriors is not factorised.
    Costs `n² d` densities. ValueError for shapes that differ, values not finite, n < 2, N < n.

    >>> g = torch.Generator().manual_seed(0)
    >>> round(total_correlation(np.zeros((50, 3)), np.zeros((50, 3)), generator=g), 4)
    0.0
    """
    means, logvars = _posteriors(mean, logvar)
    n, d = means.shape
    size = n if dataset_size is None else dataset_size
    if not 2 <= n <= size:
        raise ValueError(f"total correlation needs 2 ≤ n ≤ dataset_size, got n = {n}, dataset_size = {size}")
    codes = elbo.reparameterise(means, logvars, generator)
    own, other = np.log(1 / size), np.log((size - 1) / (size * (n - 1)))
    total = 0.0
    for rows in torch.arange(n).split(max(1, _PAIRS_AT_ONCE // (n * d))):
        weights = torch.full((len(rows), n), other, dtype=codes.dtype)
        weights[torch.arange(len(rows)), rows] = own
        joint, marginals = log_mixtures(codes[rows], means, logvars, weights)
        total += (joint - marginals.sum(1)).sum().item()
    return total / n


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


def _posteriors(mean: np.ndarray, logvar: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as float64 `[n, d]`, or ValueError naming what is wrong with them."""
    tables = [np.asarray(table, dtype=np.float64) for table in (mean, logvar)]
    shapes = [table.shape for table in tables]
    if shapes[0] != shapes[1] or tables[0].ndim != 2 or not tables[0].size:
        raise ValueError(f"expected mean [n, d] and logvar [n, d], got {shapes[0]} and {shapes[1]}")
    if not all(np.isfinite(table).all() for table in tables):
        raise ValueError("mean or logvar holds NaN or infinite values")
    return torch.from_numpy(tables[0]), torch.from_numpy(tables[1])
