"""MPI3D (Gondal et al. 2019): a robot arm that holds an object, seven factors, 64×64; offline, its twin is drawn.

The releases differ in size: 1 036 800 images have 6 colours and 6 shapes, 460 800 have 4 and 4 (reading D16). A loader
that takes one for the other gives most images wrong factors without an error, so the grid follows from the count.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from disentlib.data import files
from disentlib.data.arm_renderer import load_rendered
from disentlib.data.arm_scene import GRID, NAMES, NOMINAL
from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, MissingData
from disentlib.data.grid import FactorGrid
from disentlib.data.npz import locate_array
from disentlib.data.stored import Stored

__all__ = ["ADDRESS", "GRID", "GRIDS", "VARIANTS", "load_real", "load_rendered", "read"]

ADDRESS = "https://huggingface.co/datasets/waleedgondal/mpi3d"
# Checksums of `mpi3d_<variant>.npz`; that of the real photographs is open, since they were published anew.
VARIANTS = {
    "toy": "md5:55889cb7c7dfc655d6e0277beee88868",
    "realistic": "md5:59a6225b88b635365f70c91b3e52f70f",
    "real": None,
}
GRIDS = {len(grid): grid for grid in (GRID, FactorGrid(NAMES, (4, 4, 2, 3, 3, 40, 40), nominal=NOMINAL))}  # by count
_NATIVE = (64, 64, 3)


def load_real(
    root: Path | None, image_size: int | None = None, download: bool = False, variant: str = "toy"
) -> Dataset:
    """The published MPI3D below `root`: images `[3, s, s]`, s = `image_size` (64 if None).

    `variant`: "toy" (simple renderings), "realistic" (renderings) or "real" (photographs), from `mpi3d_<variant>.npz`
    in `root` or `root/mpi3d`. Images stay on the disk and are read when asked for. A compressed npz is first unpacked
    beside itself, once, which takes 13 GB. The grid follows from the number of images. Other sizes are area means
    where they divide 64, else antialiased bilinear. `download` fetches a missing file into `root/mpi3d`. Raises
    ValueError for an unknown variant, MissingData, or DataError for a file that is not as published.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of MPI3D; known: {', '.join(VARIANTS)}")
    return read(_find(root, download, variant), image_size or _NATIVE[0], variant)


def read(path: Path, image_size: int, variant: str) -> Dataset:
    """As `load_real`, for one file."""
    try:
        array = locate_array(path, "images", _grid)
        grid = _grid(array.shape, array.dtype)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} is not usable as the published MPI3D file: {error}. Get it from {ADDRESS}") from error
    return Dataset(
        name="mpi3d",
        source="real",
        description=f"MPI3D {variant}, {grid.sizes[0]} colours and {grid.sizes[1]} shapes",
        image_shape=(3, image_size, image_size),
        count=len(grid),
        fetch=Stored(array.open, image_size, path, ADDRESS),
        grid=grid,
    )


def _grid(shape: tuple[int, ...], dtype: np.dtype) -> FactorGrid:
    """The factor grid of an array of so many images; ValueError if no release is like it."""
    if shape[:1] not in [(n,) for n in GRIDS] or (shape[1:], dtype) != (_NATIVE, np.dtype(np.uint8)):
        wanted = " or ".join(f"{n} ({g.sizes[0]} colours × {g.sizes[1]} shapes × …)" for n, g in GRIDS.items())
        raise ValueError(f"images: expected uint8 (n, 64, 64, 3), n = {wanted}; found {dtype} {shape}")
    return GRIDS[shape[0]]


def _find(root: Path | None, download: bool, variant: str) -> Path:
    name = f"mpi3d_{variant}.npz"
    try:
        return files.locate(root, [name, f"mpi3d/{name}"], f"MPI3D ({name})", f"{ADDRESS} or pass download=True")
    except MissingData:
        if root is None or not download:
            raise
    target = root / "mpi3d" / name
    files.download(f"{ADDRESS}/resolve/main/{name}", target, VARIANTS[variant])
    return target
