"""MNIST: 70 000 handwritten digits, 28×28 grey; offline, scikit-learn's small bundled digits stand in."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate, pad

from disentlib.data import files
from disentlib.data.dataset import Dataset
from disentlib.data.files import DataError, MissingData

__all__ = ["ADDRESS", "COUNTS", "fit", "load_real", "load_rendered", "read_images", "read_labels", "read_parts"]

ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # torchvision's mirror; the first address refuses programs
COUNTS = {"train": 60_000, "t10k": 10_000}  # the parts in their order, and the images in each
_MD5 = {  # of the .gz files, as torchvision has them
    "train-images-idx3-ubyte": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}
_SIDE = 28
_IMAGES, _LABELS = 2051, 2049  # the IDX magic numbers: unsigned bytes in 3 dimensions, in 1


def load_real(root: Path | None, image_size: int | None, download: bool) -> Dataset:
    """The published MNIST below `root`: train then test, 70 000 images; the parts that are there, if not both.

    Files are `{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]` in `MNIST/raw` (torchvision's layout), `raw` or `root`
    itself. `download` fetches those that are missing. `labels` are the digits 0…9. For `image_size` see `fit`.
    Raises MissingData if no part is there, DataError for a file that is not as published.
    """
    if download:
        _download_missing(root)
    images, labels, parts = read_parts(root, COUNTS, _MD5)
    texts = {("train", "t10k"): "MNIST", ("train",): "MNIST training images", ("t10k",): "MNIST test images"}
    return _dataset("real", f"{texts[parts]} ({_spaced(len(images))} real)", fit(images, image_size), labels)


def load_rendered(image_size: int | None) -> Dataset:
    """scikit-learn's 1 797 handwritten digits (8×8, part of its installation), laid out as MNIST is.

    Each is enlarged smoothly to 20×20 and centred in 28×28. `source` is "bundled": real handwriting, but not MNIST.
    """
    digits = load_digits()
    small = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)  # its grey values are 0…16
    large = interpolate(small, (20, 20), mode="bicubic").round().clamp(0, 255).to(torch.uint8)
    text = f"scikit-learn's handwritten digits ({_spaced(len(large))}), not MNIST"
    return _dataset("bundled", text, fit(pad(large, (4, 4, 4, 4)), image_size), torch.from_numpy(digits.target).long())


def fit(images: Tensor, image_size: int | None) -> Tensor:
    """uint8 `[n, 1, 28, 28]` → uint8 `[n, 1, s, s]`, s = `image_size` (28 if None).

    32 adds two black pixels on each side, as is customary, so the strokes stay as they are; other sizes are resized.
    """
    if image_size == 32:
        return pad(images, (2, 2, 2, 2))
    return files.resize(images, image_size or _SIDE)


def read_parts(
    root: Path | None, counts: Mapping[str, int], checksums: Mapping[str, str]
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The parts of `counts` that are below `root`: uint8 images `[n, 1, 28, 28]`, int64 labels `[n]`, the parts' names.

    `counts` says how many images each part must have; `checksums` (by file name) are those of the .gz files.
    """
    present = tuple(part for part in counts if any(_find(root, name) for name in _names(part)))
    if not present:
        _locate(root, _names(next(iter(counts)))[0])  # raises the MissingData that says what to do
    pairs = [_read_part(root, part, counts[part], checksums) for part in present]
    return torch.cat([images for images, _ in pairs]), torch.cat([labels for _, labels in pairs]), present


def read_images(path: Path) -> Tensor:
    """An IDX file of images, gzipped or not → uint8 `[n, 1, 28, 28]`; DataError if it is anything else."""
    raw = _content(path)
    magic, count, rows, columns = struct.unpack(">4i", _header(path, raw, 16))
    _expect(path, "magic number", _IMAGES, magic)
    _expect(path, "image size", (_SIDE, _SIDE), (rows, columns))
    _expect(path, f"bytes for {count} images", count * _SIDE * _SIDE, len(raw) - 16)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=16).reshape(count, 1, _SIDE, _SIDE).copy())


def read_labels(path: Path) -> Tensor:
    """An IDX file of labels, gzipped or not → int64 `[n]` in 0…9; DataError if it is anything else."""
    raw = _content(path)
    magic, count = struct.unpack(">2i", _header(path, raw, 8))
    _expect(path, "magic number", _LABELS, magic)
    _expect(path, f"bytes for {count} labels", count, len(raw) - 8)
    labels = np.frombuffer(raw, np.uint8, offset=8)
    if (labels > 9).any():
        raise DataError(f"{path}: expected labels in 0…9, found {labels.max()}. Get it from {ADDRESS}")
    return torch.from_numpy(labels.astype(np.int64))


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _read_part(root: Path, part: str, count: int, checksums: Mapping[str, str]) -> tuple[Tensor, Tensor]:
    paths = [_find(root, name) for name in _names(part)]
    for path, name in zip(paths, _names(part), strict=True):
        if path is None:  # half a part is broken, not absent: after MissingData, source="auto" would go on in silence
            raise DataError(f"{root}: only half of MNIST's {part} part is there, without {name}. Get it from {ADDRESS}")
    for path in paths:
        if path.suffix == ".gz" and path.stem in checksums:
            files.verify(path, checksums[path.stem])
    images, labels = read_images(paths[0]), read_labels(paths[1])
    _expect(paths[0], "images", count, len(images))
    _expect(paths[1], "labels", len(images), len(labels))
    return images, labels


def _content(path: Path) -> bytes:
    """The bytes of a file, unzipped if its name ends in .gz."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}. Get it from {ADDRESS}") from error


def _header(path: Path, raw: bytes, length: int) -> bytes:
    if len(raw) < length:
        raise DataError(f"{path}: expected a header of {length} bytes, found {len(raw)}. Get it from {ADDRESS}")
    return raw[:length]


def _expect(path: Path, what: str, expected: object, found: object) -> None:
    if expected != found:
        raise DataError(f"{path}: {what}: expected {expected}, found {found}. Get it from {ADDRESS}")


def _locate(root: Path | None, name: str) -> Path:
    # The .gz first: torchvision keeps both, and only the .gz has a published checksum.
    candidates = [f"{folder}{name}{end}" for folder in ("MNIST/raw/", "raw/", "") for end in (".gz", "")]
    return files.locate(root, candidates, f"MNIST ({name})", f"{ADDRESS}{name}.gz, or pass download=True")


def _find(root: Path | None, name: str) -> Path | None:
    try:
        return _locate(root, name)
    except MissingData:
        return None


def _download_missing(root: Path | None) -> None:
    for name, checksum in _MD5.items():
        if root is None:
            _locate(root, name)  # raises: nowhere to put it
        if _find(root, name) is None:
            files.download(f"{ADDRESS}{name}.gz", root / "MNIST" / "raw" / f"{name}.gz", checksum)


def _dataset(source: str, description: str, images: Tensor, labels: Tensor) -> Dataset:
    shape = tuple(images.shape[1:])
    return Dataset("mnist", source, description, shape, len(images), partial(_take, images), labels=labels)


def _take(images: Tensor, indices: Tensor) -> Tensor:
    return images[indices.cpu()].to(indices.device)


def _spaced(count: int) -> str:
    return f"{count:,}".replace(",", " ")
