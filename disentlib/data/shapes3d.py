"""Shapes3D (Burgess and Kim 2018): a solid in a room, six factors, 480 000 images 64×64; offline, its twin is drawn."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disentlib.data import files
from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, MissingData
from disentlib.data.grid import FactorGrid
from disentlib.data.room_renderer import GRID, load_rendered
from disentlib.data.stored import UNREADABLE, Stored

__all__ = ["ADDRESS", "FILE", "GRID", "MD5", "URL", "load_real", "load_rendered", "read"]

FILE = "3dshapes.h5"
ADDRESS = "https://github.com/google-deepmind/3d-shapes"
URL = f"https://storage.googleapis.com/3d-shapes/{FILE}"
MD5 = "md5:099a2078d58cec4daad0702c55d06868"
_NATIVE = (64, 64, 3)
_CACHE = 64 << 20  # bytes of unpacked chunks that HDF5 keeps: several rows of a batch may lie in one chunk


def load_real(root: Path | None, image_size: int | None = None, download: bool = False) -> Dataset:
    """The published Shapes3D, `3dshapes.h5` in `root` or `root/shapes3d`: images `[3, s, s]`, s = `image_size` or 64.

    Images stay on the disk as they are, uint8, and are read when asked for; only the labels, which must be the grid in
    order, are read whole. Other sizes are area means where they divide 64, else antialiased bilinear. Needs h5py.
    `download` fetches a missing file into `root/shapes3d`. Raises MissingData, or DataError for a file that is not as
    published.
    """
    return read(_find(root, download), image_size or _NATIVE[0])


def read(path: Path, image_size: int, grid: FactorGrid = GRID) -> Dataset:
    """As `load_real`, for one file in the published format over `grid`."""
    try:
        _check_order(_array(path, "labels", (len(grid), len(grid.sizes)), np.float64)[:], grid)
        _array(path, "images", (len(grid), *_NATIVE), np.uint8)
    except UNREADABLE as error:
        raise DataError(f"{path} is not the published Shapes3D file: {error}. Get it from {ADDRESS}") from error
    images = partial(_array, path, "images", (len(grid), *_NATIVE), np.uint8)
    return Dataset(
        name="shapes3d",
        source="real",
        description="Shapes3D",
        image_shape=(3, image_size, image_size),
        count=len(grid),
        fetch=Stored(images, image_size, path, ADDRESS),
        grid=grid,
    )


def _find(root: Path | None, download: bool) -> Path:
    try:
        return files.locate(root, [FILE, f"shapes3d/{FILE}"], f"Shapes3D ({FILE})", f"{URL} or pass download=True")
    except MissingData:
        if root is None or not download:
            raise
    target = root / "shapes3d" / FILE
    files.download(URL, target, MD5)
    return target


def _array(path: Path, key: str, shape: tuple[int, ...], dtype: type) -> Any:
    """The HDF5 data set `key`, open; ValueError unless it is there and of that shape and type."""
    import h5py  # here, because the twin does without

    file = h5py.File(path, "r", rdcc_nbytes=_CACHE)
    array = file.get(key)
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"expected an array {key}, found only {', '.join(map(str, file)) or 'nothing'}")
    if (array.shape, array.dtype) != (shape, np.dtype(dtype)):
        raise ValueError(f"{key}: expected {np.dtype(dtype)} {shape}, found {array.dtype} {array.shape}")
    return array


def _check_order(labels: np.ndarray, grid: FactorGrid) -> None:
    """ValueError unless every column of `labels` `[n, k]`, its values numbered from the least, is the grid's factor."""
    factors = grid.factors(torch.arange(len(grid))).numpy()
    for name, found, expected in zip(grid.names, labels.T, factors.T):
        values, numbers = np.unique(found, return_inverse=True)
        if (numbers != expected).any():
            raise ValueError(f"labels: {name} is not in the published order ({len(values)} values found)")
