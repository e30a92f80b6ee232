"""Published files on disk: finding, checking, decoding them, and saying clearly what is wrong."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from disentlib.data.atomic import replacing

__all__ = [
    "DataError",
    "MissingData",
    "Pictures",
    "decode",
    "download",
    "locate",
    "read_file",
    "read_zipped",
    "resize",
    "verify",
    "zip_members",
]

_BLOCK = 1 << 20  # bytes moved at a time
_RESIZED_AT_ONCE = 1024  # images; bounds the float copy that resizing needs
_open_url = partial(urllib.request.urlopen, timeout=60)  # seconds without a byte; urllib itself would wait for ever


class DataError(RuntimeError):
    """A published file is there but not as published: truncated, corrupt, of another shape."""


class MissingData(DataError, FileNotFoundError):
    """A published file is not there; the message says where it was looked for and where to get it."""


def locate(root: Path | None, candidates: Sequence[str], what: str, address: str) -> Path:
    """The first of `candidates` (paths below `root`) that exists.

    Raises MissingData, which says `what` is missing, where it was looked for and the `address` that has it.
    """
    found = [root / name for name in candidates if (root / name).exists()] if root is not None else []
    if found:
        return found[0]
    if root is None:
        where = f"no data folder is set: pass root=… or set $DISENTLIB_DATA to a folder with {candidates[0]}"
    else:
        where = f"looked in {root}{'' if root.is_dir() else ' (no such folder)'} for {', '.join(candidates)}"
    raise MissingData(f"{what} not found; {where}. Get it from {address}")


def verify(path: Path, checksum: str) -> None:
    """Compare a file with "md5:<hex>" or "sha256:<hex>"; DataError names the file and both digests."""
    method, _, expected = checksum.partition(":")
    if method not in ("md5", "sha256"):
        raise ValueError(f'a checksum is "md5:…" or "sha256:…", got {checksum!r}')
    with path.open("rb") as file:
        found = hashlib.file_digest(file, method).hexdigest()
    if found != expected.lower():
        raise DataError(f"{path} is not the published file: expected {method} {expected}, found {found}")


def download(url: str, target: Path, checksum: str | None = None, opener: Callable[[str], Any] = _open_url) -> None:
    """Fetch `url` to `target`, with a progress bar; `target` appears whole and verified, or not at all.

    `checksum` as in `verify`; `opener` maps the address to an open response with `.headers` and `.read(n)`.
    Raises DataError with the address for whatever goes wrong: no connection, a refusal, too few bytes, another content.
    """
    try:
        with replacing(target) as part:
            _receive(url, part, opener)
            if checksum:
                verify(part, checksum)
    except (OSError, ValueError, http.client.HTTPException, DataError) as error:
        raise DataError(f"could not download {url} to {target}: {error}") from error


def _receive(url: str, target: Path, opener: Callable[[str], Any]) -> None:
    with opener(url) as response, target.open("wb") as file:
        announced = response.headers.get("Content-Length")
        total = None if announced is None else int(announced)
        with tqdm(total=total, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1]) as bar:
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
        # A connection that closes early looks like the end of the file; only the announced length tells.
        if total is not None and file.tell() != total:
            raise DataError(f"the connection ended early: expected {total} bytes, found {file.tell()}")


def resize(images: Tensor, size: int) -> Tensor:
    """uint8 `[n, c, h, w]` → uint8 `[n, c, size, size]`: area average if `size` divides, else antialiased bilinear."""
    height, width = images.shape[-2:]
    if height == width == size or not len(images):
        return images if len(images) else images.new_empty((*images.shape[:2], size, size))
    divides = height % size == 0 and width % size == 0
    how = {"mode": "area"} if divides else {"mode": "bilinear", "antialias": True}
    parts = (interpolate(part.float(), (size, size), **how) for part in images.split(_RESIZED_AT_ONCE))
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])


def read_file(folder: Path, name: str) -> bytes:
    """The bytes of a file below a folder."""
    return (folder / name).read_bytes()


def zip_members(path: Path, address: str) -> list[str]:
    """The names in a zip; DataError, which says the `address` that has it, if it is not a whole one."""
    try:
        return _zip(path, os.getpid()).namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: not a whole zip file: {error}. Get it from {address}") from error


def read_zipped(path: Path, member: str) -> bytes:
    """The bytes of a zip's member."""
    return _zip(path, os.getpid()).read(member)


@lru_cache(maxsize=4)
def _zip(path: Path, process: int) -> zipfile.ZipFile:
    """The open zip; one for each process, since forked workers that share a file's position read each other's bytes."""
    return zipfile.ZipFile(path)


def decode(raw: bytes, native: tuple[int, int] | None, crop: int | None, size: int) -> Tensor:
    """One JPEG or PNG file's bytes → uint8 RGB `[3, size, size]`.

    `native` is the (width, height) it must have, None for any; its centre square of `crop` pixels, None for the
    largest, is kept and resized as `resize` does. Raises ValueError or OSError for bytes that are not such a picture.
    """
    with Image.open(io.BytesIO(raw)) as image:
        if native is not None and image.size != native:
            raise ValueError(f"expected {native[0]}×{native[1]} pixels, found {image.width}×{image.height}")
        crop = min(image.size) if crop is None else crop
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        square = image.convert("RGB").crop((left, top, left + crop, top + crop))
    # The same two ways as `resize`, but Pillow's: they let several pictures be decoded at once.
    bilinear = Image.Resampling.BILINEAR  # antialiases when it shrinks
    small = square.reduce(crop // size) if crop % size == 0 else square.resize((size, size), bilinear)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


@dataclass(frozen=True)
class Pictures:
    """Picture files decoded when asked for: a `Dataset`'s `fetch`.

    `read` takes one of `names` to the file's bytes. A call takes int64 indices `[n]` to uint8 `[n, 3, size, size]` on
    the indices' device; DataError names the file that cannot be read or decoded.
    """

    names: Sequence[str] = field(repr=False)
    read: Callable[[str], bytes] = field(repr=False)
    native: tuple[int, int] | None  # (width, height) of every file, pixels; None: they differ
    crop: int | None  # side of the centre square that is kept, pixels; None: the largest
    size: int  # side of the result, pixels
    where: Path  # the folder or archive, for messages
    address: str

    def __call__(self, indices: Tensor) -> Tensor:
        batch = torch.empty((len(indices), 3, self.size, self.size), dtype=torch.uint8)
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            for row, picture in zip(batch, pool.map(self._one, indices.tolist()), strict=True):
                row.copy_(picture)
        return batch.to(indices.device)

    def _one(self, index: int) -> Tensor:
        name = self.names[index]
        try:
            return decode(self.read(name), self.native, self.crop, self.size)
        # Pillow reports broken bytes as OSError, ValueError, SyntaxError or EOFError, zipfile as BadZipFile: what is
        # wrong is the file, whichever it is.
        except Exception as error:
            raise DataError(
                f"{self.where}: cannot decode {name}: {error}. Replace it with the published file from {self.address}"
            ) from error
