"""Pictures and tables of scored codes: rings stand where the rule puts them, and numbers are those of the rows."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from disentlib.experiments import bootstrap, metric_pictures
from disentlib.experiments.controlled import CASES, Score


def rows(values: dict[str, dict[str, list[float]]]) -> list[Score]:
    """metric → case → a value a seed."""
    return [
        Score(case, seed, metric, value)
        for metric, cases in values.items()
        for case, points in cases.items()
        for seed, value in enumerate(points)
    ]


LEVELS = {"aligned": [0.9, 1.1], "noise": [0.0, 0.0], "warped": [0.7, 0.7], "duplicated": [0.9, 0.9],
          "merged": [0.9, 0.9], "rotated": [0.79, 0.79]}  # fmt: skip


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_single_numbers_are_blind_to_any_fault_and_parts_to_their_own_alone() -> None:
    found = metric_pictures.blind_spots(
        rows({"mig": LEVELS, "dci_disentanglement": LEVELS, "dci_informativeness": LEVELS})
    )
    assert found == {
        ("mig", "duplicated"): "blind", ("mig", "merged"): "blind", ("mig", "warped"): "harsh",
        ("dci_disentanglement", "merged"): "blind", ("dci_disentanglement", "warped"): "harsh",
        ("dci_informativeness", "warped"): "harsh",
    }  # fmt: skip


def test_a_metric_that_tells_nothing_apart_is_not_called_blind() -> None:
    assert metric_pictures.blind_spots(rows({"mig": {"aligned": [0.0], "noise": [0.0], "rotated": [0.0]}})) == {}


def test_the_picture_has_every_case_and_marks() -> None:
    figure = metric_pictures.dots_by_case(rows({"mig": LEVELS, "sap": LEVELS}))
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [
        "aligned, 2 noise dims", "warped, monotone", "every factor twice  (C)", "two factors merged  (D)",
        "rotated  (D, C)", "pure noise  (D, C, I)",
    ]  # fmt: skip
    assert [axes.get_title() for axes in figure.axes] == ["MIG", "SAP"]
    hollow = [c for c in figure.axes[0].collections if not len(c.get_facecolors())]
    assert sorted(float(c.get_offsets()[0][1]) for c in hollow) == [1, 2, 3]


def test_heat_maps_never_share_a_panel() -> None:
    figure = metric_pictures.heatmaps({"one": rows({"mig": LEVELS}), "two": rows({"sap": LEVELS})})
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    assert [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes] == [["MIG"], ["SAP"]]
    assert figure.axes[0].texts[0].get_text() == "1.00"


def test_tables_hold_intervals_and_differences_are_paired() -> None:
    first, second = rows({"mig": {"aligned": [0.5, 0.9]}}), rows({"mig": {"aligned": [0.4, 0.8]}})
    table = metric_pictures.score_table(first, "all", folded=False).text
    assert bootstrap([0.5, 0.9]).text(2) in table
    assert "0.100 [0.100,\N{NO-BREAK SPACE}0.100]" in metric_pictures.score_differences(first, second, "gap").text
    assert metric_pictures.score_table(first, "all").text.startswith("<details")


def test_a_sweep_joins_means_and_writes_its_places_out() -> None:
    swept = [Score("aligned", s, "mig", v, at) for s, at, v in [(0, 10, 0.2), (1, 10, 0.4), (0, 100, 0.8)]]
    _, axes = plt.subplots()
    metric_pictures.metric_sweep(axes, swept, "aligned", "points", log=True)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[10, 0.3], [100, 0.8]])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["10", "100"] and axes.get_xscale() == "log"
    _, other = plt.subplots()
    metric_pictures.case_sweep(other, swept, "mig", {"aligned": "#0072B2"}, "points")
    assert other.lines[0].get_label() == CASES["aligned"].label


def test_maps_show_one_panel_a_case() -> None:
    figure = metric_pictures.information_maps(["aligned", "noise"], seed=0)
    known, nothing = (axes.images[0].get_array() for axes in figure.axes)
    assert known.shape == (7, 5) and (np.diag(known[:5]) > 0.95).all() and nothing.max() < 0.02


def test_the_origin_says_profile_seeds_and_versions() -> None:
    text = metric_pictures.origin(SimpleNamespace(profile="smoke", seeds=[0, 7]), "protocol x").text
    assert "provenance" in text and "profile smoke" in text and "seeds 0, 7" in text and "scikit-learn" in text
