"""Learning pairs of a given generator: what is drawn, what is measured, and what collapses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch

from disentlib import data, models
from disentlib.experiments.pair_learning import Decoded, Oracle, Point, Setting, collapsed, learn, pair_difference
from disentlib.experiments.temperature import collapse_table, grid_of, last, sides_table
from disentlib.losses.contrastive import identical_features_loss
from disentlib.models.pairs import PairPlan

pytestmark = pytest.mark.usefixtures("one_thread")
PLAN = PairPlan(pairs=24, rule="change_one", resample="prior", min_gap=0.0, active_only=False, bound=1.0)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(data.load("dsprites", source="rendered", image_size=28))


def test_the_oracle_draws_the_factors_that_its_codes_name(oracle: Oracle) -> None:
    sizes = torch.tensor(oracle.dataset.factor_sizes)
    factors = oracle.dataset.sample_factors(20, torch.Generator().manual_seed(0))
    codes = (factors + 0.5) / sizes * 2 - 1  # the middle of each value's share
    assert torch.equal(oracle.render(codes), oracle.dataset.images(oracle.dataset.index(factors)))
    ends = torch.stack([-torch.ones(5), torch.ones(5)])
    expected = oracle.dataset.images(oracle.dataset.index(torch.stack([torch.zeros_like(sizes), sizes - 1])))
    assert torch.equal(oracle.render(ends), expected)


def test_a_mixed_oracle_moves_both_factors_with_either_code(oracle: Oracle) -> None:
    mixed = Oracle(oracle.dataset, mixed=True)
    codes = torch.zeros(3, 5)
    codes[1, 3], codes[2, 4] = 0.8, 0.8
    start, one, other = mixed.render(codes)

    def centre(image: torch.Tensor) -> torch.Tensor:
        weights = image[0] / image.sum()
        grid = torch.arange(28.0)
        return torch.stack([(weights.sum(0) * grid).sum(), (weights.sum(1) * grid).sum()])

    moves = torch.stack([centre(image) - centre(start) for image in (one, other)])
    assert (moves.abs() > 2).all()  # pixels
    assert moves[0] @ moves[1] == pytest.approx(0, abs=1.5)  # at right angles to one another


def test_only_the_named_code_changes_what_a_pair_shows(oracle: Oracle) -> None:
    changes = pair_difference(oracle, PLAN)
    assert len(changes) == 5 and min(changes) > 0
    same = PairPlan(pairs=24, rule="change_one", resample="posterior", min_gap=0.0, active_only=False)
    model = models.build("vae", oracle.image_shape, code_dims=3).eval()
    decoded = Decoded(model, oracle.dataset)
    other = PairPlan(pairs=24, rule="change_one", resample="batch", min_gap=0.0, active_only=False)
    assert pair_difference(decoded, same) != pair_difference(decoded, other)


def test_all_settings_see_the_same_pairs_and_points_repeat(oracle: Oracle) -> None:
    one, other = Setting(tau1=0.1), Setting(tau1=0.1)
    points = learn(oracle, PLAN, {"one": one, "other": other}, steps=2, every=1, seed=3)
    values = {name: [p.values for p in points if p.name == name] for name in ("one", "other")}
    assert values["one"] == values["other"] and [p.step for p in points if p.name == "one"] == [0, 1, 2]
    again = learn(oracle, PLAN, {"one": one}, steps=2, every=2, seed=3)
    assert again[-1].values == values["one"][-1]
    assert learn(oracle, PLAN, {"one": one}, steps=0, every=1, seed=4)[0].values != values["one"][0]


def test_a_warm_up_starts_as_the_single_temperature(oracle: Oracle) -> None:
    settings = {"warm": Setting(tau1=0.05, tau2=0.1, warmup=2), "single": Setting(tau1=0.1, tau2=0.1)}
    points = learn(oracle, PLAN, settings, steps=3, every=1)
    at = {(p.name, p.step): p.values["between"] for p in points}
    assert at["warm", 2] == at["single", 2] and at["warm", 3] != at["single", 3]


def test_the_loss_of_a_collapsed_network_is_the_closed_form(oracle: Oracle) -> None:
    """A strong pull on everything that is alike: the printed pair, ten times as far apart."""
    point = learn(oracle, PLAN, {"": Setting(tau1=0.01, tau2=0.1, lr=2e-3)}, steps=60, every=60)[-1]
    assert collapsed(point)
    floor = identical_features_loss(512, 0.01, 0.1)
    assert point.values["loss"] == pytest.approx(floor, abs=0.01 * math.fabs(floor))


def test_the_table_counts_collapsed_seeds() -> None:
    values = {"accuracy": 0.4, "within": 0.5, "between": 0.2, "ratio": 1.2, "loss": 1.0, "norm": 1.0}
    points = [Point("a", 0, 0, values), Point("a", 0, 9, values | {"between": 0.995}), Point("a", 1, 9, values)]
    assert [p.step for p in last(points)["a"]] == [9, 9]
    assert "1 of 2" in collapse_table(points, 0.2, "caption").text
    assert list(grid_of([0.07, 0.1], 1e-3)) == ["0.07 / 0.07", "0.07 / 0.1", "0.1 / 0.07", "0.1 / 0.1"]


def test_the_answer_sorts_runs_by_the_order_of_their_temperatures(make_record: Callable) -> None:
    """Two of three collapse below the diagonal; none above it, where one has exactly twice chance."""
    cells = {(0.07, 0.1): [(0.2, 1.0), (0.1, 0.99), (0.3, 0.98)], (0.1, 0.1): [(0.9, 0.4)], (0.2, 0.1): [(0.4, 0.1)]}
    records = [
        make_record(hyper={"tau1": a, "tau2": b}, pair_accuracy=accuracy, within_cosine=between, between_cosine=between)
        for (a, b), values in cells.items()
        for accuracy, between in values
    ]
    text = sides_table(records, 0.2, "caption").text
    rows = [re.findall("<td>(.*?)</td>", row) for row in text.split("<tr>")[2:]]
    assert [row[1:5] for row in rows] == [
        ["3", "2", "0", "0.10 … 0.30"], ["1", "0", "1", "0.90 … 0.90"], ["1", "0", "1", "0.40 … 0.40"],
    ]  # fmt: skip
    assert "not run" in sides_table([], 0.2, "caption").text
