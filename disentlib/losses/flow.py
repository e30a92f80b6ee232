"""The likelihood of a normalising flow: dequantised images, Gaussian latents, bits per dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "bits_per_dimension",
    "centre",
    "check_bits",
    "colour",
    "dequantise",
    "gaussian_log_density",
    "log_likelihood",
    "uncentre",
    "whiten",
]

LEVELS = 256  # an image in [0, 1] is one of 8 bits: its values are multiples of 1/255


def check_bits(bits: int) -> None:
    """ValueError unless `bits` is a whole number between 1 and 8."""
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
        raise ValueError(f"bits must be a whole number between 1 and 8, got {bits!r}")


def dequantise(images: Tensor, noise: Tensor, bits: int) -> Tensor:
    """Images as densities see them: `(⌊x⌋ + u) / 2^bits − ½`, in [−½, ½] (Kingma & Dhariwal 2018, §2 and §5).

    `images`: in [0, 1], rounded to 8 bits and then cut to `bits` of them; `noise` u: the same shape, uniform on [0, 1).
    Without the noise a density could grow without bound on the few values that pixels take.

    >>> dequantise(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), bits=1).tolist()
    [-0.25, 0.25]
    """
    check_bits(bits)
    levels = torch.floor(torch.round(images * (LEVELS - 1)) / 2 ** (8 - bits))
    return (levels + noise) / 2**bits - 0.5


def centre(images: Tensor) -> Tensor:
    """Images in [0, 1] → the middles of their 8-bit bins in (−½, ½): `dequantise` with u = ½, but invertible.

    The middle of an 8-bit bin lies inside the bin of any coarser number of bits.

    >>> centre(torch.tensor([0.0, 1.0])).tolist()  # −½ + 1/512 and ½ − 1/512
    [-0.498046875, 0.498046875]
    """
    return (images * (LEVELS - 1) + 0.5) / LEVELS - 0.5


def uncentre(values: Tensor) -> Tensor:
    """The inverse of `centre`, clamped to [0, 1]; what is not finite becomes NaN, so that no clamp can hide it.

    >>> uncentre(torch.tensor([-0.498046875, 0.75])).tolist()
    [0.0, 1.0]
    """
    finite = torch.where(values.isfinite(), values, torch.nan)
    return (((finite + 0.5) * LEVELS - 0.5) / (LEVELS - 1)).clamp(0, 1)


def gaussian_log_density(values: Tensor, mean: Tensor, log_sd: Tensor) -> Tensor:
    """`ln N(values; mean, exp(log_sd)²)` in nats, summed over all but the first axis: `[n, …]` → `[n]`.

    >>> round(gaussian_log_density(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2)).item(), 4)  # −ln 2π
    -1.8379
    """
    each = -0.5 * (math.log(2 * math.pi) + whiten(values, mean, log_sd).square()) - log_sd
    return each.flatten(1).sum(1)


def whiten(values: Tensor, mean: Tensor, log_sd: Tensor) -> Tensor:
    """`(z − mean) / exp(log_sd)`: what is standard normal if `z` is `N(mean, exp(log_sd)²)`."""
    return (values - mean) * torch.exp(-log_sd)


def colour(eps: Tensor, mean: Tensor, log_sd: Tensor) -> Tensor:
    """`mean + exp(log_sd)·eps`, the inverse of `whiten`.

    >>> colour(whiten(torch.tensor(5.0), torch.tensor(2.0), torch.tensor(0.0)), torch.tensor(2.0), torch.tensor(0.0))
    tensor(5.)
    """
    return mean + torch.exp(log_sd) * eps


def log_likelihood(log_prior: Tensor, log_det: Tensor, dims: int, bits: int) -> Tensor:
    """A bound on `ln P(x)` of the image of `bits` bits, `[n]` in nats: `ln p(z) + Σ ln|det| − dims·ln 2^bits`.

    The first two terms are the log-density of the dequantised image (Dis-GU paper, eq. 3) on a cube of side 1; the last
    is the logarithm of the volume of one bin. `log_prior`, `log_det`: `[n]`; `dims`: numbers in an image, c·h·w.
    """
    return log_prior + log_det - dims * bits * math.log(2)


def bits_per_dimension(log_likelihood: Tensor, dims: int) -> Tensor:
    """`−ln P(x) / (dims·ln 2)`; uniform noise costs exactly `bits`.

    >>> zero = torch.zeros(1)  # a density of 1 on the cube
    >>> round(bits_per_dimension(log_likelihood(zero, zero, dims=12, bits=5), dims=12).item(), 4)
    5.0
    """
    return -log_likelihood / (dims * math.log(2))
