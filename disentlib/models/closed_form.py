"""CF: the closed form of SeFa (Shen & Zhou 2021) on a Glow's top level (reading D13)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disentlib.models.frozen_flow import BaseImages, FrozenFlow
from disentlib.models.regressed import FixedDirections, fix_signs

__all__ = ["ClosedForm", "cosine_patterns", "spread"]


class ClosedForm(FixedDirections):
    """Directions: the right singular vectors of the first linear map on the way back of a latent of the top level.

    That map is `c × c` on channels. Its `c` singular vectors, each spread evenly over the grid, come first, the largest
    singular value leading; further directions repeat them on the grid's next cosine pattern, with the same singular
    values. `measure` records the spectrum: where it is flat, the choice means nothing. The codes that are scored are an
    encoder's, trained on as many generated images a step as the batch has (`regressed.py`).

    >>> ClosedForm((1, 32, 32), directions=8, encoder_width=8).code_dims
    8
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        directions: int = 64,
        temperature: float = 0.7,
        shift_scale: float = 6.0,
        cached_bases: bool = False,
        bases: int = 2048,
        refresh: int = 1000,
        real_bases: bool = False,
        encoder_width: int = 64,
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        images = BaseImages(temperature, cached_bases, bases, refresh, real_bases, seed=seed)
        super().__init__(image_shape, directions, directions, "top", shift_scale, images, encoder_width, lr, seed)

    @torch.no_grad()
    def find(self, frozen: FrozenFlow) -> tuple[Tensor, Tensor]:
        _, values, rows = torch.linalg.svd(frozen.flow.top_linear().double())
        _, height, width = frozen.flow.level_shapes[-1]
        return spread(fix_signs(rows.T), cosine_patterns(height, width).to(rows), self.count), values


def spread(channels: Tensor, patterns: Tensor, count: int) -> Tensor:
    """The first `count` products of channel directions and patterns, `[c·h·w, count]`: all on the first pattern, then …

    `channels` `[c, c]` and `patterns` `[h·w, h·w]` have orthonormal columns; so has the result.

    >>> spread(torch.eye(2), torch.eye(3), 3).argmax(0).tolist()
    [0, 3, 1]
    """
    every = torch.einsum("ck,sp->cspk", channels, patterns)  # channel, site | pattern, direction
    return every.flatten(2).flatten(0, 1)[:, :count]


def cosine_patterns(height: int, width: int) -> Tensor:
    """The orthonormal cosine (DCT-II) patterns of a grid as columns, float64 `[h·w, h·w]`, the constant one first.

    >>> cosine_patterns(1, 2).tolist()[0]
    [0.7071067811865475, 0.7071067811865476]
    """
    rows, columns = _cosines(height), _cosines(width)
    frequency = (torch.arange(height)[:, None].square() + torch.arange(width).square()).flatten()
    return torch.kron(rows, columns)[:, frequency.argsort(stable=True)]


def _cosines(size: int) -> Tensor:
    sites, waves = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    patterns = torch.cos(math.pi * (sites + 0.5) * waves / size)
    return patterns / patterns.norm(dim=0)
