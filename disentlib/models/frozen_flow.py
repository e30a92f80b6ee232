"""A frozen Glow as the direction methods see it: flat latents, pairs of images along a shift, and base images.

Latents are whitened (`eps`) and flat here, `[n, total]`: all levels side by side, the top level last. Directions in the
top level (reading D2) act on the last numbers, directions in all levels on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentlib.models.base import Model, Values

__all__ = [
    "BASE_NAMES",
    "LEVELS",
    "BaseImages",
    "FlowModel",
    "FrozenFlow",
    "Pairs",
    "active_dims",
    "check_count",
    "finite",
    "in_chunks",
]

LEVELS = ("top", "all")
REFERENCE_DIMS = 128  # of the latents for which LD set its shifts (reading D4)
CHUNK = 64  # images that are decoded at once outside of a step
BASE_NAMES = {
    "image_change": "mean |G(shifted) − G(base)| over pixels and finite pairs, in units of the range [0, 1]",
    "non_finite": "pairs of this step whose decoded images were not finite; they count in no loss",
}


@runtime_checkable
class FlowModel(Protocol):
    """What the methods need of a Glow; its latents are lists of whitened `eps`, one a level, the top level last."""

    image_shape: tuple[int, int, int]
    level_shapes: Sequence[tuple[int, ...]]
    top_dims: int

    def eps(self, images: Tensor) -> list[Tensor]: ...
    def from_eps(self, eps: list[Tensor]) -> Tensor: ...
    def sample_eps(self, n: int, temperature: float, generator: torch.Generator) -> list[Tensor]: ...
    def top_linear(self) -> Tensor: ...
    def top_activation(self, top: Tensor, rest: list[Tensor]) -> Tensor: ...


class Pairs(NamedTuple):
    """Base and shifted images, each `[n, c, h, w]`, and which pairs are finite, float `[n]` in {0, 1}."""

    base: Tensor
    shifted: Tensor
    valid: Tensor

    def values(self) -> Values:
        """What `BASE_NAMES` reports of them, detached."""
        change = (self.shifted - self.base).detach().abs().mean((1, 2, 3))
        mean = (change * self.valid).sum() / self.valid.sum().clamp(min=1)
        return {"image_change": mean, "non_finite": (1 - self.valid).sum()}


class FrozenFlow(nn.Module):
    """A Glow that never changes, on flat latents; its own copy, in evaluation mode and without gradients of weights."""

    def __init__(self, flow: Model, level: str) -> None:
        super().__init__()
        self.flow = deepcopy(flow).requires_grad_(False).eval()
        self.total = sum(math.prod(shape) for shape in flow.level_shapes)
        self.dims = active_dims(flow, level)  # a: the numbers that directions act on
        self.strength = math.sqrt(self.dims / REFERENCE_DIMS)

    def train(self, mode: bool = True) -> FrozenFlow:
        return super().train(False)

    @property
    def device(self) -> torch.device:
        return next(self.flow.parameters()).device

    def sample(self, n: int, temperature: float, generator: torch.Generator) -> Tensor:
        """Latents `[n, total]` of the prior, their standard deviation `temperature`."""
        return flat(self.flow.sample_eps(n, temperature, generator))

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """The exact latents `[n, total]` of images `[n, c, h, w]`."""
        return flat(self.flow.eps(images)).float()

    def images(self, latents: Tensor) -> Tensor:
        """Images float32 `[n, c, h, w]` in [0, 1] of latents `[n, total]`; gradients flow to the latents."""
        shapes = [tuple(shape) for shape in self.flow.level_shapes]
        parts = latents.split([math.prod(shape) for shape in shapes], dim=1)
        return self.flow.from_eps([part.unflatten(1, shape) for part, shape in zip(parts, shapes)]).float()

    def active(self, latents: Tensor) -> Tensor:
        """The part `[n, a]` of latents `[n, total]` that directions act on."""
        return latents[:, self.total - self.dims :]

    def coordinates(self, latents: Tensor, matrix: Tensor) -> Tensor:
        """Coordinates `Aᵀw` of latents `[n, total]` along the columns of `matrix` `[a, D]`, float32 `[n, D]`."""
        with torch.autocast(latents.device.type, enabled=False):
            return self.active(latents) @ matrix

    def placed(self, active: Tensor) -> Tensor:
        """Latents `[n, total]` with this active part `[n, a]` and zeros elsewhere."""
        return F.pad(active, (self.total - self.dims, 0))

    def pairs(self, latents: Tensor, base: Tensor, shifts: Tensor) -> Pairs:
        """Base images with latents `[n, total]`, and those shifted by `[n, a]`.

        A pair that is not finite becomes two equal finite images with the weight 0, and sends no gradient back.
        """
        shifted = latents + self.placed(shifts)
        if shifted.requires_grad:
            shifted.register_hook(lambda gradient: torch.nan_to_num(gradient, 0.0, 0.0, 0.0))
        pictures = self.images(shifted)
        valid = finite(base) & finite(pictures)
        chosen = valid[:, None, None, None]
        base = torch.where(finite(base)[:, None, None, None], base, 0.0)
        return Pairs(base, torch.where(chosen, pictures, base), valid.float())


class BaseImages:
    """Where the base images of a step come from; they depend on nothing that is trained.

    Fresh samples of the flow; or, with `cached_bases`, a pool of `bases` samples decoded once and again every `refresh`
    steps (0: never), a function of seed and step alone, so that a resumed run sees the same. With `real_bases` every
    second one is an image of the step's batch, whose latent is exact and costs no decoding.
    `literal`: fresh samples, decoded with a graph, as published code does it.
    """

    def __init__(
        self,
        temperature: float,
        cached_bases: bool = False,
        bases: int = 2048,
        refresh: int = 1000,
        real_bases: bool = False,
        literal: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be a positive number, got {temperature!r}")
        check_count("bases", bases)
        check_count("refresh", refresh, least=0)
        self.temperature, self.cached, self.size, self.refresh = (
            temperature,
            cached_bases and not literal,
            bases,
            refresh,
        )
        self.real, self.literal, self.seed = real_bases and not literal, literal, seed
        self._pool: tuple[tuple, Tensor, Tensor] | None = None

    def draw(self, frozen: FrozenFlow, n: int, batch: int, generator: torch.Generator) -> Values:
        """What `take` needs for `n` base images in a step on `batch` images, each `[n, …]`."""
        given = {}
        if self.real:
            given["real_rows"] = torch.randint(batch, (n,), generator=generator, device=generator.device)
        if self.cached:
            given["rows"] = torch.randint(self.size, (n,), generator=generator, device=generator.device)
        else:
            given["latents"] = frozen.sample(n, self.temperature, generator)
        return given

    def take(self, frozen: FrozenFlow, images: Tensor, given: Values, step: int) -> tuple[Tensor, Tensor]:
        """Latents `[n, total]` and their images `[n, c, h, w]`; `images` are the step's batch."""
        if self.cached:
            latents, pictures = (part[given["rows"]] for part in self._pool_of(frozen, step))
        else:
            latents = given["latents"].requires_grad_(self.literal)
            with torch.set_grad_enabled(self.literal):
                pictures = frozen.images(latents)
        if not self.real:
            return latents, pictures
        rows, half = given["real_rows"], torch.arange(len(latents), device=latents.device) % 2 == 0
        exact = frozen.latents(images)[rows]
        return (
            torch.where(half[:, None], exact, latents),
            torch.where(half[:, None, None, None], images[rows], pictures),
        )

    def _pool_of(self, frozen: FrozenFlow, step: int) -> tuple[Tensor, Tensor]:
        edition = step // self.refresh if self.refresh else 0
        key = (edition, frozen.device)
        if self._pool is None or self._pool[0] != key:
            generator = torch.Generator(frozen.device).manual_seed(self.seed * 1_000_003 + edition)
            latents = frozen.sample(self.size, self.temperature, generator)
            self._pool = (key, latents, in_chunks(frozen.images, latents))
        return self._pool[1:]


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`function(rows)`, a few rows at a time and without a graph."""
    return torch.cat([function(chunk) for chunk in rows.split(CHUNK)])


def active_dims(flow: FlowModel, level: str) -> int:
    """a: how many numbers directions act on, in the top level or in all."""
    return flow.top_dims if level == "top" else sum(math.prod(shape) for shape in flow.level_shapes)


def flat(levels: list[Tensor]) -> Tensor:
    """The levels of `n` latents side by side, `[n, total]`."""
    return torch.cat([level.flatten(1) for level in levels], dim=1)


def check_count(name: str, value: int, least: int = 1) -> int:
    """`value` if it is a whole number of at least `least`, else ValueError that names it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def finite(rows: Tensor) -> Tensor:
    """Which of the images or codes `[n, …]` are finite everywhere, bool `[n]`."""
    return rows.isfinite().flatten(1).all(1)
