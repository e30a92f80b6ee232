"""Networks: shapes, what they refuse, and where their first weights come from."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from disentlib.networks import ConvDecoder, ConvEncoder, GaussianEncoder, LatentDiscriminator, seeded, trunk_of
from disentlib.networks.convolutional import InterleavedUpsampling

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("size", [16, 20, 28, 32, 48, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(size: int, channels: int) -> None:
    shape = (channels, size, size)
    images, codes = torch.rand(2, *shape), torch.randn(2, 5)
    mean, logvar = GaussianEncoder(shape, 5)(images)
    assert mean.shape == logvar.shape == (2, 5)
    assert ConvDecoder(shape, 5)(codes).shape == (2, *shape)


@pytest.mark.parametrize(
    ("size", "channels", "side"),
    [
        (64, (32, 32, 64, 64), 4),
        (128, (32, 32, 64, 64), 8),
        (32, (32, 64, 64), 4),
        (28, (64, 64), 7),
        (24, (32, 64, 64), 3),
    ],
)
def test_the_pyramid_halves_down_to_a_small_side(size: int, channels: tuple[int, ...], side: int) -> None:
    trunk = trunk_of((1, size, size))
    assert (trunk.channels, trunk.side) == (channels, side)
    assert size == side * 2 ** len(channels)
    maps = torch.rand(1, 1, size, size)
    for layer in list(ConvEncoder((1, size, size), 1))[: 2 * len(channels)]:
        maps = layer(maps)
    assert maps.shape == (1, channels[-1], side, side)
    assert trunk.features == channels[-1] * side**2


@pytest.mark.parametrize(
    "shape",
    [(1, 31, 31), (1, 8, 8), (1, 10, 10), (1, 18, 18), (1, 256, 256), (1, 0, 0), (1, 64, 32), (1, 32, 64), (0, 32, 32)],
)
def test_a_size_that_cannot_be_taken_is_refused_with_those_that_can(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"28, 32, 48, 64, 128.*got {shape[0]}×{shape[1]}×{shape[2]}"):
        trunk_of(shape)
    for build in (lambda: GaussianEncoder(shape, 4), lambda: ConvDecoder(shape, 4)):
        with pytest.raises(ValueError, match="square images"):
            build()


@pytest.mark.parametrize("dims", [0, -1, 2.0, True, None])
def test_code_dims_must_be_a_number_of_dimensions(dims: object) -> None:
    for build in (
        lambda: GaussianEncoder((1, 16, 16), dims),
        lambda: ConvDecoder((1, 16, 16), dims),
        lambda: LatentDiscriminator(dims),
    ):
        with pytest.raises(ValueError, match="code_dims"):
            build()


@pytest.mark.parametrize(("width", "layers"), [(0, 5), (8, 0), (-1, 1)])
def test_a_discriminator_needs_layers(width: int, layers: int) -> None:
    with pytest.raises(ValueError, match="width and hidden_layers"):
        LatentDiscriminator(3, width, layers)


def test_the_discriminator_gives_one_logit_a_code() -> None:
    """Reading G7: FactorVAE's MLP, with a single output; also for a single code, which must not lose its axis."""
    network = LatentDiscriminator(10)
    assert network(torch.randn(4, 10)).shape == (4,) and network(torch.randn(1, 10)).shape == (1,)
    widths = [(layer.in_features, layer.out_features) for layer in network if isinstance(layer, torch.nn.Linear)]
    assert widths == [(10, 1000), *[(1000, 1000)] * 4, (1000, 1)]


def test_an_image_is_encoded_and_decoded_independently_of_its_batch() -> None:
    encoder, decoder = GaussianEncoder((1, 16, 16), 3), ConvDecoder((1, 16, 16), 3)
    images, codes = torch.rand(5, 1, 16, 16), torch.randn(5, 3)
    for network, batch in ((lambda x: torch.cat(encoder(x), 1), images), (decoder, codes)):
        alone = torch.cat([network(batch[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(network(batch), alone, rtol=1e-4, atol=1e-5)


def test_decoders_answer_in_logits() -> None:
    """An activation after the last layer could not reach both signs from random weights."""
    logits = ConvDecoder((1, 16, 16), 3)(10 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    assert logits.min() < 0 < logits.max()


def test_first_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, same, other = (seeded(GaussianEncoder, (1, 16, 16), 3, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_torchvision_is_built_for_this_torch() -> None:
    """Its compiled part is loaded and runs: of two boxes that overlap by 90 %, suppression keeps the better."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.5).tolist() == [1, 2]


@pytest.mark.parametrize("outputs", [1, 3, 5])
def test_interleaved_upsampling_is_a_transposed_convolution(outputs: int) -> None:
    generator = torch.Generator().manual_seed(outputs)
    usual = nn.ConvTranspose2d(6, outputs, 4, 2, 1).double()
    quick = InterleavedUpsampling(6, outputs).double()
    quick.load_state_dict(usual.state_dict())
    features = torch.randn(2, 6, 4, 7, generator=generator, dtype=torch.float64).requires_grad_()
    answers = [layer(features) for layer in (usual, quick)]
    torch.testing.assert_close(*answers)
    weights = torch.randn(answers[0].shape, generator=generator, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((answer * weights).sum(), [features, *layer.parameters()])
        for answer, layer in zip(answers, (usual, quick))
    ]
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other)
