"""Table 3 of IDGAN-SC: what the print says of itself, how two protocols rank runs, what a larger code is worth."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from disentlib import metrics
from disentlib.experiments import code_size, controlled, printed_scores, protocol_ranks
from disentlib.experiments.claims import claims
from disentlib.experiments.planned import chosen, planned
from disentlib.experiments.records import Record
from disentlib.metrics.factor_vae import majority_accuracy

Make = Callable[..., Record]


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)] for row in rows]


# ---- the print -----------------------------------------------------------------------------------------------------


def test_a_quotation_is_told_from_its_source() -> None:
    lines = {line[0]: line[1:] for line in cells(printed_scores.quotations().text)[1:]}
    source = {(c.row, c.column): c for c in claims(printed_scores.SOURCE) if c.table == "table1"}
    quoted = [c for c in claims("idgan_sc") if c.quoted_from]
    wrong = {f"{c.row}, {c.column}" for c in quoted if c.std != source[c.row, c.column].std}
    assert set(lines) == wrong and len(quoted) == len(source) == 15  # no value is misquoted, only spreads are
    assert lines["FactorVAE (γ=40), SAP"][2] == "a ± where the source prints none"
    assert sum(line[2] == "the ±" for line in lines.values()) == 4


def test_margins_are_those_of_the_print() -> None:
    lines = {(line[0], line[1]): line[4:] for line in cells(printed_scores.margins().text)[1:]}
    assert lines["IDGAN-SC without β-VAE", "DCI"] == ["-0.02", "below", "no"]
    assert lines["IDGAN-SC with β-VAE", "FactorVAE"] == ["+0.03", "above", "yes"]
    assert len(lines) == 10


def test_the_source_has_a_row_above_all_of_the_quoting_table() -> None:
    lines = cells(printed_scores.selected().text)[1:]
    assert len(lines) == 5 and all(float(line[3]) < 0 for line in lines)


# ---- the study -----------------------------------------------------------------------------------------------------


def test_every_printed_row_has_one_setting_and_every_first_phase_is_scored_too() -> None:
    jobs = planned("table3", SimpleNamespace(profile="smoke", seeds=[0]))
    rows = [chosen(jobs, **wanted) for wanted in protocol_ranks.feed()["runs"].values()]
    assert [len(row) for row in rows] == [1] * 5
    ids = {job.spec.id for job in jobs}
    phases = [j.spec.parents["phase1"] for j in jobs if j.spec.model == "idgan_sc"]
    assert len(phases) == 4 and {phase.id for phase in phases} <= ids
    assert {j.spec.parents["stage1"].id for j in jobs if "stage1" in j.spec.parents} <= ids


# ---- ranks ---------------------------------------------------------------------------------------------------------


def test_concordance_is_counted_pair_by_pair() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        first, second = generator.normal(size=(2, 7))
        signs = [np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]) for i, j in combinations(range(7), 2)]
        found = protocol_ranks.concordance(first, second)
        assert found.tau == pytest.approx(np.mean(signs)) and found.swapped == signs.count(-1) and found.pairs == 21


def test_concordance_of_ties_and_of_too_few() -> None:
    assert protocol_ranks.concordance([1.0, 1.0], [0.0, 1.0]) == protocol_ranks.Concordance(None, 0, 1)
    with pytest.raises(ValueError, match="two models or more"):
        protocol_ranks.concordance([1.0], [2.0])


@pytest.fixture
def groups(make_record: Make) -> dict[str, list[Record]]:
    """Two models that swap places held out, in FactorVAE's score alone."""
    scores = protocol_ranks.headings(protocol_ranks.IN_SAMPLE) | protocol_ranks.headings(protocol_ranks.HELD_OUT)
    levels = dict.fromkeys(scores, (0.4, 0.6)) | {"factor_vae": (0.6, 0.4)}
    return {
        model: [
            make_record(seed=seed, model=model, **{name: level[k] + 0.01 * seed for name, level in levels.items()})
            for seed in (0, 1)
        ]
        for k, model in enumerate(("infogan", "idgan_sc"))
    }


def test_agreement_sees_the_one_score_that_swaps(groups: dict[str, list[Record]]) -> None:
    lines = cells(protocol_ranks.agreement(groups).text)[1:]
    assert [line[1] for line in lines] == ["-1.00", "+1.00", "+1.00", "+1.00", "+1.00"]
    assert lines[0][4] == "idgan_sc against infogan" and lines[1][4] == "idgan_sc" and lines[0][2] == "1 of 1"


