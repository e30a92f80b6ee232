"""The toy of the estimators: brute force is brute force, and slopes are derivatives."""

from __future__ import annotations

import math

import metric_references
import numpy as np
import pytest
import torch

from disentlib.experiments import tc_estimators
from disentlib.experiments.tc_estimators import EXACT, _measured, compare_estimators, exact_parts, toy_means
from disentlib.losses.total_correlation import ESTIMATORS

pytestmark = pytest.mark.usefixtures("one_thread")


def test_exact_parts_are_those_of_loops() -> None:
    g = torch.Generator().manual_seed(0)
    means, logvar = toy_means(40, 3, 0.3, g), torch.full((40, 3), 2 * math.log(0.3)).double()
    own = torch.tensor([3, 11, 39])
    codes = means[own] + 0.3 * torch.randn(3, 3, generator=g, dtype=torch.float64)
    found = [v.item() for v in exact_parts(codes, own, means, logvar)]
    tables = [t.numpy() for t in (means, torch.exp(0.5 * logvar))]
    expected = metric_references.exact_decomposition(*tables, codes.numpy(), own.tolist())
    assert found == pytest.approx(expected[:2], abs=1e-9)


def test_the_toys_aggregate_is_close_to_the_prior() -> None:
    g = torch.Generator().manual_seed(0)
    means = toy_means(20_000, 2, 0.3, g)
    codes = means + 0.3 * torch.randn(means.shape, generator=g, dtype=torch.float64)
    assert codes.var().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", [EXACT, *ESTIMATORS])
def test_a_slope_is_the_difference_quotient(name: str) -> None:
    g = torch.Generator().manual_seed(1)
    means, own = toy_means(30, 3, 0.3, g), torch.arange(0, 30, 3)
    noise = torch.randn(10, 3, generator=g, dtype=torch.float64)
    low, middle, high = (_measured(name, 0, means, own, noise, 0.3 + step) for step in (-1e-5, 0, 1e-5))
    quotient = (high.total_correlation - low.total_correlation) / 2e-5
    assert middle.slope == pytest.approx(quotient, rel=1e-5)


def test_what_the_chapter_says_about_the_estimators() -> None:
    rows = compare_estimators(n=2000, d=10, sigma=0.3, batch_size=64, batches=3)
    mean = {name: np.mean([r[2:] for r in rows if r.estimator == name], axis=0) for name in (EXACT, *ESTIMATORS)}
    information, correlation, slope = range(3)
    assert mean["unbiased"][correlation] == pytest.approx(mean[EXACT][correlation], abs=1)
    assert mean["weighted"][correlation] - mean["unbiased"][correlation] == pytest.approx(9 * math.log(2000), rel=0.1)
    assert mean["copied"][information] == pytest.approx(math.log(64), abs=0.1)
    assert mean["copied"][slope] == pytest.approx(mean["weighted"][slope], rel=1e-3)
    assert abs(mean["unbiased"][slope] - mean["weighted"][slope]) > 1


def test_the_table_and_the_picture_have_every_estimator() -> None:
    rows = compare_estimators(n=100, d=2, sigma=0.5, batch_size=8, batches=2)
    text = tc_estimators.toy_table(rows, "toy").text
    figure = tc_estimators.toy_picture(rows)
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert labels == [EXACT, *ESTIMATORS] and all(f"<td>{name}</td>" in text for name in labels)
    assert len(figure.axes) == 3 and tc_estimators.COLOURS.keys() == set(labels)
