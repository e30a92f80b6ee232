"""DS: DeepSpectral (Khrulkov et al. 2021) on a Glow: where the decoder is steepest around the middle of the latent."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from disentlib.models.frozen_flow import CHUNK, BaseImages, FrozenFlow
from disentlib.models.regressed import FixedDirections, fix_signs

__all__ = ["DeepSpectral", "jacobian"]


class DeepSpectral(FixedDirections):
    """Directions: the top right singular vectors of the exact Jacobian of the image by the top level (reading D13).

    Taken at `eps = 0` in all levels, by one forward-mode product for each of the latent's numbers. `measure` records
    the singular values.

    >>> DeepSpectral((1, 32, 32), directions=8, encoder_width=8).code_dims
    8
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        directions: int = 64,
        temperature: float = 0.7,
        shift_scale: float = 6.0,
        cached_bases: bool = False,
        bases: int = 2048,
        refresh: int = 1000,
        real_bases: bool = False,
        encoder_width: int = 64,
        lr: float = 1e-4,
        seed: int = 0,
    ) -> None:
        images = BaseImages(temperature, cached_bases, bases, refresh, real_bases, seed=seed)
        super().__init__(image_shape, directions, directions, "top", shift_scale, images, encoder_width, lr, seed)

    @torch.no_grad()
    def find(self, frozen: FrozenFlow) -> tuple[Tensor, Tensor]:
        matrix = jacobian(frozen).double()
        if not matrix.isfinite().all():
            raise ValueError("DS looks at the image at latent 0, and there this Glow is not finite")
        _, values, rows = torch.linalg.svd(matrix, full_matrices=False)
        return fix_signs(rows[: self.count].T), values


@torch.no_grad()
def jacobian(frozen: FrozenFlow) -> Tensor:
    """`∂ image / ∂ active latent` at zero, float32 `[c·h·w, a]`; a pixel that is black or white there has zeros.

    Each row of a batch of equal latents carries its own tangent, so that one forward-mode product gives many columns.
    """

    def decode(active: Tensor) -> Tensor:
        return frozen.images(frozen.placed(active)).flatten(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, when it loads its forward mode
        blocks = torch.eye(frozen.dims, device=frozen.device).split(CHUNK)
        return torch.cat([torch.func.jvp(decode, (torch.zeros_like(block),), (block,))[1] for block in blocks]).T
