"""DIP-VAE I and II: the covariance of the aggregate posterior held to the identity (Kumar et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from disentlib.losses.dip import VARIANTS, dip_penalties, inferred_covariance
from disentlib.models.autoencoder import ELBO_NAMES, AutoencoderModel, check_weight, named_values
from disentlib.models.base import LossFunction, Values

__all__ = ["DIPVAE"]

DIAGONAL_RATIO = {"i": 10.0, "ii": 1.0}  # λ_d / λ_od, as the paper takes it


class DIPVAE(AutoencoderModel):
    """Minimises `rec + KL + λ_od·Σ_{i≠j} C_ij² + λ_d·Σ_i (C_ii − 1)²` (eqs. 6 and 7).

    `variant` "i": `C` is the batch's covariance of posterior means; "ii": of the aggregate posterior, variances
    included. `lambda_d` None is `10 λ_od` for "i" and `λ_od` for "ii": with `lambda_od` = 10, 100 and 10 (reading D17).

    >>> DIPVAE((1, 32, 32), variant="ii").lambda_d
    10.0
    """

    loss_names = ELBO_NAMES | {
        "off_diagonal": "Σ_{i≠j} C_ij², squared code units, before the weight λ_od",
        "diagonal": "Σ_i (C_ii − 1)², squared code units, before the weight λ_d",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        variant: str = "i",
        lambda_od: float = 10.0,
        lambda_d: float | None = None,
        likelihood: str = "bernoulli",
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(image_shape, code_dims, likelihood, lr, seed)
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
        self.variant, self.lambda_od = variant, check_weight("lambda_od", lambda_od)
        usual = DIAGONAL_RATIO[variant] * self.lambda_od
        self.lambda_d = usual if lambda_d is None else check_weight("lambda_d", lambda_d)

    def updates(self) -> dict[str, LossFunction]:
        return {"autoencoder": self.autoencoder_loss}

    def autoencoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """Eq. 6 or 7 as a loss, the terms of the bound, and both penalties."""
        terms = self.autoencoder.elbo_terms(images, given["posterior"])
        penalties = dip_penalties(inferred_covariance(terms.mean, terms.logvar, self.variant))
        bound = terms.reconstruction + terms.kl
        loss = bound + self.lambda_od * penalties.off_diagonal + self.lambda_d * penalties.diagonal
        return loss, named_values(loss, terms) | penalties._asdict()
