"""What VAE, β-VAE and β-GVAE share: the Gaussian autoencoder with the terms of its bound, and the shell around it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from disentlib.losses import elbo
from disentlib.models.base import Losses, Model, adam
from disentlib.networks import ConvDecoder, GaussianEncoder, seeded

__all__ = ["ELBO_NAMES", "AutoencoderModel", "ElboTerms", "GaussianAutoencoder", "check_weight", "named_losses"]

ELBO_NAMES = {
    "loss": "what the autoencoder's optimiser minimises, nats per image",
    "reconstruction": "reconstruction error: −ln p(x|z) in nats (bernoulli) or summed squared error, per image",
    "kl": "KL(q(z|x) ‖ N(0, I)) in nats per image, summed over dimensions",
}


class ElboTerms(NamedTuple):
    """What one pass through the autoencoder gives: a posterior sample `[n, d]`, the two terms of the bound, and the
    posterior's mean and log-variance `[n, d]`."""

    codes: Tensor
    reconstruction: Tensor
    kl: Tensor
    mean: Tensor
    logvar: Tensor


class GaussianAutoencoder(nn.Module):
    """Encoder `q(z|x) = N(μ(x), diag σ²(x))` and decoder `p(x|z)` with a chosen likelihood."""

    def __init__(self, image_shape: tuple[int, int, int], code_dims: int, likelihood: str, seed: int) -> None:
        super().__init__()
        if likelihood not in elbo.LIKELIHOODS:
            raise ValueError(f"unknown likelihood {likelihood!r}; known: {', '.join(elbo.LIKELIHOODS)}")
        self.likelihood = likelihood
        self.encoder = seeded(GaussianEncoder, image_shape, code_dims, seed=seed)
        self.decoder = seeded(ConvDecoder, image_shape, code_dims, seed=seed + 1)

    def elbo_terms(self, images: Tensor, generator: torch.Generator) -> ElboTerms:
        """Images `[n, c, h, w]` in [0, 1] → a posterior sample and both terms, in nats per image."""
        mean, logvar = self.encoder(images)
        codes = elbo.reparameterise(mean, logvar, generator)
        reconstruction = elbo.reconstruction(self.likelihood, self.decoder(codes), images)
        return ElboTerms(codes, reconstruction, elbo.gaussian_kl(mean, logvar), mean, logvar)


class AutoencoderModel(Model):
    """The abstract shell of the VAE family: one Gaussian autoencoder, its optimiser, `encode`, `decode`.

    A concrete model adds its weights and its `step`.
    """

    loss_names = ELBO_NAMES

    def __init__(
        self, image_shape: tuple[int, int, int], code_dims: int, likelihood: str, lr: float, seed: int
    ) -> None:
        super().__init__()
        self.image_shape, self.code_dims = image_shape, code_dims
        self.autoencoder = GaussianAutoencoder(image_shape, code_dims, likelihood, seed)
        self._optimiser = adam(self.autoencoder.parameters(), lr)

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"autoencoder": self._optimiser}

    @property
    def networks(self) -> list[nn.Module]:
        return [self.autoencoder.encoder, self.autoencoder.decoder]

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of `q(z|x)`, each float32 `[n, code_dims]`."""
        return self.autoencoder.encoder(images)

    def encode(self, images: Tensor) -> Tensor:
        return self.posterior(images)[0]

    def decode(self, codes: Tensor) -> Tensor:
        return torch.sigmoid(self.autoencoder.decoder(codes).float())


def named_losses(loss: Tensor, terms: ElboTerms) -> Losses:
    """The values that every model of the family reports, detached."""
    return {"loss": loss.detach(), "reconstruction": terms.reconstruction.detach(), "kl": terms.kl.detach()}


def check_weight(name: str, value: float) -> float:
    """`value` if it is a finite number of at least 0, else ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)
