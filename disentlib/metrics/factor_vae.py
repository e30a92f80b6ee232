"""The FactorVAE metric (Kim & Mnih 2018), as the field's standard study computes it (Locatello et al. 2019).

Fix one factor, vary all others: the code dimension that varies least, relative to how much it varies at all, votes
for the fixed factor. The score says how well the voting dimension tells which factor was fixed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.metrics.checks import check_counts, check_factors
from disentlib.metrics.protocol import Protocol
from disentlib.metrics.votes import Encode, LookUp, Votes, by_batch, draw_votes, look_up_codes, splits

__all__ = ["Plan", "active", "factor_vae", "local_variances", "majority_accuracy", "plan", "score", "vote_counts"]


class Plan(NamedTuple):
    """What one evaluation looks at, drawn before anything is encoded."""

    sample: Tensor  # int64 [variance_points]: images behind the global variances
    votes: list[Votes]  # to fit on, and to score on if that is not the same

    @property
    def indices(self) -> Tensor:
        """Every image that is needed, int64 `[n]`."""
        return torch.cat([self.sample, *(votes.indices.flatten() for votes in self.votes)])


def factor_vae(dataset: Dataset, encode: Encode, *, protocol: Protocol, generator: torch.Generator) -> float:
    """Share of test votes whose dimension maps to the factor that was fixed, in [0, 1]; chance is about `1/k`.

        vote = argmin_i  Var_batch(z_i) / Var_data(z_i)        over the active dimensions; ties: the first
        class of a dimension = the factor that most of its train votes came from; ties, and no vote: the first

    Per vote: a factor j (drawn, or each in turn), `vote_batch` factor vectors, all given the first one's value of j.
    Variances are sample variances (ddof 1) in squared code units; a dimension is active where its standard deviation
    over `variance_points` images is at least `prune_std`. No active dimension: 0. An in-sample protocol (infogan_cr)
    counts the votes that the classes were made of. A dimension that does not vary never votes, whatever `prune_std`:
    the study's code divides 0 by 0 there, and such a dimension takes every vote.

    `encode`: images float32 `[n, c, h, w]` on the CPU → codes `[n, d]`, each image on its own (evaluation mode);
    gradients are off. `generator` on the CPU; it is advanced. Each image is encoded at most once.
    Blind spots: redundant codes (each factor in many dimensions) score 1, and so do mixed ones where a different factor
    dominates each dimension; `prune_std` is in code units, so a small scale loses a dimension.
    LookupError for a data set without factors; ValueError for a factor with one value, or codes not finite `[n, d]`.

    >>> from dataclasses import replace; from disentlib import data, metrics
    >>> sprites, few = data.load("dsprites", source="rendered", image_size=8), dict(train_votes=9, test_votes=9)
    >>> protocol = replace(metrics.LOCATELLO, variance_points=50, vote_batch=4, **few)
    >>> 0 <= factor_vae(sprites, lambda x: x.flatten(1), protocol=protocol, generator=torch.Generator()) <= 1
    True
    """
    drawn = plan(dataset, protocol, generator)
    return score(drawn, look_up_codes(dataset, encode, drawn.indices), protocol, len(dataset.factor_sizes))


def plan(dataset: Dataset, protocol: Protocol, generator: torch.Generator) -> Plan:
    """Draw the images of one evaluation; raises what `factor_vae` does for the data set and the protocol."""
    check_factors(dataset)
    check_counts(protocol, ("train_votes",) if protocol.in_sample else ("train_votes", "test_votes"), least=1)
    check_counts(protocol, ("vote_batch", "variance_points"), least=2)  # a sample variance needs two
    sample = dataset.index(dataset.sample_factors(protocol.variance_points, generator))
    batch, balanced = protocol.vote_batch, protocol.balanced_votes
    return Plan(sample, [draw_votes(dataset, n, batch, generator, balanced) for n in splits(protocol)])


def score(drawn: Plan, look_up: LookUp, protocol: Protocol, factor_count: int) -> float:
    """The metric of a `plan`, given its images' codes."""
    codes = look_up(drawn.sample)
    voters = active(codes, protocol.prune_std)
    if not voters.any():
        return 0.0
    scale = codes[:, voters].var(0, ddof=1)
    ratios = [local_variances(look_up, votes.indices)[:, voters] / scale for votes in drawn.votes]
    counts = [vote_counts(r, votes.labels.numpy(), factor_count) for r, votes in zip(ratios, drawn.votes)]
    return majority_accuracy(counts[0], counts[-1])


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


def local_variances(look_up: LookUp, indices: Tensor) -> np.ndarray:
    """Sample variance (ddof 1) of each code dimension within each batch: indices `[v, batch]` → float64 `[v, d]`."""
    return by_batch(look_up, indices, lambda codes: codes.var(1, ddof=1))
