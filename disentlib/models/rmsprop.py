"""The optimiser of ID-GAN and IB-GAN."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["rmsprop"]


def rmsprop(parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.0) -> torch.optim.RMSprop:
    """RMSprop with α = 0.99 and ε = 1e-8, as both papers' code has it; ValueError unless 0 < lr < ∞."""
    if not 0 < lr < float("inf"):
        raise ValueError(f"a learning rate (lr) must be a positive number, got {lr!r}")
    return torch.optim.RMSprop(parameters, lr=lr, momentum=momentum)
