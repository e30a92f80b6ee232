"""How sharp pictures are: no factors needed, and no other picture of the same thing."""

from __future__ import annotations

from torch import Tensor

__all__ = ["laplacian_energy", "relative_sharpness"]

_TINY = 1e-12


def laplacian_energy(images: Tensor) -> Tensor:
    """`E[(4x − x_left − x_right − x_above − x_below)²]`, a scalar: over images, channels, and pixels with all four.

    `images` `[n, c, h, w]` in [0, 1], of at least 3×3 pixels. 0 for a flat picture or a ramp; blur lowers it and noise
    raises it, so that a value above the data's is no praise.

    >>> import torch
    >>> stripes = torch.tensor([0.0, 1.0]).repeat(4).expand(1, 1, 8, 8)  # 2x − x_left − x_right = ±2
    >>> laplacian_energy(stripes).item()
    4.0
    """
    if images.ndim != 4 or min(images.shape[-2:]) < 3:
        raise ValueError(f"sharpness needs images [n, c, h, w] of at least 3×3 pixels, got {tuple(images.shape)}")
    x = images.float()
    across = x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
    down = x[..., :-2, 1:-1] + x[..., 2:, 1:-1]
    return (4 * x[..., 1:-1, 1:-1] - across - down).square().mean()


def relative_sharpness(generated: Tensor, real: Tensor) -> float:
    """`laplacian_energy` of generated images, divided by that of real ones: 1 is as sharp as the data.

    >>> import torch
    >>> images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> round(relative_sharpness(images / 2, images), 6)
    0.25
    """
    return (laplacian_energy(generated) / laplacian_energy(real).clamp(min=_TINY)).item()
