"""What collapse costs under the contrastive loss of Dis-GU: a path from perfect separation to nothing told apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from disentlib.losses.variation import contrastive_loss

__all__ = ["collapse_path", "same_everywhere"]


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


def _loss(
    positive: float, negative: float, positives: int, negatives: int, threshold: float, rule: str, flip: bool
) -> float:
    query = _at(1.0, 1)
    keys = _at(positive, positives), _at(negative, negatives)
    return contrastive_loss(query, *keys, threshold=threshold, pseudo_label=rule, flip=flip).loss.item()


def _at(cosine: float, n: int) -> torch.Tensor:
    """`n` unit vectors with this cosine to the first axis, float32 `[n, 2]`."""
    return torch.tensor([[cosine, (1 - cosine**2) ** 0.5]]).expand(n, 2)
