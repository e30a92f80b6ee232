"""InfoGAN-CR: a network must tell which code a pair of generated images shares (Lin et al. 2020; reading S5)."""

from __future__ import annotations

from disentlib.models.information_gan import INFORMATION_NAMES
from disentlib.models.pair_gan import PairGAN, code_bound
from disentlib.models.pairs import PairPlan, PairRegulariser

__all__ = ["InfoGANCR"]


class InfoGANCR(PairGAN):
    """Minimises in G `L_Adv + λ·code_nll + α·CE(H(x1, x2), i)` (IDGAN-SC paper, eq. 2), with H trained on the same CE.

    A pair shares code `i` and the noise; all other codes are drawn twice from the prior. H is the optimiser "encoder".
    Defaults are the authors' on dSprites. `min_gap` pushes only near pairs apart, the authors' code every pair.

    >>> InfoGANCR((1, 32, 32), code_dims=5, pairs=16).code_dims
    5
    """

    loss_names = INFORMATION_NAMES | {
        "pair_loss": "cross-entropy of H in nats a pair; ln code_dims for an H that knows nothing",
        "pair_accuracy": "how often H names the shared code, in [0, 1]; chance is 1/code_dims",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 5,
        noise_dims: int = 5,
        lambda_info: float = 0.05,
        alpha: float = 2.0,
        pairs: int = 64,
        resample: str = "prior",
        min_gap: float = 0.0,
        pair_network: str = "spectral_norm",
        code_prior: str = "uniform",
        generator_loss: str = "non_saturating",
        generator_steps: int = 2,
        lr_generator: float = 1e-3,
        lr_discriminator: float = 2e-3,
        lr_encoder: float = 2e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(
            image_shape, code_dims, noise_dims, lambda_info, code_prior, generator_loss, generator_steps,
            lr_generator, lr_discriminator, seed,
        )  # fmt: skip
        plan = PairPlan(pairs, "share_one", resample, min_gap, active_only=False, bound=code_bound(code_prior))
        encoder = PairRegulariser(image_shape, code_dims, "cross_entropy", pair_network, seed + 2)
        self._regularise(alpha, plan, encoder, lr_encoder)
