"""What InfoGAN-CR and IDGAN-SC share: a network on pairs of generated images, trained third, that G must please."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from disentlib.models.autoencoder import check_weight
from disentlib.models.base import LossFunction, Values, adam
from disentlib.models.information_gan import BETAS, InformationGAN, evaluating
from disentlib.models.pairs import PairPlan, PairRegulariser, rendered_pairs

__all__ = ["PairGAN", "code_bound"]


class PairGAN(InformationGAN):
    """The abstract shell: an InfoGAN whose G also minimises `pair_weight()` times the loss of a pair network.

    The step is D and Q, then G through a frozen pair network, then the pair network on the pairs that G was just judged
    by, detached. So each loss moves one network's weights, no loss of the pair network leaks into G, and the pairs are
    generated once. A concrete model calls `_regularise` last in its constructor.
    """

    def _regularise(self, alpha: float, plan: PairPlan, encoder: PairRegulariser, lr: float) -> None:
        self.alpha, self.plan, self.encoder = check_weight("alpha", alpha), plan, encoder
        self._optimisers["encoder"] = adam(encoder.parameters(), lr, BETAS)

    def pair_weight(self) -> Tensor | float:
        """What the pair loss is multiplied with in G's loss."""
        return self.alpha

    @property
    def networks(self) -> list[nn.Module]:
        return [*super().networks, self.encoder.network]

    def draw(self, n: int, generator: torch.Generator) -> Values:
        self.plan.check_posterior(self.stage1 is not None)
        given = super().draw(n, generator)
        return given | self.plan.draw(n, self.code_dims, self.noise_dims, self.prior, generator)

    def updates(self) -> dict[str, LossFunction]:
        return {
            "discriminator": self.discriminator_loss,
            "generator": self.regularised_loss,
            "encoder": self.encoder_loss,
        }

    def regularised_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """InfoGAN's loss of G plus the weighted loss of its pairs under a frozen pair network."""
        loss, values = self.generator_loss(images, given)
        pairs = rendered_pairs(self.plan, given, self.render)
        judged = self.encoder.loss(self.encoder(pairs["first"], pairs["second"]), pairs["labels"])
        return loss + self.pair_weight() * judged, values | pairs

    def encoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The pair network's loss on the pairs of the generator's update, and its diagnostics."""
        return self.encoder.judge(given["labels"], given["first"], given["second"])

    @torch.no_grad()
    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """InfoGAN's signs of collapse, and the pair network's loss and diagnostics on new pairs."""
        signs, given = super().measure(images, generator), self.draw(len(images), generator)
        pairs = rendered_pairs(self.plan, given | self.code_values(images, given), self.generate)
        with evaluating(self.encoder):
            values = self.encoder.judge(**pairs)[1]
        return signs | {name: value.item() for name, value in values.items()}


def code_bound(prior: str) -> float:
    """Codes lie within ± this: 1 for the uniform prior, no bound for the Gaussian."""
    return 1.0 if prior == "uniform" else math.inf
