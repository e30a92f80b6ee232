"""Glow: an exact likelihood, and an image for every latent and a latent for every image (Kingma & Dhariwal 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.losses import flow as flow_losses
from disentlib.losses.flow import bits_per_dimension, centre, dequantise, gaussian_log_density, uncentre
from disentlib.models.base import Losses, Model, Values, adam
from disentlib.networks import Flow, seeded

__all__ = ["Glow"]

# In nats per image. The gradients of sharp densities are often larger, by factors that change from batch to batch;
# clipped, no batch fills Adam's moments.
GRADIENT_NORM = 1000.0
CHUNK = 64  # images at once where the number is the caller's


class Glow(Model):
    """Maximises `ln p(x) = ln p(z) + Σ ln|det|` of dequantised images (Dis-GU paper, eq. 3; readings D2, D14).

    `steps_per_level` K, `levels` L and `width` of the networks in the couplings; the paper profile's are 32, 4, 512.
    `coupling`: "affine" or "additive" (which samples better after short trainings). `prior`: "learned" as in Glow, or
    "standard" as eq. 3 has it. `bits` of the images that are kept. `warmup`: steps in which Adam's rate rises to `lr`.

    A level's latents are *raw* (z itself) or whitened (`eps`: what is N(0, I) under the model), one tensor per level,
    the top one last. Each goes back through its own function: `from_raw(raw(x))` and `from_eps(eps(x))` are `x`.

    >>> glow = Glow((3, 32, 32), steps_per_level=1, levels=3, width=8)
    >>> glow.top_dims, glow.level_shapes
    (768, [(6, 16, 16), (12, 8, 8), (48, 4, 4)])
    """

    loss_names = {
        "loss": "−ln P(x), what Adam minimises, nats per image",
        "bits_per_dim": "the loss over the number of pixels and channels, in bits",
        "log_det": "Σ ln|det| of the layers, nats per image",
        "gradient_norm": "Euclidean norm of the gradient before clipping; 0 where it was not finite",
        "skipped": "1 if the gradient was not finite and the update was left out, else 0",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        steps_per_level: int = 8,
        levels: int = 3,
        width: int = 64,
        bits: int = 5,
        coupling: str = "affine",
        prior: str = "learned",
        lr: float = 1e-3,
        warmup: int = 200,
        seed: int = 0,
    ) -> None:
        super().__init__()
        flow_losses.check_bits(bits)
        if not isinstance(warmup, int) or isinstance(warmup, bool) or warmup < 0:
            raise ValueError(f"warmup must be a whole number of at least 0, got {warmup!r}")
        self.image_shape, self.bits, self.lr, self.warmup = tuple(image_shape), bits, lr, warmup
        self.flow = seeded(Flow, image_shape, levels, steps_per_level, width, coupling, prior, seed=seed)
        self._optimiser = adam(self.flow.parameters(), lr)
        self._optimiser.param_groups[0]["updates"] = 0  # here, so that it is in checkpoints and on the host
        self.dims = image_shape[0] * image_shape[1] * image_shape[2]
        self.code_dims = self.top_dims

    # ---- training ----------------------------------------------------------------------------------------------------

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"flow": self._optimiser}

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        """One update; the very first also sets the activation normalisation to its batch, before it."""
        noise = _uniform(images, generator)
        if not self.flow.ready:
            self.flow.initialise(dequantise(images, noise, self.bits))
        values = self.loss(images, noise)
        values |= self._update(values["loss"])
        return {name: values[name].detach() for name in self.loss_names}

    def loss(self, images: Tensor, noise: Tensor) -> Values:
        """The loss and what it is made of, for dequantisation noise `[n, c, h, w]` on [0, 1); batch means."""
        log_likelihood, log_det = self._log_likelihood(images, noise)
        bits = bits_per_dimension(log_likelihood, self.dims).mean()
        return {"loss": -log_likelihood.mean(), "bits_per_dim": bits, "log_det": log_det.mean()}

    def _log_likelihood(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """`ln P(x)` and `Σ ln|det|`, each `[n]` in nats."""
        latents, log_det = self.flow(dequantise(images, noise, self.bits))
        log_prior = torch.stack([gaussian_log_density(*latent) for latent in latents]).sum(0)
        return flow_losses.log_likelihood(log_prior, log_det, self.dims, self.bits), log_det

    def _update(self, loss: Tensor) -> Values:
        """Warm up, clip, and leave the update out if the gradient is not finite, all without reading the device."""
        group = self._optimiser.param_groups[0]
        group["updates"] += 1
        group["lr"] = self.lr * min(1.0, group["updates"] / max(1, self.warmup))
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.flow.parameters(), GRADIENT_NORM)
        skipped = (~norm.isfinite()).float()
        self._optimiser.found_inf = skipped  # the fused Adam does nothing where this is 1
        self._optimiser.step()
        return {"gradient_norm": torch.where(norm.isfinite(), norm, 0), "skipped": skipped}

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.image_shape)

    def set_extra_state(self, state: Tensor) -> None:
        """RuntimeError, as for weights that do not fit: a flow's are convolutions, which fit images of any size."""
        if tuple(state.tolist()) != self.image_shape:
            raise RuntimeError(f"a Glow for images {tuple(state.tolist())}, this one is for {self.image_shape}")

    # ---- likelihood and latents --------------------------------------------------------------------------------------

    @property
    def level_shapes(self) -> list[tuple[int, int, int]]:
        """`(c, h, w)` of each level's latents, the top one last."""
        return list(self.flow.shapes)

    @property
    def top_dims(self) -> int:
        """The numbers in the top level's latents: a of the Dis-GU paper, read as D2."""
        c, h, w = self.flow.shapes[-1]
        return c * h * w

    def log_prob(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """`ln P(x)` of each image cut to `bits` bits, `[n]` in nats: one sample of its lower bound."""
        return self._log_likelihood(images, _uniform(images, generator))[0]

    def raw(self, images: Tensor) -> list[Tensor]:
        """Images `[n, c, h, w]` in [0, 1] → the latents z of each level, `[n, c, h, w]`; no noise, all 8 bits."""
        return [latent.raw for latent in self.flow(centre(images))[0]]

    def eps(self, images: Tensor) -> list[Tensor]:
        """Images `[n, c, h, w]` in [0, 1] → the whitened latents of each level, `[n, c, h, w]`."""
        return [latent.eps() for latent in self.flow(centre(images))[0]]

    def from_raw(self, latents: list[Tensor]) -> Tensor:
        """The inverse of `raw`: images `[n, c, h, w]`, clamped to [0, 1]."""
        return self._images(latents, whitened=False)

    def from_eps(self, latents: list[Tensor]) -> Tensor:
        """The inverse of `eps`: images `[n, c, h, w]`, clamped to [0, 1]."""
        return self._images(latents, whitened=True)

    def _images(self, latents: list[Tensor], whitened: bool) -> Tensor:
        if (shapes := [tuple(latent.shape[1:]) for latent in latents]) != self.level_shapes:
            raise ValueError(f"the levels' latents have shapes {self.level_shapes}, the top last; got {shapes}")
        return uncentre(self.flow.inverse(latents, whitened))

    def sample_eps(self, n: int, temperature: float, generator: torch.Generator) -> list[Tensor]:
        """`n` whitened latents of each level, `temperature` times standard normal; 0.7 is usual (reading D2)."""
        shapes = [(n, *shape) for shape in self.level_shapes]
        return [temperature * torch.randn(shape, generator=generator, device=generator.device) for shape in shapes]

    # ---- the top level -----------------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> Tensor:
        """The whitened latents of the top level, flattened: `[n, top_dims]`."""
        return self.eps(images)[-1].flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        """`decode_top` with the other levels at the mode of their priors, eps = 0."""
        return self.decode_top(codes, [codes.new_zeros(len(codes), *shape) for shape in self.level_shapes[:-1]])

    def decode_top(self, top: Tensor, rest: list[Tensor]) -> Tensor:
        """Whitened latents, the top level's flat `[n, top_dims]` and the others' `[n, c, h, w]` → images in [0, 1]."""
        return self.from_eps([*rest, self._shaped(top)])

    def top_activation(self, top: Tensor, rest: list[Tensor] | None = None) -> Tensor:
        """What the reverse pass of the top level gives to the level below, `[n, c/4, 2h, 2w]`, for whitened `top`.

        `rest` has no influence on it; it is taken so that this can stand wherever `decode_top` does.
        """
        return self.flow.inverse_top(self._shaped(top), whitened=True)

    def top_linear(self, whitened: bool = True) -> Tensor:
        """The channels' matrix `[c, c]` of the top level's last step, which a latent meets first on its way back (D13).

        `diag(1/scale)·W⁻¹` of that level's last step, times `diag(exp(log_sd))` if it is to act on whitened latents.
        """
        matrix = self.flow.levels[-1][-1].linear()
        if not whitened:
            return matrix
        _, log_sd = self.flow.priors[-1](matrix.new_zeros(1, len(matrix), 1, 1))
        return matrix * log_sd.flatten().exp()

    def _shaped(self, top: Tensor) -> Tensor:
        if top.ndim != 2 or top.shape[1] != self.top_dims:
            raise ValueError(f"the top level's latents are [n, {self.top_dims}], got {list(top.shape)}")
        return top.unflatten(1, self.flow.shapes[-1])

    # ---- diagnostics -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """Bits per dimension, the largest error of a round trip, and how many samples are not finite.

        `round_trip_error`: max |from_eps(eps(x)) − x|, images in [0, 1]; of an image that does not come back finite, 1.
        `non_finite`: the fraction, of as many samples at temperature 0.7 as there are images. `bits_per_dim` is left
        out if that of any image is not finite.
        """
        parts = [self._measured(chunk, generator) for chunk in images.split(CHUNK)]
        bits, errors, broken = (torch.cat(each) for each in zip(*parts))
        measured = {"round_trip_error": errors.max().item(), "non_finite": broken.float().mean().item()}
        return measured | ({"bits_per_dim": bits.mean().item()} if bits.isfinite().all() else {})

    def _measured(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Of each image: bits per dimension, the error of its round trip; of each sample: is it broken?"""
        bits = bits_per_dimension(self.log_prob(images, generator), self.dims)
        errors = (self.from_eps(self.eps(images)) - images).abs().nan_to_num(1.0).flatten(1).amax(1)
        samples = self.flow.inverse(self.sample_eps(len(images), 0.7, generator), whitened=True)
        return bits, errors, ~samples.flatten(1).isfinite().all(1)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
