"""GS: GANSpace (Härkönen et al. 2020) on a Glow: principal axes of an activation, taken back to the latent."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.models.base import Losses, Model
from disentlib.models.frozen_flow import CHUNK, BaseImages, FrozenFlow, check_count, finite
from disentlib.models.regressed import FixedDirections, fix_signs

__all__ = ["AXES_FROM", "GANSpace", "principal_axes", "regressed_axes"]

AXES_FROM = ("activation", "data")
SEED_OFFSET = 7_919  # the samples for the axes are not those of the training


class GANSpace(FixedDirections):
    """Directions: how the latent changes with the principal coordinates of the top level's output (reading D13).

    Principal components of samples of the latent itself would be arbitrary, since its prior is isotropic. So `samples`
    latents are drawn, the components of what the top level makes of them computed, and the latent regressed on the
    coordinates by least squares; each direction has length 1. `measure` records the variance along each component.
    ValueError unless there are more samples than directions.

    `axes_from` = "data" takes the principal axes of encoded images instead, which only an invertible generator allows:
    the first `samples` training images are collected over as many steps as they need, and the encoder learns the codes
    of the sampled axes until then.

    >>> GANSpace((1, 32, 32), directions=8, encoder_width=8).code_dims
    8
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        directions: int = 64,
        samples: int = 20_000,
        axes_from: str = "activation",
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
        if axes_from not in AXES_FROM:
            raise ValueError(f"unknown axes_from {axes_from!r}; known: {', '.join(AXES_FROM)}")
        self.samples, self.axes_from = check_count("samples", samples, least=2), axes_from

    def accepts(self, role: str, parent: Model) -> None:
        super().accepts(role, parent)
        if self.samples <= self.count:
            raise ValueError(f"samples must be more than the {self.count} directions, got {self.samples}")

    def prepare(self, frozen: FrozenFlow) -> dict[str, torch.optim.Optimizer]:
        if self.axes_from == "data":
            wide = {"dtype": torch.float64, "device": frozen.device}
            self.register_buffer("data_count", torch.zeros((), **wide))
            self.register_buffer("data_sums", torch.zeros(frozen.dims, **wide))
            self.register_buffer("data_products", torch.zeros(frozen.dims, frozen.dims, **wide))
        return super().prepare(frozen)

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        if self.adopted() and self.axes_from == "data" and self.steps_taken * len(images) < self.samples:
            self._collect(images)
        return super().step(images, generator)

    @torch.no_grad()
    def _collect(self, images: Tensor) -> None:
        """Add the batch's exact latents to the sums, but for non-finite ones, and take their axes after `samples`."""
        top = self.frozen.active(self.frozen.latents(images)).double()
        known = finite(top)
        top = torch.where(known[:, None], top, 0.0)
        self.data_count += known.sum()
        self.data_sums += top.sum(0)
        self.data_products += top.T @ top
        if (self.steps_taken + 1) * len(images) >= self.samples:
            mean = self.data_sums / self.data_count
            spread = self.data_products / self.data_count - torch.outer(mean, mean)
            axes, variances = principal_axes(spread, self.count)
            self.matrix.copy_(axes)
            self.spectrum.copy_(variances)

    @torch.no_grad()
    def find(self, frozen: FrozenFlow) -> tuple[Tensor, Tensor]:
        generator = torch.Generator(frozen.device).manual_seed(self.seed + SEED_OFFSET)
        moments = Moments()
        for first in range(0, self.samples, CHUNK):
            levels = frozen.flow.sample_eps(min(CHUNK, self.samples - first), self.bases.temperature, generator)
            top = levels[-1].flatten(1)
            moments.add(frozen.flow.top_activation(top, levels[:-1]).flatten(1), top)
        return regressed_axes(*moments.covariances(), self.count)


class Moments:
    """Sums of activations `[n, m]` and latents `[n, a]` and of their products, in float64, batch by batch.

    Rows that are not finite are left out.
    """

    def __init__(self) -> None:
        self.n, self.sums, self.products = 0, 0.0, 0.0

    def add(self, activations: Tensor, latents: Tensor) -> None:
        self.width = activations.shape[1]
        both = torch.cat([activations, latents], dim=1).double()
        both = both[finite(both)]
        self.n, self.sums = self.n + len(both), self.sums + both.sum(0)
        self.products = self.products + both[:, : self.width].T @ both

    def covariances(self) -> tuple[Tensor, Tensor]:
        """Of the activations with themselves `[m, m]` and with the latents `[m, a]`."""
        mean = self.sums / self.n
        return (self.products / self.n - torch.outer(mean[: self.width], mean)).tensor_split([self.width], dim=1)


def regressed_axes(within: Tensor, across: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The latent's least-squares slopes on the first `count` principal coordinates, `[a, count]`, of length 1 each.

    `within` `[m, m]`: the activations' covariance; `across` `[m, a]`: theirs with the latents. Principal coordinates
    are uncorrelated, so that each slope is a covariance over a variance. Also all variances, largest first, `[m]`.

    >>> regressed_axes(torch.diag(torch.tensor([1.0, 4.0])), torch.tensor([[0.0, 3.0], [2.0, 0.0]]), 1)[0].tolist()
    [[1.0], [0.0]]
    """
    axes, variances = principal_axes(within, count)
    slopes = across.T @ axes
    return fix_signs(slopes / slopes.norm(dim=0)), variances


def principal_axes(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` eigenvectors of a covariance `[m, m]` as columns, and all its eigenvalues, largest first.

    >>> principal_axes(torch.diag(torch.tensor([1.0, 4.0])), 1)[0].tolist()
    [[0.0], [1.0]]
    """
    variances, axes = torch.linalg.eigh(covariance)
    return fix_signs(axes.flip(1)[:, :count]), variances.flip(0).clamp(min=0)
