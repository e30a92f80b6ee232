"""Directions of one frozen flow side by side: what they move, which subspace they span, what code they give.

All methods of a page lie in the latent of the same flow, so that their directions can be compared as vectors. A set of
random directions is the control: what it scores, no method needs to be praised for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from disentlib import metrics
from disentlib.data import Dataset
from disentlib.experiments.evaluation import SCORE_PROTOCOL, encoded, evaluation_points
from disentlib.experiments.markup import Html, table
from disentlib.experiments.measured import Measured, Reader, measured_traversal
from disentlib.experiments.records import Record
from disentlib.losses.variation import VISIBLE_CHANGE
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import FrozenFlow, in_chunks
from disentlib.networks.navigation import orthonormal_columns
from disentlib.traversal_figures import measured_grid

__all__ = [
    "Shifted",
    "code_table",
    "coverage",
    "first_rows",
    "image_change",
    "overlap",
    "overlaps",
    "principal_cosines",
    "random_directions",
    "spectrum_table",
    "traversed",
    "with_image_change",
]


def random_directions(frozen: FrozenFlow, count: int, seed: int) -> Tensor:
    """`count` orthonormal directions drawn without looking at anything, `[a, count]`: the control of every table."""
    generator = torch.Generator().manual_seed(seed)
    return orthonormal_columns(torch.randn(frozen.dims, count, generator=generator)).to(frozen.device)


# ---- what directions move ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Shifted:
    """Real images along directions, as something that can be traversed: a code is a shift ε for each direction.

    Codes are `[n, D + total]`: the shifts, 0 for an image as it is, and behind them its exact latents, which stay. So
    everything of the image that no direction moves is kept, as only a flow can keep it.
    """

    frozen: FrozenFlow
    matrix: Tensor  # [a, D]

    @property
    def code_dims(self) -> int:
        return self.matrix.shape[1] + self.frozen.total

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.frozen.parameters()

    def encode(self, images: Tensor) -> Tensor:
        latents = self.frozen.latents(images)
        return torch.cat([latents.new_zeros(len(latents), self.matrix.shape[1]), latents], dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        shifts, latents = codes.tensor_split([self.matrix.shape[1]], dim=1)
        moved = latents + self.frozen.placed(self.frozen.strength * shifts @ self.matrix.T)
        return in_chunks(self.frozen.images, moved)


def traversed(
    frozen: FrozenFlow, matrix: Tensor, dataset: Dataset, reader: Reader, bases: int, extent: float, columns: int = 9
) -> Measured:
    """All directions `[a, D]`, each from −`extent` to `extent` in the unit of ε, from the same `bases` real images."""
    dims = range(matrix.shape[1])
    return measured_traversal(Shifted(frozen, matrix), dataset, dims, (-extent, extent), bases, reader, columns)


def first_rows(measured: Measured, rows: Sequence[int], title: str) -> Figure:
    """The grid of some directions, with their measured changes."""
    labels = [f"direction {row}" for row in rows]
    return measured_grid(measured.images[list(rows)], [measured.summaries[r] for r in rows], labels, title=title)


def coverage(found: Mapping[str, Measured], factors: int, caption: str) -> Html:
    """How many directions of each method move a factor, how purely, and how many factors lead one at least.

    And how many of the shifted images are not finite, so that nothing can be read from them.
    """
    lines = []
    for name, measured in found.items():
        moving = [summary for summary in measured.summaries if summary.dominant]
        leading = {summary.dominant for summary in moving}
        purity = f"{np.mean([s.purity for s in moving]):.2f}" if moving else "–"
        change = f"{np.mean([s.change for s in moving]):.2f}" if moving else "–"
        named = ", ".join(sorted(leading)).replace("_", " ") or "–"
        share = f"{len(moving)} of {len(measured.summaries)}"
        broken = f"{measured.unreadable:.0%}"
        lines.append([name, share, change, purity, f"{len(leading)} of {factors}", named, broken])
    head = ["", "directions that move a factor", "mean change of the leading factor", "mean purity"]
    return table([*head, "factors that lead somewhere", "", "images that are not finite"], lines, caption)


@torch.no_grad()
def image_change(frozen: FrozenFlow, matrix: Tensor, amount: float, n: int, temperature: float, seed: int) -> list:
    """Mean |G(shifted) − G(base)| of a value in [0, 1], for each direction at shift `amount` from `n` samples."""
    latents = frozen.sample(n, temperature, torch.Generator(frozen.device).manual_seed(seed))
    base, found = in_chunks(frozen.images, latents), []
    for column in matrix.T:
        shift = amount * frozen.strength * column
        found.append(frozen.pairs(latents, base, shift.expand(n, -1)).values()["image_change"].item())
    return found


def with_image_change(records: Sequence[Record]) -> list[Record]:
    """The records with the mean of `image_change` over directions, and the share of visible ones, as numbers."""
    changes = [np.array(record.metrics["image_change"]) for record in records]
    more = [{"mean_change": c.mean(), "visible_share": (c >= VISIBLE_CHANGE).mean()} for c in changes]
    return [
        replace(r, metrics=r.metrics | {k: round(float(v), 4) for k, v in m.items()}) for r, m in zip(records, more)
    ]


# ---- spectra and subspaces -----------------------------------------------------------------------------------------


def spectrum_table(spectra: Mapping[str, Sequence[float]], count: int, caption: str) -> Html:
    """How decided each spectrum is: the largest value over that at `count`, and over the median; effective number.

    The effective number is `exp` of the entropy of the values as shares: n if all n are alike, 1 if one has all.
    """
    lines = []
    for name, values in spectra.items():
        values = np.array(values)[np.array(values) > 0]
        share = values / values.sum()
        effective = math.exp(-(share * np.log(share)).sum())
        last, median = values[min(count, len(values)) - 1], np.median(values)
        lines.append(
            [name, str(len(values)), f"{values[0] / last:.2f}", f"{values[0] / median:.2f}", f"{effective:.0f}"]
        )
    return table(["", "values", f"first / {count}th", "first / median", "effective number"], lines, caption)


def principal_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosines of the principal angles between the spans of two sets of columns `[a, D]`, largest first, `[D]`.

    >>> principal_cosines(torch.eye(3)[:, :2], torch.eye(3)[:, 1:]).tolist()
    [1.0, 0.0]
    """
    return torch.linalg.svdvals(orthonormal_columns(first).T @ orthonormal_columns(second)).clamp(0, 1)


