"""IDGAN-SC: an InfoGAN whose pairs of images must cluster by the code that changes (Chen et al. 2024, eqs. 3–6)."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.models.base import Losses, Values
from disentlib.models.information_gan import INFORMATION_NAMES, check_count
from disentlib.models.pair_gan import PairGAN, code_bound
from disentlib.models.pairs import PairPlan, PairRegulariser

__all__ = ["IDGANSC"]


class IDGANSC(PairGAN):
    """Minimises in G `L_Adv + λ·code_nll + s·α·L_SC`, and in E `s·L_SC`; a pair changes one code and shares the noise.

    `contrast_sign` s: 1, or −1 as eq. 3 is printed (reading S1). `tau1`, `tau2`: as printed; both 0.1 is SupCon
    (S2). `normalise`: E's output has length 1 (S3). `reduction`: "mean" or, as printed, "sum" over pairs (S4).
    `pair_rule` × `head` is the 2 × 2 of S5; `resample` S6; `pairs` S15; `min_gap`, `active_only` S14; `pair_network`
    S13; `generator_steps` and rates S12. `encoder_warmup`: for so many first steps E is trained and G does not see it.
    "With β-VAE" is this model with a role "stage1" adopted; without one, codes are the prior's.

    Never show `pair_loss` as evidence: it falls when everything collapses, too. Show the accuracy and the cosines.

    >>> IDGANSC((1, 32, 32), code_dims=5, pairs=16, tau1=0.1).code_dims
    5
    """

    loss_names = INFORMATION_NAMES | {
        "pair_loss": "L_SC in nats a pair, before α and sign (cross-entropy with that head); no evidence",
        "pair_accuracy": "how often the 5 nearest pairs (or logits) name the code, in [0, 1]; chance is 1/code_dims",
        "within_cosine": "mean cosine of E's outputs for two pairs of one class",
        "between_cosine": "mean cosine of E's outputs for two pairs of different classes; 1 when E has collapsed",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        noise_dims: int = 5,
        lambda_info: float = 0.05,
        alpha: float = 2.0,
        contrast_sign: int = 1,
        tau1: float = 0.07,
        tau2: float = 0.1,
        normalise: bool = True,
        reduction: str = "mean",
        pairs: int = 384,
        pair_rule: str = "change_one",
        resample: str = "batch",
        min_gap: float = 0.0,
        active_only: bool = False,
        head: str = "supcon",
        pair_network: str = "batch_norm",
        encoder_warmup: int = 0,
        code_prior: str = "gaussian",
        generator_loss: str = "non_saturating",
        generator_steps: int = 1,
        lr_generator: float = 1e-4,
        lr_discriminator: float = 2e-4,
        lr_encoder: float = 2e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(
            image_shape, code_dims, noise_dims, lambda_info, code_prior, generator_loss, generator_steps,
            lr_generator, lr_discriminator, seed,
        )  # fmt: skip
        if contrast_sign not in (1, -1):
            raise ValueError(f"contrast_sign is 1 (reading S1) or -1 (as printed), got {contrast_sign!r}")
        self.sign, self.encoder_warmup = contrast_sign, check_count("encoder_warmup", encoder_warmup, 0)
        plan = PairPlan(pairs, pair_rule, resample, min_gap, active_only, code_bound(code_prior))
        encoder = PairRegulariser(
            image_shape, code_dims, head, pair_network, seed + 2, tau1, tau2, normalise, reduction
        )  # fmt: skip
        self._regularise(alpha, plan, encoder, lr_encoder)
        self.register_buffer("steps_taken", torch.zeros((), dtype=torch.int64))  # on the device: nothing waits for it

    def pair_weight(self) -> Tensor:
        return self.sign * self.alpha * (self.steps_taken >= self.encoder_warmup)

    def encoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """`s·L_SC` on the pairs of the generator's update; without α, which Adam would not notice."""
        loss, values = super().encoder_loss(images, given)
        return self.sign * loss, values

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        losses = super().step(images, generator)
        self.steps_taken += 1
        return losses
