"""What every model offers: one update step, `encode`, `decode`, and the optimisers that a checkpoint must hold.

How a step is made of pure loss functions stands here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["FunctionalModel", "LossFunction", "Losses", "Model", "Values", "adam", "step_optimiser", "take_updates"]

Losses = dict[str, Tensor]
Values = dict[str, Tensor]  # by name: what a step has drawn and computed so far
LossFunction = Callable[[Tensor, Values], tuple[Tensor, Values]]


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
    roles: dict[str, str] = {}  # the finished runs that the model can build on: role → what it takes from that run

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

    def accepts(self, role: str, parent: Model) -> None:
        """ValueError unless `parent`, trained or not, is a model that can stand in this role."""
        if role not in self.roles:
            known = ", ".join(self.roles) or "none"
            raise ValueError(f"{type(self).__name__} builds on no run in the role {role!r}; known roles: {known}")

    def adopt(self, role: str, parent: Model) -> None:
        """Take over from a finished model, before the first step: weights, optimisers' states, or the whole frozen.

        ValueError for an unknown role or a parent that does not fit.
        """
        self.accepts(role, parent)

    def measure(self, images: Tensor, generator: torch.Generator) -> dict[str, float | list[float]]:
        """What else is worth recording of a trained model in evaluation mode, such as signs of collapse.

        `images`: float32 `[n, c, h, w]` in [0, 1], none of them needed for anything but comparison.
        """
        return {}


class FunctionalModel(Model):
    """A model whose step is a sequence of updates, each on a pure loss function.

    All noise of a step is drawn by `draw`, so that the loss functions draw nothing.
    """

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Values:
        """All noise of one step on `n` images, by name, in the order in which the paper draws it."""

    @abstractmethod
    def updates(self) -> dict[str, LossFunction]:
        """The updates of one step in their order: the optimiser's name → `loss(images, given)` → (loss, values).

        `given` holds the noise and, detached, the values of the updates before; the values hold all of `loss_names`.
        """

    def step(self, images: Tensor, generator: torch.Generator) -> Losses:
        values = take_updates(self.updates(), self.optimisers, images, self.draw(len(images), generator))
        return {name: values[name] for name in self.loss_names}


def take_updates(
    updates: dict[str, LossFunction], optimisers: dict[str, torch.optim.Optimizer], images: Tensor, given: Values
) -> Values:
    """Take `updates` in their order, each moving its own optimiser's weights; `given` and all values, detached."""
    for name, loss_function in updates.items():
        with _frozen([p for other, o in optimisers.items() if other != name for p in _weights(o)]):
            loss, values = loss_function(images, given)
        step_optimiser(optimisers[name], loss)
        given = given | {key: value.detach() for key, value in values.items()}
    return given


def _weights(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"]]


@contextmanager
def _frozen(weights: list[nn.Parameter]) -> Iterator[None]:
    """Inside, a forward pass gives these weights no gradient, and the backward pass spends no time on one."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


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
