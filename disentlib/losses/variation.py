"""Directions and their variations: LD's and Dis-GU's learner (eq. 5), DisCo's and Dis-GU's contrast (eqs. 6 to 8).

A *variation* is what a shift along one direction changes in an encoder's answer. Variations along one direction shall
be alike, along different directions unlike. Everything here is averaged over pairs (reading D6) and in nats.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "PSEUDO_LABELS",
    "ContrastTerms",
    "LearnerTerms",
    "contrastive_loss",
    "cosines",
    "effective_rank",
    "entropy_term",
    "learner_loss",
    "masked_mean",
    "pseudo_labels",
    "shift_amounts",
    "variation",
    "visible_directions",
]

PSEUDO_LABELS = ("similarity", "one", "drop")
SHIFT_MARGIN = 1 / 12  # LD: shifts on ±6, none smaller than 0.5
VISIBLE_CHANGE = 1 / 255  # one grey level, as the mean over all pixels of an image


class LearnerTerms(NamedTuple):
    """Eq. 5 and its parts, batch means; `accuracy` is the share of directions that the reconstructor names rightly."""

    loss: Tensor
    cross_entropy: Tensor  # nats
    shift_error: Tensor  # mean |ε − ε̂|, in the unit of ε
    accuracy: Tensor


class ContrastTerms(NamedTuple):
    """The contrastive loss and what tells a collapse: mean cosines of the pairs, share of negatives above T."""

    loss: Tensor  # nats per query–key pair
    positive_similarity: Tensor
    negative_similarity: Tensor
    flipped_fraction: Tensor


def shift_amounts(uniform: Tensor, shift_scale: float) -> Tensor:
    """Shifts ε `[n]` from draws of `U[0, 1)`: uniform on ±`shift_scale`, at least a twelfth of it away from 0.

    With `shift_scale` = 6 these are LD's: ±6 with |ε| ≥ 0.5 (reading D4).

    >>> shift_amounts(torch.tensor([0.0, 0.49, 0.5, 0.75]), 6.0).tolist()
    [-6.0, -0.5, 0.5, 3.0]
    """
    signed = 2 * uniform - 1
    sign = torch.where(signed < 0, -1.0, 1.0)
    return shift_scale * sign * signed.abs().clamp(min=SHIFT_MARGIN)


def variation(base: Tensor, shifted: Tensor, normalised: bool = True) -> Tensor:
    """`v = |E(shifted) − E(base)|`, float32 `[n, d]`, of length 1 unless `normalised` is off (reading D7).

    The absolute value makes the sign of a shift irrelevant, and every product of two variations at least 0.

    >>> variation(torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    change = (shifted.float() - base.float()).abs()
    return F.normalize(change, dim=1) if normalised else change


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of each row of `first` `[n, d]` with each of `second` `[m, d]`, float32 `[n, m]`.

    >>> cosines(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0], [5.0, 0.0]])).tolist()
    [[0.0, 1.0]]
    """
    return products(F.normalize(first.float(), dim=1), F.normalize(second.float(), dim=1))


def products(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of each row of `first` with each of `second`, in float32 whatever autocast wants."""
    with torch.autocast(first.device.type, enabled=False):
        return first.float() @ second.float().T


