"""Active dimensions, and how well a fresh classifier tells two samples apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from disentlib.metrics import active_dimensions, two_sample_auc


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
