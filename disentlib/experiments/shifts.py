"""Directions of a frozen flow as rows of a traversal: all are measured, and the numbers say which are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from disentlib.data import Dataset
from disentlib.experiments.measured import Measured, Reader, measured_traversal
from disentlib.metrics.traversals import RowSummary
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import in_chunks

__all__ = ["Shifts", "cleanest", "direction_rows", "mixed", "shown"]


class Shifts:
    """A direction model as a decoder whose code is `D` shifts ε in front of a flat latent: `[n, D + total]`.

    An image is encoded as no shift at its own exact latent. A decoded image that is not finite is grey.
    """

    def __init__(self, model: DirectionModel) -> None:
        self.model, self.flow, self.count = model, model.adopted(), model.count
        self.code_dims = self.count + self.flow.total

    def parameters(self):
        return self.model.parameters()

    def encode(self, images: Tensor) -> Tensor:
        return F.pad(self.flow.latents(images), (self.count, 0))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        shifts, latents = codes.split([self.count, self.flow.total], dim=1)
        moved = self.flow.strength * shifts @ self.model.directions().T
        return torch.nan_to_num(in_chunks(self.flow.images, latents + self.flow.placed(moved)), nan=0.5)


def direction_rows(
    model: DirectionModel, dataset: Dataset, reader: Reader, bases: int, columns: int, extent: float | None = None
) -> Measured:
    """Each direction as one row, `bases` images of `dataset` shifted by ε from −`extent` to `extent`, and measured.

    `extent` is the largest shift of the training without one.
    """
    reach = model.shift_scale if extent is None else extent
    return measured_traversal(
        Shifts(model), dataset, range(model.count), (-reach, reach), bases, reader, columns=columns
    )


def shown(measured: Measured, rows: Sequence[int]) -> Measured:
    """These rows of a measured traversal alone, in this order."""
    rows = list(rows)
    return replace(
        measured,
        dimensions=tuple(measured.dimensions[row] for row in rows),
        images=measured.images[rows],
        readings=measured.readings[:, rows],
        summaries=tuple(measured.summaries[row] for row in rows),
    )


def cleanest(summaries: Sequence[RowSummary], most: int) -> list[int]:
    """The rows, `most` at most, whose change belongs most to one factor: one row a factor, the purest first.

    >>> row = lambda name, purity: RowSummary(name, 0.5, purity, 1.0, {}, (name,))
    >>> cleanest([row("x", 0.7), row("y", 0.6), row("x", 0.9)], 2)
    [2, 1]
    """
    found: dict[str, int] = {}
    for row in sorted((r for r, s in enumerate(summaries) if s.dominant), key=lambda r: -summaries[r].purity):
        found.setdefault(summaries[row].dominant, row)
    return list(found.values())[:most]


def mixed(summaries: Sequence[RowSummary], without: Sequence[int] = ()) -> list[int]:
    """The row whose change belongs least to one factor, as a list; empty if nothing else changes anything."""
    left = [row for row, summary in enumerate(summaries) if summary.dominant and row not in without]
    return sorted(left, key=lambda row: summaries[row].purity)[:1]
