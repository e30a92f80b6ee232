"""Cars3D (Reed et al. 2015): 183 car models from 24 directions and 4 heights; offline, rendered cars stand in."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat
from torch import Tensor
from tqdm import tqdm

from disentlib.data import files
from disentlib.data.car_renderer import GRID, load_rendered
from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, locate

__all__ = ["ADDRESS", "CHECKSUM", "FILE", "SIZE", "load_real", "load_rendered", "read"]

FILE = "nips2015-analogy-data.tar.gz"
ADDRESS = f"http://www.scottreed.info/files/{FILE}"
CHECKSUM = "md5:4e866a7919c1beedf53964e6f7a23686"
SIZE = 128  # pixels a side of the published images
ELEVATIONS, AZIMUTHS, OBJECTS = GRID.sizes
_PLACES = (
    "data/cars",  # what the archive unpacks to
    "cars3d/data/cars",
    "cars",  # disentanglement_lib's layout
    "cars3d/cars",
    FILE,
    f"cars3d/{FILE}",
)
_WANTED = re.compile(r"(?:^|/)cars/(list\.txt|car_[^/]+_mesh\.mat)$")


def load_real(root: Path | None, image_size: int | None, download: bool) -> Dataset:
    """The published Cars3D below `root`: 17 568 images `[3, s, s]`, s = `image_size` (64 if None).

    Either `nips2015-analogy-data.tar.gz`, read as it is, or the folder `data/cars` it unpacks to, in `root` or
    `root/cars3d`. Resized with Pillow's Lanczos filter and held in memory (216 MB at 64), objects in the order of
    `list.txt`; most of a minute to read. `download` fetches and verifies the archive if it is missing. Raises
    MissingData, DataError for files that are not as published, ValueError for a size above the published 128.
    """
    if download and root is not None and not any((root / place).exists() for place in _PLACES):
        files.download(ADDRESS, root / FILE, CHECKSUM)
    return read(root, 64 if image_size is None else image_size, OBJECTS)


def read(root: Path | None, image_size: int, objects: int) -> Dataset:
    """As `load_real`, for a folder or archive with that many `objects`."""
    path = locate(root, _PLACES, "Cars3D (data/cars)", f"{ADDRESS}, or pass download=True")
    if image_size > SIZE:
        raise ValueError(f"the real Cars3D are {SIZE}×{SIZE}: image_size must be at most {SIZE}, got {image_size}")
    listed, cars = None, {}
    entries = _folder(path) if path.is_dir() else _archive(path)
    for name, raw in tqdm(entries, "Cars3D", total=objects + 1, disable=None):  # None: only at a terminal
        if name == "list.txt":
            listed = [line.strip() for line in raw.decode(errors="replace").splitlines() if line.strip()]
        else:
            cars[name.removesuffix(".mat")] = _views(path, name, raw, image_size)
    _check(path, listed, cars, objects)
    images = torch.stack([cars.pop(name) for name in listed], 2).flatten(0, 2)
    return Dataset(
        name="cars3d",
        source="real",
        description="Cars3D, published renderings",
        image_shape=(3, image_size, image_size),
        count=len(images),
        fetch=lambda indices: images[indices.cpu()].to(indices.device),
        grid=replace(GRID, sizes=(ELEVATIONS, AZIMUTHS, objects)),
    )


def _check(path: Path, listed: list[str] | None, cars: dict[str, Tensor], objects: int) -> None:
    """DataError unless there are as many cars as there should be, and `list.txt` names each of them once."""
    if len(cars) != objects:
        raise DataError(f"{path}: expected {objects} files car_*_mesh.mat, found {len(cars)}. Get them from {ADDRESS}")
    if listed is None:
        raise DataError(f"{path}: expected list.txt, which has the order of the cars. Get it from {ADDRESS}")
    if sorted(listed) != sorted(cars):
        odd = min(set(listed) ^ set(cars), default="a car that is named twice")
        raise DataError(f"{path}: list.txt and the files disagree about {odd}. Get them from {ADDRESS}")


def _views(path: Path, name: str, raw: bytes, size: int) -> Tensor:
    """One car's file → uint8 `[4 elevations, 24 azimuths, 3, size, size]`; DataError if it is not as published."""
    try:
        found = loadmat(io.BytesIO(raw), variable_names=["im"]).get("im")
        expected = (SIZE, SIZE, 3, AZIMUTHS, ELEVATIONS)
        if found is None or found.shape != expected or found.dtype != np.uint8:
            what = "none" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(f"expected an array im, uint8 {expected}, found {what}")
    # scipy reports broken bytes as many kinds of errors: what is wrong is the file, whichever it is.
    except Exception as error:
        raise DataError(
            f"{path}: cannot read {name}: {error}. Replace it with the published file from {ADDRESS}"
        ) from error
    pictures = np.ascontiguousarray(found.transpose(4, 3, 0, 1, 2)).reshape(-1, SIZE, SIZE, 3)
    small = np.stack([_shrink(picture, size) for picture in pictures])
    return torch.from_numpy(small).permute(0, 3, 1, 2).reshape(ELEVATIONS, AZIMUTHS, 3, size, size)


def _shrink(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """The folder's `list.txt` and cars as name and content."""
    for file in sorted(path.iterdir()):
        if file.is_file() and _WANTED.search(f"cars/{file.name}"):
            yield file.name, file.read_bytes()


def _archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """The same from the archive, which is read once from end to end."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isfile() and (wanted := _WANTED.search(member.name)):
                    yield wanted[1], archive.extractfile(member).read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path}: expected a whole tar.gz, found: {error}. Get it from {ADDRESS}") from error
