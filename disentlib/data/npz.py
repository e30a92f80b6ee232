"""One large array of an npz file as rows on the disk, without the array in memory."""

from __future__ import annotations

import shutil
import struct
import tokenize
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from tqdm import tqdm

from disentlib.data.atomic import replacing

__all__ = ["OnDisk", "locate_array"]

_BLOCK = 1 << 24  # bytes unpacked at a time
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member; its last two numbers: lengths of name and extra field


@dataclass(frozen=True)
class OnDisk:
    """Where an array's bytes lie in a file, uncompressed and by rows."""

    path: Path
    offset: int  # bytes
    shape: tuple[int, ...]
    dtype: np.dtype

    def open(self) -> np.ndarray:
        """The array as a read-only memory map."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def locate_array(path: Path, key: str, check: Callable[[tuple[int, ...], np.dtype], object]) -> OnDisk:
    """The array `key` of an npz file, ready to be mapped.

    As `np.savez` stores it, it is mapped inside the npz. As `np.savez_compressed` packs it, it is unpacked once, with
    its checksum compared, to `<name>.<key>.npy` beside the npz, and mapped there; later calls find that file. `check`
    raises ValueError for a shape or type that is not wanted, before anything is unpacked. Raises
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError (encrypted) or ValueError for
    files that are no such npz, OSError if there is no room for the unpacked array.
    """
    with zipfile.ZipFile(path) as archive:
        if f"{key}.npy" not in archive.namelist():
            raise ValueError(f"expected an array {key}, found only {', '.join(archive.namelist()) or 'nothing'}")
        member = archive.getinfo(f"{key}.npy")
        with archive.open(member) as stream:
            header, shape, dtype = _read_header(stream, key)
        check(shape, dtype)
        if member.file_size != header + prod(shape) * dtype.itemsize:
            raise ValueError(f"{key}: expected {shape}, found {member.file_size - header} bytes of data")
        if member.compress_type == zipfile.ZIP_STORED:
            return OnDisk(path, _start(path, member) + header, shape, dtype)
        return OnDisk(_unpacked(path, archive, member), header, shape, dtype)


def _read_header(stream: zipfile.ZipExtFile, key: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """An npy header: its length, the array's shape and its type."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, by_columns, dtype = read(stream)
    except (tokenize.TokenError, SyntaxError, struct.error) as error:  # numpy parses it as Python
        raise ValueError(f"{key}: its header is damaged ({error})") from error
    if by_columns or dtype.hasobject:
        raise ValueError(f"{key}: expected numbers by rows, found {dtype} {'by columns' if by_columns else ''}")
    return stream.tell(), shape, dtype


def _start(path: Path, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: the local header's length is known only from the local header."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        local = file.read(_LOCAL_HEADER.size)
    if len(local) < _LOCAL_HEADER.size:
        raise ValueError(f"{member.filename}: the file ends before the array begins")
    name, extra = _LOCAL_HEADER.unpack(local)
    start = member.header_offset + _LOCAL_HEADER.size + name + extra
    if start + member.file_size > path.stat().st_size:
        raise ValueError(f"{member.filename}: the file ends before the array does")
    return start


def _unpacked(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Path:
    """The member as a file beside the npz, written whole or not at all; one newer than the npz is taken as it is."""
    target = path.with_name(f"{path.stem}.{member.filename}")
    if target.exists():
        found = target.stat()
        if found.st_size == member.file_size and found.st_mtime >= path.stat().st_mtime:
            return target
    free = shutil.disk_usage(path.parent).free
    if free < member.file_size:
        raise OSError(f"unpacking it to {target} takes {member.file_size:,} bytes, and only {free:,} are free")
    bar = tqdm(total=member.file_size, unit="B", unit_scale=True, desc=f"unpacking {path.name}", delay=2)
    with bar, replacing(target) as part, archive.open(member) as packed, part.open("wb") as file:
        while block := packed.read(_BLOCK):  # reading to the end compares the checksum
            file.write(block)
            bar.update(len(block))
    return target
