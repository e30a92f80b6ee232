"""IB-GAN: an information bottleneck between a generator's noise and its image (Jeon et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disentlib.losses.adversarial import discriminator_loss
from disentlib.losses.distillation import information_bound, instance_noise, linear_decay
from disentlib.losses.elbo import gaussian_kl, kl_per_dimension, posterior_sample, standard_normal
from disentlib.losses.image_gan import generator_loss
from disentlib.metrics import relative_sharpness
from disentlib.models.autoencoder import check_weight
from disentlib.models.base import FunctionalModel, Losses, LossFunction, Values
from disentlib.models.collapse import image_signs
from disentlib.models.rmsprop import rmsprop
from disentlib.networks import (
    BottleneckDiscriminator,
    BottleneckGenerator,
    NoiseEncoder,
    NoiseReconstructor,
    seeded,
)

__all__ = ["IBGAN"]

MOMENTUM = 0.9


class IBGAN(FunctionalModel):
    """`G(r)`, `e(r|z)` and `Q` minimise `−ln D(G) − ½(‖z‖² − ‖z − Q(G)‖²) + β·KL(e(r|z) ‖ N(0, I))`; `D` as usual.

    Noise `z` becomes a representation `r ~ e(r|z) = N(μ_r(z), σ_r²(z))`, and `r` an image. The second term is a lower
    bound of `I(z; G)`, the third an upper bound of `I(z; r)`, β times: only what is worth β passes.
    `D` and `Q` see real and generated images under instance noise, whose σ falls from `noise_start` (in units of images
    scaled to [−1, 1]) to 0 within `noise_steps` steps.

    `encode` is `μ_r(Q(x))`, with networks in evaluation mode and no noise. One draw of `z` and `r` serves both updates,
    D's first. Defaults are those published for dSprites (150 000 steps): RMSprop with momentum 0.9, 5e-5 for all but D
    (`lr`) and 1e-6 for D, β = 0.141. Elsewhere: β = 0.35 for CelebA, 0.325 for chairs.

    >>> IBGAN((1, 32, 32)).encode(torch.rand(4, 1, 32, 32)).shape
    torch.Size([4, 10])
    """

    loss_names = {
        "loss": "what the generator's optimiser minimises, nats per image",
        "generator": "−ln D(G) in nats; ln 2 = 0.693 when D cannot tell",
        "information": "½(‖z‖² − ‖z − Q(G)‖²), a lower bound of I(z; G) in nats, at most noise_dims / 2",
        "kl": "KL(e(r|z) ‖ N(0, I)), an upper bound of I(z; r) in nats, summed over dimensions, before the weight β",
        "discriminator": "−ln D(x) − ln(1 − D(G)) in nats; 2 ln 2 = 1.386 when D cannot tell",
        "instance_noise": "σ of the instance noise in this step, in units of images scaled to [−1, 1]",
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int = 10,
        noise_dims: int = 16,
        beta: float = 0.141,
        noise_start: float = 1.0,
        noise_steps: int = 100_000,
        lr: float = 5e-5,
        lr_discriminator: float = 1e-6,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"noise_dims": noise_dims, "noise_steps": noise_steps}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.image_shape, self.code_dims, self.noise_dims = image_shape, code_dims, noise_dims
        self.beta, self.noise_start = check_weight("beta", beta), check_weight("noise_start", noise_start)
        self.noise_steps = noise_steps
        self.representation = seeded(NoiseEncoder, noise_dims, code_dims, seed=seed)
        self.generator = seeded(BottleneckGenerator, image_shape, code_dims, seed=seed + 1)
        self.reconstructor = seeded(NoiseReconstructor, image_shape, noise_dims, seed=seed + 2)
        self.discriminator = seeded(BottleneckDiscriminator, image_shape, seed=seed + 3)
        self.register_buffer("steps_taken", torch.zeros((), dtype=torch.int64))
        trained = nn.ModuleList([self.representation, self.generator, self.reconstructor]).parameters()
        self._generator_optimiser = rmsprop(trained, lr, MOMENTUM)
        self._discriminator_optimiser = rmsprop(self.discriminator.parameters(), lr_discriminator, MOMENTUM)

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"discriminator": self._discriminator_optimiser, "generator": self._generator_optimiser}

    def draw(self, n: int, generator: torch.Generator) -> Values:
        shape, device = (n, *self.image_shape), generator.device
        noise = standard_normal(n, self.noise_dims, generator)
        representation = standard_normal(n, self.code_dims, generator)
        images = {
            name: torch.randn(shape, generator=generator, device=device)
            for name in ("real_instance", "fake_instance", "generator_instance")
        }
        return {"noise": noise, "representation": representation, **images}

    def updates(self) -> dict[str, LossFunction]:
        return {"discriminator": self.discriminator_loss, "generator": self.generator_loss}

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        losses = super().step(images, generator)
        self.steps_taken += 1
        return losses

    def instance_scale(self) -> Tensor:
        """σ of the instance noise in the step that comes, a scalar float32 tensor."""
        return linear_decay(self.steps_taken, self.noise_start, self.noise_steps)

    def discriminator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """D's loss on real and generated images, each under its own instance noise and in its own batch."""
        scale = self.instance_scale()
        codes = posterior_sample(*self.representation(given["noise"]), given["representation"])
        real = self.discriminator(instance_noise(images, given["real_instance"], scale))
        fake = self.discriminator(instance_noise(self.generator(codes), given["fake_instance"], scale))
        loss = discriminator_loss(real, fake)
        return loss, {"discriminator": loss, "instance_noise": scale}

    def generator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """The non-saturating loss, less the lower bound, and β times the upper bound."""
        mean, logvar = self.representation(given["noise"])
        fakes = self.generator(posterior_sample(mean, logvar, given["representation"]))
        seen = instance_noise(fakes, given["generator_instance"], given["instance_noise"])
        adversarial = generator_loss(self.discriminator(seen))
        information = information_bound(given["noise"], self.reconstructor(seen))
        kl = gaussian_kl(mean, logvar)
        loss = adversarial - information + self.beta * kl
        return loss, {"loss": loss, "generator": adversarial, "information": information, "kl": kl}

    def encode(self, images: Tensor) -> Tensor:
        return self.representation(self.reconstructor(images))[0]

    def decode(self, codes: Tensor) -> Tensor:
        return self.generator(codes)

    @torch.no_grad()
    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """`code_variance`: of each dimension of the representation; published scores leave out those below 0.05.

        `bottleneck` in nats, whole and `kl_per_dimension`, is the bottleneck's KL over as many draws of noise as there
        are images. Of the pictures drawn for them: `information` as in training, `sharpness` relative to the images,
        and the signs of collapse.
        """
        n = len(images)
        noise = standard_normal(n, self.noise_dims, generator)
        mean, logvar = self.representation(noise)
        codes = posterior_sample(mean, logvar, standard_normal(n, self.code_dims, generator))
        pictures = self.generator(codes)
        kl = kl_per_dimension(mean, logvar)
        return {
            "code_variance": self.encode(images).var(0, unbiased=False).tolist(),
            "kl_per_dimension": kl.tolist(),
            "bottleneck": kl.sum().item(),
            "information": information_bound(noise, self.reconstructor(pictures)).item(),
            "sharpness": relative_sharpness(pictures, images),
            **image_signs(pictures, images),
        }
