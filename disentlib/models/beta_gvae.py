"""β-GVAE: a β-VAE whose codes must also pass for prior samples (Zhang et al. 2023, eqs. 6 and 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.losses.adversarial import ADVERSARIAL_TERMS, adversarial_term, discriminator_loss
from disentlib.losses.elbo import beta_elbo_loss, standard_normal
from disentlib.models.autoencoder import ELBO_NAMES, AutoencoderModel, check_weight, named_values
from disentlib.models.base import LossFunction, Values, adam
from disentlib.networks import LatentDiscriminator, seeded

__all__ = ["BetaGVAE"]


class BetaGVAE(AutoencoderModel):
    """Minimises `rec + β·KL − γ·a(D(z))`, with a discriminator `D` on latents: prior samples real, codes fake.

    `adversarial_term` is `a`: "probability" (as printed), "log" or "logit" (reading G3). `adversarial_sign` = −1 is
    eq. 7 minimised as it is printed, which drives codes *away* from the prior (reading G1).
    One update of the discriminator follows each update of the autoencoder, on detached codes (reading G7).

    >>> BetaGVAE((1, 32, 32), beta=4.0, gamma=10.0, width=64).code_dims
    10
    """

    loss_names = ELBO_NAMES | {
        "adversarial": "the adversarial term a(D(z)) that the encoder maximises, before the weight γ",
        "discriminator": "−ln D(prior) − ln(1 − D(codes)) in nats; 2 ln 2 = 1.386 when it cannot tell them apart",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        beta: float = 4.0,
        gamma: float = 10.0,
        adversarial_term: str = "probability",
        adversarial_sign: int = 1,
        likelihood: str = "bernoulli",
        lr: float = 1e-4,
        lr_discriminator: float = 1e-4,
        width: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, code_dims, likelihood, lr, seed)
        if adversarial_term not in ADVERSARIAL_TERMS:
            raise ValueError(f"unknown adversarial_term {adversarial_term!r}; known: {', '.join(ADVERSARIAL_TERMS)}")
        if adversarial_sign not in (1, -1):
            raise ValueError(f"adversarial_sign is 1 (reading G1) or -1 (as printed), got {adversarial_sign!r}")
        self.beta, self.gamma = check_weight("beta", beta), check_weight("gamma", gamma)
        self.form, self.sign = adversarial_term, adversarial_sign
        self.discriminator = seeded(LatentDiscriminator, code_dims, width, seed=seed + 2)
        self._discriminator_optimiser = adam(self.discriminator.parameters(), lr_discriminator, betas=(0.5, 0.9))

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return super().optimisers | {"discriminator": self._discriminator_optimiser}

    @property
    def networks(self) -> list[torch.nn.Module]:
        return [*super().networks, self.discriminator]

    def draw(self, n: int, generator: torch.Generator) -> Values:
        return super().draw(n, generator) | {"prior": standard_normal(n, self.code_dims, generator)}

    def updates(self) -> dict[str, LossFunction]:
        return {"autoencoder": self.autoencoder_loss, "discriminator": self.discriminator_loss}

    def autoencoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 7 as a loss, the terms of the bound, and the adversarial term."""
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        adversarial = adversarial_term(self.discriminator(terms.codes), self.form)
        bound = beta_elbo_loss(terms.reconstruction, terms.kl, self.beta)
        loss = bound - self.sign * self.gamma * adversarial
        return loss, named_values(loss, terms) | {"adversarial": adversarial}

    def discriminator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 6 as a loss, on the prior samples and the codes of the update before, each `[n, d]`."""
        logits = self.discriminator(torch.cat([given["prior"], given["codes"]]))
        loss = discriminator_loss(*logits.chunk(2))
        return loss, {"discriminator": loss}
