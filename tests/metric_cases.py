"""Controlled codes: what a metric of disentanglement must tell apart, made from known factors with plain numpy.

Factors are drawn uniformly from a grid. The codes are simple functions of the standardised factors
`s_j = (v_j - mean_j) / std_j`, where mean and standard deviation are those of the uniform grid `0 … size_j - 1`
and not of the sample, so that train and test rows, or single batches of a vote, are encoded in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.float64]  # [n, d]
Factors = NDArray[np.int64]  # [n, k]
Encoder = Callable[[Factors], Codes]

NAMES = (
    "perfect",
    "rotated",
    "duplicated",
    "merged",
    "warped",
    "noise",
    "partly_mixed",
    "dead",
    "constant",
    "more_dimensions",
    "fewer_dimensions",
    "scaled",
    "exact",
)
NOISE = 0.05  # standard deviation of the noise on a standardised factor
SPARE = 2  # pure-noise dimensions behind a perfect code


def sample_factors(n: int, sizes: Sequence[int], generator: np.random.Generator) -> Factors:
    """`n` rows drawn uniformly from the grid: factor j takes the values `0 … sizes[j] - 1`."""
    columns = [generator.integers(0, size, size=n) for size in sizes]
    return np.stack(columns, axis=1).astype(np.int64)


def standardised(factors: Factors, sizes: Sequence[int]) -> Codes:
    """Each factor with mean 0, variance 1 over the whole grid; a uniform factor of size m has variance (m² - 1)/12."""
    if min(sizes) < 2:
        raise ValueError(f"a factor with one value cannot be standardised: sizes {tuple(sizes)}")
    size = np.asarray(sizes, dtype=np.float64)
    return (factors - (size - 1) / 2) / np.sqrt((size**2 - 1) / 12)


def warp(codes: Codes) -> Codes:
    """A strictly monotone map per column, four in turn: sinh, tanh, falling exponential, cube plus identity."""
    maps: tuple[Encoder, ...] = (np.sinh, np.tanh, lambda x: -np.exp(x), lambda x: x**3 + 0.1 * x)
    return np.stack([maps[i % len(maps)](codes[:, i]) for i in range(codes.shape[1])], axis=1)


def encoders(seed: int, sizes: Sequence[int], noise: float = NOISE) -> dict[str, Encoder]:
    """`name → (factors [n, k] → codes [n, d])` for every case, k = len(sizes) ≥ 2, s the standardised factors.

    - `perfect` (d = k + 2): s plus noise, one factor per dimension, then two pure-noise dimensions.
    - `rotated` (d = k): s under a random rotation, plus noise. All is known, nothing is aligned.
    - `duplicated` (d = 2k): s twice, each copy with noise of its own.
    - `merged` (d = k - 1): the first two factors added up in dimension 0, the others aligned, plus noise.
    - `warped` (d = k): a strictly monotone map per dimension of s plus noise.
    - `noise` (d = k): standard normal, knows nothing.
    - `partly_mixed` (d = k): s times (identity + 0.3 × a random matrix without diagonal), plus noise.
    - `dead` (d = k + 1): dimension 0 exactly zero, then s plus noise.
    - `constant` (d = k): every dimension constant (0, ¼, ½, …, exact in binary, so that variances are exactly 0).
    - `more_dimensions` (d = 2k + 2): s plus noise, k random mixtures of all factors plus noise, two of pure noise.
    - `fewer_dimensions` (d = max(1, k - 2)): the first factors aligned, plus noise; the last ones are not coded.
    - `scaled` (d = k): s plus noise, dimension i times a scale that runs geometrically from 0.02 to 50.
    - `exact` (d = k): the raw factor values, without noise.

    Each encoder has its own generator for its noise and moves it on with every call: two calls on the same factors
    differ, while a fresh `encoders(seed, sizes)` repeats the whole sequence. The matrices depend on the seed alone.
    With `noise=0` all but the pure-noise dimensions are a fixed function of the factors.
    """
    k = len(sizes)
    if k < 2:
        raise ValueError(f"two factors at least, got sizes {tuple(sizes)}")
    matrices = np.random.default_rng([seed, 0])
    rotation, triangle = np.linalg.qr(matrices.normal(size=(k, k)))
    rotation *= np.sign(np.diag(triangle))  # makes the draw uniform over the rotations and reflections
    mixing = np.eye(k) + 0.3 * matrices.normal(size=(k, k)) * (1 - np.eye(k))
    mixtures = matrices.normal(size=(k, k)) / np.sqrt(k)
    scales = np.geomspace(0.02, 50.0, k)
    generators = {name: np.random.default_rng([seed, 1 + i]) for i, name in enumerate(NAMES)}

    def normal(name: str, n: int, d: int) -> Codes:
        return generators[name].normal(size=(n, d))

    def blurred(name: str, codes: Codes) -> Codes:
        return codes + noise * normal(name, *codes.shape)

    def perfect(factors: Factors) -> Codes:
        s = standardised(factors, sizes)
        return np.hstack([blurred("perfect", s), normal("perfect", len(s), SPARE)])

    def rotated(factors: Factors) -> Codes:
        return blurred("rotated", standardised(factors, sizes) @ rotation)

    def duplicated(factors: Factors) -> Codes:
        s = standardised(factors, sizes)
        return blurred("duplicated", np.hstack([s, s]))

    def merged(factors: Factors) -> Codes:
        s = standardised(factors, sizes)
        return blurred("merged", np.hstack([s[:, :1] + s[:, 1:2], s[:, 2:]]))

    def warped(factors: Factors) -> Codes:
        return warp(blurred("warped", standardised(factors, sizes)))

    def pure_noise(factors: Factors) -> Codes:
        return normal("noise", len(factors), k)

    def partly_mixed(factors: Factors) -> Codes:
        return blurred("partly_mixed", standardised(factors, sizes) @ mixing)

    def dead(factors: Factors) -> Codes:
        s = blurred("dead", standardised(factors, sizes))
        return np.hstack([np.zeros((len(s), 1)), s])

    def constant(factors: Factors) -> Codes:
        return np.tile(np.arange(k) / 4, (len(factors), 1))

    def more_dimensions(factors: Factors) -> Codes:
        s = standardised(factors, sizes)
        informed = blurred("more_dimensions", np.hstack([s, s @ mixtures]))
        return np.hstack([informed, normal("more_dimensions", len(s), SPARE)])

    def fewer_dimensions(factors: Factors) -> Codes:
        return blurred("fewer_dimensions", standardised(factors, sizes)[:, : max(1, k - 2)])

    def scaled(factors: Factors) -> Codes:
        return blurred("scaled", standardised(factors, sizes)) * scales

    def exact(factors: Factors) -> Codes:
        return factors.astype(np.float64)

    makers = (
        perfect, rotated, duplicated, merged, warped, pure_noise, partly_mixed, dead, constant,
        more_dimensions, fewer_dimensions, scaled, exact,
    )  # fmt: skip
    return dict(zip(NAMES, makers, strict=True))


def cases(seed: int, n: int, sizes: Sequence[int], noise: float = NOISE) -> dict[str, tuple[Codes, Factors]]:
    """`name → (codes float64 [n, d], factors int64 [n, k])`, see `encoders`; all cases share the same factor rows.

    A pure function of its arguments: the same seed gives the same arrays.
    """
    factors = sample_factors(n, sizes, np.random.default_rng([seed, 1000]))
    return {name: (encode(factors), factors.copy()) for name, encode in encoders(seed, sizes, noise).items()}
