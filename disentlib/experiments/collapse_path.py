"""What collapse costs under the contrastive loss of Dis-GU: a path from perfect separation to nothing told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from disentlib import models
from disentlib.experiments.evaluation import EVALUATION_SEED
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Run, Spec, prerequisite
from disentlib.experiments.tables import interval_of
from disentlib.losses.variation import contrastive_loss

__all__ = ["before_and_after", "before_training", "collapse_path", "same_everywhere"]


def collapse_path(
    cosines: Sequence[float], positives: int, negatives: int, threshold: float, rule: str, flip: bool = True
) -> list[float]:
    """The loss in nats per pair where positives are perfect and all negatives have the same cosine, for each cosine.

    At cosine 0 everything is told apart, at 1 nothing. With `flip`, negatives above `threshold` are treated by `rule`.

    >>> [round(loss, 3) for loss in collapse_path([0.0, 1.0], 32, 64, 0.95, "similarity")]
    [0.567, 0.313]
    """
    return [_loss(1.0, cosine, positives, negatives, threshold, rule, flip) for cosine in cosines]


def same_everywhere(
    cosine: float, positives: int, negatives: int, threshold: float, rule: str, flip: bool = True
) -> float:
    """The loss where positives and negatives have the same cosine with the query: an encoder that tells nothing apart.

    >>> round(same_everywhere(0.8, 32, 64, 0.95, "similarity"), 3)
    0.904
    """
    return _loss(cosine, cosine, positives, negatives, threshold, rule, flip)


def before_training(spec: Spec) -> dict[str, float | list[float]]:
    """What a direction model measures of itself before its first step, from the same base images as its record."""
    glow: Run = prerequisite(spec.parents["glow"])
    model = models.build(spec.model, glow.dataset.image_shape, seed=spec.seed, **spec.hyper)
    model.adopt("glow", glow.model)
    device = next(glow.model.parameters()).device
    generator = torch.Generator(device).manual_seed(EVALUATION_SEED)
    return model.to(device).eval().measure(torch.zeros(1, *glow.dataset.image_shape, device=device), generator)


def before_and_after(
    before: Mapping[str, object], records: Sequence[Record], names: Mapping[str, str], caption: str
) -> Html:
    """Measurements of the untrained model of the first seed beside those of the trained ones; `names` → headings."""
    lines = [[text, f"{before[name]:.3f}", interval_of(records, name).text(3)] for name, text in names.items()]
    return table(["", "before the first step, first seed", "after training"], lines, caption) + provenance(records)


def _loss(
    positive: float, negative: float, positives: int, negatives: int, threshold: float, rule: str, flip: bool
) -> float:
    query = _at(1.0, 1)
    keys = _at(positive, positives), _at(negative, negatives)
    return contrastive_loss(query, *keys, threshold=threshold, pseudo_label=rule, flip=flip).loss.item()


def _at(cosine: float, n: int) -> torch.Tensor:
    """`n` unit vectors with this cosine to the first axis, float32 `[n, 2]`."""
    return torch.tensor([[cosine, (1 - cosine**2) ** 0.5]]).expand(n, 2)
