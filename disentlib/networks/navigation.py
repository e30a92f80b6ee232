"""Networks around a frozen generator: what shifts its latent, what names the shift, what encodes its images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentlib.networks.convolutional import check_code_dims

__all__ = ["COLUMNS", "DiscoEncoder", "Navigator", "Reconstructor", "orthonormal_columns"]

COLUMNS = ("orthonormal", "unit")
ENCODER_WIDTH = 64
LENET_CHANNELS, LENET_HIDDEN, LENET_SIDE = (6, 16, 120), 84, 32


def orthonormal_columns(weight: Tensor) -> Tensor:
    """The orthonormal basis `Q` `[a, D]` of the columns of `weight` `[a, D]`: QR with a positive diagonal of `R`.

    Householder's QR leaves the signs open; fixing them makes `Q` a smooth function of `weight`.

    >>> orthonormal_columns(torch.tensor([[-2.0], [0.0]])).tolist()
    [[-1.0], [0.0]]
    """
    with torch.autocast(weight.device.type, enabled=False):
        q, r = torch.linalg.qr(weight.float())
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


class Navigator(nn.Module):
    """The matrix `A` `[a, D]` whose columns are the directions (the paper's M; reading D3: no bias).

    `columns`: "orthonormal", or "unit" for columns of length 1. ValueError for more orthonormal directions than latent
    dimensions. A square rotation by a matrix exponential, as in LD, would take seconds a step at a = 1536.

    >>> Navigator(6, 2)().shape
    torch.Size([6, 2])
    """

    def __init__(self, latent_dims: int, directions: int, columns: str = "orthonormal") -> None:
        super().__init__()
        check_columns(columns)
        check_directions(directions, latent_dims if columns == "orthonormal" else None)
        self.columns = columns
        self.weight = nn.Parameter(torch.randn(latent_dims, directions))

    def forward(self) -> Tensor:
        return orthonormal_columns(self.weight) if self.columns == "orthonormal" else F.normalize(self.weight, dim=0)


def check_columns(columns: str) -> None:
    """ValueError unless `columns` is one of `COLUMNS`."""
    if columns not in COLUMNS:
        raise ValueError(f"unknown columns {columns!r}; known: {', '.join(COLUMNS)}")


def check_directions(directions: int, at_most: int | None = None) -> None:
    """ValueError unless `directions` is a whole number of at least 1, and no more than there are dimensions."""
    if not isinstance(directions, int) or isinstance(directions, bool) or directions < 1:
        raise ValueError(f"directions must be a whole number of at least 1, got {directions!r}")
    if at_most is not None and directions > at_most:
        raise ValueError(f"directions must be at most the latent's {at_most} dimensions, got {directions}")


class Reconstructor(nn.Module):
    """Two images, each `[n, c, h, w]` → logits of the direction `[n, D]` and the shift `[n]` (eq. 5).

    LD's LeNet: three 5×5 convolutions over both images' channels, mean over space, two heads. Images below 32 pixels
    are padded with zeros, since the layers leave nothing of them.

    >>> logits, shift = Reconstructor((1, 32, 32), directions=4)(torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32))
    >>> logits.shape, shift.shape
    (torch.Size([2, 4]), torch.Size([2]))
    """

    def __init__(self, image_shape: tuple[int, int, int], directions: int) -> None:
        super().__init__()
        check_directions(directions)
        first, second, last = LENET_CHANNELS
        self.body = nn.Sequential(
            *_block(2 * image_shape[0], first), nn.MaxPool2d(2), *_block(first, second), nn.MaxPool2d(2),
            *_block(second, last), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.direction, self.shift = _head(directions), _head(1)

    def forward(self, base: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(_at_least(torch.cat([base, shifted], dim=1), LENET_SIDE))
        return self.direction(features).float(), self.shift(features).float().flatten()


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 5), nn.BatchNorm2d(outputs), nn.ReLU()


def _head(outputs: int) -> nn.Sequential:
    hidden = nn.Linear(LENET_CHANNELS[-1], LENET_HIDDEN)
    return nn.Sequential(hidden, nn.BatchNorm1d(LENET_HIDDEN), nn.ReLU(), nn.Linear(LENET_HIDDEN, outputs))


def _at_least(images: Tensor, side: int) -> Tensor:
    """Zeros around images that are smaller than `side`."""
    rows, columns = (max(0, side - size) for size in images.shape[-2:])
    return F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


class DiscoEncoder(nn.Sequential):
    """DisCo's encoder: images `[n, c, h, w]` in [0, 1] → `[n, code_dims]`.

    64 pixels: a 7×7 convolution, four k4 s2 convolutions (128, 256, 256, 256 channels), two hidden layers of 256, a
    linear head, LeakyReLU(0.01) between; 32 pixels: one convolution fewer. Kaiming weights, zero biases, no
    normalisation, so that a code does not depend on the batch. `width`: the first layer's channels, 64 in DisCo. Hidden
    layers have 4·width units, but no fewer than the code.
    ValueError for sides that do not halve evenly down to 4 to 8 pixels.

    >>> DiscoEncoder((3, 32, 32), 10, width=16)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int, width: int = ENCODER_WIDTH) -> None:
        check_code_dims(code_dims)
        if not isinstance(width, int) or isinstance(width, bool) or width < 8:
            raise ValueError(f"an encoder's width is the first layer's channels, at least 8 (DisCo: 64), got {width!r}")
        halvings, side = _halvings(image_shape)
        sizes = (width, 2 * width, *[4 * width] * 3)[: halvings + 1]
        hidden = max(4 * width, code_dims)  # narrower, a code could not change in all its dimensions
        convolutions = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU())]
        super().__init__(
            nn.Conv2d(image_shape[0], width, 7, 1, 3), nn.LeakyReLU(), *convolutions, nn.Flatten(),
            nn.Linear(sizes[-1] * side**2, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(),
            nn.Linear(hidden, code_dims),
        )  # fmt: skip
        self.apply(_kaiming)


def _halvings(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """How often the encoder halves the side, and what is left: down to 4 if it can, at most four times."""
    _, height, width = image_shape
    side, halvings = height, 0
    while side % 2 == 0 and side > 4 and halvings < 4:
        side, halvings = side // 2, halvings + 1
    if height != width or halvings < 1 or side > 8:
        raise ValueError(
            f"DisCo's encoder takes square images whose side halves evenly down to 4 to 8 pixels, got {height}×{width}"
        )
    return halvings, side


def _kaiming(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
