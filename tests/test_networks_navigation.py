"""Navigator, reconstructor and DisCo's encoder: what they are, against Gram-Schmidt and counts made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from disentlib.networks import DiscoEncoder, Navigator, Reconstructor, orthonormal_columns, seeded

pytestmark = pytest.mark.usefixtures("one_thread")


def gram_schmidt(weight: Tensor) -> Tensor:
    done: list[Tensor] = []
    for column in weight.double().T:
        for other in done:
            column = column - (column @ other) * other
        done.append(column / column.norm())
    return torch.stack(done, 1)


def test_columns_are_those_of_gram_schmidt() -> None:
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthonormal_columns(weight).double(), gram_schmidt(weight), rtol=0, atol=1e-5)
    navigator = seeded(Navigator, 30, 30, seed=0)
    torch.testing.assert_close(navigator().T @ navigator(), torch.eye(30), rtol=0, atol=1e-5)


def test_gradients_through_orthonormal_columns_are_those_of_gram_schmidt() -> None:
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((orthonormal_columns(weight) * target).sum(), weight)[0]
    theirs = torch.autograd.grad((gram_schmidt(weight) * target).sum(), weight)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_unit_columns_have_length_one_and_keep_their_angle() -> None:
    navigator = seeded(Navigator, 3, 5, "unit", seed=0)
    torch.testing.assert_close(navigator().norm(dim=0), torch.ones(5))
    cosine = nn.functional.cosine_similarity(navigator(), navigator.weight, dim=0)
    torch.testing.assert_close(cosine, torch.ones(5))


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_number_of_directions_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="directions must be a whole number of at least 1"):
        Navigator(4, count)


def test_too_many_directions_and_unknown_columns_are_named() -> None:
    with pytest.raises(ValueError, match="at most the latent's 4 dimensions, got 5"):
        Navigator(4, 5)
    with pytest.raises(ValueError, match="unknown columns 'rotation'; known: orthonormal, unit"):
        Navigator(4, 2, "rotation")


@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int) -> None:
    images = torch.rand(2, channels, side, side)
    assert DiscoEncoder((channels, side, side), 7, width=8)(images).shape == (2, 7)
    logits, shift = Reconstructor((channels, side, side), 5)(images, images)
    assert logits.shape == (2, 5) and shift.shape == (2,)


@pytest.mark.parametrize(("side", "tail"), [(64, (64, 128, 256, 256, 256)), (32, (64, 128, 256, 256))])
def test_the_encoders_table_is_discos(side: int, tail: tuple[int, ...]) -> None:
    encoder = DiscoEncoder((3, side, side), 64)
    convolutions = [m for m in encoder if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == list(tail)
    sizes = (3, *tail)
    kernels = [49, *[16] * (len(tail) - 1)]
    weights = sum(k * a * b + b for k, a, b in zip(kernels, sizes, sizes[1:]))
    weights += 4096 * 256 + 256 + 256 * 256 + 256 + 256 * 64 + 64
    assert sum(p.numel() for p in encoder.parameters()) == weights
    assert round(weights / 1e6, 2) in (3.89, 2.85)


def test_a_narrow_encoder_can_change_its_code_in_every_dimension() -> None:
    encoder, pictures = seeded(DiscoEncoder, (1, 32, 32), 48, 8, seed=0), torch.rand(200, 1, 32, 32)
    changes = encoder.double()(pictures.double()).diff(dim=0)
    assert torch.linalg.matrix_rank(changes, rtol=1e-9) == 48


def test_a_code_depends_on_its_own_image_only_and_layers_begin_kaiming() -> None:
    encoder = seeded(DiscoEncoder, (1, 32, 32), 6, 16, seed=0)
    images = torch.rand(5, 1, 32, 32)
    torch.testing.assert_close(encoder(images)[2:3], encoder(images[2:3]))
    for layer in encoder:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            fan_in = layer.weight[0].numel()
            assert layer.bias.abs().max() == 0
            if layer.weight.numel() > 5000:
                assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)


def test_the_reconstructor_knows_which_image_is_the_base() -> None:
    network = seeded(Reconstructor, (1, 32, 32), 4, seed=0)
    first, second = torch.rand(4, 1, 32, 32), torch.rand(4, 1, 32, 32)
    assert not torch.allclose(network(first, second)[0], network(second, first)[0])


@pytest.mark.parametrize("width", [4, 0, 8.5, True])
def test_a_width_that_is_none_is_refused(width: object) -> None:
    with pytest.raises(ValueError, match="at least 8"):
        DiscoEncoder((1, 32, 32), 4, width)


@pytest.mark.parametrize("shape", [(1, 30, 30), (1, 32, 16), (1, 7, 7)])
def test_sides_that_do_not_halve_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="halves evenly"):
        DiscoEncoder(shape, 4)
