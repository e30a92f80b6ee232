"""Controlled codes: each has the fault that it is said to have, and is scored as the metrics alone would score it."""

from __future__ import annotations

from dataclasses import replace

import metric_cases
import metric_references
import numpy as np
import pytest
import torch

from disentlib import metrics
from disentlib.data import FactorGrid
from disentlib.experiments import controlled
from disentlib.experiments.controlled import CASES, GRID, Score, codes, score_cases
from disentlib.experiments.controlled_sweeps import by_bins, by_copies, by_estimator, by_points, by_spare_dims, sized

SMALL = FactorGrid(("a", "b", "c"), (3, 4, 5))
QUICK = replace(controlled.shrunk(metrics.LOCATELLO, 50), dci_estimator="lightgbm")
FACTORS = GRID.factors(torch.arange(len(GRID))).numpy()


def known(case: str) -> np.ndarray:
    """Squared correlation of each dimension with each factor, `[d, k]`, 0 for what does not vary."""
    table = codes(case, seed=0)
    with np.errstate(invalid="ignore"):
        full = np.corrcoef(table.T.astype(np.float64), FACTORS.T.astype(np.float64)) ** 2
    return np.nan_to_num(full[: table.shape[1], table.shape[1] :])


def explained(case: str) -> np.ndarray:
    """R² of a linear regression of each factor on all dimensions, `[k]`."""
    table = np.hstack([codes(case, seed=0).astype(np.float64), np.ones((len(FACTORS), 1))])
    rest = FACTORS - table @ np.linalg.lstsq(table, FACTORS.astype(np.float64), rcond=None)[0]
    return 1 - rest.var(0) / FACTORS.var(0)


# ---- codes ---------------------------------------------------------------------------------------------------------


def test_factors_are_standardised_over_the_grid() -> None:
    s = controlled.standardised(GRID)
    np.testing.assert_allclose(s.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(s.var(0), 1)
    np.testing.assert_allclose(s, metric_cases.standardised(FACTORS, GRID.sizes))


@pytest.mark.parametrize("case", CASES)
def test_codes_are_a_pure_function_of_case_and_seed(case: str) -> None:
    first = codes(case, 3, SMALL)
    assert first.dtype == np.float32 and first.shape[0] == 60 and np.isfinite(first).all()
    np.testing.assert_array_equal(first, codes(case, 3, SMALL))
    fixed = case in ("exact", "constant")
    assert np.array_equal(first, codes(case, 4, SMALL)) == fixed


@pytest.mark.parametrize("case", ["exact", "aligned", "dead", "scaled", "warped"])
def test_faultless_codes_give_each_factor_a_dimension_of_its_own(case: str) -> None:
    table = known(case)
    own = table.argmax(0)
    assert not CASES[case].lacks and len(set(own)) == 5
    assert (table[own, range(5)] > 0.65).all()  # a warped dimension is not linear
    table[own, range(5)] = 0
    assert table.max() < 0.01


def test_faults_are_what_they_are_said_to_be() -> None:
    copies, merged, fewer = known("duplicated"), known("merged"), known("fewer")
    assert copies.shape == (10, 5) and ((copies > 0.9).sum(0) == 2).all()
    np.testing.assert_allclose(merged[0, :2], 0.5, atol=0.01)
    assert merged.shape == (4, 5) and fewer.shape == (3, 5) and fewer[:, 3:].max() < 0.01
    for case in ("rotated", "partly_mixed", "more"):
        assert "D" in CASES[case].lacks and "I" not in CASES[case].lacks
        assert explained(case).min() > 0.95 and (np.sort(known(case).T, axis=1)[:, -2] > 0.01).all()
    assert explained("noise").max() < 0.01 and codes("constant", 0).std(0).max() == 0
    assert (codes("dead", 0)[:, 0] == 0).all()


def test_a_rotation_keeps_lengths() -> None:
    rotated = codes("rotated", seed=5).astype(np.float64)
    s = controlled.standardised(GRID)
    matrix = np.linalg.lstsq(s, rotated, rcond=None)[0]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=0.01)
    assert (rotated - s @ matrix).std() == pytest.approx(controlled.NOISE, rel=0.02)


def test_an_unknown_case_lists_the_known_ones() -> None:
    with pytest.raises(LookupError, match="'twisted'; known: exact, aligned, warped"):
        codes("twisted", seed=0)


