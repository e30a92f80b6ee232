"""What the chapters on Dis-GU compute: rows of directions, variations, the way to collapse, rivals and sweeps."""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import factor_pixels
from test_model_directions import SMALL, LinearFlow
from torch import Tensor

from disentlib import figures, models
from disentlib.data import Dataset
from disentlib.diagrams import Box, diagram
from disentlib.experiments import chosen, planned, rivals, shifts, sweeps, variation_samples
from disentlib.experiments.claims import claims
from disentlib.experiments.collapse_path import collapse_path, same_everywhere
from disentlib.experiments.exact_codes import ExactCode
from disentlib.experiments.parameters import profiles
from disentlib.metrics.traversals import RowSummary, Scale

pytestmark = pytest.mark.usefixtures("one_thread")


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[html.unescape(re.sub("<.*?>", "", c)) for c in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)] for row in rows]


@pytest.fixture
def model() -> models.Model:
    found = models.build("dis_gu", (1, 8, 8), encoder_width=8, **SMALL["dis_gu"])
    found.adopt("glow", LinearFlow())
    return found.eval()


def pictures() -> Dataset:
    noise = torch.randint(100, 156, (20, 1, 8, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Dataset("noise", "rendered", "noise", (1, 8, 8), 20, lambda i: noise[i])


# ---- rows of directions --------------------------------------------------------------------------------------------


def test_a_shift_of_nothing_gives_the_picture_back_and_one_along_a_direction_moves_the_latent(model) -> None:
    images, decoder = pictures().images(torch.arange(3)), shifts.Shifts(model)
    codes = decoder.encode(images)
    assert codes.shape == (3, 5 + 64) and torch.allclose(decoder.decode(codes), images, atol=1e-4)
    codes[:, 2] = 1.5
    moved = torch.cat([level.flatten(1) for level in model.frozen.flow.eps(decoder.decode(codes))], 1)
    expected = codes[:, 5:].clone()
    expected[:, 32:] += 1.5 * math.sqrt(32 / 128) * model.directions()[:, 2]
    assert torch.allclose(moved, expected, atol=1e-3)


def test_rows_that_nothing_reads_go_from_the_lowest_to_the_highest_shift(model) -> None:
    image, decoder = pictures().images(torch.tensor([4]))[0], shifts.Shifts(model)
    rows = shifts.plain_rows(model, image, [3, 1], columns=3)
    assert rows.shape == (2, 3, 1, 8, 8) and torch.allclose(rows[0, 1], image, atol=1e-4)
    codes = decoder.encode(image[None])
    codes[0, 1] = model.shift_scale
    assert torch.allclose(rows[1, 2], decoder.decode(codes)[0].clamp(0, 1), atol=1e-5)


class Grey:
    """An instrument that reads the mean of a picture."""

    scales = (Scale("grey", span=0.1),)

    def __call__(self, images: Tensor) -> np.ndarray:
        return images.mean((1, 2, 3))[:, None].numpy()

    def summary(self) -> str:
        return "grey"


def test_every_direction_is_a_row_and_chosen_rows_keep_what_was_measured(model) -> None:
    rows = shifts.direction_rows(model, pictures(), Grey(), bases=2, columns=3)
    assert rows.images.shape[:2] == (5, 3) and rows.values[0] == -model.shift_scale and len(rows.readings) == 2
    part = shifts.shown(rows, [3, 1])
    assert part.dimensions == (3, 1) and torch.equal(part.images[0], rows.images[3])
    assert part.summaries[1] is rows.summaries[1] and np.array_equal(part.readings[:, 0], rows.readings[:, 3])


def test_what_is_not_finite_is_read_by_nobody_and_drawn_grey() -> None:
    """The flow breaks where the first number of its fine level passes 3: that is so for some starts, and stays."""
    broken = models.build("dis_gu", (1, 8, 8), encoder_width=8, **SMALL["dis_gu"])
    broken.adopt("glow", LinearFlow(broken=3.0))
    rows = shifts.direction_rows(broken.eval(), pictures(), Grey(), bases=12, columns=3)
    starts = torch.cat([level.flatten(1) for level in broken.frozen.flow.eps(pictures().images(torch.arange(20)))], 1)
    assert 0 < (starts[:, 0] > 3.0).sum() < 20
    lost = np.isnan(rows.readings[:, :, :, 0])
    assert (lost == lost[:, :1, :1]).all() and rows.unreadable == pytest.approx(lost[:, 0, 0].mean())
    assert 0 < rows.unreadable < 0.5
    whole = np.ptp(rows.readings[~lost[:, 0, 0]], axis=2).mean(0)[:, 0] / 0.1
    assert [row.changes["grey"] for row in rows.summaries] == pytest.approx(np.minimum(whole, 1), rel=1e-4)

    sheet = torch.full((1, 2, 1, 4, 4), 0.25)
    sheet[0, 1, 0, 1, 2] = math.nan
    drawn = figures.image_grid(sheet).axes[0].images[0].get_array()
    assert drawn[2, 8].tolist() == [0.5] * 3 and drawn[2, 7].tolist() == [0.25] * 3


def summary(name: str | None, purity: float, **changes: float) -> RowSummary:
    return RowSummary(name, 0.5 if name else 0.0, purity, 1.0, changes, (name,) if name else ())


def test_rows_are_chosen_by_purity_one_for_each_factor() -> None:
    rows = [summary(None, math.nan), summary("x", 0.6), summary("y", 0.5), summary("x", 0.9), summary("z", 0.95)]
    assert shifts.cleanest(rows, 2) == [4, 3] and shifts.cleanest(rows, 9) == [4, 3, 2]
    assert shifts.mixed(rows) == [2] and shifts.mixed(rows, without=[2]) == [1]
    assert shifts.cleanest(rows[:1], 2) == shifts.mixed(rows[:1]) == []


def test_a_factor_that_leads_nowhere_is_said_to() -> None:
    rows = [summary("y", 0.9, x=0.2, y=0.8), summary(None, math.nan, x=math.nan, y=0.0)]
    panel = SimpleNamespace(summaries=rows)
    found = cells(shifts.sought({"toy": panel}, {"toy": ["x", "y"]}, "").text)[1:]
    assert found == [["toy", "x", "0", "0.20", "–", "no: y"], ["toy", "y", "0", "0.80", "0.90", "yes"]]


# ---- samples of variations -----------------------------------------------------------------------------------------


class Pixels:
    """The perfect encoder of `factor_pixels`: a code dimension a factor."""

    def parameters(self):
        return iter([torch.zeros(1)])

    def encode(self, images: Tensor) -> Tensor:
        return images.flatten(1) * 255


def test_variations_of_a_perfect_code_lie_on_the_axes_and_of_both_factors_between() -> None:
    generator = torch.Generator().manual_seed(0)
    found = variation_samples.encoded_changes(Pixels(), factor_pixels(), ("f1", "f3"), 50, generator)
    assert variation_samples.leading_axes(found) == (1, 3)
    shares = {name: variation_samples.alignment(rows[:, (1, 3)].numpy()) for name, rows in found.items()}
    assert shares["f1"] == 1 and shares["f3"] == 0 and 0.2 < shares["both"] < 0.8
    assert all(torch.allclose(rows.norm(dim=1), torch.ones(50)) for rows in found.values())


# ---- the way to collapse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.8, 0.95])
@pytest.mark.parametrize(("rule", "label"), [("similarity", 0.97), ("one", 1.0)])
def test_the_path_to_collapse_is_the_closed_form(threshold: float, rule: str, label: float) -> None:
    n, k, near = 5, 20, math.log1p(math.exp(-1))
    below, above = collapse_path([threshold - 0.01, 0.97], n, k, threshold, rule)
    soft = [math.log1p(math.exp(c)) for c in (threshold - 0.01, 0.97)]
    assert below == pytest.approx((n * near + k * soft[0]) / (n + k), abs=1e-5)
    assert above == pytest.approx((n * near + k * (soft[1] - label * 0.97)) / (n + k), abs=1e-5)
    assert collapse_path([0.97], n, k, threshold, "drop")[0] == pytest.approx(near, abs=1e-5)


def test_an_encoder_that_tells_nothing_apart_pays_less_only_with_flipping() -> None:
    apart, n, k = collapse_path([0.0], 32, 64, 0.95, "similarity")[0], 32, 64
    plain = (n * math.log1p(math.exp(-1)) + k * math.log1p(math.e)) / (n + k)
    assert same_everywhere(1.0, n, k, 0.95, "similarity", flip=False) == pytest.approx(plain, abs=1e-5)
    assert same_everywhere(1.0, n, k, 0.95, "similarity") < apart < plain


def test_the_exact_code_is_the_latents_projection(model) -> None:
    images = pictures().images(torch.arange(4))
    top = model.frozen.flow.eps(images)[-1].flatten(1)
    assert torch.allclose(ExactCode(model).encode(images), top @ model.directions(), atol=1e-4)


# ---- rivals and sweeps ---------------------------------------------------------------------------------------------


def test_where_a_row_is_not_the_best_is_read_off_the_claims() -> None:
    shown = {(row[0], row[1]): row for row in cells(rivals.not_best("dis_gu", "table1", "Dis-GU").text)[1:]}
    own = [c for c in claims("dis_gu") if c.table == "table1"]
    for (dataset, column), row in shown.items():
        values = {c.row: c.value for c in own if (c.dataset, c.column) == (dataset, column)}
        mine = values.pop("Dis-GU")
        best = max(values.values())
        assert row[5] == ("no" if best > mine else "a tie" if best == mine else "yes")
        assert all((f"{name} {value:.2f}" in row[3]) == (value > mine) for name, value in values.items())
    assert len(shown) == 12


def test_printed_values_stand_above_ours_with_their_generator(make_record: Callable) -> None:
    groups = {"CF": [make_record(seed=s, mig=0.2 + s / 10) for s in range(2)], "new": [make_record(mig=0.5)]}
    columns = {"MIG": "mig", "DCI": "dci_disentanglement"}
    text = rivals.beside_printed("dis_gu", "table1", "Cars3D", groups, columns, "Cars", generators={"CF": "a GAN"}).text
    head, cf, new = cells(text)
    assert head == ["", "MIG", "DCI", "seeds"] and "<caption>Cars. In each cell, the paper" in text
    assert cf[0] == "CFfor a GAN" and "CF<br>" in text
    assert cf[1].startswith("0.07 ± 0.040.25 [") and ">0.07 ± 0.04</span><br>0.25 [" in text
    assert cf[2:] == ["0.24 ± 0.03–", "2"] and new == ["new", "–0.50 (one seed)", "––", "1"]


def test_the_papers_choice_is_best_undecided_or_not(make_record: Callable) -> None:
    def group(k: int, *values: float) -> list:
        return [make_record(seed=s, hyper={"negatives": k}, mig=v) for s, v in enumerate(values)]

    records = [*group(64, 0.4, 0.5), *group(8, 0.6, 0.7)]
    swept = sweeps.by_value(records, "negatives")
    assert list(swept) == [8, 64]
    row = cells(sweeps.is_best(swept, 64, {"mig": "MIG"}, "").text)[1]
    assert row[:2] == ["MIG", "8"] and row[3].startswith("0.20 [") and row[4] == "no"
    assert cells(sweeps.is_best(swept, 8, {"mig": "MIG"}, "").text)[1][4] == "yes, by its mean"
    mixed = sweeps.by_value([*group(64, 0.4, 0.5), *group(8, 0.1, 0.9)], "negatives")
    assert cells(sweeps.is_best(mixed, 64, {"mig": "MIG"}, "").text)[1][4].startswith("undecided")
    with pytest.raises(LookupError, match="nothing was run at 16; there is 8, 64"):
        sweeps.is_best(swept, 16, {"mig": "MIG"}, "")


def test_seconds_a_step_are_those_of_the_record(make_record: Callable) -> None:
    record = dataclasses.replace(make_record(), seconds=25.0)
    assert sweeps.timed([record])[0].metrics[sweeps.STEP_SECONDS] == 25.0 / record.spec["steps"]


# ---- plans, and the diagram ----------------------------------------------------------------------------------------


def test_a_chapter_changes_of_a_study_only_what_it_was_given_by_hand() -> None:
    usual = profiles("dis_gu")["laptop"]
    names = ("image_size", "train_size", "batch_size", "precision", "eval_points")
    p = SimpleNamespace(notebook="dis_gu", profile="laptop", seeds=[0], source="auto", **{n: usual[n] for n in names})
    (vae,) = chosen(planned("disgu_table1", p), model="beta_vae")
    (digits,) = chosen(planned("dis_gu_figures", p), dataset="mnist")
    assert (vae.spec.batch_size, vae.spec.precision) == (64, "bf16")
    assert (digits.spec.image_size, digits.spec.parents["glow"].hyper["levels"]) == (28, 2)
    p.batch_size = 7
    (ours,) = chosen(planned("disgu_table1", p), model="dis_gu")
    assert ours.spec.batch_size == ours.spec.parents["glow"].batch_size == 7


def test_a_share_of_the_steps_shortens_the_warm_up_as_well() -> None:
    spec, tenth = (
        chosen(planned("disgu_table1", SimpleNamespace(profile="laptop", seeds=[0], **more)), model="dis_gu")[0].spec
        for more in ({}, {"fraction": 0.1})
    )
    assert (tenth.steps, tenth.hyper["flip_warmup"]) == (spec.steps // 10, spec.hyper["flip_warmup"] // 10)
    assert (
        tenth.hyper["staged"] == 0
        and tenth.parents["glow"].hyper["warmup"] == spec.parents["glow"].hyper["warmup"] // 10
    )
    assert tenth.hyper["lr"] == spec.hyper["lr"]


def test_a_list_chooses_any_of_its_items() -> None:
    p = SimpleNamespace(profile="laptop", seeds=[0])
    jobs = planned("disgu_readings", p)
    wanted = {"columns": "orthonormal", "level": "top", "shift_scale": 6.0, "tau": 1.0, "normalise": True}
    assert len(chosen(jobs, **wanted)) == 2 and len(chosen(jobs, **wanted, code_dims=[16, 64])) == 1


def test_a_diagram_has_a_box_and_an_arrow_for_each() -> None:
    figure = diagram({"a": Box(1, 1, "A"), "b": Box(4, 1, "B", "frozen")}, [("a", "b", "to")])
    assert len(figure.axes[0].patches) == 3 and {t.get_text() for t in figure.axes[0].texts} == {"A", "B", "to"}
    with pytest.raises(ValueError, match="unknown kind cloud; known: data, frozen"):
        diagram({"a": Box(1, 1, "A", "cloud")}, [])
