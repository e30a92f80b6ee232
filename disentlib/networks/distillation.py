"""The networks of ID-GAN (plain) and IB-GAN (batch-normalised). Images enter and leave in [0, 1]; inside: [−1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disentlib.networks.convolutional import ConvDecoder, ConvEncoder, check_code_dims, trunk_of

__all__ = [
    "BottleneckDiscriminator",
    "BottleneckGenerator",
    "NoiseEncoder",
    "NoiseReconstructor",
    "PlainDiscriminator",
    "PlainGenerator",
]

NARROWEST, WIDEST, FEATURES = 16, 64, 256  # IB-GAN's channels and the width of its fully connected layers
SMALLEST_SIDE = 8
WEIGHT_STD = 0.02


class PlainGenerator(nn.Module):
    """Codes (and noise) `[n, d]` → images `[n, c, h, w]`: ID-GAN's for dSprites, shaped as a VAE's decoder, no norm."""

    def __init__(self, image_shape: tuple[int, int, int], inputs: int) -> None:
        super().__init__()
        self.body = ConvDecoder(image_shape, inputs)

    def forward(self, codes: Tensor) -> Tensor:
        return _unit(self.body(codes))


class PlainDiscriminator(nn.Module):
    """Images `[n, c, h, w]` → one logit each, `[n]`: ID-GAN's for dSprites, shaped as a VAE's encoder, no norm."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.body = ConvEncoder(image_shape, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(2 * images - 1).flatten()


class BottleneckGenerator(nn.Module):
    """Representations `[n, d]` → images `[n, c, h, w]`: IB-GAN's, batch norm after all layers but the last.

    FC 256, FC 64 maps of 8×8 (7×7 for 28×28), two 3×3 layers of 64, then k4 s2 32, 16, image; fewer of them for
    smaller images.
    """

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int) -> None:
        super().__init__()
        check_code_dims(code_dims)
        side, halvings = _pyramid(image_shape)
        widths = [max(WIDEST >> level, NARROWEST) for level in range(halvings)]
        layers = [_normed(nn.Linear(code_dims, FEATURES)), _normed(nn.Linear(FEATURES, WIDEST * side**2))]
        layers += [nn.Unflatten(1, (WIDEST, side, side))]
        layers += [_normed(nn.ConvTranspose2d(WIDEST, WIDEST, 3, 1, 1)) for _ in range(2)]
        layers += [_normed(nn.ConvTranspose2d(a, b, 4, 2, 1)) for a, b in zip(widths, widths[1:])]
        self.body = _drawn(nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], image_shape[0], 4, 2, 1)))

    def forward(self, codes: Tensor) -> Tensor:
        return _unit(self.body(codes))


class BottleneckDiscriminator(nn.Module):
    """Images `[n, c, h, w]` → one logit each, `[n]`: IB-GAN's, a network of its own (not shared on dSprites)."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.body = _drawn(nn.Sequential(*_normed_pyramid(image_shape), nn.Linear(FEATURES, 1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(2 * images - 1).flatten()


class NoiseReconstructor(nn.Module):
    """Images `[n, c, h, w]` → the noise `ẑ` they were made from, float32 `[n, noise_dims]`: IB-GAN's Q.

    The discriminator's layers with one fully connected layer more.
    """

    def __init__(self, image_shape: tuple[int, int, int], noise_dims: int) -> None:
        super().__init__()
        hidden = _normed(nn.Linear(FEATURES, FEATURES), nn.LeakyReLU(0.2))
        layers = [*_normed_pyramid(image_shape), hidden, nn.Linear(FEATURES, noise_dims)]
        self.body = _drawn(nn.Sequential(*layers))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(2 * images - 1).float()


class NoiseEncoder(nn.Module):
    """Noise `[n, noise_dims]` → mean and log-variance of the representation `r`, float32 `[n, code_dims]` (IB-GAN's e).

    An MLP of two hidden layers with 32 units each.
    """

    def __init__(self, noise_dims: int, code_dims: int, width: int = 32) -> None:
        super().__init__()
        check_code_dims(code_dims)
        first, second = nn.Linear(noise_dims, width), nn.Linear(width, width)
        self.body = _drawn(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(width, 2 * code_dims)))

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.body(noise).float().chunk(2, dim=1)
        return mean, logvar


def _unit(raw: Tensor) -> Tensor:
    """Any real numbers → pixels in [0, 1], as the published tanh for [−1, 1]."""
    return 0.5 * (1 + torch.tanh(raw.float()))


def _pyramid(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """The side of the smallest map, and how often the image's side is halved down to it."""
    trunk_of(image_shape)  # refuses what cannot be halved
    side, halvings = image_shape[1], 0
    while side > SMALLEST_SIDE:
        side, halvings = side // 2, halvings + 1
    return side, halvings


def _normed_pyramid(image_shape: tuple[int, int, int]) -> list[nn.Module]:
    """k4 s2 16, 32, 64 (the last ones, for smaller images), k3 128, whole map 256 → features `[n, 256]`."""
    side, halvings = _pyramid(image_shape)
    widths = [image_shape[0], *(max(WIDEST >> level, NARROWEST) for level in reversed(range(halvings)))]
    layers = [nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:])]
    layers += [nn.Conv2d(WIDEST, 2 * WIDEST, 3, 1, 1)]
    whole = nn.Linear(2 * WIDEST * side**2, FEATURES)  # the published k8 layer: over all of an 8×8 map, twice as fast
    normed = [_normed(layer, nn.LeakyReLU(0.2)) for layer in [*layers, whole]]
    return [*normed[:-1], nn.Flatten(), normed[-1]]


def _normed(layer: nn.Module, activation: nn.Module | None = None) -> nn.Sequential:
    """A layer, batch norm, and an activation (ReLU)."""
    flat = isinstance(layer, nn.Linear)
    norm = nn.BatchNorm1d(layer.out_features) if flat else nn.BatchNorm2d(layer.out_channels)
    return nn.Sequential(layer, norm, activation or nn.ReLU())


def _drawn(network: nn.Module) -> nn.Module:
    """`network` with weights from N(0, 0.02²) and biases of 0, as published; batch norm starts as the identity."""
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=WEIGHT_STD)
            nn.init.zeros_(layer.bias)
    return network
