"""From runs to tables: intervals, verdicts, provenance, evaluation, reuse of runs, and chapters that go stale."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import scipy.stats
import torch
from conftest import in_memory, squares
from PIL import Image

from disentlib import experiments, models, training
from disentlib.data.dataset import Dataset
from disentlib.experiments import chapters, notebooks, pages, parameters, places, records, runs, statistics, tables
from disentlib.experiments.claims import Claim, claim, claims
from disentlib.experiments.evaluation import evaluate, evaluation_points, informed, posterior_table, row_labels
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Run, Spec, run, run_all
from disentlib.experiments.statistics import Interval, Spreads, bootstrap, paired, prediction, spreads
from disentlib.experiments.tables import Row, compare, ordering, verdict
from disentlib.metrics import LOCATELLO, active_dimensions, mig

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Record]


def cells(text: str) -> list[list[str]]:
    """The cells of the first table of a page, tags taken off."""
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[html.unescape(re.sub("<.*?>", "", c)) for c in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)] for row in rows]


# ---- statistics ----------------------------------------------------------------------------------------------------


def test_a_bootstrap_interval_repeats_and_holds_the_mean() -> None:
    values = np.random.default_rng(0).exponential(size=7).tolist()
    first = bootstrap(values)
    assert first == bootstrap(values) and first.n == 7
    assert first.low < first.mean < first.high and first.mean == pytest.approx(sum(values) / 7)
    assert min(values) <= first.low and first.high <= max(values)


def test_with_many_values_it_is_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(5, 2, size=200)
    found, error = bootstrap(values), values.std(ddof=1) / 200**0.5
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_it_is_scipys_percentile_interval() -> None:
    values = np.random.default_rng(2).gamma(2, size=12)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=3)
    ours, width = bootstrap(values), float(np.ptp(theirs.confidence_interval))
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), abs=0.05 * width)


def test_it_moves_with_the_unit() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    one, other = bootstrap(values), bootstrap(1000 * values - 7)
    assert [other.mean, other.low, other.high] == pytest.approx([1000 * v - 7 for v in (one.mean, one.low, one.high)])


def test_one_seed_has_no_interval_and_none_is_refused() -> None:
    assert bootstrap([3.25]) == Interval(3.25, None, None, 1) and str(bootstrap([3.25])) == "3.250 (one seed)"
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap([])


def test_an_interval_reads_as_its_numbers() -> None:
    text = Interval(1.23456, 1.0, 2.0, 3).text(2).replace("\N{NO-BREAK SPACE}", " ")
    assert text == "1.23 [1.00, 2.00]"


def test_pairs_are_made_by_seed_over_those_that_both_have() -> None:
    first, second = {0: 5.0, 1: 7.0, 2: 100.0, 4: 10.0}, {4: 7.0, 1: 5.0, 0: 4.0, 9: -100.0}
    assert paired(first, second) == bootstrap([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no seed in common"):
        paired({0: 1.0}, {1: 1.0})


def test_pairing_removes_what_the_seeds_share() -> None:
    noise = np.random.default_rng(0).normal(0, 10, size=8)
    first, second = dict(enumerate(noise + 1.0)), dict(enumerate(noise))
    difference = paired(first, second)
    assert difference.low == pytest.approx(1) and difference.high == pytest.approx(1)


def test_prediction_is_the_textbook_interval_for_one_more_draw() -> None:
    values = [3.0, 5.0, 4.0, 8.0]
    n, mean, s = 4, np.mean(values), np.std(values, ddof=1)
    expected = scipy.stats.t.interval(0.95, n - 1, loc=mean, scale=s * (1 + 1 / n) ** 0.5)
    assert prediction(values) == pytest.approx(expected)
    assert prediction([3.0]) is None and prediction([]) is None


def test_prediction_covers_one_more_draw_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(2, 3, size=(4000, 6))
    covered = [low <= row[5] <= high for row in draws for low, high in [prediction(row[:5])]]
    assert np.mean(covered) == pytest.approx(statistics.LEVEL, abs=4 * (0.05 * 0.95 / 4000) ** 0.5)


def test_spreads_between_seeds_and_between_evaluations_are_those_of_the_textbook() -> None:
    """Two seeds, two evaluations each: MS_w = 2, MS_b = 2·(5² + 5²) = 100, so s² = (100 − 2)/2."""
    found = spreads({0: [1.0, 3.0], 5: [11.0, 13.0]})
    assert found.evaluations == pytest.approx(2**0.5) and found.seeds == pytest.approx(7.0)
    same = spreads({0: [1.0, 3.0, 5.0], 1: [1.0, 3.0, 5.0]})
    assert same.seeds == 0 and same.evaluations == pytest.approx(2.0)


def test_spreads_where_one_of_the_two_cannot_be_told() -> None:
    assert spreads({0: [3.0]}) == Spreads(None, None)
    assert spreads({0: [1.0, 3.0]}) == Spreads(None, pytest.approx(2**0.5))
    assert spreads({0: [1.0], 1: [3.0]}) == Spreads(pytest.approx(2**0.5), None)
    for nothing in ({}, {0: [1.0], 1: []}):
        with pytest.raises(ValueError, match="at least one"):
            spreads(nothing)


@pytest.mark.parametrize("sizes", [[4] * 400, [2, 6] * 200])
def test_spreads_recover_what_made_the_numbers(sizes: list[int]) -> None:
    g = np.random.default_rng(0)
    found = spreads({i: (g.normal(0, 3.0) + g.normal(0, 1.0, size)).tolist() for i, size in enumerate(sizes)})
    assert found.seeds == pytest.approx(3.0, rel=0.1) and found.evaluations == pytest.approx(1.0, rel=0.06)


# ---- tables --------------------------------------------------------------------------------------------------------

CLAIM = Claim("table1", "row", "column", 2.0, decimals=3)
OURS = Interval(2.0, 1.5, 2.5, 3)


@pytest.mark.parametrize(
    ("claimed", "ours", "why_not", "kind", "text"),
    [
        (CLAIM, OURS, None, "inside", "inside"),
        (dataclasses.replace(CLAIM, value=1.5), OURS, None, "inside", "inside"),
        (dataclasses.replace(CLAIM, value=1.49), OURS, None, "below", "below ours"),
        (dataclasses.replace(CLAIM, value=2.51), OURS, None, "above", "above ours"),
        (CLAIM, None, None, "none", "not run"),
        (CLAIM, None, "other pictures", "none", "not run"),
        (None, OURS, None, "none", "prints no value"),
        (CLAIM, OURS, "other pictures", "none", "not comparable: other pictures"),
        (CLAIM, Interval(2.0, None, None, 1), None, "none", "one seed"),
    ],
)
def test_verdicts(claimed: Claim | None, ours: Interval | None, why_not: str | None, kind: str, text: str) -> None:
    found, said = verdict(claimed, ours, why_not)
    assert found == kind and text in said


def test_a_comparison_shows_the_claim_our_interval_and_every_seed(make_record: Make) -> None:
    made = [make_record(seed=s, kl=k) for s, k in ((2, 3.0), (0, 1.0), (1, 2.0))]
    shown = compare([Row("β-VAE", CLAIM, made, "kl"), Row("VAE", CLAIM, [], "kl")], "KL").text
    head, ours, absent = cells(shown)
    assert head[1] == "paper" and absent[1:4] == ["2.000", "not run", "–"] and absent[-1] == "not run"
    assert ours[0] == "β-VAE" and ours[1] == "2.000" and ours[3] == "1.00, 2.00, 3.00" and ours[-1] == "inside"
    assert ours[4:6] == ["3", "laptop, rendered, 16 px"] and absent[4:6] == ["–", "–"]
    assert ours[2] == bootstrap([3.0, 1.0, 2.0]).text(2)
    assert all(r.id in shown for r in made)


def test_a_comparison_counts_failed_and_collapsed_runs(make_record: Make) -> None:
    made = [make_record(seed=s, kl=k, active_dimensions=a) for s, k, a in ((0, 1.0, 3), (1, 0.0, 0), (2, 0.0, 0))]
    rows = [Row("a", CLAIM, made, "kl", failed=1), Row("b", CLAIM, made[:1], "kl"), Row("c", CLAIM, [], "kl", failed=2)]
    shown = cells(compare(rows, "KL").text)[1:]
    assert [row[4] for row in shown] == ["3, 1 failed, 2 collapsed", "1", "0, 2 failed"]
    assert shown[2][-1] == "every run failed"


def test_a_rows_own_reason_comes_before_the_tables(make_record: Make) -> None:
    made = [make_record(seed=s, kl=2.0 + s / 10) for s in range(3)]
    rows = [Row("a", CLAIM, made, "kl", why_not="drawn faces"), Row("b", CLAIM, made, "kl")]
    texts = [row[-1] for row in cells(compare(rows, "KL", why_not="short").text)[1:]]
    assert texts == ["not comparable: drawn faces", "not comparable: short"]


def test_a_comparison_without_any_record_reads_not_run(make_record: Make) -> None:
    shown = compare([Row("VAE", CLAIM, [], "kl")], "KL").text
    assert "not run: there is no record" in shown and not re.search(r"\d+ steps", shown)


@pytest.mark.parametrize(
    ("printed", "ours", "text"),
    [
        ((3.0, 2.0), [1.0, 1.5, 2.0], "yes"),
        ((2.0, 3.0), [1.0, 1.5, 2.0], "no"),
        ((2.0, 3.0), [-1.0, -1.5, -2.0], "yes"),
        ((3.0, 2.0), [-1.0, 1.5, 1.0], "undecided"),
        ((3.0, 2.0), [1.0], "one seed"),
        ((2.0, 2.0), [-1.0, -1.5, -2.0], "tie"),
        ((3.0, 2.0), [], "not run"),
    ],
)
def test_directions_agree_or_not(make_record: Make, printed: tuple, ours: list[float], text: str) -> None:
    first = [make_record(seed=s, kl=10 * s + d) for s, d in enumerate(ours)]
    second = [make_record(seed=s, kl=10.0 * s) for s, _ in enumerate(ours)]
    claimed = [dataclasses.replace(CLAIM, value=value) for value in printed]
    row = cells(ordering([("a − b", *claimed, first, second)], "kl", "Differences").text)[1]
    assert row[1] == f"{printed[0] - printed[1]:+.2f}" and text in row[3]
    assert (row[2] == "not run") == (not ours)


def test_models_without_a_seed_in_common_are_not_paired(make_record: Make) -> None:
    sides = [make_record(seed=0)], [make_record(seed=1)]
    row = cells(ordering([("a − b", CLAIM, CLAIM, *sides)], "kl", "Differences").text)[1]
    assert row[2] == row[3] == "not run"


def test_claims_are_the_files_and_a_missing_one_says_where_it_was_looked_for() -> None:
    assert claim("beta_gvae", "table2", "VAE", "KL divergence").value == 24.878
    assert str(claim("beta_gvae", "table1", "reconstruction error", "β4 γ4")) == "244.180"
    assert str(claim("dis_gu", "table1", "DisCo", "MIG", dataset="Shapes3D")) == "0.15 ± 0.00"
    with pytest.raises(LookupError, match="beta_gvae has no value at table2, row 'GAN'"):
        claim("beta_gvae", "table2", "GAN", "KL divergence")
    with pytest.raises(LookupError, match="'unheard_of'; known: beta_gvae, dis_gu, idgan_sc"):
        claims("unheard_of")


def test_provenance_names_each_run_once_with_data_seeds_device_and_day(make_record: Make) -> None:
    made = [make_record(seed=s) for s in (1, 0, 1)]
    text = provenance(made, note="a note").text
    assert text.count(made[0].id) == text.count(made[1].id) == 1
    summary = html.unescape(re.search("<summary>(.*?)</summary>", text)[1])
    for part in ("profile laptop", "drawn squares <&>, 16 px", "seeds 0, 1", "x86_64 CPU", "2025-01-02", "a note"):
        assert part in summary
    for part in ("100 steps", "torch 2.15.0", "commit abc1234 (clean tree)", "data feedfacefeedface"):
        assert part in text
    assert "<&>" not in text  # escaped
    assert "not run" in provenance([]).text


# ---- evaluation ----------------------------------------------------------------------------------------------------


@pytest.fixture
def model(toy: Dataset) -> models.Model:
    built = models.build("beta_vae", toy.image_shape, code_dims=3, lr=3e-3, beta=0.5)
    training.train(built, toy, steps=25, batch_size=16, device="cpu", progress=False)
    return built.eval()


def test_evaluation_against_a_plain_computation(toy: Dataset, model: models.Model) -> None:
    n = 700
    found = evaluate(model, toy, n, torch.device("cpu"))
    indices, _ = evaluation_points(toy, n)
    images = toy.images(indices)
    with torch.no_grad():
        mean, logvar = model.posterior(images)
        q = torch.distributions.Normal(mean, (0.5 * logvar).exp())
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0)
        errors = [  # by other noise than theirs
            -torch.distributions.Bernoulli(logits=model.autoencoder.decoder(q.sample()), validate_args=False)
            .log_prob(images)
            .sum((1, 2, 3))
            .mean()
            .item()
            for _ in range(5)
        ]
    assert found["kl_per_dimension"] == pytest.approx(kl.tolist(), abs=1e-3)
    assert found["kl"] == pytest.approx(kl.sum().item(), abs=1e-3)
    assert found["active_dimensions"] == active_dimensions(kl.numpy(), 0.1)
    assert found["reconstruction"] == pytest.approx(np.mean(errors), rel=0.03)
    protocol = dataclasses.replace(LOCATELLO, train_points=n)
    assert found["mig"] == pytest.approx(mig(mean.numpy(), toy.factors(indices).numpy(), protocol=protocol), abs=1e-4)
    assert found == evaluate(model, toy, n, torch.device("cpu"))


def test_evaluation_without_factors_has_no_mig(model: models.Model) -> None:
    assert "mig" not in evaluate(model, in_memory(squares()), 100, torch.device("cpu"))


def test_a_posterior_table_does_not_depend_on_its_chunks(toy: Dataset, model: models.Model) -> None:
    _, images = evaluation_points(toy, 600)
    whole, head = (posterior_table(model, chosen, torch.device("cpu")) for chosen in (images, images[:250]))
    torch.testing.assert_close(whole["mean"][:250], head["mean"])
    torch.testing.assert_close(whole["codes"][:250], head["codes"])
    sigma = (0.5 * whole["logvar"]).exp()
    assert ((whole["codes"] - whole["mean"]) / sigma).std() == pytest.approx(1, abs=0.1)


def test_a_collapsed_posterior_cannot_be_told_from_the_prior(toy: Dataset) -> None:
    built = models.build("vae", toy.image_shape, code_dims=10)
    torch.nn.init.zeros_(built.autoencoder.encoder.body[-1].weight)
    torch.nn.init.zeros_(built.autoencoder.encoder.body[-1].bias)
    found = evaluate(built, toy, 500, torch.device("cpu"))
    assert found["kl"] == 0
    assert found["prior_auc"] == pytest.approx(0.5, abs=4 * (501 / (12 * 250**2)) ** 0.5)


def test_informed_knows_a_factor_that_a_dimension_holds(toy: Dataset) -> None:
    class Reads(torch.nn.Module):
        """A stand-in whose first code is the square's column and whose second is nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            column = images.amax((1, 2)).gt(0).float().argmax(1).float()
            return torch.stack([column, torch.zeros_like(column)], 1)

    known = informed(Reads(), toy, 2000)
    assert known[0, 1] == pytest.approx(1) and known[0, 0] < 0.05 and known[1].max() == pytest.approx(0, abs=1e-9)
    assert row_labels([3.21, 0.0], [0, 1], toy, known) == ["z0 3.2\nx 100%", "z1 0.0"]
    assert row_labels(None, [0, 1], toy, known) == ["c0\nx 100%", "c1"]
    assert row_labels([3.21, 0.0], [1], toy, None) == ["z1 0.0"]


