"""The data sets, each *real* (the published files) or *rendered* (drawn by code); one `load` for all of them."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, MissingData
from disentlib.data.grid import FactorGrid

__all__ = ["SOURCES", "DataError", "Dataset", "FactorGrid", "MissingData", "load", "names"]

# A data set is one module of this room with `load_real(root, image_size, download)` and `load_rendered(image_size)`.
_MODULES = {
    "dsprites": "dsprites",
    "mnist": "mnist",
    "celeba": "celeba",
    "chairs": "chairs",
    "cars3d": "cars3d",
    "anime": "anime",
    "shapes3d": "shapes3d",
    "mpi3d": "mpi3d",
}
SOURCES = ("auto", "real", "rendered")


def names() -> tuple[str, ...]:
    """The data sets that `load` knows."""
    return tuple(_MODULES)


def load(
    name: str,
    source: str = "auto",
    image_size: int | None = None,
    root: str | os.PathLike | None = None,
    download: bool = False,
) -> Dataset:
    """Load a data set by name.

    `source`: "real" reads the published files below `root` (default: `$DISENTLIB_DATA`), "rendered" draws the twin,
    "auto" takes the real files if they are there and the twin otherwise; `dataset.source` says which it was.
    `image_size` in pixels (default: the set's published size). Nothing is fetched unless `download` is true.
    Raises ValueError for an unknown name, source or size, MissingData or DataError for files that are not as published.

    >>> load("dsprites", source="rendered").factor_sizes
    (3, 6, 40, 32, 32)
    """
    if name not in _MODULES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(_MODULES)}")
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; known: {', '.join(SOURCES)}")
    if image_size is not None and not (isinstance(image_size, int) and 8 <= image_size <= 512):
        raise ValueError(f"image_size must be a whole number of pixels in 8…512, got {image_size!r}")
    module = import_module(f"disentlib.data.{_MODULES[name]}")
    folder = _root(root)
    if source == "rendered":
        return module.load_rendered(image_size)
    if source == "real" or download:
        return module.load_real(folder, image_size, download)
    try:
        return module.load_real(folder, image_size, False)
    except MissingData:
        return module.load_rendered(image_size)


def _root(root: str | os.PathLike | None) -> Path | None:
    chosen = root if root is not None else os.environ.get("DISENTLIB_DATA")
    return Path(chosen).expanduser() if chosen else None
