"""What InfoGAN, InfoGAN-CR and IDGAN-SC share: generator, discriminator with a code head, two updates, two roles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from disentlib.losses.elbo import posterior_sample
from disentlib.losses.image_gan import GENERATOR_LOSSES, discriminator_loss, generator_loss
from disentlib.losses.information import check_code_prior, code_nll, prior_sample
from disentlib.models.autoencoder import AutoencoderModel, check_weight
from disentlib.models.base import FunctionalModel, Losses, LossFunction, Model, Values, adam, take_updates
from disentlib.models.collapse import code_recovery, image_signs
from disentlib.networks import Generator, SharedDiscriminator, seeded

__all__ = ["INFORMATION_NAMES", "BETAS", "InformationGAN", "check_count"]

BETAS = (0.5, 0.999)  # Adam's, in every GAN of the two papers (reading S12)
INFORMATION_NAMES = {
    "discriminator": "−E ln D(x) − E ln(1 − D(G)) in nats; 2 ln 2 = 1.386 when it cannot tell them apart",
    "generator": "the generator's adversarial term in nats, ln 2 = 0.693 when the discriminator cannot tell",
    "code_nll": "−ln q(c|G(z, c)) in nats per image, summed over dimensions, unit variance; before the weight λ",
}


class InformationGAN(FunctionalModel):
    """The abstract shell: G, D and Q in one trunk, and a step of one D-and-Q update, then `generator_steps` of G.

    Both updates hold `λ·code_nll`, so that it trains Q's head, the trunk and G (reading S9). All updates of a step use
    one draw of codes and noise, as InfoGAN-CR's code does. Codes come from `code_prior`, or, once a stage-1
    autoencoder is adopted, from its posterior on the step's real images (IDGAN-SC paper, §2.3); noise from the prior.
    """

    loss_names = INFORMATION_NAMES
    roles = {
        "stage1": "a VAE with as many codes: its encoder is kept, frozen, and codes are samples of its posterior",
        "phase1": "an InfoGAN of equal sizes: G, D, Q and their optimisers' states; a stage-1 encoder, if it has one",
    }
    plain = False  # whether the model can be the others' phase 1: no regulariser on pairs

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int,
        noise_dims: int,
        lambda_info: float,
        code_prior: str,
        generator_loss: str,
        generator_steps: int,
        lr_generator: float,
        lr_discriminator: float,
        seed: int,
    ) -> None:
        super().__init__()
        if generator_loss not in GENERATOR_LOSSES:
            raise ValueError(f"unknown generator_loss {generator_loss!r}; known: {', '.join(GENERATOR_LOSSES)}")
        self.image_shape, self.code_dims = image_shape, check_count("code_dims", code_dims, 1)
        self.noise_dims = check_count("noise_dims", noise_dims, 0)
        self.lambda_info, self.prior = check_weight("lambda_info", lambda_info), check_code_prior(code_prior)
        self.form, self.generator_steps = generator_loss, check_count("generator_steps", generator_steps, 1)
        self.generator = seeded(Generator, image_shape, code_dims + noise_dims, seed=seed)
        self.discriminator = seeded(SharedDiscriminator, image_shape, code_dims, seed=seed + 1)
        self.register_module("stage1", None)
        self._optimisers = {
            "discriminator": adam(self.discriminator.parameters(), lr_discriminator, BETAS),
            "generator": adam(self.generator.parameters(), lr_generator, BETAS),
        }

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return self._optimisers

    @property
    def networks(self) -> list[nn.Module]:
        return [self.generator, self.discriminator, *([self.stage1] if self.stage1 is not None else [])]

    def train(self, mode: bool = True) -> InformationGAN:
        super().train(mode)
        if self.stage1 is not None:
            self.stage1.eval()
        return self

    # ---- one step ---------------------------------------------------------------------------------------------------

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        given, updates = self.draw(len(images), generator), self.updates()
        for name, loss_function in updates.items():
            for _ in range(self.generator_steps if name == "generator" else 1):
                given = take_updates({name: loss_function}, self.optimisers, images, given)
        return {name: given[name] for name in self.loss_names}

    def draw(self, n: int, generator: torch.Generator) -> Values:
        codes = prior_sample(self.prior, n, self.code_dims, generator)
        return {"code_draw": codes, "noise": prior_sample(self.prior, n, self.noise_dims, generator)}

    def updates(self) -> dict[str, LossFunction]:
        return {"discriminator": self.discriminator_loss, "generator": self.generator_loss}

    def discriminator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """`−E ln D(x) − E ln(1 − D(G)) + λ·code_nll`; and the step's codes, for the updates that follow."""
        values = self.code_values(images, given)
        fakes = self.render(values["codes"], given["noise"])
        logits, means = self.discriminator(torch.cat([images, fakes]))
        adversarial = discriminator_loss(*logits.chunk(2))
        nll = code_nll(values["codes"], means.chunk(2)[1])
        return adversarial + self.lambda_info * nll, values | {"discriminator": adversarial, "code_nll": nll}

    def generator_loss(self, images: Tensor, given: Values) -> tuple[Tensor, Values]:
        """`−E ln D(G) + λ·code_nll` (or the saturating form, reading S10), through a frozen discriminator."""
        logits, means = self.discriminator(self.render(given["codes"], given["noise"]))
        adversarial, nll = generator_loss(logits, self.form), code_nll(given["codes"], means)
        return adversarial + self.lambda_info * nll, {"generator": adversarial, "code_nll": nll}

    def code_values(self, images: Tensor, given: Values) -> Values:
        """The step's codes `[n, d]`: the prior's draw, or samples of the frozen posterior, with its parameters."""
        if self.stage1 is None:
            return {"codes": given["code_draw"]}
        mean, logvar = self.stage1(images)
        codes = posterior_sample(mean, logvar, given["code_draw"])
        return {"codes": codes, "posterior_mean": mean, "posterior_logvar": logvar}

    def render(self, codes: Tensor, noise: Tensor) -> Tensor:
        """Codes `[n, d]` and noise `[n, noise_dims]` → images float32 `[n, c, h, w]` in [0, 1], in the current mode."""
        return torch.sigmoid(self.generator(torch.cat([codes, noise], dim=1)).float())

    # ---- a finished model -------------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> Tensor:
        """Q's mean on real images, `[n, code_dims]` (reading S16), in evaluation mode whatever the model's is."""
        with evaluating(self.discriminator):
            return self.discriminator(images)[1]

    def generate(self, codes: Tensor, noise: Tensor) -> Tensor:
        """Codes `[n, code_dims]`, noise `[n, noise_dims]` → images `[n, c, h, w]` in [0, 1], in evaluation mode."""
        with evaluating(self.generator):
            return self.render(codes, noise)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[n, code_dims]` → images with all noise at 0, the middle of its prior."""
        return self.generate(codes, codes.new_zeros(len(codes), self.noise_dims))

    @torch.no_grad()
    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """Signs of collapse, and `code_recovery`: R² of each code read by Q from generated images."""
        given = self.draw(len(images), generator)
        codes = self.code_values(images, given)["codes"]
        generated = self.generate(codes, given["noise"])
        return image_signs(generated, images) | {"code_recovery": code_recovery(self.encode(generated), codes)}

    # ---- what it builds on ------------------------------------------------------------------------------------------

    def accepts(self, role: str, parent: Model) -> None:
        super().accepts(role, parent)
        if role == "stage1":
            self._accepts_stage1(parent)
        else:
            self._accepts_phase1(parent)

    def adopt(self, role: str, parent: Model) -> None:
        self.accepts(role, parent)
        if role == "stage1":
            self._keep(parent.autoencoder.encoder)
            return
        for name in ("generator", "discriminator"):
            network, optimiser = getattr(self, name), self.optimisers[name]
            network.load_state_dict(getattr(parent, name).state_dict())
            network.to(memory_format=torch.channels_last)
            take_state(optimiser, parent.optimisers[name])
        if parent.stage1 is not None and self.stage1 is None:
            self._keep(parent.stage1)

    def _keep(self, encoder: nn.Module) -> None:
        device = next(self.parameters()).device
        self.stage1 = deepcopy(encoder).requires_grad_(False).eval().to(device)

    def _accepts_stage1(self, parent: Model) -> None:
        if not isinstance(parent, AutoencoderModel):
            raise ValueError(f"stage 1 is a model of the VAE family, got {type(parent).__name__}")
        self._fits("stage1", parent, "image_shape", "code_dims")
        if self.prior != "gaussian":
            raise ValueError(f"a VAE's codes are Gaussian: stage1 needs code_prior='gaussian', got {self.prior!r}")

    def _accepts_phase1(self, parent: Model) -> None:
        if not isinstance(parent, InformationGAN) or not parent.plain:
            raise ValueError(f"phase 1 is an InfoGAN, got {type(parent).__name__}")
        self._fits("phase1", parent, "image_shape", "code_dims", "noise_dims", "prior")

    def _fits(self, role: str, parent: Model, *names: str) -> None:
        for name in names:
            there, here = getattr(parent, name), getattr(self, name)
            if there != here:
                raise ValueError(f"{role} must have the same {name} as the model: {here!r} here, {there!r} there")


def take_state(optimiser: torch.optim.Optimizer, parent: torch.optim.Optimizer) -> None:
    """Adam's moments and counts as `parent` has them, weight for weight; learning rates stay this optimiser's own.

    Each tensor gets the memory order of its weight, because the fused Adam walks through both side by side. The
    training loop orders weights channels last, so that `adopt` orders them so before.
    """
    weights, theirs = ([p for g in o.param_groups for p in g["params"]] for o in (optimiser, parent))
    for weight, other in zip(weights, theirs, strict=True):
        optimiser.state[weight] = {
            key: torch.empty_like(weight).copy_(value) if value.ndim else value.clone()
            for key, value in parent.state.get(other, {}).items()
        }


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside, the network is in evaluation mode: batch norm and spectral norm neither use nor change their batch."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def check_count(name: str, value: int, least: int) -> int:
    """`value` if it is a whole number of at least `least`, else ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < math.inf:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value
