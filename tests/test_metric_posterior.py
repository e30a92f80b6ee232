"""Active dimensions, and how well a fresh classifier tells two samples apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import metric_references
import numpy as np
import pytest
import torch
from scipy.stats import norm

from disentlib import metrics
from disentlib.metrics import active_dimensions, posterior, two_sample_auc


def sample(n: int, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_active_dimensions_are_counted_above_the_threshold_only() -> None:
    kl = np.array([0.1, 0.100001, 0.0, 3.0])
    assert active_dimensions(kl, 0.1) == 2 and active_dimensions(kl, 5.0) == 0 and active_dimensions(kl, -1) == 4


def test_samples_of_one_distribution_cannot_be_told_apart() -> None:
    """The area's standard error under the null is √((n + m + 1)/(12nm)) on the held-out half."""
    error = (3001 / (12 * 1500**2)) ** 0.5
    values = [two_sample_auc(sample(3000, seed=2 * s), sample(3000, seed=2 * s + 1), seed=s) for s in range(3)]
    assert all(abs(value - 0.5) < 4 * error for value in values)


def test_samples_far_apart_are_told_apart() -> None:
    assert two_sample_auc(sample(500), sample(500, seed=1) + 6, seed=0) > 0.999


def test_a_shift_gives_about_the_best_possible_area() -> None:
    """Of N(0, 1) and N(1, 1) no score does better than Φ(1/√2) = 0.760."""
    auc = two_sample_auc(sample(4000, 1), sample(4000, 1, seed=1) + 1, seed=0)
    assert auc == pytest.approx(norm.cdf(0.5**0.5), abs=0.03)


def test_a_narrower_distribution_with_the_same_mean_is_told_apart() -> None:
    assert two_sample_auc(sample(1000), 0.3 * sample(1000, seed=1), seed=0) > 0.85


def test_the_order_of_the_two_samples_does_not_matter_and_the_seed_repeats() -> None:
    first, second = sample(1500), sample(1000, seed=1) + 0.5
    value = two_sample_auc(first, second, seed=0)
    assert value == two_sample_auc(first, second, seed=0)
    assert two_sample_auc(second, first, seed=0) == pytest.approx(value, abs=0.04)


def test_it_scores_points_that_it_has_not_learned_from() -> None:
    """In many dimensions trees learn 40 points by heart; on the learned half the area would be 1."""
    values = [two_sample_auc(sample(40, 50, seed=s), sample(40, 50, seed=100 + s), seed=s) for s in range(8)]
    assert 0.3 < np.mean(values) < 0.7


# ---- posteriors ----------------------------------------------------------------------------------------------------


def test_kl_is_that_of_numerical_integration() -> None:
    mean, deviation = sample(5), np.exp(0.4 * sample(5, seed=1))
    ours = metrics.kl_per_dimension(mean, 2 * np.log(deviation))
    assert ours == pytest.approx(metric_references.kl_per_dimension(mean, deviation), abs=1e-6)


@pytest.mark.parametrize("size", [30, 1000])
def test_total_correlation_is_that_of_loops(size: int) -> None:
    mean, deviation = sample(30), np.exp(0.3 * sample(30, seed=1)) / 2
    ours = metrics.total_correlation(
        mean, 2 * np.log(deviation), generator=torch.Generator().manual_seed(2), dataset_size=size
    )
    noise = torch.randn(30, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).numpy()
    log_q = metric_references.log_densities(mean + deviation * noise, mean, deviation)
    own, other = math.log(1 / size), math.log((size - 1) / (size * 29))
    total = 0.0
    for s in range(30):
        weights = [own if j == s else other for j in range(30)]
        joint = metric_references.logsumexp([w + sum(q) for w, q in zip(weights, log_q[s].tolist())])
        total += joint - sum(
            metric_references.logsumexp([w + q[i] for w, q in zip(weights, log_q[s].tolist())]) for i in range(3)
        )
    assert ours == pytest.approx(total / 30, abs=1e-9)


def test_total_correlation_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    mean = sample(50)
    values = []
    for at_once in (7, 10**9):
        monkeypatch.setattr(posterior, "_PAIRS_AT_ONCE", at_once)
        values.append(metrics.total_correlation(mean, mean * 0, generator=torch.Generator().manual_seed(0)))
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_total_correlation_tells_dependent_dimensions_from_independent_ones() -> None:
    mean = sample(2000, 2)
    tied = np.stack([mean[:, 0], mean[:, 0] + 0.1 * mean[:, 1]], axis=1)
    logvar = np.full_like(mean, 2 * math.log(0.3))
    free, bound = (metrics.total_correlation(m, logvar, generator=torch.Generator()) for m in (mean, tied))
    assert abs(free) < 0.1 and bound > 0.7


def test_reconstruction_errors_are_sums_over_pixels() -> None:
    g = np.random.default_rng(0)
    images, guesses = g.integers(0, 2, (3, 1, 4, 4)).astype(float), g.uniform(0.01, 0.99, (3, 1, 4, 4))
    nats = -np.where(images == 1, np.log(guesses), np.log(1 - guesses)).sum() / 3
    assert metrics.reconstruction_error(images, guesses, likelihood="bernoulli") == pytest.approx(nats)
    squares = ((images - guesses) ** 2).sum() / 3
    assert metrics.reconstruction_error(images, guesses, likelihood="squared_error") == pytest.approx(squares, rel=1e-6)
    assert metrics.reconstruction_error(images, images, likelihood="bernoulli") < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.kl_per_dimension(sample(3), sample(2)), "expected mean"),
        (lambda: metrics.kl_per_dimension(sample(3) * np.nan, sample(3)), "NaN or infinite"),
        (lambda: metrics.total_correlation(sample(1), sample(1), generator=torch.Generator()), "2 ≤ n"),
        (
            lambda: metrics.total_correlation(sample(9), sample(9), generator=torch.Generator(), dataset_size=8),
            "n = 9, dataset_size = 8",
        ),
        (lambda: metrics.reconstruction_error(sample(3), sample(2), likelihood="bernoulli"), "one shape"),
        (lambda: metrics.reconstruction_error(sample(3) + 9, sample(3), likelihood="bernoulli"), r"in \[0, 1\]"),
        (lambda: metrics.reconstruction_error(np.ones((1, 1)), np.ones((1, 1)), likelihood="l1"), "unknown likelihood"),
    ],
)
def test_bad_arrays_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
