"""Arithmetic that every processor rounds alike, so that drawn pictures are the same bits everywhere."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["square_root"]


def square_root(x: Tensor) -> Tensor:
    """The square root of float32 `x`, the float32 closest to it. NaN below 0.

    On a CPU, `torch.sqrt` asks a library (MKL) that is off by one unit in the last place now and then, on some
    processors and not on others. NumPy uses the processor's own instruction, which IEEE 754 wants exact, as is CUDA's.

    >>> square_root(torch.tensor([2.0, 9.0]))
    tensor([1.4142, 3.0000])
    """
    if x.device.type != "cpu":
        return x.sqrt()
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.asarray(np.sqrt(x.numpy())))
