"""Codes by regression: how fixed directions of a generator become an encoder (Khrulkov et al. 2021, section 3).

An encoder learns, from generated images alone, the coordinates of their latents along the directions.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from disentlib.losses.variation import masked_mean
from disentlib.models.base import LossFunction, Values, adam
from disentlib.models.directions import DirectionModel
from disentlib.models.frozen_flow import FrozenFlow, finite

__all__ = ["REGRESSION_NAMES", "FixedDirections", "code_r2", "code_regression", "fix_signs"]

REGRESSION_NAMES = {"regression": "‖E(G(w)) − Aᵀw‖², summed over the codes, mean over finite generated images"}


def code_regression(encoder: nn.Module, images: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of `‖E(x) − codes‖²` over finite images `[n, c, h, w]` with finite codes `[n, D]`; how many were not."""
    valid = finite(images) & finite(codes)
    images, codes = torch.where(valid[:, None, None, None], images, 0.0), torch.where(valid[:, None], codes, 0.0)
    errors = (encoder(images).float() - codes).square().sum(1)
    return masked_mean(errors, valid.float()), (~valid).float().sum()


@torch.no_grad()
def code_r2(model: DirectionModel, images: Tensor) -> float:
    """The share of the exact codes' variance over `images` that the encoder explains, over all codes together.

    Images whose latent is not finite are left out; 0 if nothing is left.
    """
    exact = model.exact_codes(images)
    known = finite(exact)
    if not known.any():
        return 0.0
    exact, ours = exact[known], model.encode(images[known])
    return (1 - (ours - exact).square().sum() / (exact - exact.mean(0)).square().sum()).item()


def fix_signs(columns: Tensor) -> Tensor:
    """Each column with the sign that makes its largest entry positive: eigenvectors have none of their own.

    >>> fix_signs(torch.tensor([[1.0, 0.5], [-3.0, 2.0]])).tolist()
    [[-1.0, 0.5], [3.0, 2.0]]
    """
    largest = columns.gather(0, columns.abs().argmax(0, keepdim=True))
    return columns * torch.where(largest < 0, -1.0, 1.0)


class FixedDirections(DirectionModel):
    """The abstract shell of CF, GS and DS: directions in the top level, found at `adopt`, and an encoder of codes.

    A concrete model adds `find`.
    """

    loss_names = REGRESSION_NAMES | {"non_finite": "generated images of this step that were not finite; they count not"}

    @abstractmethod
    def find(self, frozen: FrozenFlow) -> tuple[Tensor, Tensor]:
        """The directions `[a, D]` as columns and the spectrum they were chosen by, largest first, `[any]`."""

    def prepare(self, frozen: FrozenFlow) -> dict[str, torch.optim.Optimizer]:
        matrix, spectrum = self.find(frozen)
        self.register_buffer("matrix", matrix.detach().float().contiguous())
        self.register_buffer("spectrum", spectrum.detach().float().contiguous())
        return {"encoder": adam(self.encoder.parameters(), self.lr)}

    def directions(self) -> Tensor:
        self.adopted()
        return self.matrix

    def draw(self, n: int, generator: torch.Generator) -> Values:
        return self.bases.draw(self.adopted(), n, n, generator)

    def updates(self) -> dict[str, LossFunction]:
        return {"encoder": self.encoder_loss}

    def encoder_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The regression on as many base images as there are images in the batch."""
        latents, base = self.bases.take(self.frozen, images, given, self.steps_taken)
        loss, bad = code_regression(self.encoder, base, self.frozen.coordinates(latents, self.matrix))
        return loss, {"regression": loss, "non_finite": bad}

    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        more = {"spectrum": self.spectrum.tolist(), "code_r2": code_r2(self, images)}
        return super().measure(images, generator) | more
