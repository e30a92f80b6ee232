"""The likelihood of a flow: against torch's distributions, and against densities that are known."""

from __future__ import annotations

import math

import pytest
import torch

from disentlib.losses.flow import (
    bits_per_dimension,
    centre,
    colour,
    dequantise,
    gaussian_log_density,
    log_likelihood,
    uncentre,
    whiten,
)

LEVELS = torch.arange(256.0) / 255  # every value of an image


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_level_is_spread_over_the_bin_of_its_leading_bits(bits: int) -> None:
    low, high = (dequantise(LEVELS, torch.full((256,), u), bits) for u in (0.0, 1.0))
    bins = torch.arange(256) // 2 ** (8 - bits)  # integer arithmetic
    torch.testing.assert_close(low, bins / 2**bits - 0.5, rtol=0, atol=0)
    torch.testing.assert_close(high, (bins + 1) / 2**bits - 0.5, rtol=0, atol=0)
    assert low.min() == -0.5 and high.max() == 0.5


def test_centring_is_dequantising_in_the_middle_and_inverts_without_loss() -> None:
    torch.testing.assert_close(centre(LEVELS), dequantise(LEVELS, torch.full((256,), 0.5), bits=8), rtol=0, atol=1e-7)
    torch.testing.assert_close(uncentre(centre(LEVELS)), LEVELS, rtol=0, atol=1e-7)
    assert (
        uncentre(torch.tensor([-9.0, 9.0])).tolist() == [0, 1]
        and uncentre(torch.tensor([math.nan, math.inf, -math.inf])).isnan().all()
    )


@pytest.mark.parametrize("bits", range(1, 8))
def test_a_centred_image_lies_within_the_bins_of_any_number_of_bits(bits: int) -> None:
    values = centre(LEVELS)
    assert (values > dequantise(LEVELS, torch.tensor(0.0), bits)).all()
    assert (values < dequantise(LEVELS, torch.tensor(1.0), bits)).all()


@pytest.mark.parametrize("bits", [0, 9, -1, 2.5, True, "8"])
def test_bits_out_of_range_are_named(bits: object) -> None:
    with pytest.raises(ValueError, match=f"bits must be a whole number between 1 and 8, got {bits!r}"):
        dequantise(LEVELS, LEVELS, bits)


def test_the_gaussian_is_torchs_and_whitening_inverts_colouring() -> None:
    generator = torch.Generator().manual_seed(0)
    z, mean, log_sd = torch.randn(3, 5, 2, 3, 4, generator=generator, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, log_sd.exp()).log_prob(z).sum((1, 2, 3))
    torch.testing.assert_close(gaussian_log_density(z, mean, log_sd), expected)
    torch.testing.assert_close(whiten(z, mean, log_sd), (z - mean) / log_sd.exp())
    torch.testing.assert_close(colour(whiten(z, mean, log_sd), mean, log_sd), z)


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_the_right_density_of_noise_that_fills_part_of_the_cube_costs_its_entropy(bits: int) -> None:
    """Uniform on the lower half of each axis: density 2 a dimension, hence one bit less than there are."""
    dims, density = 12, torch.tensor([12 * math.log(2)])
    nats = log_likelihood(density, torch.zeros(1), dims, bits)
    torch.testing.assert_close(bits_per_dimension(nats, dims), torch.tensor([bits - 1.0]))
    torch.testing.assert_close(nats, torch.tensor([-dims * (bits - 1) * math.log(2)]))
