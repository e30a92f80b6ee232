"""What the two voting metrics share: which images a vote looks at, and their codes, each image encoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.metrics.checks import check_encoded
from disentlib.metrics.protocol import Protocol

__all__ = ["Encode", "LookUp", "Votes", "by_batch", "draw_labels", "draw_votes", "look_up_codes", "splits"]

Encode = Callable[[Tensor], Tensor]  # images float32 [n, c, h, w] in [0, 1] → codes [n, d]
LookUp = Callable[[Tensor], np.ndarray]  # indices int64 [n] → codes float64 [n, d]

_AT_ONCE = 1024  # images encoded together
_CODES_AT_ONCE = 1 << 16  # codes that a chunk of votes looks up: keeps temporary arrays small


class Votes(NamedTuple):
    """`labels[v]` is the factor that is fixed among the images `indices[v]`."""

    labels: Tensor  # int64 [v]
    indices: Tensor  # int64 [v, …]


def splits(protocol: Protocol) -> tuple[int, ...]:
    """How many votes to draw: to fit on and to score on; in sample, both are the same votes."""
    return (protocol.train_votes,) if protocol.in_sample else (protocol.train_votes, protocol.test_votes)


def draw_labels(count: int, factors: int, generator: torch.Generator, balanced: bool) -> Tensor:
    """Which of `factors` factors each of `count` votes fixes, int64 `[count]`: drawn uniformly, or each in turn."""
    if balanced:
        return torch.arange(count) % factors
    return torch.randint(factors, (count,), generator=generator)


def draw_votes(dataset: Dataset, count: int, batch: int, generator: torch.Generator, balanced: bool = False) -> Votes:
    """`count` batches of images; in each, one factor keeps the value that the first image has: indices `[v, batch]`."""
    labels = draw_labels(count, len(dataset.factor_sizes), generator, balanced)
    factors = dataset.sample_factors(count * batch, generator).view(count, batch, -1)
    votes = torch.arange(count)
    factors[votes, :, labels] = factors[votes, 0, labels][:, None]
    return Votes(labels, dataset.index(factors.flatten(0, 1)).view(count, batch))


def look_up_codes(dataset: Dataset, encode: Encode, needed: Tensor) -> LookUp:
    """A function from indices to codes, from a table of the images `needed`, each encoded once.

    The table keeps the precision that `encode` answers in; it holds at most as many rows as the data set has images.
    """
    known = needed.unique()  # sorted
    table = _codes(dataset, encode, known)
    # Where the whole grid is known, an index is its own row.
    if len(known) == len(dataset):
        return lambda indices: table[indices.numpy()].astype(np.float64)
    return lambda indices: table[torch.searchsorted(known, indices).numpy()].astype(np.float64)


def by_batch(look_up: LookUp, indices: Tensor, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`reduce` of the codes `[v', …, d]` of each chunk of votes, put together: indices `[v, …]` → `[v, d]`."""
    parts = indices.split(max(1, _CODES_AT_ONCE // indices[0].numel()))
    return np.concatenate([reduce(look_up(part.flatten()).reshape(*part.shape, -1)) for part in parts])


@torch.no_grad()
def _codes(dataset: Dataset, encode: Encode, indices: Tensor) -> np.ndarray:
    """Codes `[n, d]`, written into one array as they come: small ones between images would scatter memory."""
    codes = np.empty((0, 0))
    for start in range(0, len(indices), _AT_ONCE):
        part = indices[start : start + _AT_ONCE]
        found = check_encoded(_array(encode(dataset.images(part))), len(part))
        codes = codes if start else np.empty((len(indices), found.shape[1]), found.dtype)
        codes[start : start + len(part)] = found
    return codes


def _array(codes: Tensor) -> np.ndarray:
    """A float32 or float64 array; numpy has no bfloat16."""
    codes = torch.as_tensor(codes).cpu()
    return codes.numpy() if codes.dtype == torch.float64 else codes.float().numpy()
