"""Factor grids: the arithmetic between a data set's index and its ground-truth factors."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

__all__ = ["FactorGrid"]


@dataclass(frozen=True)
class FactorGrid:
    """All combinations of some discrete factors, row-major: the last factor changes fastest.

    `index = Σ_i f_i · Π_{j>i} size_j`, the order of every published grid (dSprites, Shapes3D, MPI3D, Cars3D).

    >>> grid = FactorGrid(("shape", "scale"), (3, 6))
    >>> grid.factors(torch.tensor([7])).tolist(), grid.index(torch.tensor([[1, 1]])).tolist()
    ([[1, 1]], [7])
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    # Factors whose values have no order, such as a shape. Not in the repr: records hash that, and images are the same.
    nominal: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.sizes) or not self.names:
            raise ValueError(f"one size per factor: {len(self.names)} names, {len(self.sizes)} sizes")
        if min(self.sizes) < 1:
            raise ValueError(f"factor sizes must be at least 1, got {self.sizes}")
        if not set(self.nominal) <= set(self.names):
            raise ValueError(f"nominal factors {self.nominal} are not all among {self.names}")

    def __len__(self) -> int:
        return prod(self.sizes)

    @property
    def strides(self) -> tuple[int, ...]:
        """How far the index moves when a factor moves by one, `[k]`."""
        return tuple(prod(self.sizes[i + 1 :]) for i in range(len(self.sizes)))

    @property
    def nominal_columns(self) -> tuple[int, ...]:
        """The columns of the factors whose values have no order."""
        return tuple(self.names.index(name) for name in self.nominal)

    def factors(self, indices: Tensor) -> Tensor:
        """Indices int64 `[n]` in `[0, len(self))` → factors int64 `[n, k]`; IndexError outside."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        if indices.numel() and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"index out of range: this grid has {len(self)} images")
        strides = torch.tensor(self.strides, device=indices.device)
        sizes = torch.tensor(self.sizes, device=indices.device)
        return indices[:, None] // strides % sizes

    def index(self, factors: Tensor) -> Tensor:
        """Factors int64 `[n, k]`, each in `[0, size)` → indices int64 `[n]`; the inverse of `factors`."""
        factors = torch.as_tensor(factors, dtype=torch.int64)
        if factors.ndim != 2 or factors.shape[1] != len(self.sizes):
            raise ValueError(
                f"expected factors [n, {len(self.sizes)}] ({', '.join(self.names)}), got {list(factors.shape)}"
            )
        sizes = torch.tensor(self.sizes, device=factors.device)
        if factors.numel() and ((factors < 0) | (factors >= sizes)).any():
            raise IndexError(f"factor value out of range: sizes are {dict(zip(self.names, self.sizes))}")
        return (factors * torch.tensor(self.strides, device=factors.device)).sum(1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` factor vectors drawn uniformly and independently, int64 `[n, k]`."""
        columns = [torch.randint(size, (n,), generator=generator, device=generator.device) for size in self.sizes]
        return torch.stack(columns, dim=1)
