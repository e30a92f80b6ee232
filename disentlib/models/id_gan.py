"""ID-GAN: a generator that is taught the codes of a finished β-VAE (Lee et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from disentlib.losses.adversarial import discriminator_loss
from disentlib.losses.distillation import gaussian_nll, signed_r1_penalty
from disentlib.losses.elbo import kl_per_dimension, posterior_sample, standard_normal
from disentlib.losses.image_gan import generator_loss
from disentlib.metrics import relative_sharpness
from disentlib.models.autoencoder import AutoencoderModel, check_weight
from disentlib.models.base import FunctionalModel, Losses, LossFunction, Model, Values
from disentlib.models.collapse import image_signs
from disentlib.models.rmsprop import rmsprop
from disentlib.networks import ConvDecoder, GaussianEncoder, PlainDiscriminator, PlainGenerator, seeded

__all__ = ["IDGAN"]


class IDGAN(FunctionalModel):
    """`D` minimises `−ln D(x) − ln(1 − D(G)) + r1·‖∇D(x)‖²`, then `G(c, z)` minimises `−ln D(G) − λ·ln q(c|G)`.

    `q` is the frozen encoder of a finished β-VAE (role "stage1"), with its own variance; `c ~ q(c|x)` is one posterior
    sample for each real image, the same for both updates, with fresh nuisance noise `z` for each. `adopt` must give
    the encoder before the first step: a step without one is a ValueError.

    `encode` is the frozen encoder's mean, so that every score of this model *is* its stage 1's: nothing that is trained
    here is scored (reading S16). Stage 1's decoder is kept too, only to be compared with. `decode` draws with the
    running average of G's weights, and the noise at its mean, 0.

    Defaults are those published for dSprites: no noise, λ = 1e-4 (`information_weight`), RMSprop with 1e-3 for G (`lr`)
    and 1e-4 for D. For CelebA: `noise_dims` 256, λ = 1e-3, both rates 1e-4, and residual networks, which are not here.

    >>> IDGAN((1, 32, 32), noise_dims=4).generator(torch.zeros(2, 14)).shape
    torch.Size([2, 1, 32, 32])
    """

    roles = {"stage1": "its encoder, frozen: where codes come from, and what reads them; its decoder, to compare with"}
    loss_names = {
        "loss": "what the generator's optimiser minimises, nats per image",
        "generator": "−ln D(G) in nats; ln 2 = 0.693 when D cannot tell",
        "code_nll": "−ln q(c|G) of the frozen encoder in nats, summed over dimensions, before the weight λ",
        "discriminator": "−ln D(x) − ln(1 − D(G)) in nats; 2 ln 2 = 1.386 when D cannot tell",
        "r1": "E‖∇D(x)‖² on real images, per pixel scaled to [−1, 1], before its weight",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        noise_dims: int = 0,
        information_weight: float = 1e-4,
        r1: float = 10.0,
        average: float = 0.999,
        lr: float = 1e-3,
        lr_discriminator: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if isinstance(noise_dims, bool) or not isinstance(noise_dims, int) or noise_dims < 0:
            raise ValueError(f"noise_dims must be a whole number of at least 0, got {noise_dims!r}")
        if not 0 <= average < 1:
            raise ValueError(f"average, how much of the old weights a step keeps, must be in [0, 1), got {average!r}")
        self.image_shape, self.code_dims, self.noise_dims = image_shape, code_dims, noise_dims
        self.information_weight = check_weight("information_weight", information_weight)
        self.r1, self.average = check_weight("r1", r1), average
        self.encoder = seeded(GaussianEncoder, image_shape, code_dims, seed=seed).requires_grad_(False).eval()
        self.stage1_decoder = seeded(ConvDecoder, image_shape, code_dims, seed=seed).requires_grad_(False).eval()
        self.generator = seeded(PlainGenerator, image_shape, code_dims + noise_dims, seed=seed + 1)
        for name, weight in self.generator.named_parameters():
            self.register_buffer(_averaged(name), weight.detach().clone())
        self.discriminator = seeded(PlainDiscriminator, image_shape, seed=seed + 2)
        self._generator_optimiser = rmsprop(self.generator.parameters(), lr)
        self._discriminator_optimiser = rmsprop(self.discriminator.parameters(), lr_discriminator)
        self._has_stage1 = False

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"discriminator": self._discriminator_optimiser, "generator": self._generator_optimiser}

    @property
    def networks(self) -> list[nn.Module]:
        return [self.encoder, self.generator]  # not D: torch.compile cannot differentiate R1's gradient once more

    @property
    def averaged(self) -> dict[str, Tensor]:
        """The running average of each of G's weights, by the weight's name."""
        return {name: self.get_buffer(_averaged(name)) for name, _ in self.generator.named_parameters()}

    def accepts(self, role: str, parent: Model) -> None:
        super().accepts(role, parent)
        if not isinstance(parent, AutoencoderModel):
            raise ValueError(f"stage1 of ID-GAN is a model of the VAE family, got {type(parent).__name__}")
        for name in ("code_dims", "image_shape"):
            here, there = getattr(self, name), getattr(parent, name)
            if here != there:
                raise ValueError(f"ID-GAN and its stage1 must agree in {name}, got {here} and {there}")

    def adopt(self, role: str, parent: Model) -> None:
        super().adopt(role, parent)
        if any(optimiser.state for optimiser in self.optimisers.values()):
            raise ValueError("ID-GAN adopts its stage1 before the first step, got a model that has been trained")
        self.encoder.load_state_dict(parent.autoencoder.encoder.state_dict())
        self.stage1_decoder.load_state_dict(parent.autoencoder.decoder.state_dict())
        self._has_stage1 = True

    def load_state_dict(self, *arguments: object, **named: object) -> object:
        """As of any module; a checkpoint brings its stage 1 along."""
        keys = super().load_state_dict(*arguments, **named)
        self._has_stage1 = True
        return keys

    def train(self, mode: bool = True) -> IDGAN:
        super().train(mode)
        self.encoder.eval()
        self.stage1_decoder.eval()
        return self

    def draw(self, n: int, generator: torch.Generator) -> Values:
        sizes = {
            "posterior": self.code_dims,
            "discriminator_noise": self.noise_dims,
            "generator_noise": self.noise_dims,
        }
        return {name: standard_normal(n, d, generator) for name, d in sizes.items()}

    def updates(self) -> dict[str, LossFunction]:
        return {"discriminator": self.discriminator_loss, "generator": self.generator_loss}

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        if not self._has_stage1:
            raise ValueError("ID-GAN needs a finished β-VAE in the role 'stage1' before its first step")
        losses = super().step(images, generator)
        with torch.no_grad():
            for average, weight in zip(self.averaged.values(), self.generator.parameters()):
                average.lerp_(weight, 1 - self.average)
        return losses

    def discriminator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """D's loss with R1 on the real images, and the codes that the generator's update takes over."""
        codes = posterior_sample(*self.encoder(images), given["posterior"])
        fakes = self.generator(torch.cat([codes, given["discriminator_noise"]], 1))
        real = images.detach().requires_grad_()
        real_logits = self.discriminator(real)
        adversarial = discriminator_loss(real_logits, self.discriminator(fakes))
        r1 = signed_r1_penalty(real_logits, real)
        return adversarial + self.r1 * r1, {"discriminator": adversarial, "r1": r1, "codes": codes}

    def generator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The non-saturating loss and what the frozen encoder makes of the images, in nats."""
        fakes = self.generator(torch.cat([given["codes"], given["generator_noise"]], 1))
        adversarial = generator_loss(self.discriminator(fakes))
        nll = gaussian_nll(given["codes"], *self.encoder(fakes))
        loss = adversarial + self.information_weight * nll
        return loss, {"loss": loss, "generator": adversarial, "code_nll": nll}

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)[0]

    def generate(self, codes: Tensor, noise: Tensor) -> Tensor:
        """Codes `[n, code_dims]`, noise `[n, noise_dims]` → images float32 `[n, c, h, w]` in [0, 1], by averaged G."""
        return functional_call(self.generator, self.averaged, (torch.cat([codes, noise], 1),))

    def decode(self, codes: Tensor) -> Tensor:
        return self.generate(codes, codes.new_zeros(len(codes), self.noise_dims))

    def decode_stage1(self, codes: Tensor) -> Tensor:
        """What stage 1 draws for the same codes: `[n, code_dims]` → images float32 `[n, c, h, w]` in [0, 1]."""
        return torch.sigmoid(self.stage1_decoder(codes).float())

    @torch.no_grad()
    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """What G and, under names with `stage1_`, stage 1's decoder draw for the posterior means of `images`.

        `code_error`: of each dimension, the root mean squared difference of that code and what the frozen encoder reads
        off the picture, in units of the code (the prior's σ = 1). `sharpness` relative to the images, `squared_error`
        to them per image, summed over pixels, and the signs of collapse. `kl_per_dimension` is the frozen encoder's.
        """
        mean, logvar = self.encoder(images)
        found: dict[str, float | list[float]] = {"kl_per_dimension": kl_per_dimension(mean, logvar).tolist()}
        for prefix, pictures in {"": self.decode(mean), "stage1_": self.decode_stage1(mean)}.items():
            found[f"{prefix}code_error"] = (self.encode(pictures) - mean).square().mean(0).sqrt().tolist()
            found |= {f"{prefix}{name}": value for name, value in _likeness(pictures, images).items()}
        return found


def _likeness(pictures: Tensor, images: Tensor) -> dict[str, float]:
    """Row i of `pictures` is meant to show what row i of `images` does."""
    error = (pictures - images).square().flatten(1).sum(1).mean().item()
    return {"sharpness": relative_sharpness(pictures, images), "squared_error": error, **image_signs(pictures, images)}


def _averaged(name: str) -> str:
    return f"averaged_{name.replace('.', '_')}"  # a buffer's name holds no dot
