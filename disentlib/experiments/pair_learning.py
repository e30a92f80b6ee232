"""What a pair network can learn when the generator is given: the contrastive loss without a GAN (readings S1–S6).

The generator is the renderer itself, whose codes are the true factors (`Oracle`), or a trained autoencoder's decoder
(`Decoded`). Only the pair network is trained, and several at once, so that all of them see the very same pairs. This is
a measuring instrument and no model of the book, which is why it does not go through `training.train`: one loop over
pairs for many networks, none of which is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from disentlib.data import Dataset
from disentlib.losses.collapse import distance_ratio
from disentlib.losses.information import prior_sample
from disentlib.models import Model
from disentlib.models.base import Values, adam, step_optimiser
from disentlib.models.information_gan import BETAS, evaluating
from disentlib.models.pairs import PairPlan, PairRegulariser

__all__ = ["Decoded", "Oracle", "Point", "Setting", "Source", "collapsed", "learn", "pair_difference", "pairs_of"]

JUDGED = 512  # fresh pairs that every point of a curve is measured on
COLLAPSED = 0.99  # mean cosine between classes from which a network counts as collapsed


class Source(Protocol):
    """Where pairs come from: codes, and images of them."""

    code_dims: int
    image_shape: tuple[int, int, int]
    prior: str

    def codes(self, n: int, generator: torch.Generator) -> Values:
        """`codes` `[n, d]`; with a posterior also `posterior_mean` and `posterior_logvar`."""

    def render(self, codes: Tensor) -> Tensor:
        """Codes `[n, d]` → images float32 `[n, c, h, w]` in [0, 1]."""


@dataclass(frozen=True)
class Oracle:
    """The renderer as generator: code `i` in [−1, 1] is factor `i`, each value an equal share of the range.

    `mixed`: the last two codes are turned by 45° before they become factors, so that each moves both: what an entangled
    generator would do. To stay in the range they move 1/√2 as far; `shrunk`: as far as that, but each its own factor.

    >>> from disentlib import data
    >>> oracle = Oracle(data.load("dsprites", source="rendered", image_size=32))
    >>> oracle.render(torch.zeros(2, 5)).shape
    torch.Size([2, 1, 32, 32])
    """

    dataset: Dataset
    mixed: bool = False
    shrunk: bool = False
    prior: str = "uniform"

    @property
    def code_dims(self) -> int:
        return len(self.dataset.factor_sizes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.dataset.image_shape

    def codes(self, n: int, generator: torch.Generator) -> Values:
        return {"codes": prior_sample(self.prior, n, self.code_dims, generator)}

    def render(self, codes: Tensor) -> Tensor:
        sizes = torch.tensor(self.dataset.factor_sizes)
        steps = ((self._places(codes) + 1) / 2 * sizes).floor().long()
        factors = steps.clamp(min=torch.zeros_like(sizes), max=sizes - 1)
        return self.dataset.images(self.dataset.index(factors))

    def _places(self, codes: Tensor) -> Tensor:
        """Where each factor stands in its range, which is [−1, 1]."""
        u, v = codes[:, -2:].split(1, dim=1)
        if self.mixed:
            return torch.cat([codes[:, :-2], (u + v) / 2, (u - v) / 2], dim=1)
        return torch.cat([codes[:, :-2], u / math.sqrt(2), v / math.sqrt(2)], dim=1) if self.shrunk else codes


@dataclass(frozen=True)
class Decoded:
    """A trained autoencoder's decoder as generator, its codes posterior samples of real images (reading S6)."""

    model: Model
    dataset: Dataset
    prior: str = "gaussian"

    @property
    def code_dims(self) -> int:
        return self.model.code_dims

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.dataset.image_shape

    @torch.no_grad()
    def codes(self, n: int, generator: torch.Generator) -> Values:
        images = self.dataset.images(torch.randint(len(self.dataset), (n,), generator=generator))
        mean, logvar = self.model.posterior(images)
        noise = torch.randn(mean.shape, generator=generator)
        return {"codes": mean + (0.5 * logvar).exp() * noise, "posterior_mean": mean, "posterior_logvar": logvar}

    @torch.no_grad()
    def render(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes)


