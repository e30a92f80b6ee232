"""The page `reproduction`: every table of the papers beside what has been run, and a count of verdicts above them."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence

from disentlib.experiments.answers import Library
from disentlib.experiments.claims import claims, papers, tables
from disentlib.experiments.markup import Html, table
from disentlib.experiments.tables import Row, compare, judged

__all__ = ["overview", "paper_tables"]

_TITLES = {"beta_gvae": "β-GVAE", "idgan_sc": "IDGAN-SC", "dis_gu": "Dis-GU"}


def paper_tables(paper: str, library: Library) -> Html:
    """All tables of a paper, paper's value beside ours; a table of which nothing has been run is folded."""
    whole = Html("")
    for name, about in tables(paper).items():
        rows = library.rows(paper, name)
        caption = f"{_title(paper)}, {_named(name)}: {html.escape(about['caption'])}"
        shown = compare(rows, caption)
        if not any(row.records or row.failed for row in rows):
            summary = f"{_title(paper)}, {_named(name)}: {len(rows)} values, not run"
            shown = Html(f'<details class="parameters"><summary>{summary}</summary>{shown.text}</details>')
        whole += shown
    return whole


def overview(library: Library) -> Html:
    """A line for each table of each paper: how many values it prints, and what became of them."""
    kinds = ("inside", "below", "above", "not comparable", "not run")
    lines = []
    for paper in papers():
        for name in tables(paper):
            counts = _counts(library.rows(paper, name))
            printed = str(sum(claim.table == name for claim in claims(paper)))
            lines.append([_title(paper), _named(name), printed, *(str(counts[kind] or "–") for kind in kinds)])
    head = ["paper", "", "values", "inside", "paper below ours", "paper above ours", "not comparable", "not run"]
    return table(head, lines, "The tables of the papers, and what has been run of them")


def _counts(rows: Sequence[Row]) -> Counter[str]:
    """How many rows end in each verdict; one that cannot be compared is not the same as one that was not run."""
    kinds = [judged(row) for row in rows]
    return Counter("not comparable" if text.startswith("not comparable") else "not run" if kind == "none" else kind
                   for kind, text in kinds)  # fmt: skip


def _title(paper: str) -> str:
    return _TITLES.get(paper, paper)


def _named(name: str) -> str:
    """`table1` as it is printed: `Table 1`."""
    return re.sub(r"(\D+)(\d+)", lambda m: f"{m[1].capitalize()} {m[2]}", name)
