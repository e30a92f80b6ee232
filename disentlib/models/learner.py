"""The learner of LD and Dis-GU on pairs of images: a navigator shifts, a reconstructor names the shift (eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.losses.variation import learner_loss
from disentlib.models.base import Values
from disentlib.models.frozen_flow import Pairs
from disentlib.networks import Reconstructor

__all__ = ["LEARNER_NAMES", "draw_any", "learner_terms"]

LEARNER_NAMES = {
    "learner": "cross-entropy + η·shift_error (eq. 5)",
    "cross_entropy": "of the reconstructor's guess of the direction, in nats; ln D when it knows nothing",
    "shift_error": "mean |ε − ε̂|, in the unit of ε: at most 6 by default",
    "reconstructor_accuracy": "share of the pairs whose direction the reconstructor names",
}


def draw_any(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Any of `count` directions for each of `n` pairs, int64 `[n]`."""
    return torch.randint(count, (n,), generator=generator, device=generator.device)


def learner_terms(reconstructor: Reconstructor, pairs: Pairs, given: Values, eta: float) -> Values:
    """What `LEARNER_NAMES` reports of these pairs, "learner" with a graph."""
    logits, predicted = reconstructor(pairs.base, pairs.shifted)
    terms = learner_loss(logits, predicted, given["directions"], given["amounts"], eta, pairs.valid)
    return dict(zip(LEARNER_NAMES, terms))
