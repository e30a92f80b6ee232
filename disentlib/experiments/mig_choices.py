"""One metric, many numbers: the choices that implementations of MIG make differently, on the same codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_selection import mutual_info_classif

from disentlib.data import Dataset, FactorGrid
from disentlib.experiments.controlled import codes, in_processes
from disentlib.experiments.evaluation import evaluation_points, posterior_table
from disentlib.metrics.mig import discretise, entropies, gap, mutual_information
from disentlib.models import Model

__all__ = ["CHOICES", "DSPRITES", "Points", "controlled_points", "model_points", "score_choices"]

DSPRITES = FactorGrid(("shape", "scale", "orientation", "pos_x", "pos_y"), (3, 6, 40, 32, 32), nominal=("shape",))
_BINS = 20
_WORTH_IT = 5_000  # points: fewer are scored before a process has started
_POSTERIOR_STD = 0.3  # of the made-up posteriors around controlled codes


class Points(NamedTuple):
    """Posterior means and one sample of each, `[n, d]`, with the factors `[n, k]` and which of those have no order."""

    means: np.ndarray
    samples: np.ndarray
    factors: np.ndarray
    nominal: tuple[int, ...]


def _mig(codes: np.ndarray, factors: np.ndarray, bins: int = _BINS) -> float:
    return float(gap(mutual_information(codes, factors, bins), entropies(factors)).mean())


def _binned_factors(p: Points) -> float:
    return _mig(p.means, discretise(p.factors.astype(np.float64), _BINS))


def _ordered_factors(p: Points) -> float:
    kept = [j for j in range(p.factors.shape[1]) if j not in p.nominal]
    return _mig(p.means, p.factors[:, kept])


def _neighbours(p: Points) -> float:
    columns = [mutual_info_classif(p.means, factor, n_neighbors=3, random_state=0) for factor in p.factors.T]
    return float(gap(np.stack(columns, 1), entropies(p.factors)).mean())


CHOICES: Mapping[str, Callable[[Points], float]] = {
    "the protocol": lambda p: _mig(p.means, p.factors),
    "samples, not means": lambda p: _mig(p.samples, p.factors),
    "5 bins": lambda p: _mig(p.means, p.factors, 5),
    "100 bins": lambda p: _mig(p.means, p.factors, 100),
    "factors binned too": _binned_factors,
    "shape left out": _ordered_factors,
    "k-NN, no bins": _neighbours,
}


def controlled_points(case: str, seed: int, n: int) -> Points:
    """`n` controlled codes on dSprites' own grid of factors, with made-up posteriors around them."""
    generator = np.random.default_rng([seed, 10_037])
    rows = generator.integers(len(DSPRITES), size=n)
    means = codes(case, seed, DSPRITES)[rows].astype(np.float64)
    samples = means + _POSTERIOR_STD * generator.normal(size=means.shape)
    return Points(means, samples, DSPRITES.factors(torch.from_numpy(rows)).numpy(), DSPRITES.nominal_columns)


def model_points(model: Model, dataset: Dataset, n: int) -> Points:
    """The book's `n` evaluation points of a data set, as a trained model encodes them."""
    indices, images = evaluation_points(dataset, n)
    table = posterior_table(model, images, next(model.parameters()).device)
    means, samples = (table[name].double().numpy() for name in ("mean", "codes"))
    return Points(means, samples, dataset.factors(indices).numpy(), dataset.grid.nominal_columns)


def score_choices(points: Sequence[Points], workers: int = -1) -> dict[str, list[float]]:
    """MIG under every choice for each set of points: choice → one value a set."""
    asked = [(name, p) for name in CHOICES for p in points]
    found = in_processes(_chosen, asked, workers if sum(len(p.means) for p in points) > _WORTH_IT else 1)
    return {name: found[i * len(points) : (i + 1) * len(points)] for i, name in enumerate(CHOICES)}


def _chosen(name: str, points: Points) -> float:
    return CHOICES[name](points)
