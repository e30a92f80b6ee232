"""Where the book, its records and its runs lie: found from a checkout, or set by the environment."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["book", "project", "published_failures", "published_records", "published_weights", "runs", "source_of"]


def project() -> Path:
    """The project's root if this package is used from a checkout, else the working folder."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "book" / "claims").is_dir() else Path.cwd()


def book() -> Path:
    """The folder that holds `claims/`, `records/` and `chapters/`."""
    return project() / "book"


def runs() -> Path:
    """Where trainings put checkpoints and records: `$DISENTLIB_RUNS`, else `runs/` of the project."""
    return Path(os.environ.get("DISENTLIB_RUNS") or project() / "runs")


def published_records() -> Path:
    """The records that the book quotes."""
    return book() / "records"


def published_weights() -> Path:
    """The networks that the book ships, for what builds on them."""
    return book() / "weights"


def published_failures() -> Path:
    """What is left of runs that failed, so that a table can count them."""
    return book() / "failures"


def source_of(name: str, folder: Path) -> Path:
    """The notebook `name` (with or without `.ipynb`, or a path); LookupError lists those there are."""
    for path in (Path(name), folder / name, folder / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    known = ", ".join(sorted(p.stem for p in folder.glob("*.ipynb")))
    raise LookupError(f"no notebook {name!r}; known: {known}")
