"""What all direction methods share: one frozen Glow, latents shifted along directions, and an encoder of its images.

Latents are whitened (`eps`) and flat here, `[n, total]`: all levels side by side, the top level last, so that directions
in the top level (reading D2) act on the last numbers, and directions in all levels on all of them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentlib.losses.variation import cosines, effective_rank, shift_amounts, variation, visible_directions
from disentlib.models.base import FunctionalModel, Losses, Model, Values
from disentlib.networks import DiscoEncoder, seeded
from disentlib.networks.navigation import check_directions

__all__ = ["BASE_NAMES", "LEVELS", "BaseImages", "DirectionModel", "Flow", "FrozenFlow", "Pairs", "check_count"]

LEVELS = ("top", "all")
REFERENCE_DIMS = 128  # of the latents for which LD set its shifts (reading D4)
CHUNK = 64  # images that are decoded at once outside of a step
MEASURED_BASES = 16
BASE_NAMES = {
    "image_change": "mean |G(shifted) − G(base)| over pixels and finite pairs, in units of the range [0, 1]",
    "non_finite": "pairs of this step whose decoded images were not finite; they count in no loss",
}


@runtime_checkable
class Flow(Protocol):
    """What the methods need of a Glow; its latents are lists of whitened `eps`, one a level, the top level last."""

    image_shape: tuple[int, int, int]
    level_shapes: Sequence[tuple[int, ...]]
    top_dims: int

    def eps(self, images: Tensor) -> list[Tensor]: ...
    def from_eps(self, eps: list[Tensor]) -> Tensor: ...
    def sample_eps(self, n: int, temperature: float, generator: torch.Generator) -> list[Tensor]: ...
    def top_linear(self) -> Tensor: ...
    def top_activation(self, top: Tensor, rest: list[Tensor]) -> Tensor: ...


class Pairs(NamedTuple):
    """Base and shifted images, each `[n, c, h, w]`, and which pairs are finite, float `[n]` in {0, 1}."""

    base: Tensor
    shifted: Tensor
    valid: Tensor

    def values(self) -> Values:
        """What `BASE_NAMES` reports of them, detached."""
        change = (self.shifted - self.base).detach().abs().mean((1, 2, 3))
        mean = (change * self.valid).sum() / self.valid.sum().clamp(min=1)
        return {"image_change": mean, "non_finite": (1 - self.valid).sum()}


class FrozenFlow(nn.Module):
    """A Glow that never changes, on flat latents; its own copy, in evaluation mode and without gradients of weights."""

    def __init__(self, flow: Model, level: str) -> None:
        super().__init__()
        self.flow = deepcopy(flow).requires_grad_(False).eval()
        self.total = sum(math.prod(shape) for shape in flow.level_shapes)
        self.dims = active_dims(flow, level)  # a: the numbers that directions act on
        self.strength = math.sqrt(self.dims / REFERENCE_DIMS)

    def train(self, mode: bool = True) -> FrozenFlow:
        return super().train(False)

    @property
    def device(self) -> torch.device:
        return next(self.flow.parameters()).device

    def sample(self, n: int, temperature: float, generator: torch.Generator) -> Tensor:
        """Latents `[n, total]` of the prior, their standard deviation `temperature`."""
        return flat(self.flow.sample_eps(n, temperature, generator))

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """The exact latents `[n, total]` of images `[n, c, h, w]`."""
        return flat(self.flow.eps(images)).float()

    def images(self, latents: Tensor) -> Tensor:
        """Images float32 `[n, c, h, w]` in [0, 1] of latents `[n, total]`; gradients flow to the latents."""
        shapes = [tuple(shape) for shape in self.flow.level_shapes]
        parts = latents.split([math.prod(shape) for shape in shapes], dim=1)
        return self.flow.from_eps([part.unflatten(1, shape) for part, shape in zip(parts, shapes)]).float()

    def active(self, latents: Tensor) -> Tensor:
        """The part `[n, a]` of latents `[n, total]` that directions act on."""
        return latents[:, self.total - self.dims :]

    def placed(self, active: Tensor) -> Tensor:
        """Latents `[n, total]` with this active part `[n, a]` and zeros elsewhere."""
        return F.pad(active, (self.total - self.dims, 0))

    def pairs(self, latents: Tensor, base: Tensor, shifts: Tensor) -> Pairs:
        """Base images with latents `[n, total]`, and those shifted by `[n, a]`.

        A pair that is not finite becomes two equal finite images with the weight 0, and sends no gradient back.
        """
        shifted = latents + self.placed(shifts)
        if shifted.requires_grad:
            shifted.register_hook(lambda gradient: torch.nan_to_num(gradient, 0.0, 0.0, 0.0))
        pictures = self.images(shifted)
        valid = _finite(base) & _finite(pictures)
        chosen = valid[:, None, None, None]
        base = torch.where(_finite(base)[:, None, None, None], base, 0.0)
        return Pairs(base, torch.where(chosen, pictures, base), valid.float())


class BaseImages:
    """Where the base images of a step come from; they depend on nothing that is trained.

    Fresh samples of the flow; or, with `cached_bases`, a pool of `bases` samples decoded once and again every `refresh`
    steps (0: never), a function of seed and step alone, so that a resumed run sees the same. With `real_bases` every
    second one is an image of the step's batch, whose latent is exact and costs no decoding.
    `literal`: fresh samples, decoded with a graph, as published code does it.
    """

    def __init__(
        self,
        temperature: float,
        cached_bases: bool = False,
        bases: int = 2048,
        refresh: int = 1000,
        real_bases: bool = False,
        literal: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be a positive number, got {temperature!r}")
        check_count("bases", bases)
        check_count("refresh", refresh, least=0)
        self.temperature, self.cached, self.size, self.refresh = (
            temperature,
            cached_bases and not literal,
            bases,
            refresh,
        )
        self.real, self.literal, self.seed = real_bases and not literal, literal, seed
        self._pool: tuple[tuple, Tensor, Tensor] | None = None

    def draw(self, frozen: FrozenFlow, n: int, batch: int, generator: torch.Generator) -> Values:
        """What `take` needs for `n` base images in a step on `batch` images, each `[n, …]`."""
        given = {}
        if self.real:
            given["real_rows"] = torch.randint(batch, (n,), generator=generator, device=generator.device)
        if self.cached:
            given["rows"] = torch.randint(self.size, (n,), generator=generator, device=generator.device)
        else:
            given["latents"] = frozen.sample(n, self.temperature, generator)
        return given

    def take(self, frozen: FrozenFlow, images: Tensor, given: Values, step: int) -> tuple[Tensor, Tensor]:
        """Latents `[n, total]` and their images `[n, c, h, w]`; `images` are the step's batch."""
        if self.cached:
            latents, pictures = (part[given["rows"]] for part in self._pool_of(frozen, step))
        else:
            latents = given["latents"].requires_grad_(self.literal)
            with torch.set_grad_enabled(self.literal):
                pictures = frozen.images(latents)
        if not self.real:
            return latents, pictures
        rows, half = given["real_rows"], torch.arange(len(latents), device=latents.device) % 2 == 0
        exact = frozen.latents(images)[rows]
        return (
            torch.where(half[:, None], exact, latents),
            torch.where(half[:, None, None, None], images[rows], pictures),
        )

    def _pool_of(self, frozen: FrozenFlow, step: int) -> tuple[Tensor, Tensor]:
        edition = step // self.refresh if self.refresh else 0
        key = (edition, frozen.device)
        if self._pool is None or self._pool[0] != key:
            generator = torch.Generator(frozen.device).manual_seed(self.seed * 1_000_003 + edition)
            latents = frozen.sample(self.size, self.temperature, generator)
            self._pool = (key, latents, in_chunks(frozen.images, latents))
        return self._pool[1:]


