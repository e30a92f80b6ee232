"""Directions of a frozen flow as rows of a traversal: all are measured, and the numbers say which are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from numpy import nan_to_num
from torch import Tensor
from torch.nn import functional as F

from disentlib.data import Dataset
from disentlib.experiments.markup import Html, table
from disentlib.experiments.measured import Measured, Reader, measured_traversal
from disentlib.metrics.traversals import RowSummary
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import in_chunks

__all__ = ["Shifts", "best_for", "cleanest", "direction_rows", "mixed", "plain_rows", "shown", "sought"]


class Shifts:
    """A direction model as a decoder whose code is `D` shifts ε in front of a flat latent: `[n, D + total]`.

    An image is encoded as no shift at its own exact latent.
    """

    def __init__(self, model: DirectionModel) -> None:
        self.model, self.flow, self.count = model, model.adopted(), model.count
        self.code_dims = self.count + self.flow.total

    def parameters(self) -> Iterator[Tensor]:
        return self.model.parameters()

    def encode(self, images: Tensor) -> Tensor:
        return F.pad(self.flow.latents(images), (self.count, 0))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        shifts, latents = codes.split([self.count, self.flow.total], dim=1)
        moved = self.flow.strength * shifts @ self.model.directions().T
        return in_chunks(self.flow.images, latents + self.flow.placed(moved))


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


@torch.no_grad()
def plain_rows(model: DirectionModel, image: Tensor, directions: Sequence[int], columns: int) -> Tensor:
    """One image `[c, h, w]` shifted along each direction from the lowest to the highest ε, `[rows, columns, c, h, w]`.

    For pictures that no instrument reads.
    """
    decoder = Shifts(model)
    codes = decoder.encode(image[None]).repeat(len(directions), columns, 1)
    for row, direction in zip(codes, directions):
        row[:, direction] = torch.linspace(-model.shift_scale, model.shift_scale, columns)
    return decoder.decode(codes.flatten(0, 1)).clamp(0, 1).unflatten(0, codes.shape[:2])


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


def best_for(summaries: Sequence[RowSummary], factor: str, without: Sequence[int] = ()) -> int:
    """The purest row in which `factor` changes most, or, if there is none, the row that changes it most.

    >>> row = lambda name, purity, x: RowSummary(name, 0.5, purity, 1.0, {"x": x}, (name,))
    >>> best_for([row("y", 0.9, 0.4), row("x", 0.6, 0.5), row("y", 0.9, 0.8)], "x", without=[1])
    2
    """
    rows = [row for row in range(len(summaries)) if row not in without]
    own = [row for row in rows if summaries[row].dominant == factor]
    if own:
        return max(own, key=lambda row: summaries[row].purity)
    return max(rows, key=lambda row: nan_to_num(summaries[row].changes[factor]))


def sought(panels: Mapping[str, Measured], factors: Mapping[str, Sequence[str]], caption: str) -> Html:
    """For each data set and each factor that the paper names: the purest direction of it, if it leads along any."""
    lines = []
    for name, wanted in factors.items():
        summaries = panels[name].summaries
        for factor in wanted:
            row = best_for(summaries, factor)
            lines.append([name, factor.replace("_", " "), *_found(summaries[row], row, factor)])
    return table(["data", "factor", "direction", "its change", "purity", "does it lead there?"], lines, caption)


def _found(summary: RowSummary, row: int, factor: str) -> list[str]:
    leads = summary.dominant == factor
    kind, text = ("inside", "yes") if leads else ("below", f"no: {(summary.dominant or 'nothing').replace('_', ' ')}")
    purity = f"{summary.purity:.2f}" if leads else "–"
    change = summary.changes[factor]
    return [
        str(row),
        f"{change:.2f}" if change == change else "unreadable",
        purity,
        f'<span class="verdict-{kind}">{text}</span>',
    ]
