"""What every metric asks of its arrays, said once."""

from __future__ import annotations

import numpy as np

__all__ = ["check_codes"]


def check_codes(codes: np.ndarray, factors: np.ndarray, least_dimensions: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Codes as float64 `[n, d]` and factors as int64 `[n, k]`, or ValueError naming what is wrong with them."""
    codes, factors = np.asarray(codes, dtype=np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(
            f"expected codes [n, d] and factors [n, k] of one length, got {codes.shape} and {factors.shape}"
        )
    if codes.shape[1] < least_dimensions:
        raise ValueError(f"this metric needs at least {least_dimensions} code dimensions, got {codes.shape[1]}")
    if not np.isfinite(codes).all():
        raise ValueError(f"{(~np.isfinite(codes)).sum()} of the codes are NaN or infinite")
    constant = [j for j, column in enumerate(factors.T) if len(np.unique(column)) < 2]
    if constant:
        raise ValueError(f"factors {constant} have a single value in this sample: nothing can be told about them")
    return codes, factors.astype(np.int64)