def overlap(first: Tensor, second: Tensor) -> float:
    """Mean squared cosine of the principal angles: 1 for one subspace, D/a on average for two random ones of `a`.

    >>> overlap(torch.eye(3)[:, :2], torch.eye(3)[:, 1:])
    0.5
    """
    return principal_cosines(first, second).square().mean().item()


def overlaps(matrices: Mapping[str, Tensor]) -> np.ndarray:
    """The overlap of each pair, `[methods, methods]`."""
    found = list(matrices.values())
    return np.array([[overlap(first, second) for second in found] for first in found])


# ---- codes ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def code_table(models: Mapping[str, DirectionModel], control: Tensor, dataset: Dataset, n: int, caption: str) -> Html:
    """MIG and DCI of the exact codes `Aᵀ·eps(x)` and of the encoders', on the same `n` evaluation points; and R².

    R²: the share of the exact codes' variance that the encoder explains on these images. `control`: random directions.
    Two thirds of the points are DCI's training points. All models must lie on the same flow, whose latents of the
    points are computed once.
    """
    indices, images = evaluation_points(dataset, n)
    factors = dataset.factors(indices).numpy()
    frozen = next(iter(models.values())).adopted()
    latents = torch.cat([frozen.latents(chunk.to(frozen.device).float() / 255) for chunk in images.split(250)])
    lines = []
    for name, model in models.items():
        exact = frozen.coordinates(latents, model.directions()).cpu()
        ours = encoded(model, images, frozen.device)
        left = (ours - exact).square().sum() / (exact - exact.mean(0)).square().sum()
        lines.append([name, *_scored(exact, factors), *_scored(ours, factors), f"{1 - left.item():.2f}"])
    lines.append(["random", *_scored(frozen.coordinates(latents, control).cpu(), factors), "–", "–", "–"])
    head = ["", "exact code: MIG", "DCI", "encoder: MIG", "DCI", "R² of the encoder for the exact code"]
    return table(head, lines, caption)


def _scored(codes: Tensor, factors: np.ndarray) -> tuple[str, str]:
    """MIG and DCI disentanglement, as text."""
    train, codes = 2 * len(codes) // 3, codes.numpy()
    protocol = replace(SCORE_PROTOCOL, train_points=train, test_points=len(codes) - train)
    gap = metrics.mig(codes, factors, protocol=protocol)
    found = metrics.dci(codes[:train], factors[:train], codes[train:], factors[train:], protocol=protocol)
    return f"{gap:.3f}", f"{found.disentanglement:.3f}"
