"""MIG's choices: each changes what it says and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from disentlib import metrics
from disentlib.experiments.mig_choices import CHOICES, DSPRITES, controlled_points, score_choices


def test_the_first_choice_is_the_protocols_mig() -> None:
    points = controlled_points("partly_mixed", 0, 800)
    found = score_choices([points], workers=1)
    assert list(found) == list(CHOICES)
    protocol = replace(metrics.LOCATELLO, train_points=800)
    for choice, changed in {
        "the protocol": (points.means, protocol),
        "samples, not means": (points.samples, protocol),
        "5 bins": (points.means, replace(protocol, bins=5)),
        "100 bins": (points.means, replace(protocol, bins=100)),
    }.items():
        expected = metrics.mig(changed[0], points.factors, protocol=changed[1])
        assert found[choice] == [pytest.approx(expected, abs=1e-12)], choice


def test_leaving_out_shape_leaves_out_its_column() -> None:
    points = controlled_points("aligned", 1, 800)
    expected = metrics.mig(points.means, points.factors[:, 1:], protocol=replace(metrics.LOCATELLO, train_points=800))
    assert points.nominal == (0,) and CHOICES["shape left out"](points) == pytest.approx(expected, abs=1e-12)


def test_binned_factors_lose_their_fine_values() -> None:
    """A binned factor that has no more values than bins is unchanged; 40 values in 20 bins are paired."""
    points = controlled_points("aligned", 0, 3000)
    coarse = points.factors.copy()
    coarse[:, 2] //= 2
    coarse[:, 3:] = np.floor(points.factors[:, 3:] * 20 / 31).clip(max=19)
    expected = metrics.mig(points.means, coarse, protocol=replace(metrics.LOCATELLO, train_points=3000))
    assert CHOICES["factors binned too"](points) == pytest.approx(expected, abs=0.01)


def test_neighbours_find_about_what_bins_find() -> None:
    points = controlled_points("aligned", 0, 2000)
    assert CHOICES["k-NN, no bins"](points) == pytest.approx(CHOICES["the protocol"](points), abs=0.15)


def test_controlled_points_are_drawn_from_the_grid() -> None:
    points = controlled_points("fewer", 2, 500)
    assert points.means.shape == points.samples.shape == (500, 3) and points.factors.shape == (500, 5)
    assert (points.factors.max(0) < DSPRITES.sizes).all() and (points.factors.max(0) > 0).all()
    assert (points.samples - points.means).std() == pytest.approx(0.3, rel=0.1)
    again = controlled_points("fewer", 2, 500)
    assert np.array_equal(points.means, again.means) and np.array_equal(points.samples, again.samples)
