"""Pairs of codes: which dimensions differ, where second values come from, how far apart, which labels occur."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from disentlib.losses.information import prior_sample
from disentlib.models.pairs import PAIR_RULES, RESAMPLES, PairPlan, pair_codes, pair_labels

pytestmark = pytest.mark.usefixtures("one_thread")
N, D, M = 16, 5, 200


def plan(**fields: object) -> PairPlan:
    start = {"pairs": M, "rule": "change_one", "resample": "batch", "min_gap": 0.0, "active_only": False}
    return PairPlan(**start | fields)


def made(plan: PairPlan, prior: str = "gaussian", seed: int = 0) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    given = {"codes": prior_sample(prior, N, D, generator), "posterior_mean": torch.zeros(N, D)}
    given["posterior_logvar"] = torch.full((N, D), -4.0)
    given |= plan.draw(N, D, 3, prior, generator)
    return given, *plan.codes(given)


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_a_pair_differs_in_its_label_only_or_in_all_but_its_label(rule: str, resample: str) -> None:
    given, labels, first, second = made(plan(rule=rule, resample=resample))
    assert labels.shape == (M,) and first.shape == second.shape == (M, D) and given["pair_noise"].shape == (M, 3)
    labelled = torch.nn.functional.one_hot(labels, D).bool()
    assert torch.equal(first != second, labelled if rule == "change_one" else ~labelled)


@pytest.mark.parametrize("rule", PAIR_RULES)
def test_the_batchs_codes_are_tiled_and_another_images_values_are_taken(rule: str) -> None:
    given, _, first, second = made(plan(rule=rule))
    assert torch.equal(first, given["codes"].repeat(math.ceil(M / N), 1)[:M])
    for row, column in (first != second).nonzero().tolist():
        assert second[row, column] in given["codes"][:, column] and second[row, column] != first[row, column]


def test_second_values_have_the_law_they_are_said_to_have() -> None:
    """A second sample of the same posterior (σ = e⁻²) is close, as reading S6 says; the prior's is not."""
    spread = {}
    for resample in RESAMPLES:
        given, labels, first, second = made(plan(resample=resample, pairs=4000))
        changed = torch.nn.functional.one_hot(labels, D).bool()
        spread[resample] = second[changed].std().item()
    assert spread["prior"] == pytest.approx(1, abs=0.05) and spread["batch"] == pytest.approx(1, abs=0.2)
    assert spread["posterior"] == pytest.approx(math.exp(-2), rel=0.05)


@pytest.mark.parametrize("rule", PAIR_RULES)
@pytest.mark.parametrize(("prior", "bound"), [("uniform", 1.0), ("gaussian", math.inf)])
def test_values_that_differ_are_at_least_the_gap_apart_and_in_range(rule: str, prior: str, bound: float) -> None:
    _, labels, first, second = made(plan(rule=rule, resample="prior", min_gap=0.7, bound=bound), prior)
    free = made(plan(rule=rule, resample="prior"), prior)
    distance, before = (second - first).abs(), (free[3] - free[2]).abs()
    differs = before > 0
    assert (distance[differs] >= 0.7 - 1e-6).all() and (distance[~differs] == 0).all()
    assert max(first.abs().max(), second.abs().max()) <= bound + 1e-6
    far = before >= 0.7
    assert torch.equal(first[far], free[2][far]) and torch.equal(second[far], free[3][far])
    order = differs & (before < 0.7)
    assert torch.equal((second > first)[order], (free[3] > free[2])[order])
    if bound == math.inf:
        torch.testing.assert_close((first + second)[order], (free[2] + free[3])[order])


def test_equal_values_at_the_edge_are_parted_inside_the_range() -> None:
    one = torch.ones(1, 1)
    first, second = pair_codes(one, torch.zeros(1).long(), "change_one", one, min_gap=0.5, bound=1.0)
    assert (first.item(), second.item()) == (0.5, 1.0)


def test_labels_are_uniform_over_the_active_dimensions() -> None:
    positions = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    for active in ([True] * 5, [False, True, True, False, True], [False] * 4 + [True], [False] * 5):
        counts = pair_labels(positions, torch.tensor(active)).bincount(minlength=5)
        chosen = torch.tensor(active) if any(active) else torch.ones(5, dtype=torch.bool)
        assert counts[~chosen].sum() == 0
        expected = 20_000 / chosen.sum()
        assert ((counts[chosen] - expected).abs() < 5 * expected**0.5).all()
    assert pair_labels(torch.tensor([1 - 2**-24]), torch.ones(20, dtype=torch.bool)).item() == 19


def test_only_dimensions_that_carry_something_get_pairs() -> None:
    """Reading S14: a dimension whose posterior is the prior has no class."""
    chosen = plan(active_only=True)
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(N, D, generator=generator), torch.full((N, D), -3.0)
    mean[:, 2], logvar[:, 2] = 0, 0
    given = {"codes": mean, "posterior_mean": mean, "posterior_logvar": logvar} | chosen.draw(
        N, D, 3, "gaussian", generator
    )
    labels = chosen.codes(given)[0]
    assert set(labels.tolist()) == {0, 1, 3, 4}


@pytest.mark.parametrize("fields", [{"resample": "posterior"}, {"active_only": True}])
def test_a_plan_that_needs_posteriors_says_so(fields: dict) -> None:
    plan(**fields).check_posterior(True)
    with pytest.raises(ValueError, match=f"{next(iter(fields))}.*role 'stage1'"):
        plan(**fields).check_posterior(False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        *(({"pairs": pairs}, f"pairs .*{pairs}") for pairs in (3, 0, -4, 8.0, True)),
        ({"rule": "change_two"}, "pair_rule 'change_two'; known: change_one, share_one"),
        ({"resample": "data"}, "resample 'data'; known: batch, prior, posterior"),
        ({"min_gap": -0.1}, "min_gap"), ({"min_gap": math.inf}, "min_gap"), ({"min_gap": math.nan}, "min_gap"),
        ({"min_gap": 2.1, "bound": 1.0}, r"min_gap must lie between 0 and the codes' range \(2\)"),
        ({"active_only": 1}, "active_only"),
    ],
)  # fmt: skip
def test_what_a_plan_refuses(fields: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan(**fields)


def test_another_image_needs_a_batch_of_two() -> None:
    with pytest.raises(ValueError, match="a batch of 1"):
        plan().draw(1, D, 3, "gaussian", torch.Generator())
