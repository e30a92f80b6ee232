"""Writing a file so that a full disk or a killed process leaves the old one or none, never half of a new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(target: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary sibling to write to; it takes the target's place when the block ends without an exception.

    The folder is made if need be. On any exception the sibling is removed and the target left as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())  # a rename may reach the disk before the bytes do
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
