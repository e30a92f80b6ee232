"""What every metric asks of its arrays, said once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disentlib.data.dataset import Dataset
from disentlib.metrics.protocol import Protocol

__all__ = [
    "Table",
    "check_codes",
    "check_counts",
    "check_encoded",
    "check_factors",
    "check_points",
    "check_split",
]

Table = tuple[np.ndarray, np.ndarray]  # codes [n, d] and factors [n, k], row by row


def check_codes(codes: np.ndarray, factors: np.ndarray, least_dimensions: int = 1) -> Table:
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
    constant = [j for j, column in enumerate(factors.T) if len(column) and (column == column[0]).all()]
    if constant:
        raise ValueError(f"factors {constant} have a single value in this sample: nothing can be told about them")
    return codes, factors.astype(np.int64)


def check_points(
    codes: np.ndarray, factors: np.ndarray, protocol: Protocol, least_dimensions: int = 1, field: str = "train_points"
) -> Table:
    """`check_codes`, and at least as many points as the protocol's `field` says; more are used, all of them.

    What a metric finds depends on how many points it saw: fewer would give another number under the protocol's name.
    """
    codes, factors = check_codes(codes, factors, least_dimensions)
    if len(codes) < getattr(protocol, field):
        raise ValueError(
            f"protocol {protocol.name} has {field} = {getattr(protocol, field)}, got only {len(codes)} points; if that "
            f"is meant, say dataclasses.replace(protocol, {field}={len(codes)})"
        )
    return codes, factors


def check_split(
    train: Table, test: tuple[np.ndarray | None, np.ndarray | None], protocol: Protocol, least_dimensions: int = 1
) -> tuple[Table, Table]:
    """Checked tables to fit on and to score on, of the same dimensions and factors, or ValueError.

    Where the protocol scores in sample, both are `train` and nothing looks at `test`.
    """
    train = check_points(*train, protocol, least_dimensions)
    if protocol.in_sample:
        return train, train
    if test[0] is None or test[1] is None:
        raise ValueError(f"protocol {protocol.name} scores on points of their own: give test codes and test factors")
    test = check_points(*test, protocol, least_dimensions, "test_points")
    for what, one, other in zip(("code dimensions", "factors"), train, test):
        if one.shape[1] != other.shape[1]:
            raise ValueError(f"{one.shape[1]} {what} to train on, but {other.shape[1]} to test on")
    return train, test


def check_encoded(codes: np.ndarray, n: int) -> np.ndarray:
    """What `encode` made of `n` images as float `[n, d]`, or ValueError naming what is wrong with it."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or len(codes) != n or not codes.shape[1]:
        raise ValueError(f"encode must turn {n} images into codes [{n}, d], it gave {list(codes.shape)}")
    if not np.isfinite(codes).all():
        raise ValueError(f"{(~np.isfinite(codes)).sum()} of the codes are NaN or infinite")
    return codes


def check_factors(dataset: Dataset) -> None:
    """ValueError for a factor that a vote could fix to no effect; LookupError for a data set without factors."""
    constant = [name for name, size in zip(dataset.factor_names, dataset.factor_sizes) if size < 2]
    if constant:
        raise ValueError(f"factors {constant} have a single value in this data set: fixing them changes nothing")


def check_counts(protocol: Protocol, names: Sequence[str], least: int) -> None:
    """ValueError unless each of the protocol's numbers `names` is at least `least`."""
    for name in names:
        if getattr(protocol, name) < least:
            raise ValueError(f"{name} must be at least {least}, protocol {protocol.name} has {getattr(protocol, name)}")
