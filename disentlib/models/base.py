"""What every model offers: one update step, `encode`, `decode`, and the optimisers that a checkpoint must hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Losses", "Model", "adam", "step_optimiser"]

Losses = dict[str, Tensor]


class Model(nn.Module, ABC):
    """A composition of networks, losses and optimisers with one update of everything.

    Concrete models derive from this class only, never from one another.
    """

    image_shape: tuple[int, int, int]
    code_dims: int
    loss_names: dict[str, str]  # every name that `step` returns → what it is, with its unit
    settings: dict[
        str, object
    ] = {}  # name and hyper-parameters, written by `models.build`; checkpoints and records quote them

    @property
    @abstractmethod
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """All optimisers by name: their state belongs into a checkpoint."""

    @property
    def networks(self) -> list[nn.Module]:
        """The modules whose forward passes are the work of a step: what torch.compile is applied to."""
        return list(self.children())

    @abstractmethod
    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        """One update of everything on images float32 `[n, c, h, w]` in [0, 1] → detached scalars by name."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images float32 `[n, c, h, w]` in [0, 1] → the representation that metrics score, `[n, code_dims]`."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[n, code_dims]` → images float32 `[n, c, h, w]` in [0, 1]."""


def adam(parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    """Adam in its fused form (one kernel per update instead of one per tensor); ValueError unless 0 < lr < ∞."""
    if not 0 < lr < float("inf"):
        raise ValueError(f"a learning rate (lr) must be a positive number, got {lr!r}")
    return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)


def step_optimiser(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Zero, back-propagate, update: the gradients that an earlier loss left in these parameters are dropped."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
