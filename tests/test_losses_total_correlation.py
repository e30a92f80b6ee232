"""The parts of the KL term: against loops, a closed form, the identity that ties them, and their weights."""

from __future__ import annotations

import itertools
import math

import metric_references
import numpy as np
import pytest
import torch
from torch import Tensor

from disentlib.losses import elbo
from disentlib.losses.total_correlation import ESTIMATORS, decompose, gaussian_log_density, log_weights


def posteriors(n: int, d: int = 3, seed: int = 0, sigma: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """Means, log-variances and a sample of each, float64."""
    g = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, d, generator=g, dtype=torch.float64)
    logvar = 2 * math.log(sigma) + 0.3 * torch.randn(n, d, generator=g, dtype=torch.float64)
    return mean, logvar, elbo.reparameterise(mean, logvar, g)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
@pytest.mark.parametrize("size", [12, 500])
def test_loops_agree(estimator: str, size: int) -> None:
    mean, logvar, codes = posteriors(12)
    tables = (t.numpy() for t in (mean, torch.exp(0.5 * logvar), codes))
    expected = metric_references.batch_decomposition(*tables, size, estimator)
    assert [v.item() for v in decompose(codes, mean, logvar, size, estimator)] == pytest.approx(expected, abs=1e-9)


def test_all_posteriors_and_their_own_weights_give_the_exact_mixture() -> None:
    mean, logvar, codes = posteriors(40)
    tables = (t.numpy() for t in (mean, torch.exp(0.5 * logvar), codes))
    expected = metric_references.exact_decomposition(*tables, list(range(40)))
    assert [v.item() for v in decompose(codes, mean, logvar, 40)] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_parts_always_add_up_to_the_same_estimate_of_the_kl(estimator: str) -> None:
    """`ln q(z|x) − ln q(z) + ln q(z) − Σ ln q(z_j) + Σ ln q(z_j) − ln p(z)` telescopes, whatever q(z) is taken for."""
    mean, logvar, codes = posteriors(16)
    own = gaussian_log_density(codes, mean, logvar) - gaussian_log_density(codes, *torch.zeros(2, 16, 3).double())
    parts = decompose(codes, mean, logvar, 300, estimator)
    assert sum(parts).item() == pytest.approx(own.sum(1).mean().item(), abs=1e-9)


def test_the_kl_is_that_of_the_closed_form_on_average() -> None:
    mean, logvar, _ = posteriors(8)
    g = torch.Generator().manual_seed(1)
    draws = [
        float(sum(decompose(elbo.reparameterise(mean, logvar, g), mean, logvar, 8, "weighted"))) for _ in range(3000)
    ]
    error = np.std(draws) / math.sqrt(len(draws))
    assert abs(np.mean(draws) - elbo.gaussian_kl(mean, logvar).item()) < 4 * error


def test_correlated_gaussian_codes_have_their_closed_form() -> None:
    """Means from N(0, Σ), tiny σ²: q(z) → N(0, Σ), whose total correlation is −½ ln det of the correlation matrix."""
    g = torch.Generator().manual_seed(0)
    rho = 0.8
    chol = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]]).double())
    mean = torch.randn(3000, 2, generator=g, dtype=torch.float64) @ chol.T
    logvar = torch.full_like(mean, 2 * math.log(0.25))
    codes = elbo.reparameterise(mean, logvar, g)
    smeared = rho / (1 + 0.25**2)  # the noise waters the correlation down
    expected = -0.5 * math.log(1 - smeared**2)
    assert decompose(codes, mean, logvar, 3000).total_correlation.item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("estimator", ["unbiased", "stratified"])
def test_over_all_batches_the_mixture_is_the_aggregate_posterior(estimator: str) -> None:
    """Each batch of 3 of 6 that holds point 0: the mean of the mixtures' densities at one z is that of all six."""
    mean, logvar, codes = posteriors(6, d=2)
    densities = gaussian_log_density(codes[0], mean, logvar).sum(1).exp()
    weights = log_weights(3, 6, estimator)[0].exp()
    batches = [(0, *rest) for rest in itertools.permutations(range(1, 6), 2)]
    mixtures = [float(weights @ densities[list(batch)]) for batch in batches]
    assert np.mean(mixtures) == pytest.approx(densities.mean().item(), rel=1e-12)


def test_what_is_wrong_with_the_copied_weights() -> None:
    """The batch's diagonal should hold 1/N; it stands in the first column, and one row sums to more than 1."""
    copied, right = log_weights(4, 5000, "copied").exp(), log_weights(4, 5000, "stratified").exp()
    assert right.diagonal().tolist() == pytest.approx([1 / 5000] * 4)
    assert right.sum(1).tolist() == pytest.approx([1] * 4)
    assert copied[[0, 1, 3], 0].tolist() == pytest.approx([1 / 5000] * 3)
    assert copied.sum(1).tolist() == pytest.approx([1, 1, 1 + 1 / 3 - 1 / 2500 * 2 / 3, 1], abs=0.001)


def test_the_weighted_estimator_is_too_large_by_a_constant_where_posteriors_overlap() -> None:
    mean, logvar, codes = posteriors(64, d=4, sigma=30.0)
    weighted, exact = (decompose(codes, mean, logvar, 64 if e == "unbiased" else 5000, e) for e in
                       ("weighted", "unbiased"))  # fmt: skip
    excess = weighted.total_correlation - exact.total_correlation
    assert excess.item() == pytest.approx(3 * math.log(5000), abs=0.1)


def test_gradients_are_those_of_finite_differences() -> None:
    mean, logvar, codes = (t[:5].clone().requires_grad_() for t in posteriors(5))
    for part in range(3):
        assert torch.autograd.gradcheck(lambda c, m, v, i=part: decompose(c, m, v, 50)[i], (codes, mean, logvar))


def test_bad_requests_are_named() -> None:
    mean, logvar, codes = posteriors(4)
    with pytest.raises(ValueError, match="unknown estimator 'best'; known: unbiased, stratified, weighted, copied"):
        decompose(codes, mean, logvar, 100, "best")
    with pytest.raises(ValueError, match="at most the data set's 3, got 4"):
        decompose(codes, mean, logvar, 3)
    with pytest.raises(ValueError, match="at least 2 posteriors"):
        log_weights(1, 10, "unbiased")
