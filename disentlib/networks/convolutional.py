"""The VAE family's encoder and decoder. Images enter in [0, 1]; a decoder answers in logits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["CHANNELS", "ConvDecoder", "ConvEncoder", "GaussianEncoder", "Trunk", "check_code_dims", "trunk_of"]

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


class ConvDecoder(nn.Sequential):
    """Codes `[n, d]` → logits `[n, c, h, w]`: the encoder's pyramid, mirrored."""

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int) -> None:
        check_code_dims(code_dims)
        trunk = trunk_of(image_shape)
        sizes = (*reversed(trunk.channels), image_shape[0])
        deconvolutions = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.ConvTranspose2d(a, b, 4, 2, 1), nn.ReLU())]
        super().__init__(
            nn.Linear(code_dims, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, trunk.features),
            nn.ReLU(),
            nn.Unflatten(1, (trunk.channels[-1], trunk.side, trunk.side)),
            *deconvolutions[:-1],  # the last layer answers in logits
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
