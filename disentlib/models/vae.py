"""VAE: the evidence lower bound as it stands (Kingma & Welling 2014; β-GVAE paper, eqs. 1–3)."""

from __future__ import annotations

from torch import Tensor

from disentlib.losses.elbo import beta_elbo_loss
from disentlib.models.autoencoder import AutoencoderModel, named_values
from disentlib.models.base import LossFunction, Values

__all__ = ["VAE"]


class VAE(AutoencoderModel):
    """Minimises `rec + KL`.

    `likelihood`: "bernoulli" or "squared_error" (reading G4); `lr`: Adam's rate; `seed`: initial weights.

    >>> import torch
    >>> VAE((1, 32, 32), code_dims=4).encode(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        likelihood: str = "bernoulli",
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, code_dims, likelihood, lr, seed)

    def updates(self) -> dict[str, LossFunction]:
        return {"autoencoder": self.autoencoder_loss}

    def autoencoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The negative bound, eq. 2, and its terms."""
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        loss = beta_elbo_loss(terms.reconstruction, terms.kl, beta=1.0)
        return loss, named_values(loss, terms)
