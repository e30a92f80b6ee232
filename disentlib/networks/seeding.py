"""Initial weights that depend on a seed and on nothing else."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["seeded"]


def seeded(build: type[nn.Module], *arguments: object, seed: int) -> nn.Module:
    """`build(*arguments)` with its initial weights drawn from `seed`, leaving torch's global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(*arguments)
