"""What the tests of all renderers share: factors to draw, and pictures as numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from disentlib.data.grid import FactorGrid


def sample(grid: FactorGrid, n: int, seed: int) -> Tensor:
    return grid.sample(n, torch.Generator().manual_seed(seed))


def sweep(grid: FactorGrid, base: Tensor, name: str) -> Tensor:
    """Factors `[k]` → one row for every value of a factor, `[size, k]`."""
    column = grid.names.index(name)
    rows = base.repeat(grid.sizes[column], 1)
    rows[:, column] = torch.arange(grid.sizes[column])
    return rows


def having(grid: FactorGrid, factors: Tensor, **values: int | Tensor) -> Tensor:
    """The same factors `[n, k]` with some columns set."""
    factors = factors.clone()
    for name, value in values.items():
        factors[:, grid.names.index(name)] = value
    return factors


def unit(draw: Callable[[Tensor, int], Tensor], factors: Tensor, size: int = 32) -> Tensor:
    """Pictures float32 `[n, 3, s, s]` in [0, 1]."""
    return draw(factors, size).float() / 255
