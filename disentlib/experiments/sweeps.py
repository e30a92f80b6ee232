"""One setting swept: which value is best, whether a paper's choice is, and what a step costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from disentlib import figures
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import Interval, paired
from disentlib.experiments.tables import interval_of

__all__ = ["STEP_SECONDS", "by_value", "is_best", "sweep_panel", "timed"]

STEP_SECONDS = "step_seconds"
Swept = Mapping[float, Sequence[Record]]  # value of the setting → the records of its seeds


def by_value(records: Sequence[Record], name: str, **wanted: object) -> dict[float, list[Record]]:
    """The records in which all of `wanted` holds, by their value of `name`, the smallest first."""
    chosen = [record for record in records if all(record.get(key) == value for key, value in wanted.items())]
    return {value: [r for r in chosen if r.get(name) == value] for value in sorted({r.get(name) for r in chosen})}


def timed(records: Sequence[Record]) -> list[Record]:
    """The records with the seconds of one training step among their metrics: what was measured, on that machine."""
    seconds = [record.seconds / record.spec["steps"] for record in records]
    return [replace(r, metrics=r.metrics | {STEP_SECONDS: value}) for r, value in zip(records, seconds)]


def sweep_panel(axes: Axes, swept: Swept, metric: str, xlabel: str, ylabel: str, colour: str, label: str = "") -> None:
    """A metric against the setting: each seed as a point, the means joined."""
    points = {value: [float(r.get(metric)) for r in group] for value, group in swept.items()}
    figures.sweep(axes, points, colour, label or ylabel)
    axes.set(xlabel=xlabel, ylabel=ylabel)


def is_best(swept: Swept, chosen: float, metrics: Mapping[str, str], caption: str, digits: int = 2) -> Html:
    """For each metric: the value with the highest mean, how much higher than the paper's choice, and a verdict.

    The difference is paired by seed. LookupError if nothing was run at the chosen value.
    """
    if chosen not in swept:
        raise LookupError(f"nothing was run at {chosen:g}; there is {', '.join(f'{value:g}' for value in swept)}")
    lines = []
    for metric, heading in metrics.items():
        best = max(swept, key=lambda value: interval_of(swept[value], metric).mean)
        ahead = paired(*({r.spec["seed"]: float(r.get(metric)) for r in swept[v]} for v in (best, chosen)))
        here = interval_of(swept[chosen], metric).text(digits)
        lines.append([heading, f"{best:g}", here, ahead.text(digits), _verdict(best == chosen, ahead)])
    head = ["", "highest mean at", f"at {chosen:g}", f"highest − that at {chosen:g}", f"is {chosen:g} the best?"]
    return table(head, lines, caption) + provenance([r for group in swept.values() for r in group])


def _verdict(same: bool, ahead: Interval) -> str:
    if same:
        return '<span class="verdict-inside">yes, by its mean</span>'
    if ahead.low is None:
        return '<span class="verdict-none">one seed</span>'
    if ahead.low > 0:
        return '<span class="verdict-below">no</span>'
    return '<span class="verdict-none">undecided: the interval holds 0</span>'
