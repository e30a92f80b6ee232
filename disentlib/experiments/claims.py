"""What the papers claim: every table value, read from `book/claims/<paper>.yml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import yaml

from disentlib.experiments import places

__all__ = ["Claim", "claim", "claims", "papers", "tables"]


@dataclass(frozen=True)
class Claim:
    """One printed number: table, row, column, value, and its spread where one is printed."""

    table: str
    row: str
    column: str
    value: float
    std: float | None = None
    dataset: str | None = None
    approximate: bool = False
    quoted_from: str | None = None
    decimals: int = 2  # as many as the paper prints

    def __str__(self) -> str:
        """As printed: `0.80 ± 0.10`, with `≈` where it is read off a figure."""
        spread = "" if self.std is None else f" ± {self.std:.{self.decimals}f}"
        return f"{'≈ ' if self.approximate else ''}{self.value:.{self.decimals}f}{spread}"


@lru_cache(maxsize=8)
def claims(paper: str) -> tuple[Claim, ...]:
    """All claims of a paper; LookupError if there is no such claims file.

    >>> len(claims("beta_gvae"))
    20
    """
    content = _content(paper)
    decimals = {table: about["decimals"] for table, about in content["tables"].items()}
    return tuple(Claim(**entry, decimals=decimals[entry["table"]]) for entry in content["claims"])


def papers() -> list[str]:
    """The papers whose claims there are."""
    return sorted(path.stem for path in (places.book() / "claims").glob("*.yml"))


def tables(paper: str) -> dict[str, dict]:
    """What is said of each table of a paper: its caption, unit, data set; LookupError for an unknown paper.

    >>> list(tables("beta_gvae"))
    ['table1', 'table2']
    """
    return _content(paper)["tables"]


def _content(paper: str) -> dict:
    path = places.book() / "claims" / f"{paper}.yml"
    if not path.exists():
        known = ", ".join(papers()) or "none (not in a checkout?)"
        raise LookupError(f"no claims of a paper {paper!r}; known: {known}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def claim(paper: str, table: str, row: str, column: str, dataset: str | None = None) -> Claim:
    """One claim by its place in the paper; LookupError if it is not there."""
    for candidate in claims(paper):
        if (candidate.table, candidate.row, candidate.column, candidate.dataset) == (table, row, column, dataset):
            return candidate
    raise LookupError(f"{paper} has no value at {table}, row {row!r}, column {column!r}")
