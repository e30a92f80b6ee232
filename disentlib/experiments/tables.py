"""Paper-versus-ours tables, written from claims and records. No number is typed."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from disentlib.experiments.claims import Claim
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import Interval, bootstrap, paired

__all__ = ["Row", "compare", "interval_of", "ordering", "verdict"]

NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """One line of a comparison: what the paper prints and the records that answer it."""

    label: str
    claim: Claim | None
    records: Sequence[Record]
    metric: str


def interval_of(records: Sequence[Record], metric: str) -> Interval | None:
    """Mean and interval of a metric over the records' seeds; None without records."""
    return bootstrap([float(r.get(metric)) for r in records]) if records else None


def verdict(claim: Claim | None, ours: Interval | None, why_not: str | None) -> tuple[str, str]:
    """`(kind, text)`: inside, below or above our interval; none where nothing can be compared, and why."""
    if ours is None:
        return "none", NOT_RUN
    if claim is None:
        return "none", "the paper prints no value"
    if why_not:
        return "none", f"not comparable: {why_not}"
    if ours.low is None or ours.high is None:
        return "none", "not comparable: one seed has no interval"
    if claim.value < ours.low:
        return "below", "paper below ours"
    return ("above", "paper above ours") if claim.value > ours.high else ("inside", "inside")


def compare(rows: Sequence[Row], caption: str, digits: int = 2, why_not: str | None = None) -> Html:
    """The book's standard table: paper | ours with interval | each seed | seeds | verdict, and where it comes from."""
    lines = []
    for row in rows:
        ours = interval_of(row.records, row.metric)
        kind, text = verdict(row.claim, ours, why_not)
        lines.append(
            [
                row.label,
                str(row.claim) if row.claim else "–",
                ours.text(digits) if ours else NOT_RUN,
                ", ".join(f"{float(r.get(row.metric)):.{digits}f}" for r in _by_seed(row.records)) or "–",
                f'<span class="verdict-{kind}">{html.escape(text)}</span>',
            ]
        )
    used = [record for row in rows for record in row.records]
    return table(["", "paper", "ours [95 % interval]", "each seed", "verdict"], lines, caption) + provenance(used)


def ordering(pairs: Sequence[tuple[str, Claim, Claim, Sequence[Record], Sequence[Record]]], metric: str, caption: str,
             digits: int = 2) -> Html:  # fmt: skip
    """Which of two models has the smaller value: the paper's difference, ours paired by seed, and whether they agree.

    `pairs`: (label, claim of the first, claim of the second, records of the first, records of the second).
    """
    lines, used = [], []
    for label, first, second, ours_first, ours_second in pairs:
        printed = first.value - second.value
        difference = _paired(ours_first, ours_second, metric)
        kind, text = _agreement(printed, difference)
        shown = difference.text(digits) if difference else NOT_RUN
        lines.append([label, f"{printed:+.{digits}f}", shown, f'<span class="verdict-{kind}">{text}</span>'])
        used += [*ours_first, *ours_second]
    return table(["", "paper", "ours, paired by seed", "same direction?"], lines, caption) + provenance(used)


def _by_seed(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda r: r.spec["seed"])


def _paired(first: Sequence[Record], second: Sequence[Record], metric: str) -> Interval | None:
    values = [{r.spec["seed"]: float(r.get(metric)) for r in side} for side in (first, second)]
    return paired(*values) if set(values[0]) & set(values[1]) else None


def _agreement(printed: float, ours: Interval | None) -> tuple[str, str]:
    if ours is None:
        return "none", NOT_RUN
    if printed == 0:
        return "none", "the paper prints a tie"
    if ours.low is None or ours.high is None:
        return "none", "one seed"
    if ours.low <= 0 <= ours.high:
        return "none", "undecided: our interval holds 0"
    return ("inside", "yes") if (ours.mean > 0) == (printed > 0) else ("below", "no")
