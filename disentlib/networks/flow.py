"""Glow's several scales (Kingma & Dhariwal 2018): levels of flow steps, each with a prior on what it splits off.

Log-determinants are in nats. Under autocast the latents keep the precision of the input.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentlib.losses.flow import colour, whiten
from disentlib.networks.flow_layers import FlowStep, ZeroConv

__all__ = ["PRIORS", "ConditionalPrior", "Flow", "Latent"]

PRIORS = ("learned", "standard")


class Latent(NamedTuple):
    """The latents of one level and their Gaussian given the levels above, each `[n, c, h, w]`."""

    raw: Tensor
    mean: Tensor
    log_sd: Tensor

    def eps(self) -> Tensor:
        """The whitened latents: standard normal if the flow fits."""
        return whiten(self.raw, self.mean, self.log_sd)


class ConditionalPrior(nn.Module):
    """Mean and log-deviation of a level's latents from the half that goes on; zero at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ZeroConv(channels, 2 * channels)

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_sd = self.conv(kept).to(kept.dtype).chunk(2, 1)
        return mean, log_sd


class _TopPrior(nn.Module):
    """One mean and log-deviation for each channel; `like` gives the shape only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean, self.log_sd = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean[:, None, None].expand_as(like), self.log_sd[:, None, None].expand_as(like)


class _StandardPrior(nn.Module):
    """N(0, I), as the Dis-GU paper's eq. 3 has it (reading D14)."""

    def forward(self, like: Tensor) -> tuple[Tensor, Tensor]:
        zero = like.new_zeros(()).expand_as(like)
        return zero, zero


class Flow(nn.Module):
    """Values `[n, c, h, w]` ↔ the latents of `levels` levels, the top one last (paper, figure 5).

    A level squeezes 2×2 pixels into channels, takes `steps` flow steps and, but for the top, splits half the channels
    off. `initialised` is a buffer. ValueError for sizes below 1 and for sides that 2^levels does not divide.

    >>> Flow((3, 32, 32), levels=3, steps=1, width=8).shapes
    [(6, 16, 16), (12, 8, 8), (48, 4, 4)]
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        levels: int,
        steps: int,
        width: int,
        coupling: str = "affine",
        prior: str = "learned",
    ) -> None:
        super().__init__()
        _check_sizes(levels=levels, steps_per_level=steps, width=width)
        self.shapes = _latent_shapes(image_shape, levels)
        if prior not in PRIORS:
            raise ValueError(f"unknown prior {prior!r}; known: {', '.join(PRIORS)}")
        channels = [c * (1 if level == levels - 1 else 2) for level, (c, _, _) in enumerate(self.shapes)]
        stacks = [[FlowStep(c, width, coupling) for _ in range(steps)] for c in channels]
        self.levels = nn.ModuleList(nn.ModuleList(stack) for stack in stacks)
        self.priors = nn.ModuleList(_prior(prior, i == levels - 1, c) for i, (c, _, _) in enumerate(self.shapes))
        self.register_buffer("initialised", torch.tensor(False))
        self.ready = False  # the flag again, on the host: to read the buffer in each step would make a GPU wait

    def forward(self, x: Tensor) -> tuple[list[Latent], Tensor]:
        """Values `[n, c, h, w]` → the levels' latents, and the log-determinants `[n]`."""
        latents, log_det = [], x.new_zeros(len(x))
        for level, (steps, prior) in enumerate(zip(self.levels, self.priors)):
            x = F.pixel_unshuffle(x, 2)
            for step in steps:
                x, change = step(x)
                log_det = log_det + change
            x, raw = self._split(x, level)
            latents.append(Latent(raw, *prior(x)))
        return latents, log_det

    def inverse(self, latents: list[Tensor], whitened: bool) -> Tensor:
        """The levels' latents, raw or whitened → values `[n, c, h, w]`."""
        x = self.inverse_top(latents[-1], whitened)
        for level in reversed(range(len(self.levels) - 1)):
            raw = colour(latents[level], *self.priors[level](x)) if whitened else latents[level]
            x = self._unwind(torch.cat([x, raw], 1), level)
        return x

    def inverse_top(self, latent: Tensor, whitened: bool) -> Tensor:
        """The reverse pass of the top level alone, un-squeezed: the half that the level below is joined to."""
        raw = colour(latent, *self.priors[-1](latent)) if whitened else latent
        return self._unwind(raw, len(self.levels) - 1)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set every activation normalisation to what reaches it of `x`, from the first to the last."""
        for level, steps in enumerate(self.levels):
            x = F.pixel_unshuffle(x, 2)
            for step in steps:
                x = step.initialise(x)
            x, _ = self._split(x, level)
        self.initialised.fill_(True)
        self.ready = True

    def _split(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """What goes on and what is split off; at the top both are the whole."""
        return (x, x) if level == len(self.levels) - 1 else x.chunk(2, 1)

    def _unwind(self, x: Tensor, level: int) -> Tensor:
        for step in reversed(self.levels[level]):
            x = step.inverse(x)
        return F.pixel_shuffle(x, 2)

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.ready = bool(self.initialised)


def _prior(kind: str, top: bool, channels: int) -> nn.Module:
    if kind == "standard":
        return _StandardPrior()
    return _TopPrior(channels) if top else ConditionalPrior(channels)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")


def _latent_shapes(image_shape: tuple[int, int, int], levels: int) -> list[tuple[int, int, int]]:
    c, h, w = image_shape
    if c < 1 or h < 1 or w < 1 or h % 2**levels or w % 2**levels:
        raise ValueError(f"{levels} levels need sides that {2**levels} divides, got images {c}×{h}×{w}")
    split = [(c * 2**i, h // 2**i, w // 2**i) for i in range(1, levels)]
    return [*split, (c * 2 ** (levels + 1), h // 2**levels, w // 2**levels)]
