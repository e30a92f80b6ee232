"""What an exact inverse lets one do with an image, and with a flow's levels: pictures and numbers of the Glow chapter.

Latents are whitened (`eps`) unless they are said to be raw. Every function draws from a seed of its own, so that two
flows of the same shape are shown on the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from disentlib.experiments.markup import Html, table
from disentlib.experiments.measured import Reader, read
from disentlib.experiments.runs import Run
from disentlib.losses.flow import bits_per_dimension, colour
from disentlib.metrics.traversals import RowSummary, row_summaries
from disentlib.models import Glow
from disentlib.traversal_figures import measured_grid, number_lines

__all__ = [
    "Redrawn",
    "errors",
    "level_lines",
    "level_names",
    "likelihood_table",
    "likelihoods",
    "random_images",
    "redraw",
    "redrawn_figure",
    "redrawn_table",
    "round_trips",
    "sampled",
    "strange_images",
    "walks",
]

GREY_LEVELS = 255


def random_images(run: Run, n: int, seed: int) -> Tensor:
    """`n` images of a run's data set on the device of its model, `[n, c, h, w]`."""
    chosen = torch.randint(len(run.dataset), (n,), generator=torch.Generator().manual_seed(seed))
    return run.dataset.images(chosen, device=_device(run.model))


def level_names(glow: Glow) -> list[str]:
    """`level 1`, the finest, …, `top level`: in the order of a flow's latents."""
    return [*(f"level {number}" for number in range(1, len(glow.level_shapes))), "top level"]


def level_lines(glow: Glow) -> list[list[str]]:
    """A table's lines: each level's name, its latents' shape, how many numbers that is, and their share of all."""
    counts = [int(np.prod(shape)) for shape in glow.level_shapes]
    lines = zip(level_names(glow), glow.level_shapes, counts)
    return [[name, " × ".join(map(str, shape)), str(n), f"{n / sum(counts):.0%}"] for name, shape, n in lines]


@torch.no_grad()
def sampled(glow: Glow, temperatures: Sequence[float], n: int, seed: int) -> Tensor:
    """Samples `[temperatures, n, c, h, w]` in [0, 1]: a column is one draw of noise, made smaller or larger."""
    noise = glow.sample_eps(n, 1.0, _generator(glow, seed))
    return torch.stack([glow.from_eps([temperature * level for level in noise]) for temperature in temperatures])


@torch.no_grad()
def round_trips(glow: Glow, images: Tensor) -> dict[str, Tensor]:
    """What comes back of images `[n, c, h, w]` by either kind of latent, and if one is taken for the other."""
    raw, eps = glow.raw(images), glow.eps(images)
    ways = {"raw → raw": glow.from_raw(raw), "eps → eps": glow.from_eps(eps)}
    return ways | {"raw read as eps": glow.from_eps(raw)}


def errors(images: Tensor, ways: Mapping[str, Tensor]) -> list[list[str]]:
    """A table's lines: of each way back, the mean and the largest error of a value, in grey levels of 255.

    A value that does not come back finite is wrong by all 255.
    """
    apart = {name: (back - images).abs().nan_to_num(1.0) * GREY_LEVELS for name, back in ways.items()}
    return [[name, f"{e.mean().item():.2g}", f"{e.max().item():.2g}"] for name, e in apart.items()]


class Redrawn(NamedTuple):
    """Images in which one part of the latent was drawn anew, and what an instrument says of them."""

    images: Tensor  # [parts, 1 + draws, c, h, w] of the first base image, which stands first, on the CPU
    summaries: list[RowSummary]  # of each part, over all base images
    pixel_change: list[float]  # of each part: mean |new − old| of a value in [0, 1]
    names: list[str]


@torch.no_grad()
def redraw(glow: Glow, images: Tensor, reader: Reader, draws: int, temperature: float, seed: int) -> Redrawn:
    """Draw one level of the latents of images `[n, c, h, w]` anew, `draws` times, and keep the others.

    Parts: each level alone, all but the top, all; and the top level with the others' *raw* latents kept.
    """
    generator = _generator(glow, seed)
    count = len(glow.level_shapes)
    names = level_names(glow)
    parts = {name: {level} for level, name in enumerate(names)}
    parts |= {"all but the top": set(range(count - 1)), "all levels": set(range(count))}
    rows = [_variants(glow, images, draws, temperature, generator, part) for part in parts.values()]
    rows.append(_variants(glow, images, draws, temperature, generator, {count - 1}, raw=True))
    grid = torch.stack(rows, dim=1)  # [n, parts, 1 + draws, c, h, w]
    readings = read(reader, grid.flatten(0, 2)).reshape(*grid.shape[:3], -1)
    change = (grid[:, :, 1:] - grid[:, :, :1]).abs().nanmean((0, 2, 3, 4, 5))
    names = [*parts, f"{names[-1]},\nothers raw"]
    return Redrawn(grid[0].cpu(), row_summaries(readings, reader.scales), change.tolist(), names)


