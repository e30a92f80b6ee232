"""The β-VAE metric (Higgins et al. 2017), as the field's standard study computes it (Locatello et al. 2019).

Take pairs of images that share the value of one factor and differ in all others. A linear classifier must tell from
the mean absolute difference of their codes which factor they shared.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.metrics.checks import check_counts, check_factors
from disentlib.metrics.protocol import Protocol
from disentlib.metrics.votes import Encode, LookUp, Votes, by_batch, draw_labels, look_up_codes, splits

__all__ = ["beta_vae", "draw_pairs", "mean_differences", "plan", "score"]


def beta_vae(dataset: Dataset, encode: Encode, *, protocol: Protocol, generator: torch.Generator) -> float:
    """Test accuracy of a logistic regression from `mean_pairs |z − z'|` to the shared factor, in [0, 1].

    Per vote: a factor j (drawn, or each in turn) and `vote_pairs` pairs of factor vectors, drawn independently but for
    j, which the second of a pair takes over from the first; its value differs from pair to pair. Differences are means
    over the pairs, in code units, not standardised. The classifier is scikit-learn's default, multinomial since its
    version 0.22; the study, published with an older one, fitted one classifier a factor, so that its scores differ
    visibly. An in-sample protocol (infogan_cr) scores the votes that it was fitted on. Chance is `1/k`.

    `encode`, `generator`: as for `factor_vae`. Each image is encoded at most once.
    Blind spots: any informative linear mixture of the factors does well, a rotation of a perfect code too; redundancy
    costs nothing; the penalty on the weights makes it depend on the scale of the codes.
    LookupError for a data set without factors; ValueError for a factor with one value, or codes not finite `[n, d]`.

    >>> from dataclasses import replace; from disentlib import data, metrics
    >>> sprites, few = data.load("dsprites", source="rendered", image_size=8), dict(train_votes=9, test_votes=9)
    >>> protocol = replace(metrics.LOCATELLO, vote_pairs=4, **few)
    >>> 0 <= beta_vae(sprites, lambda x: x.flatten(1), protocol=protocol, generator=torch.Generator()) <= 1
    True
    """
    votes = plan(dataset, protocol, generator)
    needed = torch.cat([part.indices.flatten() for part in votes])
    return score(votes, look_up_codes(dataset, encode, needed))


def plan(dataset: Dataset, protocol: Protocol, generator: torch.Generator) -> list[Votes]:
    """Draw the pairs of one evaluation, to fit on and, if that is not the same, to score on."""
    check_factors(dataset)
    names = ("train_votes",) if protocol.in_sample else ("train_votes", "test_votes")
    check_counts(protocol, (*names, "vote_pairs"), least=1)
    return [draw_pairs(dataset, n, protocol.vote_pairs, generator, protocol.balanced_votes) for n in splits(protocol)]


def score(votes: list[Votes], look_up: LookUp) -> float:
    """The metric of a `plan`, given its images' codes."""
    differences = [mean_differences(look_up, part.indices) for part in votes]
    labels = [part.labels.numpy() for part in votes]
    if len(np.unique(labels[0])) == 1:  # few votes: no line to draw, and the classifier would refuse
        return float((labels[-1] == labels[0][0]).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the study's 100 iterations are part of the protocol
        classifier = LogisticRegression().fit(differences[0], labels[0])
    return float(classifier.score(differences[-1], labels[-1]))


def draw_pairs(dataset: Dataset, count: int, pairs: int, generator: torch.Generator, balanced: bool = False) -> Votes:
    """`count` votes of `pairs` pairs of images, a pair of one value of the vote's factor: indices `[v, pairs, 2]`."""
    labels = draw_labels(count, len(dataset.factor_sizes), generator, balanced)
    factors = dataset.sample_factors(count * pairs * 2, generator).view(count, pairs, 2, -1)
    votes = torch.arange(count)
    factors[votes, :, 1, labels] = factors[votes, :, 0, labels]
    return Votes(labels, dataset.index(factors.flatten(0, 2)).view(count, pairs, 2))


def mean_differences(look_up: LookUp, indices: Tensor) -> np.ndarray:
    """`mean_pairs |z − z'|` of each code dimension, in code units: indices `[v, pairs, 2]` → float64 `[v, d]`."""
    return by_batch(look_up, indices, lambda codes: np.abs(codes[:, :, 0] - codes[:, :, 1]).mean(1))
