"""Images that stay on the disk in one large array: rows are read when asked for, never the whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disentlib.data.files import DataError, resize

__all__ = ["UNREADABLE", "Stored", "read_rows"]

UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError)  # what h5py and numpy raise for broken bytes


@dataclass
class Stored:
    """Rows of an array uint8 `[count, h, w, c]` on the disk: a `Dataset`'s `fetch`.

    `open` returns the array, such as an HDF5 data set or a memory map. It is called once in every process: a handle
    must cross neither a fork nor a pickle. A call takes int64 indices `[n]` to uint8 `[n, c, size, size]` on their
    device; DataError names the file if a row cannot be read.
    """

    open: Callable[[], Any] = field(repr=False)
    size: int  # side of the result, pixels
    path: Path  # for messages
    address: str
    _opened: tuple[int, Any] | None = field(default=None, repr=False)  # process, array

    def __call__(self, indices: Tensor) -> Tensor:
        try:
            rows = read_rows(self._array(), indices.cpu().numpy())
        except UNREADABLE as error:
            raise DataError(
                f"{self.path}: cannot read images: {error}. Replace it with the published file from {self.address}"
            ) from error
        return resize(torch.from_numpy(rows).movedim(-1, 1), self.size).contiguous().to(indices.device)

    def _array(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self.open())
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


def read_rows(array: Any, indices: np.ndarray) -> np.ndarray:
    """Rows of an array on the disk in the order asked for, each read once, in the order of the file, runs at once.

    >>> read_rows(np.arange(10) ** 2, np.array([7, 2, 3, 7]))
    array([49,  4,  9, 49])
    """
    wanted, back = np.unique(indices, return_inverse=True)
    rows = np.empty((len(wanted), *array.shape[1:]), array.dtype)
    done = 0
    for run in np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1):
        if len(run):
            rows[done : done + len(run)] = array[run[0] : run[-1] + 1]
            done += len(run)
    return rows[back]
