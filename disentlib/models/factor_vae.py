"""FactorVAE: a VAE that pays for the total correlation of its codes, estimated by a discriminator (Kim & Mnih 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disentlib.losses.density_ratio import (
    density_ratio_loss,
    permute_dimensions,
    random_orders,
    total_correlation_estimate,
)
from disentlib.models.autoencoder import ELBO_NAMES, AutoencoderModel, check_weight, named_values
from disentlib.models.base import LossFunction, Values, adam
from disentlib.networks import LatentDiscriminator, seeded

__all__ = ["FactorVAE"]


class FactorVAE(AutoencoderModel):
    """Minimises `rec + KL + γ·TC`, with `TC` the mean logit of a discriminator of codes against shuffled codes (eq. 3).

    The KL term keeps its weight of 1. `gamma`: 40 in IDGAN-SC's Table 3 (the default), 9 in Dis-GU's Table 1 (reading
    D17), 6.4 on dSprites in the most used code; all for losses that are summed over pixels and dimensions.

    One update of the discriminator follows each update of the autoencoder, on its codes, detached, and on the same
    batch's codes shuffled in each dimension. The encoder gets no gradient of it: published code that sums both losses'
    gradients before its step trains the encoder to help its own critic. The discriminator has one logit where published
    code has two under a softmax; it is the same function and the same loss (`losses.density_ratio`).

    >>> FactorVAE((1, 32, 32), gamma=6.4, width=64).code_dims
    10
    """

    loss_names = ELBO_NAMES | {
        "total_correlation": "the mean logit on codes, an estimate of TC in nats before the weight γ: above 0 where "
        "codes can be told from shuffled codes, below 0 only where the discriminator is wrong",
        "discriminator": "−½ ln D(codes) − ½ ln(1 − D(shuffled)) in nats; ln 2 = 0.693 when it cannot tell them apart",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        gamma: float = 40.0,
        likelihood: str = "bernoulli",
        lr: float = 1e-4,
        lr_discriminator: float = 1e-4,
        width: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, code_dims, likelihood, lr, seed)
        self.gamma = check_weight("gamma", gamma)
        self.discriminator = seeded(LatentDiscriminator, code_dims, width, seed=seed + 2)
        self._discriminator_optimiser = adam(self.discriminator.parameters(), lr_discriminator, betas=(0.5, 0.9))

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return super().optimisers | {"discriminator": self._discriminator_optimiser}

    @property
    def networks(self) -> list[nn.Module]:
        return [*super().networks, self.discriminator]

    def draw(self, n: int, generator: torch.Generator) -> Values:
        return super().draw(n, generator) | {"orders": random_orders(n, self.code_dims, generator)}

    def updates(self) -> dict[str, LossFunction]:
        return {"autoencoder": self.autoencoder_loss, "discriminator": self.discriminator_loss}

    def autoencoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 3 as a loss, the terms of the bound, and the total correlation."""
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        correlation = total_correlation_estimate(self.discriminator(terms.codes))
        loss = terms.reconstruction + terms.kl + self.gamma * correlation
        return loss, named_values(loss, terms) | {"total_correlation": correlation}

    def discriminator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Algorithm 2's second loss, on the codes of the update before, `[n, d]`, and their shuffle."""
        codes = given["codes"]
        logits = self.discriminator(torch.cat([codes, permute_dimensions(codes, given["orders"])]))
        loss = density_ratio_loss(*logits.chunk(2))
        return loss, {"discriminator": loss}
