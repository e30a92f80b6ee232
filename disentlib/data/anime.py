"""Anime faces: a folder or zip of drawn faces, of whatever size; offline, rendered anime faces stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath

from disentlib.data import files
from disentlib.data.anime_renderer import load_rendered
from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, Pictures, locate

__all__ = ["ADDRESS", "load_real", "load_rendered"]

ADDRESS = (
    "https://www.kaggle.com/datasets/soumikrakshit/anime-faces (21 551 pictures, by hand: the uploader tags them CC0, "
    "but the drawings belong to their artists)"
)
_PLACES = ("anime", "anime-faces", "anime.zip", "anime-faces.zip")
_SUFFIXES = (".png", ".jpg", ".jpeg")


def load_real(root: Path | None, image_size: int | None, download: bool) -> Dataset:
    """Anime faces below `root`: one image `[3, s, s]` a file, s = `image_size` (64 if None).

    A folder `anime` or `anime-faces` of PNG or JPEG files, in sub-folders or not, or a zip of that name, read as it is.
    There is no canonical set, so any number and any sizes do: the largest centred square, resized with antialiasing,
    decoded when asked for, sorted by name. There are no factors. `download` changes nothing: a person has to fetch
    them. Raises MissingData if there is nothing, DataError if there are no pictures, or for one that cannot be read.
    """
    size = 64 if image_size is None else image_size
    path = locate(root, _PLACES, "anime faces (anime/)", ADDRESS)
    found, reader = _open_folder(path) if path.is_dir() else _open_zip(path)
    names = sorted(name for name in found if _is_picture(name))
    if not names:
        raise DataError(f"{path}: expected pictures ({', '.join(_SUFFIXES)}), found 0. Get them from {ADDRESS}")
    fetch = Pictures(names, reader, None, None, size, path, ADDRESS)
    return Dataset("anime", "real", "anime faces, real drawings", (3, size, size), len(names), fetch)


def _is_picture(name: str) -> bool:
    """Whether a path is that of a picture, and not of what some systems hide beside it."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in _SUFFIXES and not hidden


def _open_folder(path: Path) -> tuple[Iterable[str], Callable[[str], bytes]]:
    inside = (file.relative_to(path).as_posix() for file in path.rglob("*"))
    return inside, partial(files.read_file, path)


def _open_zip(path: Path) -> tuple[Iterable[str], Callable[[str], bytes]]:
    return files.zip_members(path, ADDRESS), partial(files.read_zipped, path)
