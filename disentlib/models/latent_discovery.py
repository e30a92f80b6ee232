"""LD: Latent Discovery (Voynov & Babenko 2020) on a frozen Glow: eq. 5 alone."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.models.autoencoder import check_weight
from disentlib.models.base import LossFunction, Values, adam
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import BASE_NAMES, BaseImages, FrozenFlow, check_count
from disentlib.models.learner import LEARNER_NAMES, draw_any, learner_terms
from disentlib.models.regressed import REGRESSION_NAMES, code_r2, code_regression
from disentlib.networks import Navigator, Reconstructor, seeded
from disentlib.networks.navigation import check_columns

__all__ = ["LatentDiscovery"]


class LatentDiscovery(DirectionModel):
    """A navigator `A` and a reconstructor that tells direction and size of a shift from two images (eq. 5).

    One pair for each image of the batch. The codes that are scored are an encoder's (`regressed.py`), trained in the
    same steps on the base images, against the directions as they then are.

    >>> LatentDiscovery((1, 32, 32), directions=8, encoder_width=8).code_dims
    8
    """

    loss_names = LEARNER_NAMES | BASE_NAMES | REGRESSION_NAMES

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        directions: int = 64,
        level: str = "top",
        columns: str = "orthonormal",
        eta: float = 0.25,
        temperature: float = 0.7,
        shift_scale: float = 6.0,
        cached_bases: bool = True,
        bases: int = 2048,
        refresh: int = 1000,
        real_bases: bool = False,
        encoder_width: int = 64,
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        images = BaseImages(temperature, cached_bases, bases, refresh, real_bases, seed=seed)
        super().__init__(image_shape, directions, directions, level, shift_scale, images, encoder_width, lr, seed)
        check_columns(columns)
        self.columns, self.eta = columns, check_weight("eta", eta)
        self.reconstructor = seeded(Reconstructor, image_shape, directions, seed=seed + 1)

    def prepare(self, frozen: FrozenFlow) -> dict[str, torch.optim.Optimizer]:
        self.navigator = seeded(Navigator, frozen.dims, self.count, self.columns, seed=self.seed + 2)
        learned = [*self.navigator.parameters(), *self.reconstructor.parameters()]
        return {"learner": adam(learned, self.lr), "encoder": adam(self.encoder.parameters(), self.lr)}

    def directions(self) -> Tensor:
        self.adopted()
        return self.navigator()

    def draw(self, n: int, generator: torch.Generator) -> Values:
        check_count("batch_size", n, least=2)  # R normalises over the batch
        return self.draw_pairs(draw_any(self.count, n, generator), n, generator)

    def updates(self) -> dict[str, LossFunction]:
        return {"learner": self.learner_loss, "encoder": self.encoder_loss}

    def learner_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 5, and for the update that follows the base images and their codes."""
        latents, base = self.bases.take(self.frozen, images, given, self.steps_taken)
        matrix = self.navigator()
        pairs = self.frozen.pairs(latents, base, self.shifts(matrix, given))
        values = learner_terms(self.reconstructor, pairs, given, self.eta) | pairs.values()
        return values["learner"], values | {"base": base, "codes": self.frozen.coordinates(latents, matrix)}

    def encoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The regression of the base images' codes."""
        loss, _ = code_regression(self.encoder, given["base"], given["codes"])
        return loss, {"regression": loss}

    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        return super().measure(images, generator) | {"code_r2": code_r2(self, images)}
