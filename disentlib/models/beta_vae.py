"""β-VAE: the bound with its KL term weighted (Higgins et al. 2017; β-GVAE paper, eq. 4)."""

from __future__ import annotations

from torch import Tensor

from disentlib.losses.elbo import beta_elbo_loss
from disentlib.models.autoencoder import AutoencoderModel, check_weight, named_values
from disentlib.models.base import LossFunction, Values

__all__ = ["BetaVAE"]


class BetaVAE(AutoencoderModel):
    """Minimises `rec + β·KL`; with β = 1 every step equals the VAE's.

    `beta` ≥ 0. What β means depends on the likelihood's unit and on summing over pixels (reading G4).

    >>> BetaVAE((1, 32, 32), beta=4.0).code_dims
    10
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        beta: float = 4.0,
        likelihood: str = "bernoulli",
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, code_dims, likelihood, lr, seed)
        self.beta = check_weight("beta", beta)

    def updates(self) -> dict[str, LossFunction]:
        return {"autoencoder": self.autoencoder_loss}

    def autoencoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The negative β-weighted bound, eq. 4, and its terms."""
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        loss = beta_elbo_loss(terms.reconstruction, terms.kl, self.beta)
        return loss, named_values(loss, terms)