# ---- runs ----------------------------------------------------------------------------------------------------------

SPEC = Spec(
    dataset="toy", model="beta_vae", profile="test", source="rendered", image_size=16, steps=4, batch_size=8,
    hyper={"code_dims": 3, "beta": 1.0, "likelihood": "bernoulli", "lr": 1e-3}, eval_points=100,
)  # fmt: skip


@pytest.fixture
def on_toy(toy: Dataset, runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runs, "_load", lambda *_: toy)
    monkeypatch.setattr(training, "best_device", lambda: torch.device("cpu"))  # a GPU's sums need not repeat
    return runs_folder


def again(spec: Spec = SPEC, **more: object) -> Run:
    return run(spec, progress=False, **more)


def result(record: Record) -> dict:
    """What a record says, without what a clock decides."""
    content = dataclasses.asdict(record)
    for name in ("seconds", "peak_memory_mb", "environment"):
        del content[name]
    return content | {"metrics": {k: v for k, v in record.metrics.items() if k != "evaluation_seconds"}}


def test_an_id_covers_every_setting() -> None:
    text = (
        '{"batch_size": 8, "dataset": "toy", "eval_points": 100, "hyper": {"beta": 1.0, "code_dims": 3, '
        '"likelihood": "bernoulli", "lr": 0.001}, "image_size": 16, "model": "beta_vae", "precision": "float32", '
        '"profile": "test", "seed": 0, "source": "rendered", "steps": 4, "train_size": null}'
    )
    assert SPEC.id == f"toy-beta_vae-test-s0-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    changed = {f.name: f"{getattr(SPEC, f.name)}!" for f in dataclasses.fields(Spec)}
    changed |= {"hyper": {"beta": 2.0}, "parents": {"stage1": SPEC}, "watch": ["mig"]}
    ids = {dataclasses.replace(SPEC, **{name: value}).id for name, value in changed.items()}
    assert len(ids | {SPEC.id}) == 1 + len(dataclasses.fields(Spec))