class DirectionModel(FunctionalModel):
    """The abstract shell of the direction methods: the frozen Glow, the encoder that is scored, and the diagnostics.

    It takes its first step after `adopt("glow", …)`; everything that depends on the Glow's size is made there. Directions
    are found on the device that the Glow is on. A concrete model adds `directions`, `prepare`, `draw` and `updates`.
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
        if not isinstance(parent, Flow):
            raise ValueError(f"{type(self).__name__} finds directions in a Glow, got {type(parent).__name__}")
        if tuple(parent.image_shape) != tuple(self.image_shape):
            raise ValueError(f"the Glow is for images {tuple(parent.image_shape)}, this model for {self.image_shape}")
        check_directions(self.count, active_dims(parent, self.level))

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
        """`Aᵀ·eps(x)`, float32 `[n, D]`: the coordinates along the directions, as only a flow knows them (reading D10)."""
        frozen = self.adopted()
        return frozen.active(frozen.latents(images)) @ self.directions()

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
        along the same and along different directions, `flipped_fraction` the share of the latter above T.
        """
        latents = self.adopted().sample(MEASURED_BASES, self.bases.temperature, generator)
        base = in_chunks(self.frozen.images, latents)
        probes = [self._probe(k, latents, base) for k in range(self.count)]
        change, variations, named, valid = (torch.stack(part) for part in zip(*probes))
        measured = {"image_change": change.tolist(), "visible_directions": float(visible_directions(change))}
        measured |= collapse_signs(variations, self.threshold) | {"non_finite": (1 - valid).sum().item()}
        return measured | ({} if self.reconstructor is None else {"reconstructor_accuracy": named.mean().item()})

    def _probe(self, k: int, latents: Tensor, base: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of direction k: its mean image change, variations `[m, d]`, whether R names it, and which pairs are finite."""
        shift = 0.5 * self.shift_scale * self.frozen.strength * self.directions()[:, k]
        pairs = self.frozen.pairs(latents, base, shift.expand(len(latents), -1))
        variations = variation(self.encode(pairs.base), self.encode(pairs.shifted))
        named = torch.zeros(()) if self.reconstructor is None else self.reconstructor(*pairs[:2])[0].argmax(1) == k
        return pairs.values()["image_change"], variations, named.float(), pairs.valid


def collapse_signs(variations: Tensor, threshold: float) -> dict[str, float]:
    """Mean cosines within and between directions, the share above T, effective rank; variations `[D, m, d]`."""
    count, bases, _ = variations.shape
    everything = variations.flatten(0, 1)
    similarity = cosines(everything, everything)
    owner = torch.arange(count, device=variations.device).repeat_interleave(bases)
    same = owner[:, None] == owner
    positive = similarity[same & ~torch.eye(len(owner), dtype=torch.bool, device=owner.device)]
    negative = similarity[~same]
    signs = {"positive_cosine": positive.mean(), "effective_rank": effective_rank(everything)}
    if count > 1:
        signs |= {"negative_cosine": negative.mean(), "flipped_fraction": (negative > threshold).float().mean()}
    return {name: value.item() for name, value in signs.items()}


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`function(rows)`, a few rows at a time and without a graph."""
    return torch.cat([function(chunk) for chunk in rows.split(CHUNK)])


def active_dims(flow: Flow, level: str) -> int:
    """a: how many numbers directions act on, in the top level or in all."""
    return flow.top_dims if level == "top" else sum(math.prod(shape) for shape in flow.level_shapes)


def flat(levels: list[Tensor]) -> Tensor:
    """The levels of `n` latents side by side, `[n, total]`."""
    return torch.cat([level.flatten(1) for level in levels], dim=1)


def check_count(name: str, value: int, least: int = 1) -> int:
    """`value` if it is a whole number of at least `least`, else ValueError that names it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def _finite(images: Tensor) -> Tensor:
    return images.isfinite().flatten(1).all(1)
