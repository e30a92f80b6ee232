"""One data set: images by index, with or without ground-truth factors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from disentlib.data.grid import FactorGrid

__all__ = ["Dataset"]

Fetch = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)  # two data sets are equal if they are the same object
class Dataset:
    """Images behind one function of indices; everything else follows from it.

    `fetch` takes int64 indices `[n]` on any device and returns uint8 images `[n, c, h, w]` on that device: read from
    memory, unpacked from bits, decoded from files, or drawn. `labels` are what a set without a factor grid
    still knows (digit classes, attributes); they are not factors.

    >>> from disentlib import data
    >>> data.load("dsprites", source="rendered").images(torch.tensor([0])).shape
    torch.Size([1, 1, 64, 64])
    """

    name: str
    source: str  # "real", "rendered", or "bundled" (scikit-learn's digits)
    description: str  # one line that a page can print, e.g. "rendered faces, a stand-in for CelebA"
    image_shape: tuple[int, int, int]  # (c, h, w)
    count: int
    fetch: Fetch = field(repr=False)
    grid: FactorGrid | None = None
    labels: Tensor | None = field(default=None, repr=False)  # int64 [count]

    def __len__(self) -> int:
        return self.count

    @property
    def factor_names(self) -> tuple[str, ...]:
        return self._need_grid().names

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        return self._need_grid().sizes

    def bytes(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        """Indices int64 `[n]` → uint8 images `[n, c, h, w]` in 0…255 on `device` (the indices' own by default)."""
        indices = torch.as_tensor(indices, dtype=torch.int64, device=device)
        if indices.numel() and (indices.min() < 0 or indices.max() >= self.count):
            raise IndexError(f"index out of range: {self.name} ({self.source}) has {self.count} images")
        return self.fetch(indices)

    def images(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        """Indices int64 `[n]` → float32 images `[n, c, h, w]` in [0, 1]."""
        return self.bytes(indices, device).to(torch.float32) / 255

    def factors(self, indices: Tensor) -> Tensor:
        """Indices int64 `[n]` → factors int64 `[n, k]`; LookupError where the set has none."""
        return self._need_grid().factors(indices)

    def index(self, factors: Tensor) -> Tensor:
        """Factors int64 `[n, k]` → indices int64 `[n]`: the inverse of `factors`."""
        return self._need_grid().index(factors)

    def sample_factors(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` factor vectors drawn uniformly, int64 `[n, k]`; LookupError where the set has none."""
        return self._need_grid().sample(n, generator)

    def content_hash(self, probes: int = 256) -> str:
        """16 hex digits over the shape, the size and `probes` evenly spread images: what a run record quotes."""
        digest = hashlib.sha256(repr((self.name, self.image_shape, self.count, self.grid)).encode())
        indices = torch.linspace(0, self.count - 1, min(probes, self.count), dtype=torch.float64).round().long()
        digest.update(self.bytes(indices, "cpu").contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _need_grid(self) -> FactorGrid:
        if self.grid is None:
            raise LookupError(
                f"{self.name} ({self.source}) has no ground-truth factors, so nothing that compares codes with factors "
                "can be computed on it; use a set with a factor grid, such as dsprites"
            )
        return self.grid