def test_a_run_writes_a_record_and_is_reused(on_toy: Path, toy: Dataset) -> None:
    first, second = again(), again()
    assert first.fresh and not second.fresh and second.record == first.record
    assert records.read(on_toy / SPEC.id / "record.json") == first.record
    assert first.record.spec == SPEC.content() and first.record.data["hash"] == toy.content_hash()
    weights = [{name: w.cpu() for name, w in r.model.state_dict().items()} for r in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] | weights[1])
    assert not second.model.training and not first.model.training


def test_the_time_of_later_scores_is_added_to_that_of_the_evaluation(
    on_toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again().record.metrics["evaluation_seconds"]
    clock = iter((100.0, 107.5))
    monkeypatch.setattr(runs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert again(scores=["sap"]).record.metrics["evaluation_seconds"] == pytest.approx(first + 7.5)
    assert again(scores=["sap"]).record.metrics["evaluation_seconds"] == pytest.approx(
        first + 7.5
    )  # nothing is lacking


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_model_that_encodes_in_parts_gets_the_same_codes(on_toy: Path, toy: Dataset, size: int) -> None:
    whole = again().model
    parts = runs._InParts(whole)
    parts.SIZE = size
    images = toy.images(torch.arange(len(toy)))
    with torch.no_grad():
        assert torch.allclose(parts.encode(images), whole.encode(images), atol=1e-6)
    assert next(parts.parameters()) is next(whole.parameters())


def test_another_seed_or_setting_is_another_run(on_toy: Path) -> None:
    first = again()
    for changed in ({"seed": 1}, {"hyper": SPEC.hyper | {"beta": 2.0}}, {"steps": 5}):
        other = again(dataclasses.replace(SPEC, **changed))
        assert other.fresh and other.record.id != first.record.id and other.record.losses != first.record.losses


def test_a_run_on_data_that_has_changed_is_made_again(
    on_toy: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again()
    monkeypatch.setattr(runs, "_load", lambda *_: in_memory(squares() // 2, grid=toy.grid))
    other = again()
    assert other.fresh and other.record.id == first.record.id
    assert other.record.data["hash"] != first.record.data["hash"] and other.record.losses != first.record.losses
    assert not again().fresh


def test_without_reuse_a_run_is_made_again_and_comes_out_the_same(on_toy: Path) -> None:
    first, second = again(), again(reuse=False)
    assert second.fresh and result(second.record) == result(first.record)


def test_a_run_stopped_before_its_record_is_finished_without_training(
    on_toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert not (on_toy / SPEC.id / "record.json").exists()
    monkeypatch.setattr(models.BetaVAE, "step", killed)  # there is nothing left to train
    assert again().record.history["steps"] == [4]


def test_a_broken_record_is_named_and_not_overwritten(on_toy: Path) -> None:
    again()
    path = on_toy / SPEC.id / "record.json"
    path.write_text("{")
    with pytest.raises(records.RecordError, match="record.json.*run its settings again"):
        again()
    assert path.read_text() == "{"


def test_records_are_published_where_asked(on_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISENTLIB_PUBLISH", str(tmp_path / "published"))
    first = again()
    assert records.read_all(tmp_path / "published") == [first.record]
    (tmp_path / "published" / f"{SPEC.id}.json").unlink()
    assert not again().fresh and records.read_all(tmp_path / "published") == [first.record]


def test_a_bad_cell_of_a_grid_does_not_lose_the_rest(on_toy: Path) -> None:
    bad = dataclasses.replace(SPEC, hyper={"beta": -1.0})
    with pytest.raises(ValueError, match="beta must be"):
        run_all([bad, SPEC])
    assert (on_toy / SPEC.id / "record.json").exists()


def test_a_grid_takes_records_from_the_book_without_training_them(
    on_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The book's record is marked, so that it can be told from one that was trained here."""
    made = again().record
    monkeypatch.setenv("DISENTLIB_RUNS", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(places, "published_records", lambda: tmp_path / "book")
    marked = dataclasses.replace(made, metrics=made.metrics | {"marked": 1})
    records.write(marked, tmp_path / "book" / f"{SPEC.id}.json")
    assert run_all([SPEC]) == [marked]
    asked = run_all([SPEC], scores=["sap"])[0].metrics  # a record that lacks a score is not enough
    assert "marked" not in asked and "sap" in asked
    monkeypatch.setenv("DISENTLIB_RUNS", str(tmp_path / "elsewhere still"))
    assert "marked" not in run_all([SPEC], reuse=False)[0].metrics
    other_data = dataclasses.replace(marked, data=made.data | {"hash": "0" * 16})
    records.write(other_data, tmp_path / "book" / f"{SPEC.id}.json")
    monkeypatch.setenv("DISENTLIB_RUNS", str(tmp_path / "third"))
    assert "marked" not in run_all([SPEC])[0].metrics


def test_two_workers_give_the_records_of_one(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(training, "best_device", lambda: torch.device("cpu"))
    specs = [dataclasses.replace(SPEC, dataset="mnist", train_size=64, steps=3, seed=seed) for seed in (1, 0)]
    together = run_all(specs, workers=2)
    monkeypatch.setenv("DISENTLIB_RUNS", str(runs_folder / "alone"))
    alone = run_all(specs)
    assert [r.spec["seed"] for r in together] == [1, 0]
    assert list(map(result, together)) == list(map(result, alone))
    assert sorted(p.name for p in runs_folder.iterdir() if p.name != "alone") == sorted(r.id for r in together)


def test_a_thinned_history_keeps_values_of_the_whole_one() -> None:
    steps = list(range(50, 10_001, 50))
    thinned = runs._thinned(training.History(steps, {"loss": [1.0 / s for s in steps]}))
    assert len(thinned["steps"]) == 40 and thinned["steps"][-1] == 10_000
    assert thinned["loss"] == pytest.approx([1.0 / s for s in thinned["steps"]], rel=1e-4)


def test_a_spec_takes_what_is_given_then_the_notebooks_parameters_then_the_models_defaults() -> None:
    p = SimpleNamespace(
        notebook="n", profile="laptop", seed=3, source="auto", image_size=32, train_size=500, steps=9, batch_size=4,
        precision="bf16", eval_points=200, lr=0.5, beta=7.0, gamma=2.0, reuse=True,
    )  # fmt: skip
    spec = experiments.vae_spec(p, "celeba", "beta_gvae", seed=5, gamma=1.0)
    assert (spec.seed, spec.profile, spec.steps, spec.precision) == (5, "laptop", 9, "bf16")
    own = {"lr": 0.5, "beta": 7.0, "gamma": 1.0, "likelihood": "squared_error"}
    assert spec.hyper == {k: v for k, v in models.hyperparameters("beta_gvae").items() if k != "seed"} | own
    assert experiments.vae_spec(p, "dsprites", "vae").hyper == {"code_dims": 10, "likelihood": "bernoulli", "lr": 0.5}


# ---- pages ---------------------------------------------------------------------------------------------------------


def test_your_run_is_judged_against_ours_with_the_same_settings(
    make_record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "published_records", lambda: tmp_path)
    for seed, kl in enumerate((3.0, 3.1, 2.9)):
        records.write(make_record(seed=seed, kl=kl), tmp_path / f"{seed}.json")
    records.write(make_record(seed=7, kl=90.0, hyper={"beta": 1.0}), tmp_path / "other.json")
    low, high = prediction([3.0, 3.1, 2.9])
    for kl, expected in ((3.05, "inside"), (high + 0.01, "outside"), (low - 0.01, "outside")):
        row = cells(pages.against_ours(make_record(seed=9, kl=kl), ["kl"]).text)[1]
        assert row[0] == "kl" and "(3 runs)" in row[2] and row[3].startswith(expected)
    row = cells(pages.against_ours(make_record(seed=9, kl=1.0, dci_extra=0.5), ["dci_extra"]).text)[1]
    assert row[2] == "not run"  # ours have not been asked for this score
    row = cells(pages.against_ours(make_record(seed=9, hyper={"beta": 2.0}), ["kl"]).text)[1]
    assert row[2] == "not run" and row[3].startswith("no run of ours")


def test_your_run_and_ours_build_on_the_same_kind_of_run(
    make_record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent's seed is the run's own, so that it may differ; what the parent is may not, nor that there is one."""
    monkeypatch.setattr(places, "published_records", lambda: tmp_path)

    def built_on(seed: int, beta: float | None, kl: float) -> Record:
        record = make_record(seed=seed, kl=kl)
        parent = {"id": f"stage1-s{seed}", "model": "beta_vae", "seed": seed, "hyper": {"beta": beta}, "source": "auto"}
        spec = record.spec if beta is None else record.spec | {"parents": {"stage1": parent}}
        return dataclasses.replace(record, spec=spec)

    for number, (seed, beta) in enumerate([(0, 4.0), (1, 4.0), (2, None), (3, 8.0)]):
        records.write(built_on(seed, beta, 3.0 + number), tmp_path / f"{number}.json")
    row = cells(pages.against_ours(built_on(9, 4.0, 3.5), ["kl"]).text)[1]
    low, high = prediction([3.0, 4.0])
    assert row[2] == f"{low:.3g} … {high:.3g} (2 runs)"


def test_costs_are_grouped_by_what_they_depend_on(make_record: Make) -> None:
    made = [make_record(seed=s, model=m) for m in ("vae", "beta_vae") for s in (0, 1)]
    made[0] = dataclasses.replace(made[0], seconds=61.6)
    shown = pages.costs(made).text
    assert [row[:3] for row in cells(shown)[1:]] == [["beta_vae", "2", "2"], ["vae", "2", "2–62"]]
    assert f"profile {made[0].spec['profile']}" in shown  # said once for all

    made[1].environment["threads"] = 7
    head, *rows = cells(pages.costs(made).text)
    assert head[:3] == ["model", "threads", "runs"] and sorted(row[1] for row in rows)[-1] == "7"
    assert "not run" in pages.costs([]).text


def test_costs_count_what_a_run_builds_on(make_record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 1 took 5 s, phase 1 on top of it 7, the second phase 2; of another run the first phase is unknown."""
    stage = {"id": "stage", "parents": {}}
    known = {"stage": dataclasses.replace(make_record(), seconds=5.0)}
    known["phase"] = dataclasses.replace(make_record(), seconds=7.0)
    monkeypatch.setattr(runs, "recorded", known.get)
    phase = {"id": "phase", "parents": {"stage1": stage}}
    for parents, expected in (({"phase1": phase}, "14"), ({"phase1": {"id": "lost"}}, "–")):
        record = make_record()
        record = dataclasses.replace(record, seconds=2.0, spec=record.spec | {"parents": parents})
        assert cells(pages.costs([record]).text)[1][-1] == expected


# ---- chapters ------------------------------------------------------------------------------------------------------


def executed() -> nbformat.NotebookNode:
    """A notebook as papermill leaves it, with what must not go into the book."""
    output, stream = nbformat.v4.new_output, {"output_type": "stream"}
    project, home = places.project(), Path.home()
    figure = {"figure": {"caption": "c", "name": "fig-x"}}
    shown = [
        output("display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}),
        output("display_data", data={"text/html": f"<p>{project}/runs/a.pt</p>", "text/plain": "<Html>"}),
    ]
    code = nbformat.v4.new_code_cell
    return nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "P"}, "papermill": {"output_path": f"{home}/o"}},
        cells=[
            nbformat.v4.new_markdown_cell("# Title"),
            code("x: int = 3", metadata={"tags": ["parameters"], "papermill": {"duration": 0.1}}, execution_count=1),
            code("# Parameters\nx = 4", metadata={"tags": ["injected-parameters"]}, execution_count=2),
            code("print(1)", execution_count=3, metadata={"execution": {"iopub.execute_input": "now"}}, outputs=[
                output(**stream, name="stderr", text="  5%|▌         | 1/20"),
                output(**stream, name="stdout", text=f"read {project}/notebooks/a.ipynb in {project}\n{home}/data/b"),
            ]),
            code("show()", execution_count=4, metadata={"mystnb": figure, "tags": ["hide-input"]}, outputs=shown),
        ],
    )  # fmt: skip


def test_cleaning_drops_progress_machine_and_run_metadata_and_nothing_else(runs_folder: Path) -> None:
    notebook = executed()
    chapters.clean(notebook)
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    for unwanted in (str(places.project()), str(Path.home()), "papermill", "iopub", "1/20", "stderr"):
        assert unwanted not in text, unwanted
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == ["x: int = 3", "# Parameters\nx = 4", "print(1)", "show()"]
    assert code[2].outputs[0].text == "read notebooks/a.ipynb in .\ndata/b"
    assert code[1].metadata["tags"] == ["injected-parameters", "hide-input"]
    assert [list(o.data) for o in code[3].outputs] == [["image/png", "text/plain"]]
    assert code[3].metadata["mystnb"]["figure"]["name"] == "fig-x"
    assert notebook.cells[-1].cell_type == "markdown" and notebook.cells[-1].source == "<p>runs/a.pt</p>"
    twin = executed()
    chapters.clean(twin)
    assert nbformat.writes(twin) == text  # nothing in it is random


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{home}/a/b.txt", "a/b.txt"), ("in {home}: x", "in .: x"), ("{home}", "."), ("'{home}/'", "''"),
        ("https://example.org{home}/a", "https://example.org{home}/a"), ("{home}x/a", "{home}x/a"), ("a / b", "a / b"),
    ],
)  # fmt: skip
def test_only_whole_folders_are_cut_off(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    assert chapters._relative(text.format(home="/home/ada")) == expected.format(home="/home/ada")


def test_a_home_at_the_root_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    assert chapters._relative("https://example.org/a //b /c") == "https://example.org/a //b /c"


@pytest.fixture
def demo_book(tmp_path: Path, runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of one notebook, `demo`, whose execution is faked; the notebook's path."""
    (tmp_path / "demo.yml").write_text("small: {steps: 5}\n")
    monkeypatch.setattr(parameters, "_PROFILES", tmp_path)
    monkeypatch.setattr(places, "book", lambda: tmp_path / "book")
    monkeypatch.setattr(places, "published_records", lambda: tmp_path / "book" / "records")
    monkeypatch.setattr(chapters, "draft", lambda name: False)

    def execute(source: Path, output: Path, given: dict) -> Path:
        assert os.environ["DISENTLIB_PUBLISH"] == str(tmp_path / "book" / "records")
        output.parent.mkdir(parents=True)
        nbformat.write(executed(), output)
        return output

    monkeypatch.setattr(notebooks, "execute", execute)
    source = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("# Demo"),
        nbformat.v4.new_code_cell("x: int = 3", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("show()", metadata={"mystnb": {"figure": {"caption": "A", "name": "fig-a"}}}),
    ])  # fmt: skip
    nbformat.write(source, tmp_path / "demo.ipynb")
    return tmp_path / "demo.ipynb"


def edited(path: Path, change: Callable[[nbformat.NotebookNode], None]) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


def test_a_published_chapter_is_fresh_until_its_source_changes(demo_book: Path) -> None:
    assert chapters.stale(demo_book) == "missing"
    chapter = chapters.publish(demo_book, {"x": 4})
    assert chapter == chapters.chapter_file("demo") and "DISENTLIB_PUBLISH" not in os.environ
    assert chapters.stale(demo_book) is None
    assert json.loads(chapter.read_text())["metadata"]["disentlib"]["parameters"] == {"x": 4}
    edited(demo_book, lambda n: n.cells[1].metadata.update(papermill={"status": "pending"}, collapsed=True))
    edited(demo_book, lambda n: n.cells[1].update(execution_count=3))
    assert chapters.stale(demo_book) is None  # nothing that a reader sees


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.cells[0].update(source="# Other"),
        lambda n: n.cells[1].update(source="x: int = 5"),
        lambda n: n.cells[2].metadata["mystnb"]["figure"].update(caption="B"),
        lambda n: n.cells[1].metadata.update(tags=["parameters", "hide-input"]),
        lambda n: n.cells.pop(),
    ],
)
def test_a_chapter_is_stale_when_a_cell_changes(demo_book: Path, change: Callable) -> None:
    chapters.publish(demo_book, {})
    edited(demo_book, change)
    assert chapters.stale(demo_book) == "stale"


def test_a_chapter_is_stale_when_a_profile_changes(demo_book: Path) -> None:
    chapters.publish(demo_book, {})
    demo_book.with_suffix(".yml").write_text("small: {steps: 6}\n")
    assert chapters.stale(demo_book) == "stale"


def test_new_words_keep_the_outputs_and_new_code_does_not(demo_book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(source: Path, output: Path, given: dict) -> None:
        notebook, other = nbformat.read(source, as_version=4), executed()
        injected, figure = (
            next(c for c in other.cells if c.source == text) for text in ("# Parameters\nx = 4", "show()")
        )
        notebook.cells[2].update(outputs=figure.outputs, execution_count=4)
        notebook.cells.insert(2, injected)
        output.parent.mkdir(parents=True)
        nbformat.write(notebook, output)

    monkeypatch.setattr(notebooks, "execute", execute)
    before = nbformat.read(chapters.publish(demo_book, {}), as_version=4)
    chapters.reword(demo_book)
    assert nbformat.read(chapters.chapter_file("demo"), as_version=4) == before  # nothing was new
    edited(demo_book, lambda n: n.cells.insert(1, nbformat.v4.new_markdown_cell("More words.")))
    edited(demo_book, lambda n: n.cells[3].metadata["mystnb"]["figure"].update(caption="B"))
    after = nbformat.read(chapters.reword(demo_book), as_version=4)
    assert chapters.stale(demo_book) is None and "Words revised on" in after.cells[1].source
    code, ran = ([c for c in n.cells if c.cell_type == "code"] for n in (after, before))
    assert [(c.source, c.outputs, c.execution_count) for c in code] == [
        (c.source, c.outputs, c.execution_count) for c in ran
    ]
    assert code[-1].metadata["mystnb"]["figure"]["caption"] == "B" and after.cells[-1] == before.cells[-1] | {
        "id": after.cells[-1].id
    }
    edited(demo_book, lambda n: n.cells[2].update(source="x: int = 5"))
    with pytest.raises(LookupError, match="the code of demo has changed"):
        chapters.reword(demo_book)


def test_words_need_a_chapter(demo_book: Path) -> None:
    with pytest.raises(LookupError, match="demo has no chapter yet"):
        chapters.reword(demo_book)


def test_a_failing_execution_leaves_the_old_chapter(demo_book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = chapters.publish(demo_book, {}).read_bytes()

    def fail(*_: object) -> None:
        raise RuntimeError("a cell failed")

    monkeypatch.setattr(notebooks, "execute", fail)
    with pytest.raises(RuntimeError, match="a cell failed"):
        chapters.publish(demo_book, {})
    assert chapters.chapter_file("demo").read_bytes() == before and "DISENTLIB_PUBLISH" not in os.environ


def test_tables_and_figures_are_shown_as_html() -> None:
    joined = tables.table(["a", "b"], [["1", "2"]], "Caption") + provenance([])
    assert cells(joined._repr_html_()) == [["a", "b"], ["1", "2"]] and "<caption>Caption</caption>" in joined.text


def test_a_record_leads_back_to_its_spec_and_to_a_changed_one() -> None:
    spec = runs.Spec("dsprites", "beta_vae", "laptop", seed=3, hyper={"beta": 4.0}, source="rendered")
    record = SimpleNamespace(id="some", spec=spec.content())
    assert runs.spec_of(record).id == spec.id
    changed = runs.spec_of(record, seed=7, beta=2.0)
    assert (changed.seed, changed.hyper, changed.dataset) == (7, {"beta": 2.0}, "dsprites")
    with pytest.raises(LookupError, match="no setting gamma; it has .*beta"):
        runs.spec_of(record, gamma=1.0)


def test_heavy_pictures_get_lighter_and_look_the_same() -> None:
    ramp = np.linspace(0, 255, 600)[None, :, None] * np.array([1.0, 0.6, 0.3]) + np.zeros((400, 1, 1))
    noisy = (ramp + np.random.default_rng(0).normal(0, 2, ramp.shape)).clip(0, 255).astype(np.uint8)
    raw = io.BytesIO()
    Image.fromarray(noisy).save(raw, "PNG")
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(raw.getvalue()).decode()})
    cell = nbformat.v4.new_code_cell("picture", outputs=[output])
    before = len(cell.outputs[0]["data"]["image/png"])
    chapters.clean(nbformat.v4.new_notebook(cells=[cell]))
    after = cell.outputs[0]["data"]["image/jpeg"]
    assert before > 150_000 and len(after) < 0.7 * before and "image/png" not in cell.outputs[0]["data"]
    with Image.open(io.BytesIO(base64.b64decode(after))) as image:
        assert np.abs(np.asarray(image.convert("RGB"), float) - noisy).mean() < 4  # grey levels of 255


def test_a_picture_of_few_colours_stays_exact() -> None:
    grey = np.random.default_rng(0).integers(0, 200, (200, 300), dtype=np.uint8)
    raw = io.BytesIO()
    Image.fromarray(np.stack([grey, grey, 255 - grey], 2)).save(raw, "PNG")
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(raw.getvalue()).decode()})
    cell = nbformat.v4.new_code_cell("picture", outputs=[output])
    before = len(output["data"]["image/png"])
    chapters.clean(nbformat.v4.new_notebook(cells=[cell]))
    after = cell.outputs[0]["data"]["image/png"]
    assert len(after) < 0.6 * before
    with Image.open(io.BytesIO(base64.b64decode(after))) as image:
        assert (np.asarray(image.convert("RGB"))[..., 0] == grey).all()


def test_what_was_watched_is_a_line_a_look(make_record: Callable) -> None:
    record = make_record()
    assert "Nothing was watched" in pages.watched_table(record).text
    watched = record.history | {"watched": {"steps": [0, 50], "mig": [0.125, 0.5]}}
    shown = cells(pages.watched_table(dataclasses.replace(record, history=watched)).text)
    assert shown == [["step", "mig"], ["0", "0.125"], ["50", "0.500"]]
