"""Intervals over seeds: the only form in which the book shows a number of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

__all__ = ["Interval", "Spreads", "bootstrap", "collapsed", "paired", "prediction", "spreads"]

RESAMPLES = 10_000
LEVEL = 0.95
_SEED = 0  # a fixed generator: the same records give the same interval on every machine


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its bootstrap interval; `low` and `high` are None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        return self.text(3)

    @property
    def side(self) -> str:
        """On which side of 0 the interval of a difference lies, in a word.

        >>> Interval(0.2, 0.1, 0.3, n=3).side
        'larger'
        """
        if self.low is None or self.high is None:
            return "one seed"
        return "larger" if self.low > 0 else "smaller" if self.high < 0 else "undecided: the interval holds 0"

    def text(self, digits: int) -> str:
        """`mean [low, high]` with so many decimals; what has six digits before them is told by its power of ten.

        >>> Interval(-2.34e7, None, None, n=1).text(2)
        '-2.34e+07 (one seed)'
        """
        mean, *bounds = (_decimals(x, digits) for x in (self.mean, self.low, self.high) if x is not None)
        if len(bounds) < 2:
            return f"{mean} (one seed)"
        return f"{mean} [{bounds[0]},\N{NO-BREAK SPACE}{bounds[1]}]"  # a phone must not break it


def _decimals(x: float, digits: int) -> str:
    return f"{x:.{digits}f}" if abs(x) < 1e5 else f"{x:.{digits}e}"


def bootstrap(values: Sequence[float]) -> Interval:
    """Mean of `values` (one a seed) and the 95 % percentile-bootstrap interval of that mean.

    With few seeds the interval is narrow-minded: for three it cannot leave the range of the three values.

    >>> bootstrap([1.0, 2.0, 3.0]).mean
    2.0
    """
    if len(values) == 0:
        raise ValueError("an interval needs at least one value")
    points = np.asarray(values, dtype=float)
    if len(points) == 1:
        return Interval(float(points[0]), None, None, 1)
    draws = np.random.default_rng(_SEED).integers(len(points), size=(RESAMPLES, len(points)))
    low, high = np.quantile(points[draws].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(points.mean()), float(low), float(high), len(points))


def paired(first: dict[int, float], second: dict[int, float]) -> Interval:
    """The interval of `first − second` over the seeds that both have; ValueError if they share none.

    >>> paired({0: 3.0, 1: 5.0}, {0: 1.0, 1: 3.0}).mean
    2.0
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        raise ValueError("no seed in common: nothing to pair")
    return bootstrap([first[seed] - second[seed] for seed in shared])


def prediction(values: Sequence[float]) -> tuple[float, float] | None:
    """Where one more run should fall with 95 % probability if runs are normal: `mean ± t·s·√(1 + 1/n)`; None if n < 2.

    >>> low, high = prediction([1.0, 2.0, 3.0])
    >>> low < 0 and high > 4
    True
    """
    if len(values) < 2:
        return None
    n, mean, spread = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    reach = float(student_t.ppf((1 + LEVEL) / 2, n - 1)) * spread * (1 + 1 / n) ** 0.5
    return mean - reach, mean + reach


@dataclass(frozen=True)
class Spreads:
    """Two standard deviations that a table must not mix: between seeds, and between evaluations of one model.

    None where there is nothing to tell them by: a single seed, or one evaluation of each.
    """

    seeds: float | None
    evaluations: float | None


def spreads(values: Mapping[int, Sequence[float]]) -> Spreads:
    """`values[seed]`: one metric of that seed's model, evaluated again and again with other noise or other points.

    One-way analysis of variance: with `MS_w` and `MS_b` the mean squares within and between seeds, the spread of
    evaluations is `√MS_w` and that of seeds is `√max(0, (MS_b − MS_w)/n₀)`, so that noise of the evaluation is not
    taken for a difference between models. `n₀` is the number of evaluations a seed, or for unequal numbers
    `(N − Σ n_i²/N)/(k − 1)`. With one evaluation of each, the spread of seeds is the plain one, which holds both.

    >>> spreads({0: [1.0, 3.0], 1: [11.0, 13.0]}) == Spreads(seeds=7.0, evaluations=2**0.5)
    True
    """
    groups = [np.asarray(group, dtype=float) for group in values.values()]
    if not groups or min(map(len, groups)) == 0:
        raise ValueError("spreads need at least one seed, and at least one value of each")
    sizes, means = np.array([len(g) for g in groups]), np.array([g.mean() for g in groups])
    total, k = int(sizes.sum()), len(groups)
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / (total - k) if total > k else None
    if k == 1:
        return Spreads(None, None if within is None else within**0.5)
    between = float((sizes * (means - (sizes * means).sum() / total) ** 2).sum()) / (k - 1)
    each = (total - float((sizes**2).sum()) / total) / (k - 1)
    seeds = max(0.0, (between - (within or 0.0)) / each) ** 0.5
    return Spreads(seeds, None if within is None else within**0.5)


def collapsed(active_dimensions: Sequence[int]) -> int:
    """How many runs ended in posterior collapse: not one dimension of their code is active.

    >>> collapsed([0, 3, 0, 1])
    2
    """
    return sum(active == 0 for active in active_dimensions)
