"""Drawing with tensors: pixel grids, signed distances, smooth coverage, painting.

Only + − × ÷, square roots, comparisons and look-ups touch a pixel. Each of them is correctly rounded, so a picture has
the same bits in whatever batch, order, chunk or thread it is drawn; `exp`, `sin`, `lerp`, `addcmul`, matrix products
and sums over a dimension do not promise that. What needs a sine is tabulated per factor value with `math`.

Shapes: a *field* is float32 `[n, h, w]` (or broadcasts to it), a *canvas* float32 `[n, 3, h, w]` in [0, 1]. Lengths are
in half pictures: x runs from −1 (left) to 1 (right), y from −1 (top) to 1 (bottom). Distances are negative inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from disentlib.data.exact import square_root

__all__ = [
    "bump",
    "by_chunks",
    "coverage",
    "ellipse",
    "halve",
    "lit",
    "look_up",
    "mix",
    "paint",
    "pixel_centres",
    "rounded_box",
    "segment",
    "smoothstep",
    "to_bytes",
    "wave",
]

Scalar = Tensor | float
Render = Callable[[Tensor, int], Tensor]

# Samples held at once, per field: small enough for a CPU's cache, large enough to hide a GPU's launch times.
_CPU_SAMPLES, _GPU_SAMPLES = 1 << 17, 1 << 21


def by_chunks(render: Render, factors: Tensor, image_size: int, samples: int) -> Tensor:
    """Factors int64 `[n, k]` → uint8 `[n, 3, s, s]`, by calling `render` on pieces of them.

    `samples`: elements of a field per image; a piece stays below a fixed number of them, which bounds the memory.
    """
    if not len(factors):
        return torch.empty(0, 3, image_size, image_size, dtype=torch.uint8, device=factors.device)
    budget = _CPU_SAMPLES if factors.device.type == "cpu" else _GPU_SAMPLES
    pieces = factors.split(max(1, budget // samples))
    return torch.cat([render(piece, image_size) for piece in pieces])


def pixel_centres(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres of `size` × `size` pixels: x `[1, 1, size]`, y `[1, size, 1]`, both in (−1, 1)."""
    centres = (torch.arange(size, device=device, dtype=torch.float32) * 2 + 1) / size - 1
    return centres[None, None, :], centres[None, :, None]


def look_up(table: Sequence, values: Tensor) -> Tensor:
    """Entry `values[i]` (int64 `[n]`) of a table: numbers → `[n, 1, 1]`, triples such as colours → `[n, 3, 1, 1]`."""
    entries = torch.tensor(table, dtype=torch.float32, device=values.device)[values]
    return entries[..., None, None]


def coverage(distance: Tensor, pixel: Scalar) -> Tensor:
    """Signed distance → the part of a pixel of that width that lies inside, in [0, 1]."""
    return (0.5 - distance / pixel).clamp(0, 1)


def smoothstep(x: Tensor, start: float, end: float) -> Tensor:
    """0 before `start`, 1 after `end`, a cubic between; `start` > `end` runs the other way."""
    t = ((x - start) / (end - start)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Tensor, y: Scalar = 0.0) -> Tensor:
    """A soft spot: 1 at the origin, 1/4 at distance 1, towards 0 far away."""
    t = 1 / (1 + x * x + y * y)
    return t * t


def wave(x: Tensor) -> Tensor:
    """A smooth periodic ripple of period 1 in [0, 1], 0 at whole numbers."""
    t = (x - x.floor()) * 2 - 1
    t = 1 - t * t
    return t * t


def mix(first: Scalar, second: Scalar, share: Scalar) -> Tensor:
    """`first` where `share` is 0, `second` where it is 1, a straight line between."""
    return first + share * (second - first)


def lit(colour: Tensor, light: Tensor) -> Tensor:
    """A colour `[n, 3, 1, 1]` under a brightness field (1 leaves it): dim parts turn warmer, bright ones paler."""
    light = light[:, None]
    tint = light.new_tensor((0.02, 0.0, -0.015))[None, :, None, None]
    return tint + (colour - tint) * light + 0.25 * (light - 1).clamp(min=0)


def paint(canvas: Tensor, colour: Tensor, cover: Tensor) -> Tensor:
    """Lay `colour` (`[n, 3, h, w]` or broadcasting to it) over the canvas with opacity `cover`, a field in [0, 1]."""
    return canvas + cover[:, None] * (colour - canvas)


def ellipse(x: Tensor, y: Tensor, radius_x: Scalar, radius_y: Scalar) -> Tensor:
    """Distance to an ellipse around the origin, exact to first order near its edge."""
    u, v = x / radius_x, y / radius_y
    length = square_root(u * u + v * v)
    gradient = square_root((u / radius_x) * (u / radius_x) + (v / radius_y) * (v / radius_y))
    return length * (length - 1) / (gradient + 1e-6)


def rounded_box(x: Tensor, y: Tensor, half_width: Scalar, half_height: Scalar, corner: float) -> Tensor:
    """Distance to a box around the origin with corners of radius `corner`."""
    u, v = x.abs() - half_width + corner, y.abs() - half_height + corner
    outside = square_root(u.clamp(min=0) * u.clamp(min=0) + v.clamp(min=0) * v.clamp(min=0))
    return outside + torch.maximum(u, v).clamp(max=0) - corner


def segment(x: Tensor, y: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """Distance to the line between two points, never negative."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    u, v = x - start[0], y - start[1]
    along = ((u * dx + v * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    u, v = u - along * dx, v - along * dy
    return square_root(u * u + v * v)


def halve(canvas: Tensor) -> Tensor:
    """The mean of every 2 × 2 samples: `[..., 2h, 2w]` → `[..., h, w]`."""
    rows = canvas[..., 0::2, :] + canvas[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) * 0.25


def to_bytes(canvas: Tensor) -> Tensor:
    """A canvas in [0, 1] (clipped) → uint8 in 0…255, rounded."""
    return (canvas.clamp(0, 1) * 255).round().to(torch.uint8)
