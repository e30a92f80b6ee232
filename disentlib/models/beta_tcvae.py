"""β-TCVAE: the KL term taken apart, and only its total correlation weighted (Chen et al. 2018, eq. 4)."""

from __future__ import annotations

from torch import Tensor

from disentlib.losses.total_correlation import ESTIMATORS, decompose
from disentlib.models.autoencoder import ELBO_NAMES, AutoencoderModel, check_weight, named_values
from disentlib.models.base import LossFunction, Values

__all__ = ["BetaTCVAE"]


class BetaTCVAE(AutoencoderModel):
    """Minimises `rec + I(z; x) + β·TC + Σ_j KL(q(z_j) ‖ p(z_j))`, each part estimated from the batch's own samples.

    With β = 1 the parts add up, whatever the estimator, to a single-sample estimate of the KL: the loss is a VAE's.
    `estimator`: a name of `total_correlation.ESTIMATORS`. `dataset_size`: how many images the model is trained on (N).

    >>> BetaTCVAE((1, 32, 32), beta=6.0, estimator="unbiased", dataset_size=40_000).code_dims
    10
    """

    loss_names = ELBO_NAMES | {
        "mutual_information": "I(z; x) in nats, as the estimator has it",
        "total_correlation": "TC = KL(q(z) ‖ Π_j q(z_j)) in nats, as the estimator has it, before the weight β",
        "dimension_wise_kl": "Σ_j KL(q(z_j) ‖ N(0, 1)) in nats, as the estimator has it",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        beta: float = 6.0,
        estimator: str = "unbiased",
        dataset_size: int = 737_280,
        likelihood: str = "bernoulli",
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, code_dims, likelihood, lr, seed)
        if estimator not in ESTIMATORS:
            raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
        if isinstance(dataset_size, bool) or not isinstance(dataset_size, int) or dataset_size < 2:
            raise ValueError(f"dataset_size must be a whole number of at least 2, got {dataset_size!r}")
        self.beta = check_weight("beta", beta)
        self.estimator, self.dataset_size = estimator, dataset_size

    def updates(self) -> dict[str, LossFunction]:
        return {"autoencoder": self.autoencoder_loss}

    def autoencoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 4 as a loss, the bound's terms, and the KL's three parts."""
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        parts = decompose(terms.codes, terms.mean, terms.logvar, self.dataset_size, self.estimator)
        information, correlation, dimension_wise = parts
        loss = terms.reconstruction + information + self.beta * correlation + dimension_wise
        return loss, named_values(loss, terms) | parts._asdict()