def test_pages_without_scores_say_so(groups: dict[str, list[Record]], make_record: Make) -> None:
    bare = {name: [make_record(model=name)] for name in groups}
    lines = cells(protocol_ranks.agreement(bare).text)[1:]
    assert {line[1] for line in lines} == {protocol_ranks.NOT_SCORED}
    assert protocol_ranks.headings(protocol_ranks.HELD_OUT, bare) == {}
    for content in (groups, bare):
        models = {name: name for name in content}
        pictures = [
            protocol_ranks.protocol_picture(content, protocol_ranks.IN_SAMPLE, models),
            protocol_ranks.rank_lines(content, models),
        ]
        for picture in pictures:
            said = any("not scored" in text.get_text() for axis in picture.axes for text in axis.texts)
            assert said == (content is bare)
            plt.close(picture)


def test_the_printed_value_is_drawn_where_it_is(groups: dict[str, list[Record]]) -> None:
    print_of = {"idgan_sc": printed_scores.printed()["IDGAN-SC with β-VAE"]}
    models = {name: name for name in groups}
    picture = protocol_ranks.protocol_picture(groups, protocol_ranks.IN_SAMPLE, models, print_of)
    drawn = [tuple(axis.collections[-1].get_offsets()[0]) for axis in picture.axes]
    assert drawn == [(claim.value, 1.0) for claim in print_of["idgan_sc"].values()]
    plt.close(picture)


def test_the_order_of_the_print_against_ours(groups: dict[str, list[Record]]) -> None:
    claimed = printed_scores.printed()
    named = {"infogan": claimed["IDGAN-SC with β-VAE"], "idgan_sc": claimed["InfoGAN"]}
    lines = cells(protocol_ranks.against_print(groups, named).text)[1:]
    assert all(line[1:3] == ["-1.00", "1 of 1"] for line in lines)
    assert lines[0][3:] == ["infogan &gt; idgan_sc", "idgan_sc &gt; infogan"]


def test_collapsed_runs_are_counted(make_record: Make) -> None:
    dead, alive = make_record(kl_per_dimension=[0.0, 0.1]), make_record(kl_per_dimension=[0.0, 2.0])
    pictures = {"pixel_std_ratio": 0.1, "foreground_ratio": 1.0, "between_cosine": 1.0}
    gans = [make_record(hyper={"head": "supcon"}, code_recovery=[0.0, r2], **pictures) for r2 in (0.05, 0.9)]
    rival = make_record(hyper={"alpha": 2.0}, **pictures)  # its E gives logits
    lines = cells(protocol_ranks.collapse_table({"vae": [dead, alive], "gan": gans, "rival": [rival]}).text)[1:]
    assert lines == [
        ["vae", "2", "1", "–", "–", "2, 1 of 2"],
        ["gan", "2", "1", "2", "2", "2, 1 of 2"],
        ["rival", "1", "–", "1", "–", "–"],
    ]


# ---- the size of a code --------------------------------------------------------------------------------------------


def test_both_ways_agree_with_the_metric_itself() -> None:
    protocol = replace(code_size.PROTOCOL, train_votes=40, test_votes=30, variance_points=500)
    table, images = controlled.codes("rotated", seed=0), controlled.factor_images()
    found = code_size.both_ways(table, 3, protocol)
    for score, in_sample in zip(found, (True, False)):
        asked = {"protocol": replace(protocol, in_sample=in_sample), "generator": torch.Generator().manual_seed(3)}
        assert score == metrics.factor_vae(images, controlled.encoder(images, table), **asked)


def test_splitting_votes_keeps_them_and_never_lowers_the_in_sample_score() -> None:
    generator = np.random.default_rng(0)
    for seed in range(20):
        votes = generator.integers(0, 30, size=(4, 5))
        split = code_size.split_votes(votes, 3, seed)
        assert np.array_equal(split.reshape(4, 3, 5).sum(1), votes)
        assert majority_accuracy(split, split) >= majority_accuracy(votes, votes)


def test_a_sweep_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        code_size.vote_sweep([3], draws=1)
    with pytest.raises(ValueError, match="draws at least 1"):
        code_size.vote_sweep([5], draws=0)
