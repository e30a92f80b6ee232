"""DCI on a factor with many values: the boosting behind it may diverge, and then its importances say little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure
from scipy.special import log_softmax
from sklearn.base import BaseEstimator

from disentlib import figures, metrics
from disentlib.data import FactorGrid
from disentlib.experiments.controlled import CASES, in_processes, standardised
from disentlib.experiments.markup import Html, table
from disentlib.experiments.statistics import bootstrap
from disentlib.metrics.estimators import ESTIMATORS, MANY_VALUES

__all__ = [
    "FLOOR",
    "LEARNERS",
    "OWN_FLOOR",
    "STAGES",
    "Reading",
    "disturbance_table",
    "loss_picture",
    "read",
    "read_all",
    "sample",
]

OWN_FLOOR, FLOOR, STUDY = "LightGBM, its own floor", "LightGBM, floor 1", "scikit-learn"
# The estimator of `metrics.dci`, and the number of values that it is made for, whatever the factor has.
LEARNERS: Mapping[str, tuple[str, int]] = {
    OWN_FLOOR: ("lightgbm", MANY_VALUES),
    FLOOR: ("lightgbm", MANY_VALUES + 1),
    STUDY: ("sklearn", MANY_VALUES),
}
COLOURS = {OWN_FLOOR: "#D55E00", FLOOR: "#0072B2", STUDY: "#444444"}
STAGES = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100)  # trees a value
DISTURBANCE = 1e-6  # share of a code: it is float32's seventh digit


class Reading(NamedTuple):
    """What one learner makes of codes whose last factor has `values` values."""

    learner: str
    values: int
    seed: int
    disturbed: bool
    disentanglement: float
    loss: np.ndarray  # of the last factor, on the points it is fitted on, after each of `STAGES`; 1 is guessing


def sample(case: str, values: int, points: int, seed: int, disturbed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Controlled codes float32 `[points, d]` and factors int `[points, 3]`: 4, 24 and `values` values, as Cars3D has.

    Each point has noise of its own. Disturbed codes are the same ones times 1 + 1e-6 · standard normal numbers.

    >>> plain, disturbed = (sample("rotated", 10, 50, seed=0, disturbed=d)[0] for d in (False, True))
    >>> bool(np.allclose(plain, disturbed, rtol=1e-5)), bool((plain == disturbed).all())
    (True, False)
    """
    grid, generator = FactorGrid(("elevation", "azimuth", "object"), (4, 24, values)), np.random.default_rng(seed)
    rows = generator.integers(len(grid), size=points)
    codes = CASES[case].make(standardised(grid)[rows], generator)
    if disturbed:
        codes = codes * (1 + DISTURBANCE * generator.normal(size=codes.shape))
    return codes.astype(np.float32), grid.factors(torch.from_numpy(rows)).numpy()


def read(learner: str, case: str, values: int, points: int, seed: int, disturbed: bool) -> Reading:
    """D of one learner, and how its loss went on the factor with `values` values; LookupError for another learner."""
    if learner not in LEARNERS:
        raise LookupError(f"no learner {learner!r}; known: {', '.join(LEARNERS)}")
    name, made_for = LEARNERS[learner]
    codes, factors = sample(case, values, points, seed, disturbed)
    models = [ESTIMATORS[name].make(0, made_for).fit(codes, factor) for factor in factors.T]
    importance = np.stack([ESTIMATORS[name].importances(model) for model in models], 1)
    last = factors[:, -1]
    loss = _losses(models[-1], codes, last) / np.log(len(np.unique(last)))
    return Reading(learner, values, seed, disturbed, metrics.disentanglement(importance), loss)


def read_all(
    learners: Iterable[str], case: str, values: Iterable[int], points: int, seeds: Iterable[int], workers: int = -1
) -> list[Reading]:
    """`read` of each learner, number of values and seed, of the codes as they are and disturbed."""
    jobs = [(each, case, n, points, seed, d) for n in values for each in learners for seed in seeds for d in (0, 1)]
    return in_processes(read, [(*job[:-1], bool(job[-1])) for job in jobs[::-1]], workers)[::-1]  # the longest first


def loss_picture(readings: Sequence[Reading]) -> Figure:
    """Left, the loss of both LightGBMs tree by tree; right, D as the codes are and disturbed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.6))
    numbers, learners = (sorted({getattr(r, name) for r in readings}) for name in ("values", "learner"))
    for learner in learners:
        own = [r for r in readings if r.learner == learner]
        shades = sns.light_palette(COLOURS[learner], len(numbers) + 1)[1:]
        for n, shade in zip(numbers, shades):
            first = next(r for r in own if r.values == n and not r.disturbed)
            label = f"{learner}, {n} values" if n == numbers[-1] else None
            left.plot(STAGES, first.loss, color=shade, label=label)
        points = {n: [r.disentanglement for r in own if r.values == n] for n in numbers}
        figures.sweep(right, points, COLOURS[learner], learner)
    left.axhline(1, color="0.4", lw=1, ls=":")
    left.set(xlabel="trees a value", ylabel="loss ÷ loss of guessing", xscale="log", yscale="log")
    left.legend(frameon=False, fontsize=8, loc="lower left")
    right.set(xlabel="values of the factor", ylabel="DCI disentanglement", ylim=(0, None))
    right.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def disturbance_table(readings: Sequence[Reading], caption: str) -> Html:
    """Learners × D, how far a change in the seventh digit moves it, and the last loss: means over seeds, largest."""
    lines = []
    for learner in dict.fromkeys(r.learner for r in readings):
        plain, other = (
            {r.seed: r for r in readings if r.learner == learner and r.disturbed == d} for d in (False, True)
        )
        moves = [abs(other[seed].disentanglement - r.disentanglement) for seed, r in plain.items()]
        last = [r.loss[-1] for r in (*plain.values(), *other.values())]
        scores = bootstrap([r.disentanglement for r in plain.values()]).text(3)
        lines.append([learner, scores, f"{max(moves):.3f}", f"{min(last):.2g} to {max(last):.2g}"])
    return table(["learner", "D", "largest move of D", "last loss ÷ guessing"], lines, caption)


def _losses(model: BaseEstimator, codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Mean negative log-likelihood `[len(STAGES)]` of a boosted model, in nats: from raw scores, so nothing is cut."""
    if hasattr(model, "staged_decision_function"):
        raw = [score for k, score in enumerate(model.staged_decision_function(codes), 1) if k in STAGES]
    else:
        raw = [model.predict(codes, raw_score=True, num_iteration=k) for k in STAGES]
    own = np.searchsorted(model.classes_, factor)[:, None]
    return np.array([-np.take_along_axis(log_softmax(score, 1), own, 1).mean() for score in raw])
