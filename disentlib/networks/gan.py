"""Networks of the GANs: the generator, the discriminator with its code head, and the network on pairs of images.

Images enter in [0, 1] and are scaled to [−1, 1] inside; the generator answers in logits. Layers are InfoGAN-CR's at
64×64 (Lin et al. 2020), with fewer convolutions for smaller images. First weights are N(0, 0.02²), as there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from disentlib.networks.convolutional import check_code_dims, trunk_of

__all__ = ["PAIR_NETWORKS", "Generator", "PairNetwork", "SharedDiscriminator"]

PAIR_NETWORKS = ("batch_norm", "spectral_norm")
WIDTH = 128  # of every hidden linear layer
SLOPE = 0.2  # of the leaky ReLU
INITIAL_SCALE = 0.02


def _drawn(layer: nn.Module) -> nn.Module:
    """The layer with its first weights; before spectral norm, which takes its first vectors from them."""
    nn.init.normal_(layer.weight, std=INITIAL_SCALE)
    nn.init.zeros_(layer.bias)
    return layer


def _normed(layer: nn.Module) -> nn.Module:
    """Spectrally normalised; torch moves the vectors on at every forward pass in training mode, none in evaluation."""
    return spectral_norm(_drawn(layer))


class Generator(nn.Sequential):
    """Codes and noise, concatenated, `[n, inputs]` → logits of pixels `[n, c, h, w]`; batch norm after activations."""

    def __init__(self, image_shape: tuple[int, int, int], inputs: int) -> None:
        check_code_dims(inputs)
        trunk = trunk_of(image_shape)
        sizes = (*reversed(trunk.channels), image_shape[0])
        hidden = [m for a, b in zip((inputs, WIDTH), (WIDTH, trunk.features)) for m in self._linear(a, b)]
        deconvolutions = [m for a, b in zip(sizes, sizes[1:]) for m in self._deconvolution(a, b)]
        start = nn.Unflatten(1, (trunk.channels[-1], trunk.side, trunk.side))
        super().__init__(*hidden, start, *deconvolutions[:-2])  # the last layer answers in logits

    @staticmethod
    def _linear(a: int, b: int) -> tuple[nn.Module, ...]:
        return _drawn(nn.Linear(a, b)), nn.ReLU(), nn.BatchNorm1d(b)

    @staticmethod
    def _deconvolution(a: int, b: int) -> tuple[nn.Module, ...]:
        return _drawn(nn.ConvTranspose2d(a, b, 4, 2, 1)), nn.LeakyReLU(SLOPE), nn.BatchNorm2d(b)


class SharedDiscriminator(nn.Module):
    """Images `[n, c, h, w]` → D's logits, float32 `[n]`, and Q's code means, float32 `[n, d]`, from one trunk.

    Spectral norm in every layer, no batch norm: an image's answers do not depend on the others.
    """

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int) -> None:
        super().__init__()
        check_code_dims(code_dims)
        self.trunk = nn.Sequential(*_trunk(image_shape, image_shape[0], _spectral_block))
        self.real = nn.Sequential(_normed(nn.Linear(WIDTH, 1)), nn.Flatten(0))
        self.codes = nn.Sequential(*_spectral_block(nn.Linear(WIDTH, WIDTH)), _normed(nn.Linear(WIDTH, code_dims)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(2 * images - 1)
        return self.real(features).float(), self.codes(features).float()


class PairNetwork(nn.Module):
    """Two images `[n, c, h, w]` each, in their order → `outputs` numbers a pair, float32 `[n, outputs]`, unscaled.

    `norm`: "batch_norm" (reading S13), or "spectral_norm", InfoGAN-CR's; the last layer has neither.
    """

    def __init__(self, image_shape: tuple[int, int, int], outputs: int, norm: str = "batch_norm") -> None:
        super().__init__()
        if norm not in PAIR_NETWORKS:
            raise ValueError(f"unknown pair_network {norm!r}; known: {', '.join(PAIR_NETWORKS)}")
        block = _batch_block if norm == "batch_norm" else _spectral_block
        self.body = nn.Sequential(*_trunk(image_shape, 2 * image_shape[0], block), _drawn(nn.Linear(WIDTH, outputs)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.body(2 * torch.cat([first, second], dim=1) - 1).float()


def _trunk(
    image_shape: tuple[int, int, int], channels: int, block: Callable[[nn.Module], tuple[nn.Module, ...]]
) -> list[nn.Module]:
    """The pyramid of `image_shape` on `channels` channels and one hidden layer; `block` gives each layer its norm."""
    trunk = trunk_of(image_shape)
    sizes = (channels, *trunk.channels)
    convolutions = [m for a, b in zip(sizes, sizes[1:]) for m in block(nn.Conv2d(a, b, 4, 2, 1))]
    return [*convolutions, nn.Flatten(), *block(nn.Linear(trunk.features, WIDTH))]


def _spectral_block(layer: nn.Module) -> tuple[nn.Module, ...]:
    return _normed(layer), nn.LeakyReLU(SLOPE)


def _batch_block(layer: nn.Module) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm1d(layer.out_features) if isinstance(layer, nn.Linear) else nn.BatchNorm2d(layer.out_channels)
    return _drawn(layer), norm, nn.LeakyReLU(SLOPE)
