"""The FactorVAE metric (Kim & Mnih 2018), as the field's standard study computes it (Locatello et al. 2019).

Fix one factor, vary all others: the code dimension that varies least, relative to how much it varies at all, votes
for the fixed factor. The score says how well the voting dimension tells which factor was fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.metrics.checks import check_counts, check_encoded
from disentlib.metrics.protocol import Protocol

__all__ = ["Encode", "active", "draw_votes", "factor_vae", "local_variances", "majority_accuracy", "vote_counts"]

Encode = Callable[[Tensor], Tensor]  # images float32 [n, c, h, w] in [0, 1] → codes [n, d]
LookUp = Callable[[Tensor], np.ndarray]  # indices int64 [n] → codes float64 [n, d]

WHOLE_GRID = 1_000_000  # images; the codes of larger grids are not kept, so that memory stays bounded
_AT_ONCE = 1024  # images encoded together


class Votes(NamedTuple):
    """`labels[v]` is the factor that is fixed among the images `indices[v]`."""

    labels: Tensor  # int64 [v]
    indices: Tensor  # int64 [v, batch]


def factor_vae(dataset: Dataset, encode: Encode, *, protocol: Protocol, generator: torch.Generator) -> float:
    """Share of test votes whose dimension maps to the factor that was fixed, in [0, 1]; chance is about `1/k`.

        vote = argmin_i  Var_batch(z_i) / Var_data(z_i)        over the active dimensions; ties: the first
        class of a dimension = the factor that most of its train votes came from; ties, and no vote: the first

    Per vote: a factor j drawn uniformly, `vote_batch` factor vectors, all given the first one's value of j. Variances
    are sample variances (ddof 1) in squared code units; a dimension is active where its standard deviation over
    `variance_points` images is at least `prune_std`. No active dimension: 0. Protocol: unsupervised_study_v1.
    A dimension that does not vary never votes, whatever `prune_std`: the study's code divides 0 by 0 there, and such
    a dimension takes every vote.

    `encode`: images float32 `[n, c, h, w]` on the CPU → codes `[n, d]`, each image on its own (evaluation mode);
    gradients are off. `generator` on the CPU; it is advanced. Each image of a grid up to `WHOLE_GRID` is encoded once
    at most, where the votes ask for more images than it has; the score is the same either way, but for the rounding of
    a network that computes differently in other batches.
    Blind spots: redundant codes (each factor in many dimensions) score 1, and so do mixed ones where a different factor
    dominates each dimension; `prune_std` is in code units, so a small scale loses a dimension.
    LookupError for a data set without factors; ValueError for a factor with one value, or codes not finite `[n, d]`.

    >>> from dataclasses import replace; from disentlib import data, metrics
    >>> sprites, few = data.load("dsprites", source="rendered", image_size=8), dict(train_votes=9, test_votes=9)
    >>> protocol = replace(metrics.LOCATELLO, variance_points=50, vote_batch=4, **few)
    >>> 0 <= factor_vae(sprites, lambda x: x.flatten(1), protocol=protocol, generator=torch.Generator()) <= 1
    True
    """
    _check(dataset, protocol)
    sample = dataset.index(dataset.sample_factors(protocol.variance_points, generator))
    train = draw_votes(dataset, protocol.train_votes, protocol.vote_batch, generator)
    test = draw_votes(dataset, protocol.test_votes, protocol.vote_batch, generator)
    look_up = _look_up(dataset, encode, torch.cat([sample, train.indices.flatten(), test.indices.flatten()]))
    codes = look_up(sample)
    voters = active(codes, protocol.prune_std)
    if not voters.any():
        return 0.0
    scale, factor_count = codes[:, voters].var(0, ddof=1), len(dataset.factor_sizes)
    ratios = [local_variances(look_up, votes.indices)[:, voters] / scale for votes in (train, test)]
    counts = [vote_counts(r, votes.labels.numpy(), factor_count) for r, votes in zip(ratios, (train, test))]
    return majority_accuracy(*counts)


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def active(codes: np.ndarray, prune_std: float) -> np.ndarray:
    """Which dimensions of codes `[n, d]` vary, with a standard deviation (ddof 1) of `prune_std` or more: bool `[d]`.

    >>> active(np.array([[0.1, 0.0, 0.0], [0.1, 1.0, 0.01]]), prune_std=0.05).tolist()
    [False, True, False]
    """
    varies = codes.max(0) > codes.min(0)  # not variance > 0: rounding gives a constant 0.1 a variance of 1e-34
    return varies & (codes.std(0, ddof=1) >= prune_std)


def vote_counts(local_variances: np.ndarray, labels: np.ndarray, factor_count: int) -> np.ndarray:
    """How often each dimension voted for each factor, int64 `[d, k]`.

    `local_variances` `[v, d]` are relative to each dimension's global variance (no unit); the smallest votes, ties go
    to the first. `labels` int64 `[v]` in `[0, k)`.

    >>> vote_counts(np.array([[0.0, 0.9], [0.8, 0.1], [0.1, 0.1]]), np.array([1, 0, 1]), factor_count=2).tolist()
    [[0, 2], [1, 0]]
    """
    counts = np.zeros((local_variances.shape[1], factor_count), dtype=np.int64)
    np.add.at(counts, (local_variances.argmin(1), labels), 1)  # numpy's argmin takes the first of equals, torch's any
    return counts


def majority_accuracy(train_votes: np.ndarray, test_votes: np.ndarray) -> float:
    """Share of the test votes `[d, k]` that fall on their dimension's most frequent factor in the train votes `[d, k]`.

    >>> majority_accuracy(np.array([[0, 2], [1, 0]]), np.array([[1, 2], [1, 0]]))
    0.75
    """
    majority = train_votes.argmax(1)  # the first factor of equals, and for a dimension without votes
    return float(test_votes[np.arange(len(test_votes)), majority].sum() / test_votes.sum())


# ---- images to variances -------------------------------------------------------------------------------------------


def draw_votes(dataset: Dataset, count: int, batch: int, generator: torch.Generator) -> Votes:
    """`count` batches of images; in each, one factor drawn uniformly keeps the value that the first image has."""
    labels = torch.randint(len(dataset.factor_sizes), (count,), generator=generator)
    factors = dataset.sample_factors(count * batch, generator).view(count, batch, -1)
    votes = torch.arange(count)
    factors[votes, :, labels] = factors[votes, 0, labels][:, None]
    return Votes(labels, dataset.index(factors.flatten(0, 1)).view(count, batch))


def local_variances(look_up: LookUp, indices: Tensor) -> np.ndarray:
    """Sample variance (ddof 1) of each code dimension within each batch: indices `[v, batch]` → float64 `[v, d]`."""
    batch = indices.shape[1]
    parts = indices.split(max(1, _AT_ONCE // batch))
    return np.concatenate([look_up(p.flatten()).reshape(*p.shape, -1).var(1, ddof=1) for p in parts])


def _look_up(dataset: Dataset, encode: Encode, needed: Tensor) -> LookUp:
    """A function from indices to codes; where `needed` repeats itself on a small grid, from a table made once."""
    if len(dataset) > WHOLE_GRID or len(dataset) >= len(needed):
        return lambda indices: _codes(dataset, encode, indices)
    known = needed.unique()  # sorted
    table = _codes(dataset, encode, known)
    return lambda indices: table[torch.searchsorted(known, indices).numpy()]


@torch.no_grad()
def _codes(dataset: Dataset, encode: Encode, indices: Tensor) -> np.ndarray:
    """Codes float64 `[n, d]`, written into one array as they come: small ones between images would scatter memory."""
    codes = np.empty((0, 0))
    for start in range(0, len(indices), _AT_ONCE):
        part = indices[start : start + _AT_ONCE]
        found = check_encoded(torch.as_tensor(encode(dataset.images(part))).cpu().numpy(), len(part))
        codes = codes if start else np.empty((len(indices), found.shape[1]))
        codes[start : start + len(part)] = found
    return codes


def _check(dataset: Dataset, protocol: Protocol) -> None:
    constant = [name for name, size in zip(dataset.factor_names, dataset.factor_sizes) if size < 2]
    if constant:
        raise ValueError(f"factors {constant} have a single value in this data set: fixing them changes nothing")
    check_counts(protocol, ("train_votes", "test_votes"), least=1)
    check_counts(protocol, ("vote_batch", "variance_points"), least=2)  # a sample variance needs two
