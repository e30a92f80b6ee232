"""What every metric asks of its arrays, said once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disentlib.metrics.protocol import Protocol

__all__ = ["check_codes", "check_counts", "check_encoded", "check_split"]

Table = tuple[np.ndarray, np.ndarray]  # codes [n, d] and factors [n, k], row by row


def check_codes(codes: np.ndarray, factors: np.ndarray, least_dimensions: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Codes as float64 `[n, d]` and factors as int64 `[n, k]`, or ValueError naming what is wrong with them."""
    codes, factors = np.asarray(codes, dtype=np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not factors.shape[1]:
        raise ValueError(
            f"expected codes [n, d] and factors [n, k] of one length, got {codes.shape} and {factors.shape}"
        )
    if codes.shape[1] < least_dimensions:
        raise ValueError(f"this metric needs at least {least_dimensions} code dimensions, got {codes.shape[1]}")
    if not np.isfinite(codes).all():
        raise ValueError(f"{(~np.isfinite(codes)).sum()} of the codes are NaN or infinite")
    if not np.array_equal(factors, np.round(factors)):
        raise ValueError("factors must be whole numbers: the values that each takes, counted from 0")
    constant = [j for j, column in enumerate(factors.T) if len(np.unique(column)) < 2]
    if constant:
        raise ValueError(f"factors {constant} have a single value in this sample: nothing can be told about them")
    return codes, factors.astype(np.int64)


def check_split(train: Table, test: Table, protocol: Protocol) -> tuple[Table, Table]:
    """Two checked tables of the same dimensions and factors, and of the protocol's lengths, or ValueError.

    The lengths must agree because what a classifier reaches depends on how many points it learned from.
    """
    train, test = check_codes(*train), check_codes(*test)
    for what, one, other in zip(("code dimensions", "factors"), train, test):
        if one.shape[1] != other.shape[1]:
            raise ValueError(f"{one.shape[1]} {what} to train on, but {other.shape[1]} to test on")
    found, expected = (len(train[0]), len(test[0])), (protocol.train_points, protocol.test_points)
    if found != expected:
        raise ValueError(
            f"protocol {protocol.name} wants {expected} train and test points, got {found}; if that is meant, say "
            f"dataclasses.replace(protocol, train_points={found[0]}, test_points={found[1]})"
        )
    return train, test


def check_encoded(codes: np.ndarray, n: int) -> np.ndarray:
    """What `encode` made of `n` images as float64 `[n, d]`, or ValueError naming what is wrong with it."""
    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or len(codes) != n or not codes.shape[1]:
        raise ValueError(f"encode must turn {n} images into codes [{n}, d], it gave {list(codes.shape)}")
    if not np.isfinite(codes).all():
        raise ValueError(f"{(~np.isfinite(codes)).sum()} of the codes are NaN or infinite")
    return codes


def check_counts(protocol: Protocol, names: Sequence[str], least: int) -> None:
    """ValueError unless each of the protocol's numbers `names` is at least `least`."""
    for name in names:
        if getattr(protocol, name) < least:
            raise ValueError(f"{name} must be at least {least}, protocol {protocol.name} has {getattr(protocol, name)}")
