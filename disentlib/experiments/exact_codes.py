"""The code that only a flow has: coordinates of an image's exact latent along the directions (reading D10), scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from disentlib.experiments.evaluation import evaluate, score
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Run
from disentlib.models.directions import DirectionModel

__all__ = ["ExactCode", "exact_record"]


class ExactCode:
    """A direction model that encodes an image as `Aᵀ·eps(x)`, with nothing learned but the directions."""

    def __init__(self, model: DirectionModel) -> None:
        self.model, self.code_dims = model, model.count

    def parameters(self) -> Iterator[Tensor]:
        return self.model.parameters()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        return self.model.exact_codes(images)

    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        return {}


def exact_record(run: Run, scores: Sequence[str] = ()) -> Record:
    """The record of a run, its metrics those of the exact code: MIG and `scores`, on the same points as the encoder's.

    Metrics that look at a whole grid are dear here, since each image goes through the flow.
    """
    model = ExactCode(run.model)
    found = evaluate(model, run.dataset, run.record.spec["eval_points"], next(model.parameters()).device)
    return replace(run.record, metrics=found | score(model, run.dataset, scores))
