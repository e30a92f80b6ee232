"""The shell of the direction methods: one frozen Glow, directions in its latent space, an encoder of its images."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from disentlib.losses.variation import (
    cosines,
    effective_rank,
    masked_mean,
    shift_amounts,
    variation,
    visible_directions,
)
from disentlib.models.base import FunctionalModel, Losses, Model, Values
from disentlib.models.frozen_flow import LEVELS, BaseImages, FlowModel, FrozenFlow, active_dims, in_chunks
from disentlib.networks import DiscoEncoder, seeded
from disentlib.networks.navigation import check_directions

__all__ = ["DirectionModel", "collapse_signs"]

MEASURED_BASES = 16


class DirectionModel(FunctionalModel):
    """The abstract shell of the direction methods: the frozen Glow, the encoder that is scored, and the diagnostics.

    It takes its first step after `adopt("glow", …)`, where everything is made that depends on the Glow's size.
    Directions are found on the device that the Glow is on. A concrete model adds `directions`, `prepare`, `draw` and
    `updates`.
    """

    roles = {"glow": "a finished Glow, which stays frozen: the directions lie in its latent space"}
    threshold = 0.95  # T, for the diagnostics of models that have none of their own

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_dims: int,
        directions: int,
        level: str,
        shift_scale: float,
        bases: BaseImages,
        encoder_width: int,
        lr: float,
        seed: int,
    ) -> None:
        super().__init__()
        check_directions(directions)
        if level not in LEVELS:
            raise ValueError(f"unknown level {level!r}; known: {', '.join(LEVELS)}")
        if not 0 < shift_scale < math.inf:
            raise ValueError(f"shift_scale must be a positive number, got {shift_scale!r}")
        if not 0 < lr < math.inf:
            raise ValueError(f"a learning rate (lr) must be a positive number, got {lr!r}")
        self.image_shape, self.code_dims, self.count = image_shape, code_dims, directions
        self.level, self.shift_scale, self.bases, self.lr, self.seed = level, shift_scale, bases, lr, seed
        self.encoder = seeded(DiscoEncoder, image_shape, code_dims, encoder_width, seed=seed)
        self.register_module("frozen", None)
        self.register_module("reconstructor", None)
        self._optimisers: dict[str, torch.optim.Optimizer] = {}
        self.steps_taken = 0  # a number on the host: what depends on it costs no wait for the device

    def accepts(self, role: str, parent: Model) -> None:
        super().accepts(role, parent)
        if not isinstance(parent, FlowModel):
            raise ValueError(f"{type(self).__name__} finds directions in a Glow, got {type(parent).__name__}")
        if tuple(parent.image_shape) != tuple(self.image_shape):
            raise ValueError(f"the Glow is for images {tuple(parent.image_shape)}, this model for {self.image_shape}")
        free = getattr(self, "columns", None) == "unit"  # unit columns may be more than there are dimensions
        check_directions(self.count, None if free else active_dims(parent, self.level))

    def adopt(self, role: str, parent: Model) -> None:
        super().adopt(role, parent)
        self.frozen = FrozenFlow(parent, self.level)
        self._optimisers = self.prepare(self.frozen)

    @abstractmethod
    def prepare(self, frozen: FrozenFlow) -> dict[str, torch.optim.Optimizer]:
        """Make what depends on the Glow, such as the directions; the optimisers by name."""

    @abstractmethod
    def directions(self) -> Tensor:
        """The directions as columns, float32 `[a, D]`, in the whitened latent of the chosen level."""

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return self._optimisers

    @property
    def networks(self) -> list[nn.Module]:
        return [network for network in (self.encoder, self.reconstructor) if network is not None]

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.steps_taken)

    def set_extra_state(self, state: Tensor) -> None:
        self.steps_taken = int(state)

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        self.adopted()
        losses = super().step(images, generator)
        self.steps_taken += 1
        return losses

    def adopted(self) -> FrozenFlow:
        """The frozen Glow; ValueError before there is one."""
        if self.frozen is None:
            raise ValueError(f"{type(self).__name__} needs a finished Glow first: adopt('glow', …)")
        return self.frozen

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images).float()

    def exact_codes(self, images: Tensor) -> Tensor:
        """`Aᵀ·eps(x)`, float32 `[n, D]`: coordinates along the directions, as only a flow knows them (reading D10)."""
        return self.adopted().coordinates(self.frozen.latents(images), self.directions())

    def decode(self, codes: Tensor) -> Tensor:
        """Coordinates along the directions `[n, D]` → images; what they do not say of the latent is 0.

        ValueError for codes of another size, as E's are where `code_dims` is not the number of directions.
        """
        if codes.shape[1] != self.count:
            raise ValueError(f"decode takes one number for each of the {self.count} directions, got {codes.shape[1]}")
        frozen = self.adopted()
        return frozen.images(frozen.placed(codes @ self.directions().T)).clamp(0, 1)

    def draw_pairs(self, directions: Tensor, batch: int, generator: torch.Generator) -> Values:
        """The noise of one pair for each of `directions` `[n]`, all `[n, …]`: their shifts ε and their bases."""
        uniform = torch.rand(len(directions), generator=generator, device=generator.device)
        given = {"directions": directions, "amounts": shift_amounts(uniform, self.shift_scale)}
        return given | self.bases.draw(self.adopted(), len(directions), batch, generator)

    def shifts(self, matrix: Tensor, given: Values) -> Tensor:
        """The shifts `ε·√(a/128)·A_k` of the drawn pairs, `[n, a]` (reading D4)."""
        return self.adopted().strength * given["amounts"][:, None] * matrix.T[given["directions"]]

    @torch.no_grad()
    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """How much each direction changes an image at half the largest shift, and the signs of collapse.

        `visible_directions` change at least one grey level in the mean over pixels. The cosines are those of variations
        along the same and along different directions, `flipped_fraction` the share of the latter above T. Pairs that
        are not finite are counted in `non_finite`, and in nothing else.
        """
        latents = self.adopted().sample(MEASURED_BASES, self.bases.temperature, generator)
        base = in_chunks(self.frozen.images, latents)
        probes = [self._probe(k, latents, base) for k in range(self.count)]
        change, variations, named, valid = (torch.stack(part) for part in zip(*probes))
        measured = {"image_change": change.tolist(), "visible_directions": float(visible_directions(change))}
        measured |= collapse_signs(variations, self.threshold, valid) | {"non_finite": (1 - valid).sum().item()}
        if self.reconstructor is not None:
            measured["reconstructor_accuracy"] = masked_mean(named, valid).item()
        return measured

    def _probe(self, k: int, latents: Tensor, base: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of direction k: its mean image change, variations `[m, d]`, if R names it, and which pairs are finite."""
        shift = 0.5 * self.shift_scale * self.frozen.strength * self.directions()[:, k]
        pairs = self.frozen.pairs(latents, base, shift.expand(len(latents), -1))
        variations = variation(self.encode(pairs.base), self.encode(pairs.shifted))
        named = torch.zeros(()) if self.reconstructor is None else self.reconstructor(*pairs[:2])[0].argmax(1) == k
        return pairs.values()["image_change"], variations, named.float(), pairs.valid


def collapse_signs(variations: Tensor, threshold: float, valid: Tensor | None = None) -> dict[str, float]:
    """Mean cosines within and between directions, the share above T, effective rank; variations `[D, m, d]`.

    `valid` `[D, m]` in {0, 1} tells which variations count. A mean over nothing is left out.
    """
    count, bases, _ = variations.shape
    counted = torch.ones(count * bases, dtype=torch.bool) if valid is None else valid.flatten().bool()
    counted = counted.to(variations.device)
    everything = variations.flatten(0, 1)[counted]
    similarity = cosines(everything, everything)
    owner = torch.arange(count, device=variations.device).repeat_interleave(bases)[counted]
    same = owner[:, None] == owner
    positive = similarity[same & ~torch.eye(len(owner), dtype=torch.bool, device=owner.device)]
    negative = similarity[~same]
    signs = {"effective_rank": effective_rank(everything)} if len(everything) else {}
    if len(positive):
        signs |= {"positive_cosine": positive.mean()}
    if len(negative):
        signs |= {"negative_cosine": negative.mean(), "flipped_fraction": (negative > threshold).float().mean()}
    return {name: value.item() for name, value in signs.items()}