@dataclass(frozen=True)
class Setting:
    """One pair network and its loss. For the first `warmup` steps τ1 is τ2, which is no trap (`losses.collapse`)."""

    tau1: float = 0.07
    tau2: float = 0.1
    head: str = "supcon"
    pair_network: str = "batch_norm"
    normalise: bool = True
    reduction: str = "mean"
    sign: int = 1
    warmup: int = 0
    lr: float = 2e-4


@dataclass(frozen=True)
class Point:
    """What a network made of the same fresh pairs after `step` updates."""

    name: str
    seed: int
    step: int
    values: dict[str, float] = field(default_factory=dict)


def learn(
    source: Source, plan: PairPlan, settings: Mapping[str, Setting], *, steps: int, every: int, seed: int = 0
) -> list[Point]:
    """Train a pair network for each setting on pairs of `source`; a point for each of them every `every` steps.

    A point's values: `accuracy` of the pair's label (5 nearest neighbours, or the logits' maximum; chance is
    1/code_dims), `within` and `between`, the mean cosines, `ratio`, the distance ratio that `losses.collapse` is about,
    `loss`, and `norm`, the mean length of what the network gives before it is normalised.
    """
    generator = torch.Generator().manual_seed(seed)
    judged = pairs_of(source, replace(plan, pairs=JUDGED), torch.Generator().manual_seed(seed + 1_000_003))
    networks = {name: _network(source, setting, seed) for name, setting in settings.items()}
    optimisers = {name: adam(n.parameters(), settings[name].lr, BETAS) for name, n in networks.items()}
    points = []
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            points += [Point(name, seed, step, _judge(n, judged, source.code_dims)) for name, n in networks.items()]
        if step < steps:
            labels, first, second = pairs_of(source, plan, generator)
            for name, network in networks.items():
                setting = settings[name]
                network.tau1 = setting.tau2 if step < setting.warmup else setting.tau1
                loss = setting.sign * network.loss(network(first, second), labels)
                step_optimiser(optimisers[name], loss)
    return points


def collapsed(point: Point) -> bool:
    """Whether the network gives pairs of different classes practically one and the same representation."""
    return point.values["between"] >= COLLAPSED


def pair_difference(source: Source, plan: PairPlan, seed: int = 0) -> list[float]:
    """Mean absolute difference of the two images of a pair, per pixel, for pairs of each label: `[code_dims]`."""
    labels, first, second = pairs_of(source, replace(plan, pairs=JUDGED), torch.Generator().manual_seed(seed))
    change = (first - second).abs().flatten(1).mean(1)
    return [change[labels == label].mean().item() for label in range(source.code_dims)]


def _network(source: Source, setting: Setting, seed: int) -> PairRegulariser:
    return PairRegulariser(
        source.image_shape, source.code_dims, setting.head, setting.pair_network, seed,
        setting.tau1, setting.tau2, setting.normalise, setting.reduction,
    )  # fmt: skip


@torch.no_grad()
def pairs_of(source: Source, plan: PairPlan, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Labels int64 `[m]` and both images `[m, c, h, w]` of `plan.pairs` pairs, each of codes of its own."""
    given = source.codes(plan.pairs, generator)
    given |= plan.draw(plan.pairs, source.code_dims, 0, source.prior, generator)
    labels, *codes = plan.codes(given)
    first, second = source.render(torch.cat(codes)).chunk(2)
    return labels, first, second


@torch.no_grad()
def _judge(network: PairRegulariser, pairs: Sequence[Tensor], classes: int) -> dict[str, float]:
    labels, first, second = pairs
    with evaluating(network):
        raw = network.network(first, second)
        outputs = network(first, second)
    found = {name: value.item() for name, value in network.diagnostics(outputs, labels).items()}
    within, between = found["within_cosine"], found["between_cosine"]
    return {
        "accuracy": found["pair_accuracy"],
        "within": within,
        "between": between,
        "ratio": distance_ratio(min(within, 1 - 1e-6), between, classes),
        "loss": network.loss(outputs, labels).item(),
        "norm": raw.norm(dim=1).mean().item(),
    }
