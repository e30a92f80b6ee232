"""The IDGAN-SC chapters' own pieces: pairs of a known generator, rows of digits, second phases, collapses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import in_memory, squares
from torch import Tensor

from disentlib import data, figures, pair_figures
from disentlib.data import Dataset
from disentlib.experiments import digit_panels, oracle_tables, pair_learning, pictures, second_phase
from disentlib.experiments.markup import Html
from disentlib.experiments.measured import Measured
from disentlib.experiments.pair_learning import Oracle, Point, Setting, learn, pair_difference, pairs_of
from disentlib.experiments.statistics import bootstrap
from disentlib.metrics.traversals import RowSummary
from disentlib.models.pairs import PairPlan

pytestmark = pytest.mark.usefixtures("one_thread")
SPRITES = data.load("dsprites", source="rendered", image_size=16)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


# ---- the renderer as generator --------------------------------------------------------------------------------------


def test_in_a_row_one_factor_runs_and_all_others_stand_in_the_middle() -> None:
    row = pair_figures.one_changes(SPRITES, "scale", 6, shape=2)
    factors = torch.tensor([[2, scale, 20, 16, 16] for scale in range(6)])
    assert torch.equal(row, SPRITES.images(SPRITES.index(factors)))
    with pytest.raises(LookupError, match="unknown factor size; known: shape, scale"):
        pair_figures.one_changes(SPRITES, "size", 3)


def test_a_mixed_code_moves_both_places_and_a_plain_one_moves_one() -> None:
    codes = torch.zeros(2, 5)
    codes[1, -2] = 0.8
    lengths = []
    for how, moved in (({}, [True, False]), ({"shrunk": True}, [True, False]), ({"mixed": True}, [True, True])):
        images = Oracle(SPRITES, **how).render(codes)[:, 0]
        rows, columns = (images.sum(dim) for dim in (2, 1))
        middles = [(part * torch.arange(16)).sum(1) / part.sum(1) for part in (columns, rows)]
        assert [bool((middle[0] - middle[1]).abs() > 0.5) for middle in middles] == moved
        lengths.append(math.hypot(*((middle[0] - middle[1]).item() for middle in middles)))
    plain, shrunk, mixed = lengths
    assert shrunk == pytest.approx(mixed, abs=0.5) and plain == pytest.approx(math.sqrt(2) * shrunk, abs=0.5)


def test_networks_learn_side_by_side_as_each_does_alone() -> None:
    plan = PairPlan(8, "change_one", "prior", 0.0, False, 1.0)
    settings = {"one": Setting(tau1=0.1), "other": Setting(head="cross_entropy")}
    both = learn(Oracle(SPRITES), plan, settings, steps=2, every=1)
    alone = learn(Oracle(SPRITES), plan, {"other": settings["other"]}, steps=2, every=1)
    assert [p for p in both if p.name == "other"] == alone
    assert [p.step for p in alone] == [0, 1, 2] and alone[0].values["loss"] != alone[2].values["loss"]


def test_pairs_lie_as_far_apart_as_their_pictures() -> None:
    oracle, plan = Oracle(SPRITES), PairPlan(pair_learning.JUDGED, "change_one", "prior", 0.0, False, 1.0)
    labels, first, second = pairs_of(oracle, plan, torch.Generator().manual_seed(3))
    means = [np.abs((first - second)[labels == label].numpy()).mean() for label in range(5)]
    assert pair_difference(oracle, plan, seed=3) == pytest.approx(means, rel=1e-4)


# ---- tables of what was learnt --------------------------------------------------------------------------------------


def points(name: str, accuracies: list[float], between: float = 0.1) -> list[Point]:
    return [
        Point(name, seed, step, {"accuracy": value * step / 10, "between": between})
        for seed, value in enumerate(accuracies)
        for step in (10, 5)
    ]


def test_the_last_step_of_each_seed_counts_and_collapses_are_named() -> None:
    learnt = points("a", [0.5, 0.7]) + points("b", [0.2, 0.3], between=0.995)
    assert [p.values["accuracy"] for p in oracle_tables.final(learnt, "a")] == [0.5, 0.7]
    with pytest.raises(LookupError, match="no network 'c'; known: a, b"):
        oracle_tables.final(learnt, "c")
    text = oracle_tables.accuracy_table({("x",): learnt}, ["a", "b"], ["generator"], "caption", Html("!")).text
    assert "0.60" in text and "0.25" in text and text.count("collapsed") == 1 and "2 of 2 collapsed" in text


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [([0.9, 0.8], [0.2, 0.3], "first is higher"), ([0.1, 0.2], [0.5, 0.5], "second is higher"),
     ([0.5, 0.6], [0.6, 0.5], "undecided: the interval holds 0"), ([0.5], [0.4], "one seed")],
)  # fmt: skip
def test_gains_are_paired_by_seed_and_say_which_side_is_higher(first: list, second: list, said: str) -> None:
    learnt = {("x",): points("a", first), ("y",): points("a", second)}
    text = oracle_tables.gains(learnt, [((("x",), "a"), (("y",), "a"))], "caption", Html("!")).text
    assert said in text and f"{np.mean(first) - np.mean(second):.2f}" in text


def test_curves_are_means_over_seeds() -> None:
    _, axes = plt.subplots()
    oracle_tables.learning(axes, points("a", [0.4, 0.8]), "accuracy", "accuracy", chance=0.2)
    assert axes.lines[0].get_xydata().tolist() == pytest.approx(np.array([[5, 0.3], [10, 0.6]]))
    assert list(axes.lines[1].get_ydata()) == [0.2, 0.2]


# ---- digits ---------------------------------------------------------------------------------------------------------


class Itself(torch.nn.Linear):
    """The mean brightness and the index-like brightest pixel as code; a code as an even picture."""

    code_dims = 2

    def encode(self, images: Tensor) -> Tensor:
        return torch.stack([images.mean((1, 2, 3)), images.amax((1, 2, 3))], 1)

    def decode(self, codes: Tensor) -> Tensor:
        return codes[:, :1, None, None].expand(-1, 1, 4, 4)


def labelled() -> Dataset:
    return replace(in_memory(squares()), labels=torch.arange(48) % 4)


def test_codes_come_digit_by_digit() -> None:
    model, dataset = Itself(1, 1), labelled()
    codes = digit_panels.digit_codes(model, dataset, [3, 1], each=2)
    indices = (255 - codes[:, 1] * 255).round().long()
    assert (indices % 4).tolist() == [3, 3, 1, 1] and len(set(indices.tolist())) == 4
    with pytest.raises(LookupError, match="asked for 99 images of 3, there are 12"):
        digit_panels.digit_codes(model, dataset, [3], each=99)
    with pytest.raises(LookupError, match="no labels"):
        digit_panels.digit_codes(model, in_memory(squares()), [3], each=1)


def test_each_measure_gets_the_code_that_moves_it_most_and_no_code_two() -> None:
    table = [(0.9, 0.8, math.nan), (0.1, 0.7, math.nan), (0.2, 0.1, math.nan), (0.0, 0.0, math.nan)]
    names = ("thickness", "slant", "width")
    summaries = tuple(RowSummary(None, 0.0, math.nan, math.nan, dict(zip(names, row)), ()) for row in table)
    images = torch.zeros(4, 3, 1, 4, 4)
    images[3, 0] = images[2, 0, 0, 0, 0] = 1.0  # of the rows that are left, row 3 moves more pixels
    found = digit_panels.movers(Measured((5, 6, 7, 8), (0.0,), images, np.zeros(1), summaries, ""), names)
    assert found == {"thickness": 5, "slant": 6, digit_panels.OTHER: 8}


def test_a_panel_moves_one_code_from_each_digit() -> None:
    codes = torch.tensor([[0.2, 0.9], [0.4, 0.8]])
    grids = digit_panels.digit_grids(Itself(1, 1), codes, {"width": 0, "slant": 1}, [0.0, 1.0])
    assert list(grids) == ["width: c0", "slant: c1"]
    assert torch.allclose(grids["width: c0"][..., 0, 0, 0], torch.tensor([[0.0, 1.0]] * 2))
    assert torch.allclose(grids["slant: c1"][..., 0, 0, 0], torch.tensor([[0.2, 0.2], [0.4, 0.4]]))
    assert len(pair_figures.panels(grids, ["4", "6"]).axes) == 2


# ---- second phases --------------------------------------------------------------------------------------------------


def signs(between: float = 0.2, variety: float = 1.0, brightness: float = 1.0) -> dict[str, float]:
    return {"between_cosine": between, "pair_accuracy": 0.5, "pixel_std_ratio": variety, "foreground_ratio": brightness}


def test_what_counts_as_collapsed(make_record: Callable) -> None:
    contrastive, logits = {"head": "supcon"}, {"alpha": 2.0}
    judged = second_phase.pair_network_collapsed
    assert judged(make_record(hyper=contrastive, **signs(0.99))) is True
    assert judged(make_record(hyper=contrastive, **signs(0.98))) is False
    assert judged(make_record(hyper=logits, **signs(1.0))) is None
    for variety, brightness in ((0.2, 1), (1, 0.2), (1, 5)):
        assert second_phase.gan_collapsed(make_record(**signs(0.5, variety, brightness)))
    assert not any(second_phase.gan_collapsed(make_record(**signs(0.5, *found))) for found in ((1, 1), (0.3, 3)))
    groups = {"a": [make_record(seed, hyper=contrastive, **signs(0.9 + seed / 10)) for seed in range(2)], "none": []}
    text = second_phase.signs(groups, "caption").text
    assert "<td>a</td><td>2</td><td>1</td><td>0</td><td>0.95" in text and text.count("not run") >= 4


def test_a_curve_is_the_seeds_mean_with_its_interval_and_the_papers_value_at_the_end(make_record: Callable) -> None:
    values = [[0.1, 0.4], [0.2, 0.8], [0.3, 0.3]]
    made = [make_record(seed, score=v[1]) for seed, v in enumerate(values)]
    records = [replace(r, history=r.history | {"watched": {"steps": [0, 9], "score": v}}) for r, v in zip(made, values)]
    _, axes = plt.subplots()
    pictures.watched_curves(axes, {"infogan": records, "idgan_sc": []}, "score", "score", {"infogan": 0.8})
    (line,) = axes.lines
    assert line.get_xydata().tolist() == pytest.approx(np.array([[0, 0.2], [9, 0.5]]))
    assert line.get_color() == figures.COLOURS["infogan"]
    band, diamond = axes.collections
    expected = bootstrap([0.4, 0.8, 0.3])
    heights = [y for x, y in band.get_paths()[0].vertices if x == 9]
    assert min(heights) == pytest.approx(expected.low) and max(heights) == pytest.approx(expected.high)
    assert diamond.get_offsets().tolist() == [[9, 0.8]]


def test_runs_that_were_not_watched_have_one_point_at_their_end(make_record: Callable) -> None:
    _, axes = plt.subplots()
    pictures.watched_curves(axes, {"infogan": [make_record(mig=0.3)]}, "mig", "MIG")
    assert axes.lines[0].get_xydata().tolist() == [[100, 0.3]]
