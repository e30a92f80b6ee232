"""Variations and what is paid for them: closed forms of reading D8, slow loops, gradients written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from disentlib.losses import variation as v

pytestmark = pytest.mark.usefixtures("one_thread")

B, N, K = 32, 32, 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_cosine(c: float, n: int) -> Tensor:
    """`n` unit vectors of which any two have the cosine `c`."""
    return torch.cat([torch.full((n, 1), math.sqrt(c)), math.sqrt(1 - c) * torch.eye(n)], dim=1)


def random_variations(*sizes: int, d: int = 5) -> list[Tensor]:
    drawn = generator(3)
    return [v.variation(torch.randn(n, d, generator=drawn), torch.randn(n, d, generator=drawn)) for n in sizes]


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# ---- the contrast's landscape ---------------------------------------------------------------------------------------


def test_perfect_separation_costs_what_sigmoids_of_one_and_zero_cost() -> None:
    one, other = torch.eye(2)[:1], torch.eye(2)[1:]
    loss = v.contrastive_loss(one.expand(B, 2), one.expand(N, 2), other.expand(K, 2)).loss
    assert loss.item() == pytest.approx((N * softplus(-1) + K * math.log(2)) / (N + K), abs=1e-6)
    assert round(loss.item(), 3) == 0.567


@pytest.mark.parametrize(("c", "cost"), [(0.5, 0.807), (0.8, 0.904), (0.95, 0.960)])
def test_collapse_without_flipping_costs_more_than_separation(c: float, cost: float) -> None:
    parts = with_cosine(c, B + N + K).split([B, N, K])
    terms = v.contrastive_loss(*parts, threshold=0.9, flip=False)
    assert round(terms.loss.item(), 3) == cost
    assert terms.negative_similarity.item() == pytest.approx(c, abs=1e-5)


@pytest.mark.parametrize(("c", "cost"), [(0.95, 0.359), (1.0, 0.313)])
def test_collapse_beyond_the_threshold_is_the_cheapest_of_all_with_flipping(c: float, cost: float) -> None:
    parts = with_cosine(c, B + N + K).split([B, N, K])
    terms = v.contrastive_loss(*parts, threshold=0.9)
    expected = (N * softplus(-c) + K * (softplus(c) - c * c)) / (N + K)
    assert terms.loss.item() == pytest.approx(expected, abs=1e-5)
    assert round(terms.loss.item(), 3) == cost and terms.flipped_fraction == 1
    assert v.contrastive_loss(*parts, threshold=0.9, flip=torch.tensor(False)).loss > 0.9


# ---- slow loops -----------------------------------------------------------------------------------------------------


def slow(parts: list[Tensor], tau: float, threshold: float, rule: str, valid: tuple[Tensor, ...]) -> dict[str, float]:
    queries, positives, negatives = (part.double().tolist() for part in parts)
    paid, near, far, flipped = [], [], [], []
    for q, q_counts in zip(queries, valid[0].tolist()):
        keys = [(k, ok, 1.0) for k, ok in zip(positives, valid[1].tolist())]
        keys += [(k, ok, None) for k, ok in zip(negatives, valid[2].tolist())]
        for k, k_counts, label in keys:
            if not (q_counts and k_counts):
                continue
            dot = sum(a * b for a, b in zip(q, k))
            cosine = dot / math.hypot(*q) / math.hypot(*k)
            (near if label else far).append(cosine)
            if label is None:
                passes = cosine > threshold
                flipped.append(passes)
                if passes and rule == "drop":
                    continue
                label = {"similarity": cosine, "one": 1.0}[rule] if passes else 0.0
            paid.append(label * softplus(-dot / tau) + (1 - label) * softplus(dot / tau))
    return {name: float(np.mean(values)) for name, values in zip(v.ContrastTerms._fields, (paid, near, far, flipped))}


@pytest.mark.parametrize("rule", v.PSEUDO_LABELS)
@pytest.mark.parametrize("tau", [1.0, 0.2])
@pytest.mark.parametrize("masked", [False, True])
def test_the_contrast_is_that_of_a_loop_over_pairs(rule: str, tau: float, masked: bool) -> None:
    parts = random_variations(4, 3, 6)
    valid = tuple(torch.ones(len(part)) for part in parts)
    if masked:
        for index, weights in zip((1, 0, 4), valid):
            weights[index] = 0.0
    terms = v.contrastive_loss(*parts, tau, 0.6, rule, valid=valid if masked else None)
    expected = slow(parts, tau, 0.6, rule, valid)
    assert 0 < expected["flipped_fraction"] < 1
    for name, value in expected.items():
        assert getattr(terms, name).item() == pytest.approx(value, abs=1e-5), name


def test_the_threshold_looks_at_cosines_whatever_temperature_and_length() -> None:
    parts = random_variations(4, 3, 6)
    fractions = {
        v.contrastive_loss(*(scale * part for part in parts), tau, 0.6).flipped_fraction.item()
        for scale in (0.1, 1.0, 5.0)
        for tau in (0.1, 1.0, 10.0)
    }
    assert len(fractions) == 1 and 0 < fractions.pop() < 1


def test_gradients_are_those_of_the_formula_and_negatives_get_none() -> None:
    """`∂L/∂q = Σ_k (σ(q·k/τ) − label)·k / τ / pairs`, and the same for positives."""
    q, p, n = (part.requires_grad_() for part in random_variations(4, 3, 6))
    tau = 0.5
    v.contrastive_loss(q, p, n, tau, threshold=0.6).loss.backward()
    assert n.grad is None
    with torch.no_grad():
        keys = torch.cat([p, n])
        cosine = q @ n.T
        labels = torch.cat([torch.ones(4, 3), torch.where(cosine > 0.6, cosine, 0.0)], 1)
        slopes = (torch.sigmoid(q @ keys.T / tau) - labels) / tau / labels.numel()
        torch.testing.assert_close(q.grad, slopes @ keys)
        torch.testing.assert_close(p.grad, slopes[:, :3].T @ q)


def test_nothing_valid_costs_nothing_and_an_unknown_rule_is_named() -> None:
    q, p, n = random_variations(2, 2, 2)
    none = (torch.zeros(2), torch.zeros(2), torch.zeros(2))
    assert v.contrastive_loss(q, p, n, valid=none).loss == 0
    with pytest.raises(ValueError, match="unknown pseudo_label 'soft'; known: similarity, one, drop"):
        v.contrastive_loss(q, p, n, pseudo_label="soft")


# ---- variations, shifts, entropy, learner, rank ---------------------------------------------------------------------


def test_a_variation_has_length_one_and_no_sign() -> None:
    base, change = torch.randn(6, 5, generator=generator()), torch.randn(6, 5, generator=generator(1))
    up, down = v.variation(base, base + change), v.variation(base, base - change)
    torch.testing.assert_close(up, down)
    torch.testing.assert_close(up.norm(dim=1), torch.ones(6))
    raw = v.variation(base, base + change, normalised=False)
    torch.testing.assert_close(raw, change.abs())
    torch.testing.assert_close(up, change.abs() / change.square().sum(1, keepdim=True).sqrt())


def test_equal_codes_have_a_finite_variation_and_gradient() -> None:
    base = torch.ones(2, 3, requires_grad=True)
    v.variation(base, base.detach()).sum().backward()
    assert base.grad.isfinite().all()


def test_shifts_are_uniform_with_a_gap_around_zero() -> None:
    amounts = v.shift_amounts(torch.rand(200_000, generator=generator()), 6.0)
    assert amounts.abs().min() >= 0.5 and amounts.abs().max() <= 6
    assert amounts.mean().abs() < 0.03
    assert amounts.abs().mean().item() == pytest.approx(6 * (0.5 + 1 / 288), abs=0.02)  # E max(u, 1/12)
    assert (amounts.abs() == 0.5).float().mean().item() == pytest.approx(1 / 12, abs=0.003)


def test_the_entropy_term_is_scipys_and_smallest_for_one_dimension() -> None:
    parts = random_variations(7, d=64)[0]
    expected = stats.entropy(torch.softmax(parts.double(), 1).numpy(), axis=1).mean()
    assert v.entropy_term(parts).item() == pytest.approx(expected, abs=1e-5)
    even = torch.full((1, 64), 1 / 8)
    assert v.entropy_term(torch.eye(64)) < v.entropy_term(parts) < v.entropy_term(even)
    assert v.entropy_term(even).item() == pytest.approx(math.log(64), abs=1e-5)
    counted = torch.tensor([1.0, 0, 1, 1, 0, 0, 1])
    torch.testing.assert_close(v.entropy_term(parts, counted), v.entropy_term(parts[counted.bool()]))


def test_the_learners_loss_is_that_of_a_loop() -> None:
    logits, predicted = torch.randn(5, 3, generator=generator()), torch.randn(5, generator=generator(1))
    directions, amounts = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([1.0, -2, 0.5, 3, -1])
    valid = torch.tensor([1.0, 1, 0, 1, 1])
    rows = [i for i in range(5) if valid[i]]
    classes = np.mean([torch.logsumexp(logits[i], 0).item() - logits[i, directions[i]].item() for i in rows])
    error = np.mean([abs(predicted[i].item() - amounts[i].item()) for i in rows])
    right = np.mean([logits[i].argmax().item() == directions[i].item() for i in rows])
    terms = v.learner_loss(logits, predicted, directions, amounts, 0.25, valid)
    assert [t.item() for t in terms] == pytest.approx([classes + 0.25 * error, classes, error, right], abs=1e-5)


def test_the_effective_rank_counts_equal_axes_and_is_that_of_the_spectrum() -> None:
    rows = torch.randn(20, 6, generator=generator())
    values = np.linalg.svd(rows.double().numpy(), compute_uv=False)
    assert v.effective_rank(rows).item() == pytest.approx(np.exp(stats.entropy(values)), rel=1e-6)
    assert v.effective_rank(torch.eye(6)[:3].repeat(4, 1)).item() == pytest.approx(3)
    assert v.effective_rank(torch.zeros(3, 3)).item() == pytest.approx(1)


def test_similarities_keep_full_precision_under_autocast() -> None:
    parts = random_variations(8, 8, 8)
    plain = v.contrastive_loss(*parts).loss
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(v.contrastive_loss(*parts).loss, plain)
