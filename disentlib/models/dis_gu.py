"""Dis-GU (Cai et al. 2024): directions of a frozen Glow from a learner and a contrast module together."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.models.autoencoder import check_weight
from disentlib.models.base import LossFunction, Values, adam
from disentlib.models.contrast import CONTRAST_NAMES, Contrast, both
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import BASE_NAMES, BaseImages, FrozenFlow, Pairs, check_count
from disentlib.models.learner import LEARNER_NAMES, draw_any, learner_terms
from disentlib.networks import Navigator, Reconstructor, seeded
from disentlib.networks.navigation import check_columns

__all__ = ["DisGU"]


class DisGU(DirectionModel):
    """Minimises eq. 5 + eq. 8 over navigator, reconstructor and encoder (reading D5); what is scored is the encoder.

    The learner has `queries` pairs of its own a step, along any directions; the contrast's queries and positives lie
    along one direction, its negatives along others. `staged`: steps of a first stage that trains navigator and
    reconstructor by eq. 5, after which the encoder learns by eq. 8 from directions that stay; 0 is the joint training.
    `flip_warmup` counts from the encoder's first step.
    The losses that a stage does not have read 0. `normalise`: off for products of raw variations, which may pass 1 and
    are never negative (reading D7). `literal`: as in DisCo.

    >>> DisGU((1, 32, 32), directions=8, code_dims=10, encoder_width=8).code_dims
    10
    """

    loss_names = (
        {"loss": "learner + contrast + entropy, what is minimised"}
        | LEARNER_NAMES
        | CONTRAST_NAMES
        | {"entropy": "entropy of softmax(v) of the queries in nats, times its weight; 0 where the weight is 0"}
        | BASE_NAMES
    )

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 64,
        directions: int = 64,
        level: str = "top",
        columns: str = "orthonormal",
        eta: float = 0.25,
        queries: int = 32,
        positives: int = 32,
        negatives: int = 64,
        tau: float = 1.0,
        threshold: float = 0.95,
        pseudo_label: str = "similarity",
        flip_warmup: int = 1000,
        normalise: bool = True,
        entropy_weight: float = 0.0,
        staged: int = 0,
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
        rules = (tau, threshold, pseudo_label, flip_warmup, literal, normalise)
        self.contrast = Contrast(queries, positives, negatives, *rules)
        check_count("queries", queries, least=2)  # the learner has as many pairs, and R normalises over them
        self.columns, self.threshold, self.staged = columns, threshold, check_count("staged", staged, least=0)
        self.eta, self.entropy_weight = check_weight("eta", eta), check_weight("entropy_weight", entropy_weight)
        self.reconstructor = seeded(Reconstructor, image_shape, directions, seed=seed + 1)

    def prepare(self, frozen: FrozenFlow) -> dict[str, torch.optim.Optimizer]:
        self.navigator = seeded(Navigator, frozen.dims, self.count, self.columns, seed=self.seed + 2)
        learner = [*self.navigator.parameters(), *self.reconstructor.parameters()]
        if self.staged:
            return {"learner": adam(learner, self.lr), "contrast": adam(self.encoder.parameters(), self.lr)}
        return {"joint": adam([*learner, *self.encoder.parameters()], self.lr)}

    def directions(self) -> Tensor:
        self.adopted()
        return self.navigator()

    def draw(self, n: int, generator: torch.Generator) -> Values:
        learners = draw_any(self.count, self.contrast.queries, generator)
        return self.draw_pairs(
            torch.cat([learners, self.contrast.draw_directions(self.count, generator)]), n, generator
        )

    def updates(self) -> dict[str, LossFunction]:
        if not self.staged:
            return {"joint": self.joint_loss}
        return {"learner": self.learner_loss} if self.steps_taken < self.staged else {"contrast": self.contrast_loss}

    def joint_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 5 plus eq. 8, on pairs of their own, along the same directions."""
        matrix = self.navigator()
        learner, seen = self._learner(images, given, matrix)
        contrast, others = self._contrast(images, given, matrix)
        return self._values(learner | contrast, both(seen, *others))

    def learner_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The first stage: eq. 5 alone."""
        return self._values(*self._learner(images, given, self.navigator()))

    def contrast_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The second stage: eq. 8 alone."""
        values, pairs = self._contrast(images, given, self.navigator())
        return self._values(values, both(*pairs))

    def _learner(self, images: Tensor, given: Values, matrix: Tensor) -> tuple[Values, Pairs]:
        given = {name: value[: self.contrast.queries] for name, value in given.items()}
        latents, base = self.bases.take(self.frozen, images, given, self.steps_taken)
        pairs = self.frozen.pairs(latents, base, self.shifts(matrix, given))
        return learner_terms(self.reconstructor, pairs, given, self.eta), pairs

    def _contrast(self, images: Tensor, given: Values, matrix: Tensor) -> tuple[Values, tuple[Pairs, Pairs]]:
        given = {name: value[self.contrast.queries :] for name, value in given.items()}
        latents, base = self.bases.take(self.frozen, images, given, self.steps_taken)
        pairs = self.contrast.pairs(self.frozen, latents, base, self.shifts(matrix, given))
        return self.contrast.terms(self.encoder, *pairs, self.steps_taken - self.staged, self.entropy_weight), pairs

    def _values(self, values: Values, pairs: Pairs) -> tuple[Tensor, Values]:
        """The loss, and a value for every name."""
        none = torch.zeros((), device=pairs.base.device)
        values = dict.fromkeys(self.loss_names, none) | values | pairs.values()
        loss = values["learner"] + values["contrast"] + values["entropy"]
        return loss, values | {"loss": loss}
