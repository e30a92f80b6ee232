"""Figure 9 of the Dis-GU paper: what an encoder, or a reader of factors, sees change when one factor does, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from disentlib.data import Dataset
from disentlib.experiments.factor_reader import FactorReader
from disentlib.experiments.markup import Html, table
from disentlib.experiments.measured import base_codes, read
from disentlib.experiments.shifts import Shifts
from disentlib.losses.variation import shift_amounts, variation
from disentlib.models.directions import DirectionModel

__all__ = ["alignment", "alignment_table", "encoded_changes", "leading_axes", "read_changes", "scatter_changes"]

Samples = Mapping[str, np.ndarray]  # name → points `[n, 2]`, all at least 0
_COLOURS = ("#0072B2", "#D55E00", "#777777")  # the first factor, the second, both
_MARKERS = ("o", "s", "x")


@torch.no_grad()
def encoded_changes(
    model: DirectionModel, dataset: Dataset, factors: tuple[str, str], n: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Variations `[n, d]` of length 1 between images that differ in the first factor, in the second, and in both.

    The images are the data set's own, the factors its ground truth, drawn anew until they differ.
    """
    base = dataset.sample_factors(n, generator)
    columns = [dataset.factor_names.index(name) for name in factors]
    first, second = (_redrawn(base, dataset.factor_sizes, (c,), generator) for c in columns)
    both = torch.where(first != base, first, second)
    device = next(model.parameters()).device
    codes = [model.encode(dataset.images(dataset.index(rows), device)) for rows in (base, first, second, both)]
    return {name: variation(codes[0], code).cpu() for name, code in zip((*factors, "both"), codes[1:])}


def _redrawn(factors: Tensor, sizes: Sequence[int], columns: Sequence[int], generator: torch.Generator) -> Tensor:
    """Factors `[n, k]` with these columns changed to any other value."""
    moved = factors.clone()
    for column in columns:
        step = torch.randint(1, sizes[column], (len(factors),), generator=generator)
        moved[:, column] = (factors[:, column] + step) % sizes[column]
    return moved


def leading_axes(variations: Mapping[str, Tensor]) -> tuple[int, int]:
    """The code dimension that answers most to the first factor, and, of the others, to the second.

    >>> leading_axes({"x": torch.tensor([[0.9, 0.1]]), "y": torch.tensor([[0.8, 0.6]])})
    (0, 1)
    """
    first, second, *_ = (rows.mean(0) for rows in variations.values())
    best = int(first.argmax())
    others = second.clone()
    others[best] = -1.0
    return best, int(others.argmax())


@torch.no_grad()
def read_changes(
    model: DirectionModel, dataset: Dataset, reader: FactorReader, factors: tuple[str, str],
    directions: tuple[int, int], n: int, generator: torch.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What the reader sees change in two factors, `[n, 2]` as fractions of their range, along two directions.

    Images of the data set at their exact latents, shifted along the first direction, the second, and both at once.
    NaN for a shifted image that is not finite.
    """
    decoder = Shifts(model)
    latents = base_codes(decoder, dataset, n)
    amounts = shift_amounts(torch.rand(n, 2, generator=generator), model.shift_scale).to(latents)
    base = read(reader, decoder.decode(latents))
    found = {}
    for name, moved in zip((*factors, "both"), ([0], [1], [0, 1])):
        codes = latents.clone()
        for which in moved:
            codes[:, directions[which]] = amounts[:, which]
        found[name] = _between(base, read(reader, decoder.decode(codes)), reader, dataset, factors)
    return found


def _between(
    base: np.ndarray, shifted: np.ndarray, reader: FactorReader, dataset: Dataset, factors: Sequence[str]
) -> np.ndarray:
    """Changes `[n, 2]` of two ordinal factors, in [0, 1]."""
    columns = [dataset.factor_names.index(name) for name in factors]
    return np.abs(shifted - base)[:, columns] / [reader.scales[c].span for c in columns]


def alignment(points: np.ndarray) -> float:
    """The share of the squared length of points `[n, 2]` that lies along the first axis, in [0, 1]; NaN for no change.

    >>> alignment(np.array([[3.0, 0.0], [0.0, 1.0]]))
    0.9
    """
    squares = (np.nan_to_num(points) ** 2).sum(0)
    return float(squares[0] / squares.sum()) if squares.sum() else float("nan")


def alignment_table(panels: Mapping[str, Samples], caption: str) -> Html:
    """For each panel, the share of the change that lies along the horizontal axis: 1 along it, 0 along the other."""
    names = list(next(iter(panels.values())))
    lines = [[title, *(f"{alignment(samples[name]):.2f}" for name in names)] for title, samples in panels.items()]
    return table(["", *(name.replace("_", " ") for name in names)], lines, caption)


def scatter_changes(axes: Axes, samples: Samples, xlabel: str, ylabel: str) -> None:
    """The three groups of samples in one plane, from 0."""
    for (name, points), colour, marker in zip(samples.items(), _COLOURS, _MARKERS):
        label = name.replace("_", " ")
        axes.scatter(*points.T, s=12, color=colour, marker=marker, alpha=0.6, label=label, clip_on=False)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False)
