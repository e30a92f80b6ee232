"""Paper-versus-ours tables, written from claims and records. No number is typed."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from disentlib.experiments.claims import Claim
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import Interval, bootstrap, collapsed, paired

__all__ = ["Row", "compare", "interval_of", "judged", "ordering", "verdict"]

NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """One line of a comparison: what the paper prints, the records that answer it, and how many runs failed.

    `why_not`: why the two cannot be compared, if they cannot.
    """

    label: str
    claim: Claim | None
    records: Sequence[Record]
    metric: str
    failed: int = 0
    why_not: str | None = None


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
    """The book's standard table: paper | ours | each seed | seeds and failures | profile and data | verdict.

    Ours is a mean with its interval. `why_not` holds for all rows that have none of their own. A line below the table
    says where it comes from.
    """
    lines = [_compared(row, digits, why_not) for row in rows]
    used = [record for row in rows for record in row.records]
    head = ["", "paper", "ours [95 % interval]", "each seed", "seeds", "profile and data", "verdict"]
    return table(head, lines, caption) + provenance(used)


def judged(row: Row, why_not: str | None = None) -> tuple[str, str]:
    """The verdict on a row, as `verdict` gives it; `why_not` if the row has no reason of its own."""
    if row.failed and not row.records:
        return "none", "every run failed"
    return verdict(row.claim, interval_of(row.records, row.metric), row.why_not or why_not)


def _compared(row: Row, digits: int, why_not: str | None) -> list[str]:
    ours = interval_of(row.records, row.metric)
    kind, text = judged(row, why_not)
    return [
        row.label,
        str(row.claim) if row.claim else "–",
        ours.text(digits) if ours else NOT_RUN,
        ", ".join(f"{float(r.get(row.metric)):.{digits}f}" for r in _by_seed(row.records)) or "–",
        _seeds(row),
        html.escape(_where(row.records)),
        f'<span class="verdict-{kind}">{html.escape(text)}</span>',
    ]


def _seeds(row: Row) -> str:
    """How many runs there are, and what went wrong: `5`, `4, 1 failed`, `5, 2 collapsed`."""
    empty = collapsed([r.metrics["active_dimensions"] for r in row.records if "active_dimensions" in r.metrics])
    wrong = [f"{number} {word}" for number, word in ((row.failed, "failed"), (empty, "collapsed")) if number]
    return ", ".join([str(len(row.records)), *wrong]) if row.records or row.failed else "–"


def _where(records: Sequence[Record]) -> str:
    """`laptop, rendered, 32 px`."""
    places = [f"{r.spec['profile']}, {r.data['source']}, {r.data['image_shape'][-1]} px" for r in records]
    return "; ".join(dict.fromkeys(places)) or "–"


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
