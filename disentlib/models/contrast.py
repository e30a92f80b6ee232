"""The contrast module of DisCo and Dis-GU on pairs of images: what is drawn, what is encoded, what is paid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from disentlib.losses.variation import PSEUDO_LABELS, contrastive_loss, entropy_term, variation
from disentlib.models.base import Values
from disentlib.models.frozen_flow import FrozenFlow, Pairs, check_count

__all__ = ["CONTRAST_NAMES", "Contrast", "both"]

CONTRAST_NAMES = {
    "contrast": "binary cross-entropy of variations, nats per query–key pair (eq. 8; perfect: 0.567 at τ = 1, N = K/2)",
    "positive_similarity": "mean cosine of variations along the same direction",
    "negative_similarity": "mean cosine of variations along different directions; near 1 is collapse",
    "flipped_fraction": "share of the negative pairs whose cosine passes T and whose label is changed",
}


@dataclass(frozen=True)
class Contrast:
    """Sizes and rules of one contrastive step; ValueError for what cannot be.

    One step takes `queries` and `positives` along one direction and `negatives` along others (as DisCo does).
    `flip_warmup`: steps before pseudo-labels are used (reading D8). `literal`: negatives too get a graph, for nothing.
    `normalise`: variations get length 1 (reading D7).
    """

    queries: int = 32
    positives: int = 32
    negatives: int = 64
    tau: float = 1.0
    threshold: float = 0.95
    pseudo_label: str = "similarity"
    flip_warmup: int = 0
    literal: bool = False
    normalise: bool = True

    def __post_init__(self) -> None:
        for name in ("queries", "positives", "negatives"):
            check_count(name, getattr(self, name))
        check_count("flip_warmup", self.flip_warmup, least=0)
        if not 0 < self.tau < math.inf:
            raise ValueError(f"tau must be a positive number, got {self.tau!r}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {self.threshold!r}")
        if self.pseudo_label not in PSEUDO_LABELS:
            raise ValueError(f"unknown pseudo_label {self.pseudo_label!r}; known: {', '.join(PSEUDO_LABELS)}")

    @property
    def attracted(self) -> int:
        """The pairs along the step's direction: queries and positives."""
        return self.queries + self.positives

    def draw_directions(self, count: int, generator: torch.Generator) -> Tensor:
        """Direction indices, int64 `[queries + positives + negatives]`: one for the first two, any other for the rest.

        >>> Contrast(2, 1, 2).draw_directions(2, torch.Generator().manual_seed(0)).tolist()
        [0, 0, 0, 1, 1]
        """
        target = torch.randint(count, (1,), generator=generator, device=generator.device)
        steps = torch.randint(1, count, (self.negatives,), generator=generator, device=generator.device)
        return torch.cat([target.expand(self.attracted), (target + steps) % count])

    def pairs(self, frozen: FrozenFlow, latents: Tensor, base: Tensor, shifts: Tensor) -> tuple[Pairs, Pairs]:
        """The pairs along the step's direction and the negatives, the latter without a graph, which nothing needs."""
        parts = [[part[: self.attracted], part[self.attracted :]] for part in (latents, base, shifts)]
        attracted = frozen.pairs(*(part[0] for part in parts))
        with torch.set_grad_enabled(self.literal):
            return attracted, frozen.pairs(*(part[1] for part in parts))

    def terms(
        self, encoder: nn.Module, attracted: Pairs, others: Pairs, step: int, entropy_weight: float = 0.0
    ) -> Values:
        """What `CONTRAST_NAMES` reports of these pairs and the queries' "entropy", both losses with a graph.

        `entropy_weight`: what DisCo's entropy term is multiplied by; with 0 it costs nothing.
        """
        near = self._variations(encoder, attracted)
        with torch.set_grad_enabled(self.literal):
            far = self._variations(encoder, others)
        sizes = [self.queries, self.positives]
        queries, positives = near.split(sizes)
        rules = (self.tau, self.threshold, self.pseudo_label, step >= self.flip_warmup)
        terms = contrastive_loss(queries, positives, far, *rules, valid=(*attracted.valid.split(sizes), others.valid))
        entropy = torch.zeros((), device=queries.device)
        if entropy_weight:
            entropy = entropy_weight * entropy_term(queries, attracted.valid[: self.queries])
        return dict(zip(CONTRAST_NAMES, terms)) | {"entropy": entropy}

    def _variations(self, encoder: nn.Module, pairs: Pairs) -> Tensor:
        return variation(*encoder(torch.cat([pairs.base, pairs.shifted])).float().chunk(2), self.normalise)


def both(*pairs: Pairs) -> Pairs:
    """Several groups of pairs as one."""
    return Pairs(*(torch.cat(part) for part in zip(*pairs)))
