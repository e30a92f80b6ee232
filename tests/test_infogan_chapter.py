"""What the chapter on InfoGAN shows: pairs keep their rule, rotations spoil an aligned code, contrasts pair by seed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import factor_pixels
from torch import nn

from disentlib.experiments import infogan
from disentlib.experiments.records import Record
from disentlib.models import build
from disentlib.models.base import Model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


class Reader(nn.Module):
    """The code of an image of `factor_pixels` is what its pixels say, after `turn`."""

    def __init__(self, turn: torch.Tensor) -> None:
        super().__init__()
        self.turn = nn.Parameter(turn, requires_grad=False)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) * 255).round().double() @ self.turn


def run_of(model: object, dataset: object, n: int = 4000) -> SimpleNamespace:
    return SimpleNamespace(model=model, dataset=dataset, record=SimpleNamespace(spec={"eval_points": n}))


@pytest.mark.parametrize(("rule", "same"), [("change_one", False), ("share_one", True)])
def test_a_pair_of_the_rule_agrees_in_its_label_or_in_all_others(rule: str, same: bool) -> None:
    dataset = factor_pixels()
    pairs = infogan.true_pairs(dataset, rule, 20, torch.Generator().manual_seed(0))
    values = (pairs.flatten(3) * 255).round()
    equal = values[:, :, 0] == values[:, :, 1]
    k = len(dataset.factor_sizes)
    labelled = torch.eye(k, dtype=torch.bool)[:, None].expand(k, 20, k)
    assert torch.equal(equal, labelled if same else ~labelled)


def test_rotations_are_even_over_all_directions() -> None:
    g = torch.Generator().manual_seed(0)
    drawn = torch.stack([infogan.rotation(3, g) for _ in range(4000)])
    assert torch.allclose(drawn @ drawn.mT, torch.eye(3, dtype=torch.float64).expand(4000, 3, 3), atol=1e-12)
    assert drawn.mean(0).abs().max() < 0.05  # each entry is as often negative as positive …
    assert (drawn.square().mean(0) - 1 / 3).abs().max() < 0.02  # … and no axis is preferred


def test_an_aligned_code_beats_its_rotations_and_a_rotated_one_does_not() -> None:
    dataset, k = factor_pixels(), 4
    aligned, turned = infogan.rotated_mig(run_of(Reader(torch.eye(k, dtype=torch.float64)), dataset), 6)
    assert aligned > 0.95 and max(turned) < 0.6
    turn = infogan.rotation(k, torch.Generator().manual_seed(5))
    own, others = infogan.rotated_mig(run_of(Reader(turn), dataset), 6)
    assert own < 0.6 and min(others) - 0.2 < own < max(others) + 0.2


def record(seed: int, value: float, recovery: tuple[float, ...] = (0.5, 0.1)) -> SimpleNamespace:
    return Record(
        id=f"toy-{seed}", schema=1, spec={"seed": seed, "profile": "smoke", "steps": 1, "hyper": {}},
        data={"description": "toy", "image_shape": [1, 8, 8], "hash": "0"},
        metrics={"score": value, "code_recovery": list(recovery)}, losses={}, history={}, seconds=0.0,
        peak_memory_mb=0.0,
        environment={"device": "CPU", "date": "2026-01-01", "threads": 1, "versions": {"torch": "0"}, "commit": "0",
                     "clean": True},
    )  # fmt: skip


def test_recovery_is_summed_up_by_its_mean_and_its_worst_dimension() -> None:
    (found,) = infogan.recovered([record(0, 0.0, (0.9, 0.3, 0.6))])
    assert found.metrics["mean_recovery"] == pytest.approx(0.6) and found.metrics["least_recovery"] == 0.3


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [((0.2, 0.3, 0.1), "larger"), ((-0.2, -0.3, -0.1), "smaller"), ((-0.2, 0.3, 0.1), "undecided")],
)
def test_a_contrast_pairs_by_seed_whatever_the_order(gains: tuple[float, ...], verdict: str) -> None:
    second = [record(seed, float(seed)) for seed in range(3)]
    first = [record(seed, seed + gain) for seed, gain in enumerate(gains)][::-1]
    text = infogan.contrasts({"a − b": (first, second)}, {"score": "score"}, "Toy").text
    assert verdict in text and f">{np.mean(gains):.2f} [" in text


def test_one_seed_gives_no_verdict() -> None:
    text = infogan.contrasts({"a": ([record(0, 2.0)], [record(0, 1.0)])}, {"score": "score"}, "Toy").text
    assert "one seed" in text and not re.search("larger|smaller", text)


def gan(prior: str) -> Model:
    return build("infogan", (1, 16, 16), code_dims=4, code_prior=prior, seed=0).eval()


def test_pictures_hold_what_they_promise(toy: object) -> None:
    runs = {prior: run_of(gan(prior), toy) for prior in ("uniform", "gaussian")}
    figure = infogan.generated_figure(runs, columns=5, rows=2)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["data", "", "uniform", "", "gaussian", ""]
    pixels = figure.axes[0].images[0].get_array()
    assert pixels.shape[:2] == (6 * 17 + 1, 5 * 17 + 1)
    assert not np.allclose(pixels[34 + 1 : 34 + 17, 1:17], pixels[34 + 1 : 34 + 17, 18:34])  # draws differ

    figure = infogan.pair_figure(replace(factor_pixels()), pairs=2)
    assert [len(axes.get_yticks()) for axes in figure.axes] == [4, 4]


def test_the_game_shows_the_best_discriminator_between_the_two_densities() -> None:
    left, right = infogan.game_figure(distance=2.0).axes
    data, fake, best = (np.array(line.get_ydata()) for line in left.lines)
    x = left.lines[0].get_xdata()
    assert np.allclose(best, 1 / (1 + np.exp(2.0 - 2.0 * x)))  # the logit of two unit normals is a straight line
    assert x[data.argmax()] == pytest.approx(2.0, abs=0.05) and x[fake.argmax()] == pytest.approx(0.0, abs=0.05)
    d = right.lines[0].get_xdata()
    assert np.allclose(right.lines[0].get_ydata() + right.lines[1].get_ydata(), 1.0) and len(d)


def test_rotation_figure_marks_each_models_own_score() -> None:
    axes = infogan.rotation_figure({"uniform": (0.4, [0.1, 0.2]), "gaussian": (0.2, [0.3, 0.1])}).axes[0]
    offsets = [tuple(np.round(c.get_offsets()[0], 3)) for c in axes.collections]
    assert (0.0, 0.4) in offsets and (1.0, 0.2) in offsets
