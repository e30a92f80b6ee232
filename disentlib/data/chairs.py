"""3D Chairs: 1 393 chair models from 62 views each, 600×600; offline, chairs drawn by code stand in."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from disentlib.data import files
from disentlib.data.chair_renderer import load_rendered
from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, Pictures, locate

__all__ = ["ADDRESS", "MODELS", "VIEWS", "load_real", "load_rendered", "read"]

ADDRESS = "https://www.di.ens.fr/willow/research/seeing3Dchairs/data/rendered_chairs.tar"
MODELS, VIEWS = 1_393, 62  # a view: one of 2 elevations and 31 azimuths
_NATIVE = (600, 600)
_CROP = 450  # the chair fills the middle; the rest is white
_PLACES = ("rendered_chairs", "chairs/rendered_chairs", "rendered_chairs.tar", "chairs/rendered_chairs.tar")
# <model>/renders/image_<number>_p<elevation>_t<azimuth>_r<distance>.png
_PICTURE = re.compile(r"(?:^|/)([^/]+)/renders/image_\d+_p\d+_t\d+_r\d+\.png$")


def load_real(root: Path | None, image_size: int | None, download: bool) -> Dataset:
    """The published 3D Chairs below `root`: 86 366 images `[3, s, s]`, s = `image_size` (64 if None).

    Either `rendered_chairs.tar`, read as it is, or the folder it unpacks to, in `root` or `root/chairs`. Sorted by
    model, then view; each image is the centre square of 450×450, resized with antialiasing, decoded when asked for.
    `labels` number the models. The views are known only by file name and the shapes not at all, so there is no factor
    grid. `download` fetches the tar (gigabytes) if it is missing. Raises MissingData, or DataError for files that are
    not as published.
    """
    if download and root is not None and not any((root / place).exists() for place in _PLACES):
        files.download(ADDRESS, root / "rendered_chairs.tar")
    return read(root, image_size or 64, MODELS, VIEWS)


def read(root: Path | None, image_size: int, models: int, views: int) -> Dataset:
    """As `load_real`, for a folder or tar with `views` pictures of each of `models` chairs."""
    path = locate(root, _PLACES, "3D Chairs (rendered_chairs)", f"{ADDRESS}, or pass download=True")
    found, reader = _open_folder(path) if path.is_dir() else _open_tar(path)
    names = _order(found)
    chairs = [_model(name) for name in names]
    _check(path, chairs, models, views)
    fetch = Pictures(names, reader, _NATIVE, _CROP, image_size, path, ADDRESS)
    numbers = {chair: number for number, chair in enumerate(dict.fromkeys(chairs))}
    return Dataset(
        name="chairs",
        source="real",
        description="3D Chairs, published renderings, centre crop 450×450",
        image_shape=(3, image_size, image_size),
        count=len(names),
        fetch=fetch,
        labels=torch.tensor([numbers[chair] for chair in chairs]),
    )


def _model(name: str) -> str:
    return _PICTURE.search(name)[1]


def _order(names: Iterable[str]) -> list[str]:
    """The pictures' names by model, then view; whatever else an archive holds is left out."""
    return sorted((name for name in names if _PICTURE.search(name)), key=lambda name: (_model(name), name))


def _check(path: Path, chairs: list[str], models: int, views: int) -> None:
    """`chairs` names the model of each picture; DataError unless there are `views` of each of `models`."""
    counts = Counter(chairs)
    if len(counts) != models:
        raise DataError(
            f"{path}: expected {models} models × {views} views = {models * views} pictures, found {len(counts)} models "
            f"and {len(chairs)} pictures. Get it from {ADDRESS}"
        )
    for chair, count in counts.items():
        if count != views:
            raise DataError(f"{path}: model {chair}: expected {views} views, found {count}. Get it from {ADDRESS}")


def _open_folder(path: Path) -> tuple[Iterable[str], Callable[[str], bytes]]:
    return [file.relative_to(path).as_posix() for file in path.glob("*/renders/*.png")], partial(files.read_file, path)


def _open_tar(path: Path) -> tuple[Iterable[str], Callable[[str], bytes]]:
    spans = _index_tar(path)
    return spans, partial(_read_span, path, spans)


def _index_tar(path: Path) -> dict[str, tuple[int, int]]:
    """Where each member's bytes are, (offset, length): the archive is walked once, then read anywhere without it."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = tqdm(archive, desc=f"indexing {path.name}", unit=" files", delay=2, leave=False)
            return {member.name: (member.offset_data, member.size) for member in members if member.isfile()}
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: expected a whole uncompressed tar, found: {error}. Get it from {ADDRESS}") from error


def _read_span(path: Path, spans: dict[str, tuple[int, int]], name: str) -> bytes:
    offset, length = spans[name]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