def pseudo_labels(
    similarity: Tensor, threshold: float, rule: str, flip: Tensor | bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, weights and flips of negatives, each like `similarity` (raw cosines, any shape); reading D8.

    A negative whose cosine passes `threshold` T counts as a hidden positive where `flip` is true: "similarity" labels
    it with that cosine (as the paper and DisCo do), "one" with 1, "drop" gives it no weight. Others have label 0.

    >>> [part.tolist() for part in pseudo_labels(torch.tensor([0.25, 0.75]), threshold=0.5, rule="similarity")]
    [[0.0, 0.75], [1.0, 1.0], [False, True]]
    """
    if rule not in PSEUDO_LABELS:
        raise ValueError(f"unknown pseudo_label {rule!r}; known: {', '.join(PSEUDO_LABELS)}")
    similarity = similarity.detach()
    flipped = (similarity > threshold) & flip
    value = {"similarity": similarity.clamp(0, 1), "one": torch.ones_like(similarity)}.get(rule, 0.0)
    labels = torch.where(flipped, value, 0.0)
    weights = 1.0 - flipped.float() if rule == "drop" else torch.ones_like(similarity)
    return labels, weights, flipped


def contrastive_loss(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    temperature: float = 1.0,
    threshold: float = 0.95,
    pseudo_label: str = "similarity",
    flip: Tensor | bool = True,
    valid: tuple[Tensor, Tensor, Tensor] | None = None,
) -> ContrastTerms:
    """Binary cross-entropy of `σ(q·k/τ)`, the mean over all query–key pairs (eqs. 7 and 8; readings D6 to D8).

    Variations `queries` `[b, d]`, `positives` `[n, d]`, `negatives` `[k, d]`; negatives get no gradient (as in DisCo).
    T applies to raw cosines, not to `q·k/τ`. `flip`: false switches the pseudo-labels off (the warm-up). `valid`:
    weights `[b]`, `[n]`, `[k]` in {0, 1}; a pair counts where both of its are 1.
    With τ = 1, 32 positives and 64 negatives, perfect separation costs 0.567 and full collapse only 0.313, so that
    collapse is the optimum, behind a barrier at T (reading D8).

    >>> one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> round(contrastive_loss(one, one, two.expand(2, 2)).loss.item(), 3)
    0.567
    >>> round(contrastive_loss(one, one, one.expand(2, 2)).loss.item(), 3)
    0.313
    """
    keys = torch.cat([positives, negatives.detach()])
    with torch.no_grad():
        raw = cosines(queries, keys)
    same, other = raw.split([len(positives), len(negatives)], dim=1)
    labels, weights, flipped = pseudo_labels(other, threshold, pseudo_label, flip)
    labels = torch.cat([torch.ones_like(same), labels], dim=1)
    counted = _pair_weights(raw, valid)
    counted_same, counted_other = counted.split([len(positives), len(negatives)], dim=1)
    losses = F.binary_cross_entropy_with_logits(products(queries, keys) / temperature, labels, reduction="none")
    loss = masked_mean(losses, torch.cat([counted_same, counted_other * weights], dim=1))
    others = (masked_mean(other, counted_other), masked_mean(flipped.float(), counted_other))
    return ContrastTerms(loss, masked_mean(same, counted_same), *others)


def _pair_weights(pairs: Tensor, valid: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
    if valid is None:
        return torch.ones_like(pairs)
    return valid[0].to(pairs)[:, None] * torch.cat(valid[1:]).to(pairs)


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """`Σ w·v / Σ w` over everything; 0 where no weight is left.

    >>> masked_mean(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 0.0])).item()
    1.0
    """
    return (values * weights).sum() / weights.sum().clamp(min=1.0)


def entropy_term(variations: Tensor, valid: Tensor | None = None) -> Tensor:
    """DisCo's domination term: the mean entropy in nats of `softmax(v)` over dimensions, to be minimised.

    It asks that one dimension dominates each variation `[n, d]`. On variations of length 1 it is weak: with d = 64 it
    lies between 4.144 (one dimension) and 4.159 (all alike). `valid` `[n]` in {0, 1} tells which variations count.

    >>> round(entropy_term(torch.eye(64)).item(), 3)
    4.144
    """
    logs = F.log_softmax(variations.float(), dim=1)
    each = -(logs.exp() * logs).sum(1)
    return masked_mean(each, torch.ones_like(each) if valid is None else valid.to(each))


def learner_loss(
    logits: Tensor, predicted: Tensor, directions: Tensor, amounts: Tensor, eta: float, valid: Tensor | None = None
) -> LearnerTerms:
    """`L_c(d, d̂) + η·L_r(ε, ε̂)`: cross-entropy in nats plus η times the mean absolute error (eq. 5; η = 0.25).

    `logits` `[n, D]` and `predicted` shifts `[n]` are the reconstructor's, `directions` int64 `[n]` and `amounts` `[n]`
    the truth. `valid` `[n]` in {0, 1} tells which pairs count.

    >>> directions, amounts = torch.tensor([0, 3]), torch.tensor([2.0, -2.0])
    >>> round(learner_loss(torch.zeros(2, 4), torch.zeros(2), directions, amounts, eta=0.5).loss.item(), 3)  # ln 4 + 1
    2.386
    """
    weights = torch.ones_like(amounts) if valid is None else valid.to(amounts)
    classes = masked_mean(F.cross_entropy(logits.float(), directions, reduction="none"), weights)
    error = masked_mean((predicted.float() - amounts).abs(), weights)
    accuracy = masked_mean((logits.argmax(1) == directions).float(), weights)
    return LearnerTerms(classes + eta * error, classes, error, accuracy)


def effective_rank(variations: Tensor) -> Tensor:
    """`exp H(s / Σ s)` for the singular values `s` of the variations `[n, d]`: 1 for full collapse, at most min(n, d).

    Roy & Vetterli 2007, Definition 1.

    >>> round(effective_rank(torch.eye(4)).item(), 3), round(effective_rank(torch.ones(5, 4)).item(), 3)
    (4.0, 1.0)
    """
    values = torch.linalg.svdvals(variations.double())
    share = values / values.sum().clamp(min=math.ulp(1.0))
    return torch.special.entr(share).sum().exp()


def visible_directions(image_change: Tensor, least: float = VISIBLE_CHANGE) -> int:
    """How many directions change an image by at least `least` in the mean over its pixels; `image_change` `[D]`.

    >>> visible_directions(torch.tensor([0.0, 0.003, 0.1]))
    1
    """
    return int((image_change >= least).sum())
