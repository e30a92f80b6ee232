"""The GANs' networks: layer tables, which layers are normalised, and whose answers depend on whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from disentlib.networks import Generator, PairNetwork, SharedDiscriminator, seeded

pytestmark = pytest.mark.usefixtures("one_thread")


def linear_maps(network: nn.Module) -> list[tuple[int, ...]]:
    """The weights' shapes of a network's layers, in their order."""
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, kinds)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int) -> None:
    shape = (channels, side, side)
    images = torch.rand(2, *shape)
    assert Generator(shape, 7)(torch.randn(2, 7)).shape == (2, *shape)
    logits, means = SharedDiscriminator(shape, 6)(images)
    assert logits.shape == (2,) and means.shape == (2, 6)
    for norm in ("batch_norm", "spectral_norm"):
        assert PairNetwork(shape, 128, norm)(images, images).shape == (2, 128)


def test_layers_are_infogan_crs_at_64() -> None:
    """Lin et al. 2020, dSprites; the notes' §1.4."""
    shape = (1, 64, 64)
    trunk = [(32, 32, 4, 4), (64, 32, 4, 4), (64, 64, 4, 4), (128, 1024)]
    assert linear_maps(Generator(shape, 10)) == [
        (128, 10), (1024, 128), (64, 64, 4, 4), (64, 32, 4, 4), (32, 32, 4, 4), (32, 1, 4, 4),
    ]  # fmt: skip
    expected = [(32, 1, 4, 4), *trunk, (1, 128), (128, 128), (5, 128)]
    assert linear_maps(SharedDiscriminator(shape, 5)) == expected
    for norm in ("batch_norm", "spectral_norm"):
        assert linear_maps(PairNetwork(shape, 5, norm)) == [(32, 2, 4, 4), *trunk, (5, 128)]


def test_at_32_the_pair_network_is_reading_s13s() -> None:
    maps = linear_maps(PairNetwork((3, 32, 32), 128))
    assert maps == [(32, 6, 4, 4), (64, 32, 4, 4), (64, 64, 4, 4), (128, 1024), (128, 128)]


def spectral_norms(network: nn.Module) -> list[float]:
    maps = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return [torch.linalg.matrix_norm(m.weight.flatten(1), ord=2).item() for m in maps]


@torch.no_grad()
def test_spectral_norm_is_on_every_layer_but_the_pair_networks_last() -> None:
    discriminator, pair = SharedDiscriminator((1, 32, 32), 5), PairNetwork((1, 32, 32), 5, "spectral_norm")
    for network in (discriminator, pair):
        for _ in range(100):  # power iterations, one a pass
            network(*[torch.rand(1, 1, 32, 32)] * (1 if network is discriminator else 2))
    assert all(
        norm == pytest.approx(1, abs=0.02) for norm in [*spectral_norms(discriminator), *spectral_norms(pair)[:-1]]
    )
    assert abs(spectral_norms(pair)[-1] - 1) > 0.1
    batch = PairNetwork((1, 32, 32), 5)
    assert sum(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in batch.modules()) == 4
    assert not any("parametrizations" in name for name in batch.state_dict())
    for other in (discriminator, pair):
        assert not any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in other.modules())


def test_the_discriminators_answers_do_not_depend_on_the_batch_and_evaluation_repeats_itself() -> None:
    network, images = SharedDiscriminator((1, 32, 32), 3).eval(), torch.rand(4, 1, 32, 32, generator=generator())
    together = network(images)
    for index in range(4):
        for alone, value in zip(network(images[index : index + 1]), together):
            torch.testing.assert_close(alone[0], value[index], rtol=1e-4, atol=1e-6)


def test_images_are_centred_inside() -> None:
    """A grey image is 0 to the first layer: with no biases, a network answers 0."""
    grey = torch.full((2, 1, 32, 32), 0.5)
    discriminator, pair = SharedDiscriminator((1, 32, 32), 3).eval(), PairNetwork((1, 32, 32), 8).eval()
    for answer in (*discriminator(grey), pair(grey, grey)):
        assert answer.abs().max() == 0


def test_a_pair_has_an_order() -> None:
    first, second = torch.rand(2, 4, 1, 32, 32, generator=generator())
    network = seeded(PairNetwork, (1, 32, 32), 8, seed=0).eval()
    assert not torch.allclose(network(first, second), network(second, first), rtol=1e-3, atol=0)


def test_the_generator_normalises_after_activations_and_answers_in_logits() -> None:
    layers = list(Generator((1, 32, 32), 4))
    before = [
        type(layers[i - 1]) for i, layer in enumerate(layers) if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))
    ]
    assert before == [nn.ReLU, nn.ReLU, nn.LeakyReLU, nn.LeakyReLU]
    assert isinstance(layers[-1], nn.ConvTranspose2d)


def test_first_weights_are_small_and_a_function_of_the_seed() -> None:
    networks: list[tuple[type[nn.Module], tuple]] = [
        (Generator, ((1, 32, 32), 4)), (SharedDiscriminator, ((1, 32, 32), 4)), (PairNetwork, ((1, 32, 32), 8)),
    ]  # fmt: skip
    for kind, arguments in networks:
        first, again, other = (flat(seeded(kind, *arguments, seed=seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again) and not torch.equal(first, other)
        assert first.std().item() == pytest.approx(0.02, rel=0.02)


def flat(network: nn.Module) -> Tensor:
    named = [p for name, p in network.named_parameters() if "weight" in name and p.ndim > 1]
    return torch.cat([p.detach().flatten() for p in named])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="pair_network 'layer_norm'; known: batch_norm, spectral_norm"):
        PairNetwork((1, 32, 32), 8, "layer_norm")
    for build in (lambda: Generator((1, 30, 31), 4), lambda: SharedDiscriminator((1, 30, 31), 4)):
        with pytest.raises(ValueError, match="square images"):
            build()
    for build in (lambda: Generator((1, 32, 32), 0), lambda: SharedDiscriminator((1, 32, 32), 0)):
        with pytest.raises(ValueError, match="code_dims"):
            build()
