"""ID-GAN's and IB-GAN's networks: shapes at the sizes in use, ranges, norms, initial weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from disentlib.networks import (
    BottleneckDiscriminator,
    BottleneckGenerator,
    NoiseEncoder,
    NoiseReconstructor,
    PlainDiscriminator,
    PlainGenerator,
    seeded,
)

pytestmark = pytest.mark.usefixtures("one_thread")

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def layers(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, kinds)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [28, 32, 64])
def test_generators_make_pictures_and_discriminators_one_logit_of_them(side: int, channels: int) -> None:
    shape = (channels, side, side)
    for make, judge in ((PlainGenerator, PlainDiscriminator), (BottleneckGenerator, BottleneckDiscriminator)):
        images = seeded(make, shape, 7, seed=0)(torch.randn(3, 7))
        assert images.shape == (3, *shape) and images.min() >= 0 and images.max() <= 1
        assert seeded(judge, shape, seed=0)(images).shape == (3,)
    assert seeded(NoiseReconstructor, shape, 9, seed=0)(images).shape == (3, 9)


def test_the_layer_table_at_64_is_the_published_one() -> None:
    shape = (1, 64, 64)
    judge, make, read = (
        BottleneckDiscriminator(shape), BottleneckGenerator(shape, 10), NoiseReconstructor(shape, 16),
    )  # fmt: skip
    kernels = [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in layers(judge, nn.Conv2d)]
    assert kernels == [(16, 4, 2), (32, 4, 2), (64, 4, 2), (128, 3, 1)]
    sizes = [(f.in_features, f.out_features) for f in layers(judge, nn.Linear)]
    assert sizes == [(128 * 8 * 8, 256), (256, 1)]  # the first is the k8 layer
    kernels = [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in layers(make, nn.ConvTranspose2d)]
    assert kernels == [(64, 3, 1), (64, 3, 1), (32, 4, 2), (16, 4, 2), (1, 4, 2)]
    assert [f.out_features for f in layers(make, nn.Linear)] == [256, 8 * 8 * 64]
    assert [f.out_features for f in layers(read, nn.Linear)] == [256, 256, 16]
    assert [f.out_features for f in layers(NoiseEncoder(16, 10), nn.Linear)] == [32, 32, 20]


def test_norm_stands_where_the_tables_have_it() -> None:
    shape = (1, 32, 32)
    assert not layers(PlainGenerator(shape, 3), *NORMS) and not layers(PlainDiscriminator(shape), *NORMS)
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for network in (BottleneckGenerator(shape, 3), BottleneckDiscriminator(shape), NoiseReconstructor(shape, 4)):
        assert len(layers(network, *NORMS)) == len(layers(network, *kinds)) - 1  # all layers but the last


def test_initial_weights_are_the_published_normal() -> None:
    weights = torch.cat(
        [m.weight.flatten() for m in layers(seeded(NoiseReconstructor, (1, 32, 32), 4, seed=0), nn.Conv2d, nn.Linear)]
    )
    assert abs(weights.mean()) < 1e-4 and weights.std().item() == pytest.approx(0.02, rel=0.01)


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    for make in (PlainDiscriminator, BottleneckDiscriminator):
        with pytest.raises(ValueError, match="square images whose side halves evenly"):
            make((1, 30, 30))
    for make in (PlainGenerator, BottleneckGenerator):
        with pytest.raises(ValueError, match="code_dims must be a whole number of at least 1, got 0"):
            make((1, 32, 32), 0)
