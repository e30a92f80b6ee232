"""DisCo (Ren et al. 2022) on a frozen Glow: directions and an encoder from contrast alone."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.models.autoencoder import check_weight
from disentlib.models.base import LossFunction, Values, adam
from disentlib.models.contrast import CONTRAST_NAMES, Contrast, both
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import BASE_NAMES, BaseImages, FrozenFlow, check_count
from disentlib.networks import Navigator, seeded
from disentlib.networks.navigation import check_columns

__all__ = ["DisCo"]


class DisCo(DirectionModel):
    """Minimises the contrast of variations plus `entropy_weight` times their entropy (readings D8 and D13).

    Queries and positives of a step lie along one direction, negatives along others. What is scored is the encoder.
    `literal`: every base decoded anew and a graph for everything, as published code does; slower, the same gradient.

    >>> DisCo((1, 32, 32), directions=8, code_dims=10, encoder_width=8).code_dims
    10
    """

    loss_names = (
        {"loss": "contrast + entropy, what navigator and encoder minimise, nats"}
        | CONTRAST_NAMES
        | {"entropy": "entropy of softmax(v) of the queries in nats, times its weight"}
        | BASE_NAMES
    )

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 64,
        directions: int = 64,
        level: str = "top",
        columns: str = "orthonormal",
        queries: int = 32,
        positives: int = 32,
        negatives: int = 64,
        tau: float = 1.0,
        threshold: float = 0.95,
        pseudo_label: str = "similarity",
        flip_warmup: int = 0,
        entropy_weight: float = 1.0,
        temperature: float = 0.7,
        shift_scale: float = 6.0,
        cached_bases: bool = True,
        bases: int = 2048,
        refresh: int = 1000,
        real_bases: bool = False,
        literal: bool = False,
        encoder_width: int = 64,
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        images = BaseImages(temperature, cached_bases, bases, refresh, real_bases, literal, seed)
        super().__init__(image_shape, code_dims, directions, level, shift_scale, images, encoder_width, lr, seed)
        check_columns(columns)
        check_count("directions", directions, least=2)
        self.contrast = Contrast(queries, positives, negatives, tau, threshold, pseudo_label, flip_warmup, literal)
        self.columns, self.threshold = columns, threshold
        self.entropy_weight = check_weight("entropy_weight", entropy_weight)

    def prepare(self, frozen: FrozenFlow) -> dict[str, torch.optim.Optimizer]:
        self.navigator = seeded(Navigator, frozen.dims, self.count, self.columns, seed=self.seed + 2)
        return {"contrast": adam([*self.navigator.parameters(), *self.encoder.parameters()], self.lr)}

    def directions(self) -> Tensor:
        self.adopted()
        return self.navigator()

    def draw(self, n: int, generator: torch.Generator) -> Values:
        return self.draw_pairs(self.contrast.draw_directions(self.count, generator), n, generator)

    def updates(self) -> dict[str, LossFunction]:
        return {"contrast": self.contrast_loss}

    def contrast_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Contrast and entropy of one step's pairs."""
        latents, base = self.bases.take(self.frozen, images, given, self.steps_taken)
        pairs = self.contrast.pairs(self.frozen, latents, base, self.shifts(self.navigator(), given))
        values = self.contrast.terms(self.encoder, *pairs, self.steps_taken, self.entropy_weight)
        values |= both(*pairs).values()
        loss = values["contrast"] + values["entropy"]
        return loss, values | {"loss": loss}