def redrawn_figure(found: Redrawn, rows: Sequence[str]) -> Figure:
    """The redrawn images, and level with each row the factors that changed."""
    return measured_grid(found.images, found.summaries, rows, most=4)


def redrawn_table(found: Redrawn, caption: str) -> Html:
    """All changes, one line a part, with that of the pixels beside them."""
    head, lines = number_lines(found.summaries, found.names)
    keep = [place for place, name in enumerate(head) if name not in ("row", "purity", "monotonicity")]
    lines = [[line[0], f"{c:.3f}", *(line[k] for k in keep)] for line, c in zip(lines, found.pixel_change, strict=True)]
    return table(["drawn anew", "mean change of a value", *(head[k] for k in keep)], lines, caption)


def _variants(
    glow: Glow,
    images: Tensor,
    draws: int,
    temperature: float,
    generator: torch.Generator,
    part: set[int],
    raw: bool = False,
) -> Tensor:
    """`[n, 1 + draws, c, h, w]`: the images, and `draws` times with the levels in `part` drawn anew."""
    found = [images]
    kept = glow.raw(images) if raw else glow.eps(images)
    for _ in range(draws):
        fresh = glow.sample_eps(len(images), temperature, generator)
        if raw:
            fresh = [*fresh[:-1], colour(fresh[-1], *glow.flow.priors[-1](fresh[-1]))]
        levels = [new if level in part else old for level, (new, old) in enumerate(zip(fresh, kept))]
        found.append(glow.from_raw(levels) if raw else glow.from_eps(levels))
    return torch.stack(found, dim=1)


@torch.no_grad()
def walks(glow: Glow, first: Tensor, last: Tensor, columns: int) -> dict[str, Tensor]:
    """From image `first` `[c, h, w]` to `last` in `columns` steps: four ways, each `[columns, c, h, w]`.

    Blended pixels; latents on a straight line; latents on an arc, whose length does not shrink on the way; the top
    level alone on that arc, so that the walk ends at an image with the last one's top level and the first one's rest.
    """
    share = torch.linspace(0, 1, columns, device=first.device)
    ends = glow.eps(torch.stack([first, last]))
    arcs = [_arc(level, share) for level in ends]
    stay = [level[:1].expand(columns, *level.shape[1:]) for level in ends]
    return {
        "pixels": _line(torch.stack([first, last]), share),
        "latents,\nstraight": glow.from_eps([_line(level, share) for level in ends]),
        "latents,\non an arc": glow.from_eps(arcs),
        "top level\nalone": glow.from_eps([*stay[:-1], arcs[-1]]),
    }


def _line(ends: Tensor, share: Tensor) -> Tensor:
    """Points `[columns, …]` between two ends `[2, …]`."""
    share = share.view(-1, *[1] * (ends.ndim - 1))
    return (1 - share) * ends[0] + share * ends[1]


def _arc(ends: Tensor, share: Tensor) -> Tensor:
    """Points on the great circle between two ends `[2, …]`, lengths going evenly from one to the other."""
    flat = ends.flatten(1)
    lengths = flat.norm(dim=1)
    unit = flat / lengths[:, None]
    angle = torch.acos((unit[0] @ unit[1]).clamp(-1 + 1e-6, 1 - 1e-6))
    weights = torch.stack([torch.sin((1 - share) * angle), torch.sin(share * angle)], dim=1) / torch.sin(angle)
    return (_line(lengths, share)[:, None] * (weights @ unit)).view(len(share), *ends.shape[1:])


def strange_images(images: Tensor, seed: int) -> dict[str, Tensor]:
    """Images `[n, c, h, w]` of the data, and others as large that no data set like it has."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(images.shape[2] * images.shape[3], generator=generator).to(images.device)
    noise = torch.rand(images.shape, generator=generator).to(images)
    return {
        "data": images,
        "upside down": images.flip(2),
        "negative": 1 - images,
        "one colour": images.mean((2, 3), keepdim=True).expand_as(images),
        "pixels shuffled": images.flatten(2)[..., order].view_as(images),
        "noise": noise,
    }


@torch.no_grad()
def likelihoods(glow: Glow, groups: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Bits per dimension of each image of each group, `[n]` on the CPU."""
    generator = _generator(glow, seed)
    return {name: bits_per_dimension(glow.log_prob(x, generator), glow.dims).cpu() for name, x in groups.items()}


def likelihood_table(bits: Mapping[str, Tensor], caption: str) -> Html:
    """Mean bits per dimension of each group, and how many of its images are likelier than the mean of the first."""
    usual = next(iter(bits.values())).mean()
    lines = [[name, f"{b.mean():.2f}", f"{(b < usual).float().mean():.0%}"] for name, b in bits.items()]
    first = next(iter(bits))
    return table(["", "bits per dimension", f"likelier than the mean image of “{first}”"], lines, caption)


def _generator(glow: Glow, seed: int) -> torch.Generator:
    return torch.Generator(_device(glow)).manual_seed(seed)


def _device(glow: Glow) -> torch.device:
    return next(glow.parameters()).device
