"""The published protocols: every constant of a metric in one place, so that no metric has a silent default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LOCATELLO", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """Constants of one published protocol. A table never mixes two of them."""

    name: str
    source: str
    train_points: int  # points that a metric fits on
    test_points: int  # points that it is scored on
    bins: int  # equal-width bins per code dimension, over that dimension's own range
    # FactorVAE metric; a vote is one batch of images that share the value of one factor
    vote_batch: int  # images a vote
    train_votes: int  # votes that the majority-vote classifier is made of
    test_votes: int  # votes that it is scored on
    variance_points: int  # images behind each dimension's global variance
    prune_std: float  # a dimension with a smaller standard deviation, in code units, does not vote


LOCATELLO = Protocol(
    name="locatello",
    source="Locatello et al. 2019, unsupervised_study_v1",
    train_points=10_000,
    test_points=5_000,
    bins=20,
    vote_batch=64,
    train_votes=10_000,
    test_votes=5_000,
    variance_points=10_000,
    prune_std=0.05,
)
