"""Many seeds as one model: S models of one class and one setting, their weights stacked, their losses under `vmap`.

No arithmetic stands here. Noise, losses, order of updates and optimisers are the models' own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from disentlib.models.base import FunctionalModel, Losses, LossFunction, Model, Values, take_updates

__all__ = ["Generators", "Stack"]


class Generators:
    """One generator for each seed, saved and restored as one."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.device = device
        self.each = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def get_state(self) -> Tensor:
        return torch.stack([generator.get_state() for generator in self.each])

    def set_state(self, states: Tensor) -> None:
        for generator, state in zip(self.each, states, strict=True):
            generator.set_state(state.clone())  # of a row, torch would read the storage from its start


class Stack(Model):
    """Trains S models as one: weights `[s, …]`, images `[s, n, c, h, w]`, losses `[s]`; each seed its own generator.

    `models`: fresh models of one class whose settings differ in nothing but `seed`. They keep their weights until
    `unstack` gives them the trained ones. Adam works element by element, so that its stacked form is each model's own.
    ValueError for models that differ, that have been trained, or whose class is not a `FunctionalModel`.

    >>> from disentlib import models
    >>> stack = Stack([models.build("vae", (1, 32, 32), seed=seed) for seed in (0, 1, 2)])
    >>> stack.encode(torch.rand(3, 5, 1, 32, 32)).shape
    torch.Size([3, 5, 10])
    """

    def __init__(self, models: Sequence[Model]) -> None:
        super().__init__()
        _check_alike(models)
        first = models[0]
        self.image_shape, self.code_dims, self.loss_names = first.image_shape, first.code_dims, first.loss_names
        self.settings = first.settings and {**first.settings, "seed": [model.settings["seed"] for model in models]}
        self.models = tuple(models)  # a tuple: these are not submodules
        self._call = (_Call(first),)
        self.stacked = deepcopy(first)  # with its optimisers, which hold the copied weights
        weights = [dict(model.named_parameters()) for model in models]
        for name, weight in self.stacked.named_parameters():
            weight.data = torch.stack([each[name].data for each in weights]).contiguous()

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return self.stacked.optimisers

    def step(self, images: Tensor, generators: Generators) -> Losses:
        """One update of everything in all models → detached `[s]` by name."""
        values = take_updates(self._updates(), self.optimisers, images, self._draw(images.shape[1], generators))
        return {name: values[name] for name in self.loss_names}

    def encode(self, images: Tensor) -> Tensor:
        """Images `[s, n, c, h, w]` → representations `[s, n, code_dims]`, each model's of its own images."""
        return self._vmap(lambda model: model.encode, images)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[s, n, code_dims]` → images `[s, n, c, h, w]`."""
        return self._vmap(lambda model: model.decode, codes)

    @torch.no_grad()
    def unstack(self) -> None:
        """Give every model its weights and its optimisers' state, as if it had been trained by itself."""
        for index, model in enumerate(self.models):
            mine = dict(zip(self.stacked.parameters(), model.parameters(), strict=True))
            for stacked, own in mine.items():
                own.copy_(stacked[index])
            for name, optimiser in self.optimisers.items():
                for stacked, state in optimiser.state.items():
                    model.optimisers[name].state[mine[stacked]] = _slice(state, index, mine[stacked])

    def _draw(self, n: int, generators: Generators) -> Values:
        """Drawn outside of vmap: there, all models would share one stream of random numbers."""
        drawn = [self.models[0].draw(n, generator) for generator in generators.each]
        return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}

    def _updates(self) -> dict[str, LossFunction]:
        return {name: partial(self._vmap, _update(name)) for name in self.models[0].updates()}

    def _vmap(self, method: Callable[[Model], Callable], *arguments: object) -> object:
        """A method of the models for all at once; every tensor in the arguments and the result has a leading `s`."""
        weights = {f"model.{name}": weight for name, weight in self.stacked.named_parameters()}
        kind = next(iter(weights.values())).device.type

        def one(weights: dict[str, Tensor], *arguments: object) -> object:
            return functional_call(self._call[0], weights, (method, *arguments))

        with _Lowered(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else nullcontext():
            return torch.vmap(one)(weights, *arguments)


class _Call(nn.Module):
    """Any method as a forward pass: `functional_call` puts weights into that only."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, method: Callable[[Model], Callable], *arguments: object) -> object:
        return method(self.model)(*arguments)


class _Lowered(TorchFunctionMode):
    """Autocast for the layers of the networks, before vmap: vmap turns them into operations that autocast lets pass."""

    LAYERS = (torch.conv2d, torch.conv_transpose2d, F.linear)

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, function: Callable, types: object, arguments: tuple = (), named: dict | None = None
    ) -> object:
        if function in self.LAYERS:
            arguments = [value.to(self.dtype) if isinstance(value, Tensor) else value for value in arguments]
        return function(*arguments, **(named or {}))


def _update(name: str) -> Callable[[FunctionalModel], LossFunction]:
    return lambda model: model.updates()[name]


def _slice(state: dict[str, Tensor], index: int, own: nn.Parameter) -> dict[str, Tensor]:
    """One weight's part of a stacked optimiser's state; a tensor without axes, such as Adam's count, is everyone's.

    In the memory order of the weight: the fused Adam on a CPU walks through both side by side.
    """
    return {
        name: torch.empty_like(own).copy_(value[index]) if value.ndim else value.clone()
        for name, value in state.items()
    }


def _check_alike(models: Sequence[Model]) -> None:
    if not models:
        raise ValueError("a stack needs at least one model")
    first = models[0]
    if not isinstance(first, FunctionalModel):
        raise ValueError(f"{type(first).__name__} cannot be stacked: it is not a FunctionalModel")
    for model in models:
        if type(model) is not type(first) or model.image_shape != first.image_shape:
            raise ValueError(f"a stack holds models of one class and image shape, got {_named(first)}, {_named(model)}")
        for key in first.settings | model.settings:
            here, there = first.settings.get(key), model.settings.get(key)
            if key != "seed" and here != there:
                raise ValueError(f"stacked models differ in their seed only, got {key}: {here!r} and {there!r}")
        if any(optimiser.state for optimiser in model.optimisers.values()):
            raise ValueError("a stack is made of fresh models, got one that has been trained")
        if next(model.buffers(), None) is not None:
            raise ValueError(f"{type(model).__name__} cannot be stacked: it has buffers")


def _named(model: Model) -> str:
    return f"{type(model).__name__} {model.image_shape}"
