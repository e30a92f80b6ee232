"""CelebA: 202 599 aligned photographs of faces, 178×218; offline, rendered faces stand in."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from disentlib.data import files
from disentlib.data.dataset import Dataset
from disentlib.data.faces import load_rendered
from disentlib.data.files import DataError, Pictures, locate

__all__ = ["ADDRESS", "COUNT", "attributes", "load_real", "load_rendered", "read"]

ADDRESS = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (by hand: its licence is for non-commercial research only)"
COUNT = 202_599
_NATIVE = (178, 218)  # width, height
_CROP = 178  # the full width, centred: hair and chin stay in, nothing is squashed
_PLACES = (
    "celeba/img_align_celeba/img_align_celeba",  # what some unpackers make of the zip
    "celeba/img_align_celeba",  # torchvision's layout
    "celeba/img_align_celeba.zip",
    "img_align_celeba",
    "img_align_celeba.zip",
)


def load_real(root: Path | None, image_size: int | None, download: bool) -> Dataset:
    """The published CelebA below `root`: 202 599 images `[3, s, s]`, s = `image_size` (64 if None).

    Files are torchvision's: `celeba/img_align_celeba/000001.jpg` … or `celeba/img_align_celeba.zip`, read as it is.
    Image i is file i + 1: its centre square of 178×178, resized with antialiasing, decoded when asked for. There are
    no factors; `attributes` reads what is annotated. `download` changes nothing: the licence wants a person to fetch
    it. Raises MissingData if it is not there, DataError if pictures are missing.
    """
    return read(root, image_size or 64, COUNT)


def read(root: Path | None, image_size: int, expected: int) -> Dataset:
    """As `load_real`, for a folder or zip with `expected` pictures."""
    path = locate(root, _PLACES, "CelebA (img_align_celeba)", ADDRESS)
    names, reader = _open_folder(path) if path.is_dir() else _open_zip(path)
    wanted = _file_names(expected)
    if names != wanted:
        odd = min(set(names) ^ set(wanted))
        raise DataError(
            f"{path}: expected {expected} pictures 000001.jpg…{expected:06d}.jpg, found {len(names)}; the first "
            f"{'missing' if odd in wanted else 'unknown'} one is {odd}. Get it from {ADDRESS}"
        )
    fetch = Pictures(names, reader, _NATIVE, _CROP, image_size, path, ADDRESS)
    description = "CelebA, real photographs of faces, centre crop 178×178"
    return Dataset("celeba", "real", description, (3, image_size, image_size), expected, fetch)


def attributes(root: Path | None, expected: int = COUNT) -> tuple[tuple[str, ...], Tensor]:
    """The 40 annotated attributes: their names, and int64 `[expected, 40]`, 1 where the face has it and 0 where not.

    Row i belongs to image i. Raises MissingData without `list_attr_celeba.txt`, DataError if it is not as published.
    """
    name = "list_attr_celeba.txt"
    path = locate(root, (f"celeba/{name}", name), f"CelebA's attributes ({name})", ADDRESS)
    lines = path.read_text().splitlines()
    names = tuple(lines[1].split()) if len(lines) > 1 else ()
    if len(names) != 40 or [line.partition(" ")[0] for line in lines[2:]] != _file_names(expected):
        raise DataError(
            f"{path}: expected 40 names and {expected} pictures in order, found {len(names)} names and "
            f"{max(len(lines) - 2, 0)} pictures. Get it from {ADDRESS}"
        )
    return names, torch.from_numpy(np.array([_has(path, line) for line in lines[2:]], dtype=np.int64))


def _has(path: Path, line: str) -> list[bool]:
    """One picture's line of 1 and -1 → which of the 40 attributes it has."""
    picture, *values = line.split()
    if len(values) != 40 or not {"1", "-1"}.issuperset(values):
        raise DataError(f"{path}: {picture}: expected 40 values 1 or -1, found {values}. Get it from {ADDRESS}")
    return [value == "1" for value in values]


def _file_names(count: int) -> list[str]:
    return [f"{number:06d}.jpg" for number in range(1, count + 1)]


def _open_folder(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(".jpg"))
    return names, partial(files.read_file, path)


def _open_zip(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    members = [name for name in files.zip_members(path, ADDRESS) if name.endswith(".jpg")]
    inside = {member.rsplit("/", 1)[-1]: member for member in members if "__MACOSX" not in member}
    return sorted(inside), partial(_read_zipped, path, inside)


def _read_zipped(path: Path, inside: dict[str, str], name: str) -> bytes:
    return files.read_zipped(path, inside[name])
