"""Every metric on the controlled codes, against slow references that were written from the conventions alone."""

from __future__ import annotations

from dataclasses import replace

import metric_cases
import metric_references
import numpy as np
import pytest
import torch
from conftest import factor_pixels

from disentlib import metrics
from disentlib.metrics.estimators import ESTIMATORS
from disentlib.metrics.factor_vae import plan as plan_votes
from disentlib.metrics.votes import look_up_codes

SIZES = (3, 5, 4)
TRAIN, TEST = 600, 300
SMALL = replace(metrics.LOCATELLO, train_points=TRAIN, test_points=TEST)
IN_SAMPLE = replace(metrics.INFOGAN_CR, train_points=TRAIN)
MANY = [name for name in metric_cases.NAMES if name != "fewer_dimensions"]  # one dimension: no gap to a second


def arrays(name: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    codes, factors = metric_cases.cases(seed, TRAIN + TEST, SIZES)[name]
    return codes[:TRAIN], factors[:TRAIN], codes[TRAIN:], factors[TRAIN:]


@pytest.mark.parametrize("name", MANY)
def test_mig(name: str) -> None:
    codes, factors = arrays(name)[:2]
    assert metrics.mig(codes, factors, protocol=SMALL) == pytest.approx(metric_references.mig(codes, factors), abs=1e-9)


def test_mig_on_the_study_s_numbers_of_points_and_on_float32() -> None:
    codes, factors = metric_cases.cases(3, 10_000, (3, 6, 10, 8))["partly_mixed"]
    expected = metric_references.mig(codes, factors)
    assert metrics.mig(codes, factors, protocol=metrics.LOCATELLO) == pytest.approx(expected, abs=1e-9)
    coarse = codes.astype(np.float32)
    expected = metric_references.mig(coarse.astype(np.float64), factors)
    assert metrics.mig(coarse, factors, protocol=metrics.LOCATELLO) == pytest.approx(expected, abs=1e-6)


def test_mig_of_a_code_with_an_outlier() -> None:
    """One far row empties the bins of its dimension."""
    codes, factors = (a.copy() for a in arrays("perfect")[:2])
    codes[0] = 100
    ours = metrics.mig(codes, factors, protocol=SMALL)
    assert ours == pytest.approx(metric_references.mig(codes, factors), abs=1e-9) and ours < 0.01


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 2), (12, 4)])
def test_dci_aggregation_of_random_importances(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(shape[0])
    for matrix in (generator.random(shape), generator.random(shape) ** 20, generator.random(shape) * [[1]]):
        matrix[0] = 0
        expected = metric_references.dci_aggregate(matrix)
        assert metrics.disentanglement(matrix) == pytest.approx(expected[0], abs=1e-9)
        assert metrics.completeness(matrix) == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("name", ["partly_mixed", "dead", "duplicated"])
def test_dci_with_the_study_s_trees(name: str) -> None:
    ours = metrics.dci(*arrays(name), protocol=SMALL)
    slow = metric_references.dci(*arrays(name))
    expected = (slow.disentanglement, slow.completeness, slow.informativeness_test)
    assert ours == pytest.approx(expected, abs=1e-9)


def test_dci_of_constant_codes_is_nothing() -> None:
    for estimator in ESTIMATORS:
        ours = metrics.dci(*arrays("constant"), protocol=SMALL, estimator=estimator)
        assert ours.disentanglement == ours.completeness == 0, estimator
        assert ours.informativeness < 0.5


@pytest.mark.parametrize("name", ["perfect", "rotated", "partly_mixed", "noise", "merged"])
def test_dci_with_faster_trees_is_close_to_the_study_s(name: str) -> None:
    slow, fast = (metrics.dci(*arrays(name), protocol=SMALL, estimator=e) for e in ("sklearn", "lightgbm"))
    assert fast == pytest.approx(slow, abs=0.08)


def test_dci_in_sample_reads_importances_off_a_lasso() -> None:
    """Standardised, orthogonal codes: the coefficient is the correlation, less the penalty."""
    codes, factors = arrays("rotated")[:2]
    z = (codes - codes.mean(0)) / codes.std(0)
    white = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, ddof=0))).T
    correlation = np.abs(np.corrcoef(np.hstack([white, factors]).T)[:3, 3:])
    expected = metric_references.dci_aggregate(np.maximum(correlation - 0.02, 0))
    ours = metrics.dci(white, factors, protocol=IN_SAMPLE)
    assert (ours.disentanglement, ours.completeness) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("prune_std", [0.05, 0.0])
@pytest.mark.parametrize("name", metric_cases.NAMES)
def test_factor_vae_on_the_same_votes(name: str, prune_std: float) -> None:
    """The library draws the images, the reference votes on their codes one batch after the other."""
    dataset = factor_pixels(SIZES)
    codes_of = metric_cases.encoders(0, SIZES)[name]
    table = torch.from_numpy(codes_of(dataset.factors(torch.arange(len(dataset))).numpy()))  # a code an image
    sizes = {"train_votes": 60, "test_votes": 40, "vote_batch": 8, "variance_points": 200}
    protocol = replace(metrics.LOCATELLO, prune_std=prune_std, **sizes)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return table[dataset.index((images.flatten(1) * 255).round().long())]

    plan = plan_votes(dataset, protocol, torch.Generator().manual_seed(1))
    sample = table[plan.sample].numpy()
    spread, live = metric_references.variances(sample), metric_references.active_by_spread(sample, prune_std)
    votes = [
        [
            (metric_references.vote(table[batch].numpy(), spread, live), j)
            for j, batch in zip(v.labels.tolist(), v.indices)
        ]
        for v in plan.votes
    ]
    expected = metric_references.majority_accuracy(*votes, sample.shape[1], len(SIZES)) if live else 0.0
    ours = metrics.factor_vae(dataset, encode, protocol=protocol, generator=torch.Generator().manual_seed(1))
    assert ours == pytest.approx(expected, abs=1e-12)


def test_factor_vae_in_sample_is_the_sum_of_the_most_frequent_votes() -> None:
    dataset, turn = factor_pixels(), np.random.default_rng(0).normal(size=(4, 6))
    protocol = replace(metrics.INFOGAN_CR, train_votes=200, vote_batch=20, variance_points=2000)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) * 255).double() @ torch.from_numpy(turn)

    values = [
        metrics.factor_vae(dataset, encode, protocol=protocol, generator=torch.Generator().manual_seed(s))
        for s in range(4)
    ]
    sizes = {"votes": 200, "batch": 20, "variance_rows": 2000}
    slow = [
        metric_references.factor_vae_in_sample(
            lambda f: f @ turn, dataset.factor_sizes, np.random.default_rng(s), **sizes
        )[0]
        for s in range(4)
    ]
    assert abs(np.mean(values) - np.mean(slow)) < 4 * np.sqrt(0.25 / 200 / 2)


def test_each_image_is_looked_up_as_it_was_encoded() -> None:
    dataset = factor_pixels()
    indices = torch.tensor([5, 1600, 5, 0])
    look_up = look_up_codes(dataset, lambda images: images.flatten(1) * 255, indices)
    assert np.array_equal(look_up(indices), dataset.factors(indices).numpy())
