"""InfoGAN as the InfoGAN-CR study modified it: spectral norm, a small λ, only continuous codes (Lin et al. 2020)."""

from __future__ import annotations

from disentlib.models.information_gan import InformationGAN

__all__ = ["InfoGAN"]


class InfoGAN(InformationGAN):
    """`min_{G,Q} max_D L_Adv − λ·L_info` (IDGAN-SC paper, eqs. 4 and 5), and phase 1 of the regularised models.

    Defaults are InfoGAN-CR's on dSprites: uniform codes and noise, two generator updates a step. To be the phase 1 of
    IDGAN-SC, give it that model's sizes and prior; to go on as Table 2's "none" branch, give it one as `phase1`.

    >>> import torch
    >>> InfoGAN((1, 32, 32), code_dims=5).encode(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 5])
    """

    plain = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 5,
        noise_dims: int = 5,
        lambda_info: float = 0.05,
        code_prior: str = "uniform",
        generator_loss: str = "non_saturating",
        generator_steps: int = 2,
        lr_generator: float = 1e-3,
        lr_discriminator: float = 2e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(
            image_shape, code_dims, noise_dims, lambda_info, code_prior, generator_loss, generator_steps,
            lr_generator, lr_discriminator, seed,
        )  # fmt: skip
