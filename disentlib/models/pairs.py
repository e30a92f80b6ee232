"""Pairs of generated images that differ in one code dimension, or share one, and the network that tells which.

InfoGAN-CR and IDGAN-SC are regularised by such a network; both rules and both losses are here (reading S5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from disentlib.losses import contrastive
from disentlib.losses.elbo import kl_per_dimension, posterior_sample
from disentlib.losses.information import prior_sample
from disentlib.models.base import Values
from disentlib.networks import PairNetwork, seeded

__all__ = ["HEADS", "PAIR_RULES", "RESAMPLES", "PairPlan", "PairRegulariser", "pair_codes", "pair_labels"]

PAIR_RULES = ("change_one", "share_one")
RESAMPLES = ("batch", "prior", "posterior")
HEADS = ("supcon", "cross_entropy")
REPRESENTATION_DIMS = 128  # of r (IDGAN-SC paper, §3)
ACTIVE_KL = 0.1  # nats: a posterior nearer to the prior than this carries nothing in that dimension (reading S14)


def pair_codes(
    codes: Tensor, labels: Tensor, rule: str, other: Tensor, min_gap: float = 0.0, bound: float = math.inf
) -> tuple[Tensor, Tensor]:
    """The codes of both images of each pair, `[m, d]` each; all randomness is in `codes`, `labels` and `other`.

    "change_one" (IDGAN-SC, §2.3): the pair differs in dimension `labels[i]` only. "share_one" (InfoGAN-CR's code): it
    shares that one only. `codes`, `other` `[m, d]`: the first and the second value of each dimension that differs;
    `labels` int64 `[m]`. Values closer than `min_gap` are pushed apart about their middle, within ±`bound` (reading
    S14). ValueError for an unknown rule, or a gap below 0 or above `2·bound`.

    >>> [c.tolist() for c in pair_codes(torch.zeros(1, 2), torch.tensor([1]), "change_one", torch.ones(1, 2))]
    [[[0.0, 0.0]], [[0.0, 1.0]]]
    """
    _check_pairs(rule, min_gap, bound)
    labelled = labels[:, None] == torch.arange(codes.shape[1], device=labels.device)
    differs = labelled if rule == "change_one" else ~labelled
    first, second = apart(codes, other, min_gap, bound) if min_gap > 0 else (codes, other)
    return torch.where(differs, first, codes), torch.where(differs, second, codes)


def apart(first: Tensor, second: Tensor, min_gap: float, bound: float) -> tuple[Tensor, Tensor]:
    """Both values, pushed apart about their middle where they are closer than `min_gap`, and kept within ±`bound`."""
    half, close = (second - first) / 2, (second - first).abs() < min_gap
    half = torch.where(close, min_gap / 2 * torch.where(half < 0, -1.0, 1.0), half)
    limit = bound - half.abs()
    middle = torch.minimum(torch.maximum((first + second) / 2, -limit), limit)
    return torch.where(close, middle - half, first), torch.where(close, middle + half, second)


def pair_labels(positions: Tensor, active: Tensor) -> Tensor:
    """Positions `[m]` in [0, 1) → labels int64 `[m]`, uniform over the dimensions that are `active`, bool `[d]`.

    If none is active, all are.

    >>> pair_labels(torch.tensor([0.0, 0.49, 0.99]), torch.tensor([True, False, True])).tolist()
    [0, 0, 2]
    """
    ranks = (active | ~active.any()).cumsum(0)
    rank = torch.minimum((positions * ranks[-1]).floor(), ranks[-1] - 1).to(ranks.dtype)
    return torch.searchsorted(ranks, rank, right=True)


def _check_pairs(rule: str, min_gap: float, bound: float) -> None:
    if rule not in PAIR_RULES:
        raise ValueError(f"unknown pair_rule {rule!r}; known: {', '.join(PAIR_RULES)}")
    if isinstance(min_gap, bool) or not 0 <= min_gap <= 2 * bound or min_gap == math.inf:
        raise ValueError(f"min_gap must lie between 0 and the codes' range ({2 * bound:g}), got {min_gap!r}")


@dataclass(frozen=True)
class PairPlan:
    """How a step's pairs are made; its fields are the hyper-parameters of the same names.

    `pairs`: how many, at least 4 (two classes with a partner each). `resample` says where a second value comes from:
    another image of the "batch", the "prior", or a second sample of the same "posterior" (reading S6).
    """

    pairs: int
    rule: str
    resample: str
    min_gap: float
    active_only: bool
    bound: float = math.inf  # codes lie within ±bound

    def __post_init__(self) -> None:
        if isinstance(self.pairs, bool) or not isinstance(self.pairs, int) or self.pairs < 4:
            raise ValueError(
                f"pairs must be a whole number of at least 4, two classes with two each, got {self.pairs!r}"
            )
        if self.resample not in RESAMPLES:
            raise ValueError(f"unknown resample {self.resample!r}; known: {', '.join(RESAMPLES)}")
        if not isinstance(self.active_only, bool):
            raise ValueError(f"active_only must be true or false, got {self.active_only!r}")
        _check_pairs(self.rule, self.min_gap, self.bound)

    def check_posterior(self, available: bool) -> None:
        """ValueError if the plan needs posteriors, which only a stage-1 autoencoder gives, and there are none."""
        if not available and (self.resample == "posterior" or self.active_only):
            wanted = "resample='posterior'" if self.resample == "posterior" else "active_only"
            raise ValueError(f"{wanted} needs the posteriors of a stage-1 autoencoder; adopt one in the role 'stage1'")

    def draw(self, n: int, d: int, noise_dims: int, prior: str, generator: torch.Generator) -> Values:
        """All noise of the pairs of a batch of `n` codes `[n, d]`: label positions, image noise, second values."""
        m, device = self.pairs, generator.device
        if self.resample == "batch" and n < 2:
            raise ValueError(f"resample='batch' takes second values from another image, got a batch of {n}")
        position = torch.rand(m, generator=generator, device=device)
        noise = prior_sample(prior, m, noise_dims, generator)
        if self.resample == "batch":
            other = torch.randint(1, n, (m,), generator=generator, device=device)
        else:  # a second posterior sample takes standard normal noise, whatever the prior
            other = prior_sample(prior if self.resample == "prior" else "gaussian", m, d, generator)
        return {"pair_position": position, "pair_noise": noise, "pair_other": other}

    def codes(self, given: Values) -> tuple[Tensor, Tensor, Tensor]:
        """Labels `[m]` and both codes `[m, d]`, the batch's codes tiled to m pairs (reading S15)."""
        codes, rows = given["codes"], torch.arange(self.pairs, device=given["codes"].device) % len(given["codes"])
        labels = pair_labels(given["pair_position"], self._active(given))
        other = self._other(codes, rows, given)
        return labels, *pair_codes(codes[rows], labels, self.rule, other, self.min_gap, self.bound)

    def _active(self, given: Values) -> Tensor:
        if self.active_only:
            return kl_per_dimension(given["posterior_mean"], given["posterior_logvar"]) > ACTIVE_KL
        return torch.ones(given["codes"].shape[1], dtype=torch.bool, device=given["codes"].device)

    def _other(self, codes: Tensor, rows: Tensor, given: Values) -> Tensor:
        drawn = given["pair_other"]
        if self.resample == "batch":  # a shift of 1 to n − 1 rows: never the image's own
            return codes[(rows + drawn) % len(codes)]
        if self.resample == "prior":
            return drawn
        return posterior_sample(given["posterior_mean"][rows], given["posterior_logvar"][rows], drawn)


class PairRegulariser(nn.Module):
    """The pair network (IDGAN-SC's E, InfoGAN-CR's H), its loss, and what tells whether it has learnt anything.

    `head`: "supcon", 128 numbers a pair under the two-temperature loss (eq. 6), or "cross_entropy", a logit for each
    code dimension, where τ1, τ2 and `normalise` have no meaning.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int,
        head: str,
        pair_network: str,
        seed: int,
        tau1: float = 0.1,
        tau2: float = 0.1,
        normalise: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check_head(code_dims, head, tau1, tau2, normalise, reduction)
        self.head, self.tau1, self.tau2, self.normalise, self.reduction = head, tau1, tau2, normalise, reduction
        outputs = REPRESENTATION_DIMS if head == "supcon" else code_dims
        self.network = seeded(PairNetwork, image_shape, outputs, pair_network, seed=seed)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Images `[m, c, h, w]` twice → representations or logits, float32 `[m, outputs]`."""
        outputs = self.network(first, second)
        return contrastive.normalise(outputs) if self.head == "supcon" and self.normalise else outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Nats a pair; all pairs' sum if `reduction` is "sum" (reading S4)."""
        if self.head == "supcon":
            return contrastive.two_temperature_loss(outputs, labels, self.tau1, self.tau2, self.reduction)
        loss = contrastive.pair_cross_entropy(outputs, labels)
        return loss * len(labels) if self.reduction == "sum" else loss

    @torch.no_grad()
    def diagnostics(self, outputs: Tensor, labels: Tensor) -> Values:
        """How well labels are told from the outputs, and the cosines within and between classes; no gradients."""
        neighbours = min(5, len(labels) - 1)
        within, between = contrastive.mean_cosines(outputs, labels)
        if self.head == "supcon":
            accuracy = contrastive.neighbour_accuracy(outputs, labels, neighbours)
        else:
            accuracy = (outputs.argmax(1) == labels).float().mean()
        return {"pair_accuracy": accuracy, "within_cosine": within, "between_cosine": between}

    def judge(self, labels: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Values]:
        """The loss of these pairs; it and the diagnostics by name."""
        outputs = self(first, second)
        loss = self.loss(outputs, labels)
        return loss, {"pair_loss": loss} | self.diagnostics(outputs, labels)


def rendered_pairs(plan: PairPlan, given: Values, render: Callable[[Tensor, Tensor], Tensor]) -> Values:
    """Labels `[m]` and the pairs' images, both halves in one pass: the generator's batch norm treats them alike."""
    labels, *codes = plan.codes(given)
    first, second = render(torch.cat(codes), given["pair_noise"].repeat(2, 1)).chunk(2)
    return {"labels": labels, "first": first, "second": second}


def _check_head(code_dims: int, head: str, tau1: float, tau2: float, normalise: bool, reduction: str) -> None:
    if code_dims < 2:
        raise ValueError(f"pairs are told apart by their dimension: code_dims must be at least 2, got {code_dims!r}")
    if head not in HEADS:
        raise ValueError(f"unknown head {head!r}; known: {', '.join(HEADS)}")
    for name, value in (("tau1", tau1), ("tau2", tau2)):
        if isinstance(value, bool) or not 0 < value < math.inf:
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    if not isinstance(normalise, bool):
        raise ValueError(f"normalise must be true or false, got {normalise!r}")
    if reduction not in contrastive.REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known: {', '.join(contrastive.REDUCTIONS)}")
