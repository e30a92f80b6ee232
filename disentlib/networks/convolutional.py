"""The VAE family's encoder and decoder. Images enter in [0, 1]; a decoder answers in logits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "CHANNELS",
    "ConvDecoder",
    "ConvEncoder",
    "GaussianEncoder",
    "InterleavedUpsampling",
    "Trunk",
    "check_code_dims",
    "trunk_of",
]

# The field's 64×64 stack (Higgins et al. 2017; reading G7): four k4 s2 convolutions. Smaller images drop the first.
CHANNELS = (32, 32, 64, 64)
HIDDEN = 256


@dataclass(frozen=True)
class Trunk:
    """The convolutional pyramid for one image shape: `channels` of each k4 s2 layer, `side` after the last."""

    image_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    side: int

    @property
    def features(self) -> int:
        return self.channels[-1] * self.side**2


def trunk_of(image_shape: tuple[int, int, int]) -> Trunk:
    """The pyramid for images `(c, h, w)`: halve while the side is even and above 4, at least twice, down to at most 8.

    64 → 32 → 16 → 8 → 4, 32 → … → 4, 28 → 14 → 7. ValueError for a size that this cannot take.

    >>> trunk_of((1, 32, 32)).channels, trunk_of((1, 28, 28)).side
    ((32, 64, 64), 7)
    """
    channels, height, width = image_shape
    side, halvings = height, 0
    while side % 2 == 0 and side > 4 and halvings < len(CHANNELS):
        side, halvings = side // 2, halvings + 1
    if channels < 1 or height != width or halvings < 2 or side > 8:
        raise ValueError(
            f"the networks take square images whose side halves evenly at least twice, down to at most 8 pixels "
            f"(28, 32, 48, 64, 128, …); got {channels}×{height}×{width}"
        )
    return Trunk(image_shape, CHANNELS[len(CHANNELS) - halvings :], side)


def check_code_dims(code_dims: int) -> None:
    """ValueError unless `code_dims` is a whole number of at least 1."""
    if not isinstance(code_dims, int) or isinstance(code_dims, bool) or code_dims < 1:
        raise ValueError(f"code_dims must be a whole number of at least 1, got {code_dims!r}")


class ConvEncoder(nn.Sequential):
    """Images `[n, c, h, w]` → `outputs` numbers each, `[n, outputs]`: the pyramid, one hidden layer, a linear head."""

    def __init__(self, image_shape: tuple[int, int, int], outputs: int) -> None:
        trunk = trunk_of(image_shape)
        sizes = (image_shape[0], *trunk.channels)
        convolutions = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Conv2d(a, b, 4, 2, 1), nn.ReLU())]
        super().__init__(
            *convolutions, nn.Flatten(), nn.Linear(trunk.features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
        )


class InterleavedUpsampling(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)`: the same weights and, but for rounding, the same numbers.

    Computed as one k2 convolution with stride 1 to 4·outputs channels, whose values are then interleaved. On a CPU that
    is about twice as quick where the outputs are few, as a decoder's last layer has them, and slower elsewhere.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        (n, c, h, w), o = features.shape, self.out_channels
        # Output pixel 2r + i of the uncropped image sees the input rows r and r − 1 through kernel rows i and i + 2.
        kernel = self.weight.reshape(c, o, 2, 2, 2, 2).flip(2, 4).permute(3, 5, 1, 0, 2, 4).reshape(4 * o, c, 2, 2)
        parts = F.conv2d(features, kernel, self.bias.repeat(4), padding=1)
        rows = parts.permute(0, 2, 3, 1).reshape(n, h + 1, w + 1, 2, 2, o).transpose(2, 3)
        return rows.reshape(n, 2 * h + 2, 2 * w + 2, o)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


class ConvDecoder(nn.Sequential):
    """Codes `[n, d]` → logits `[n, c, h, w]`: the encoder's pyramid, mirrored."""

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int) -> None:
        check_code_dims(code_dims)
        trunk = trunk_of(image_shape)
        sizes = (*reversed(trunk.channels), image_shape[0])
        inner = sizes[:-1]
        deconvolutions = [m for a, b in zip(inner, inner[1:]) for m in (nn.ConvTranspose2d(a, b, 4, 2, 1), nn.ReLU())]
        super().__init__(
            nn.Linear(code_dims, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, trunk.features),
            nn.ReLU(),
            nn.Unflatten(1, (trunk.channels[-1], trunk.side, trunk.side)),
            *deconvolutions,
            InterleavedUpsampling(*sizes[-2:]),  # answers in logits
        )


class GaussianEncoder(nn.Module):
    """Images `[n, c, h, w]` → the posterior's mean and log-variance, each float32 `[n, d]`."""

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int) -> None:
        super().__init__()
        check_code_dims(code_dims)
        self.body = ConvEncoder(image_shape, 2 * code_dims)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.body(images).float().chunk(2, dim=1)
        return mean, logvar
