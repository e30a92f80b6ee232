"""Where the book, its records and its runs lie: found from a checkout, or set by the environment."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["book", "project", "published_records", "runs"]


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
