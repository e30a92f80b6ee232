"""Traversals of digits in the layout of the papers: a panel for each measure of a stroke, a row for each digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from disentlib.data import Dataset
from disentlib.experiments.evaluation import EVALUATION_SEED
from disentlib.experiments.measured import Decoder, Measured
from disentlib.figures import traverse

__all__ = ["OTHER", "digit_codes", "digit_grids", "movers"]

OTHER = "style"  # the paper's name for what is none of the others: the row that changes most pixels of those left


@torch.no_grad()
def digit_codes(model: Decoder, dataset: Dataset, digits: Sequence[int], each: int) -> Tensor:
    """The codes of `each` images of every digit, drawn from a fixed generator: `[digits · each, d]`, digit by digit.

    LookupError for a data set without labels, or a digit that it has too few of.
    """
    if dataset.labels is None:
        raise LookupError(f"{dataset.name} has no labels: no digit can be asked for")
    generator, chosen = torch.Generator().manual_seed(EVALUATION_SEED), []
    for digit in digits:
        own = (dataset.labels == digit).nonzero()[:, 0]
        if len(own) < each:
            raise LookupError(f"asked for {each} images of {digit}, there are {len(own)}")
        chosen.append(own[torch.randperm(len(own), generator=generator)[:each]])
    device = next(model.parameters()).device
    return model.encode(dataset.images(torch.cat(chosen), device=device))


def movers(measured: Measured, names: Sequence[str]) -> dict[str, int]:
    """For each measure the code dimension along which it changes most, each dimension once; and one for `OTHER`.

    The measure whose greatest change is largest chooses first. A measure that could not be read anywhere gets none.
    """
    table = np.array([[summary.changes[name] for name in names] for summary in measured.summaries])
    table, found = np.nan_to_num(table, nan=-1.0), {}
    while (table >= 0).any():
        row, column = np.unravel_index(table.argmax(), table.shape)
        found[names[column]] = measured.dimensions[row]
        table[row], table[:, column] = -1.0, -1.0
    left = [row for row, dimension in enumerate(measured.dimensions) if dimension not in found.values()]
    if left:
        found[OTHER] = measured.dimensions[max(left, key=lambda row: _pixels_moved(measured.images[row]))]
    return {name: found[name] for name in (*names, OTHER) if name in found}


def digit_grids(model: Decoder, codes: Tensor, chosen: dict[str, int], values: Sequence[float]) -> dict[str, Tensor]:
    """A grid `[digits, values, c, h, w]` in [0, 1] for each chosen dimension: a row for each code of `codes`."""
    rows = {name: [traverse(model.decode, code, [d], values)[0] for code in codes] for name, d in chosen.items()}
    return {f"{name}: c{chosen[name]}": torch.stack(images).cpu() for name, images in rows.items()}


def _pixels_moved(images: Tensor) -> float:
    """How far a row's pictures `[values, c, h, w]` lie apart: the mean over pixels of the standard deviation."""
    return images.std(0).mean().item()