def test_an_image_is_its_factors_and_always_has_the_same_code() -> None:
    dataset, table = controlled.factor_images(SMALL), codes("aligned", 0, SMALL)
    encode = controlled.encoder(dataset, table)
    rows = torch.tensor([59, 0, 17, 17])
    images = dataset.images(rows)
    assert images.shape == (4, 1, 1, 3)
    assert torch.equal((images.flatten(1) * 255).round().long(), SMALL.factors(rows))
    np.testing.assert_array_equal(encode(images).numpy(), table[rows.numpy()])


# ---- scores --------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_evaluate_and_of_a_slow_reference() -> None:
    found = {r.metric: r.value for r in score_cases(["partly_mixed"], [2], QUICK, ["mig", "factor_vae"])}
    dataset, table = controlled.factor_images(), codes("partly_mixed", 2)
    asked = {"protocol": QUICK, "generator": torch.Generator().manual_seed(2)}
    alone = metrics.evaluate(dataset, controlled.encoder(dataset, table), **asked, scores=["factor_vae", "mig"])
    assert found == alone
    everything = replace(QUICK, train_points=len(table))
    slow = metric_references.mig(table.astype(np.float64), FACTORS)
    assert metrics.mig(table, FACTORS, protocol=everything) == pytest.approx(slow, abs=1e-9)


def test_processes_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = score_cases(["aligned", "noise"], [0, 1], QUICK, ["mig", "sap"], workers=1)
    monkeypatch.setattr(controlled, "_WORTH_IT", 0)
    assert score_cases(["aligned", "noise"], [0, 1], QUICK, ["mig", "sap"], workers=2) == alone
    assert [(r.case, r.seed, r.metric) for r in alone[:3]] == [
        ("aligned", 0, "mig"), ("aligned", 0, "sap"), ("aligned", 1, "mig"),
    ]  # fmt: skip


def test_a_shrunk_protocol_says_so_and_changes_counts_alone() -> None:
    assert controlled.shrunk(metrics.LOCATELLO, 1) is metrics.LOCATELLO
    small = controlled.shrunk(metrics.INFOGAN_CR, 50)
    assert (small.train_points, small.train_votes, small.test_points, small.bins) == (1475, 10, 0, 20)
    assert small.name == "infogan_cr, counts / 50" and small.in_sample


def test_a_forest_s_importances_below_zero_by_rounding_are_none() -> None:
    """scikit-learn gave −4e-18 here."""
    protocol = replace(controlled.shrunk(metrics.INFOGAN_CR, 100), dci_estimator="random_forest")
    found = {r.metric: r.value for r in score_cases(["aligned"], [0], protocol, ["dci"])}
    assert found["dci_disentanglement"] == pytest.approx(1, abs=0.01)


# ---- sweeps --------------------------------------------------------------------------------------------------------


def test_sweeps_have_a_row_for_each_place_seed_and_metric() -> None:
    rows = by_points(["aligned"], [0, 1], QUICK, [100, 120], workers=1)
    assert len(rows) == 2 * 2 * 7 and {r.at for r in rows} == {100, 120}
    bins = by_bins(["aligned"], [0], replace(QUICK, train_points=1000), [3, 20], workers=1)
    assert [(r.metric, r.at) for r in bins] == [("mig", 3), ("mig", 20)] and bins[0].value < bins[1].value


def test_noise_beside_a_perfect_code_is_harmless_and_copies_are_not() -> None:
    protocol = sized(QUICK, 1000)
    spare = {(r.metric, r.at): r.value for r in by_spare_dims([0], protocol, [0, 4], workers=1)}
    copies = {(r.metric, r.at): r.value for r in by_copies([0], protocol, [1, 2], workers=1)}
    assert spare["mig", 4] > 0.9 * spare["mig", 0] and spare["factor_vae", 4] == 1
    assert copies["mig", 1] > 0.8 > 0.1 > copies["mig", 2] and copies["factor_vae", 2] == 1
    assert copies["dci_completeness", 2] < 0.8 < copies["dci_completeness", 1]


def test_readings_share_their_points() -> None:
    cr = controlled.shrunk(metrics.INFOGAN_CR, 50)
    found = by_estimator(["aligned"], [0], cr, ["lasso", "random_forest"], workers=1)
    assert list(found) == ["lasso", "random_forest"] and all(len(rows) == 3 for rows in found.values())
    plain = score_cases(["aligned"], [0], cr, ["dci"], workers=1)
    assert [r.value for r in found["lasso"]] == [r.value for r in plain]
    assert isinstance(plain[0], Score) and [r.value for r in found["random_forest"]] != [r.value for r in plain]
