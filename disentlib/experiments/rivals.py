"""Many methods on one data set: what a paper prints of each, under which generator, beside our runs of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from disentlib import figures
from disentlib.experiments.claims import Claim, claims
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap
from disentlib.experiments.tables import NOT_RUN, interval_of

__all__ = ["beside_printed", "not_best", "printed_dots", "printed_points"]

Groups = Mapping[str, Sequence[Record]]


def beside_printed(
    paper: str,
    name: str,
    dataset: str | None,
    groups: Groups,
    metrics: Mapping[str, str],
    caption: str,
    generators: Mapping[str, str] | None = None,
    digits: int = 2,
) -> Html:
    """Rows are settings or methods, named as the claims name them; for each metric what is printed above ours.

    `metrics`: column of the table → metric of a record. `generators`: what the printed numbers of a method were made
    with, said under its name. What is not printed, or was not computed, gets a dash.
    """
    printed, lines = _printed(paper, name, dataset), []
    for row, group in groups.items():
        cells = [
            _above(*_pair(printed.get((row, column)), group, metric, digits)) for column, metric in metrics.items()
        ]
        origin = (generators or {}).get(row)
        lines.append(
            [f'{row}<br><span class="printed">for {origin}</span>' if origin else row, *cells, str(len(group))]
        )
    used = [record for group in groups.values() for record in group]
    order = "In each cell, the paper's number stands above ours"
    return table(["", *metrics, "seeds"], lines, f"{caption}. {order}.") + provenance(used)


def not_best(paper: str, name: str, row: str) -> Html:
    """Where a row of a printed table is not the highest of its column, read off the paper's own numbers."""
    own = [claim for claim in claims(paper) if claim.table == name]
    lines = []
    for mine in (claim for claim in own if claim.row == row):
        rivals = [c for c in own if (c.dataset, c.column) == (mine.dataset, mine.column) and c.row != row]
        higher = sorted((c for c in rivals if c.value > mine.value), key=lambda c: -c.value)
        equal = [c.row for c in rivals if c.value == mine.value]
        lines.append([mine.dataset or "–", mine.column, str(mine), _named(higher), ", ".join(equal) or "–",
                      _highest(higher, equal)])  # fmt: skip
    head = ["data set", "score", row, "higher in the same table", "equal", f"is {row} the best?"]
    return table(head, lines, f"Where {row} stands in the paper's own table")


def printed_dots(
    axes: Axes, paper: str, name: str, dataset: str, column: str, groups: Groups, metric: str, models: Mapping[str, str]
) -> None:
    """Our seeds and intervals by method, the printed value as a hollow diamond; `models`: method → its model."""
    values = {method: [float(r.get(metric)) for r in group] for method, group in groups.items()}
    intervals = {method: bootstrap(points) for method, points in values.items()}
    bars = {method: (i.low, i.high) if i.low is not None else None for method, i in intervals.items()}
    printed = {method: c.value for (method, where), c in _printed(paper, name, dataset).items() if where == column}
    colours = {method: figures.COLOURS[models[method]] for method in groups}
    figures.dots(axes, values, bars, column, colours, printed)
    axes.tick_params(axis="x", rotation=45)


def printed_points(axes: Axes, paper: str, name: str, column: str) -> None:
    """What a table of a swept number prints, as hollow diamonds at that number."""
    points = [(float(c.row), c.value) for c in claims(paper) if c.table == name and c.column == column]
    shade = figures.COLOURS["paper"]
    axes.scatter(*zip(*points), marker="D", s=40, facecolors="none", edgecolors=shade, zorder=4, label="paper")


def _printed(paper: str, name: str, dataset: str | None) -> dict[tuple[str, str], Claim]:
    return {(c.row, c.column): c for c in claims(paper) if c.table == name and c.dataset == dataset}


def _pair(claim: Claim | None, group: Sequence[Record], metric: str, digits: int) -> tuple[str, str]:
    known = [record for record in group if metric in record.metrics]
    ours = interval_of(known, metric)
    missing = "–" if group else NOT_RUN
    return str(claim) if claim else "–", ours.text(digits) if ours else missing


def _above(printed: str, ours: str) -> str:
    return f'<span class="printed">{printed}</span><br>{ours}'


def _named(rivals: Sequence[Claim]) -> str:
    return ", ".join(f"{c.row} {c.value:.{c.decimals}f}" for c in rivals) or "–"


def _highest(higher: Sequence[Claim], equal: Sequence[str]) -> str:
    kind, text = ("below", "no") if higher else ("none", "a tie") if equal else ("inside", "yes")
    return f'<span class="verdict-{kind}">{text}</span>'
