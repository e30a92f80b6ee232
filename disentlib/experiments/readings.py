"""The page `errata`: places where a paper is ambiguous or wrong, the reading taken, and what runs say about it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import yaml

from disentlib.experiments import places
from disentlib.experiments.answers import Library
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import Interval, paired
from disentlib.experiments.tables import NOT_RUN

__all__ = ["Difference", "Reading", "differences", "errata", "readings"]


@dataclass(frozen=True)
class Reading:
    """One place in a paper: what is printed, how it can be read, what the book takes, and what could tell."""

    id: str
    paper: str
    place: str
    printed: str
    readings: list[str]
    default: str
    test: str  # the experiment in words
    parameter: str = ""
    tables: list[str] = field(default_factory=list)  # which printed tables hang on it
    experiments: list[dict] = field(default_factory=list)  # paired differences: what, study, metric, first, second


@dataclass(frozen=True)
class Difference:
    """An experiment's answer under one profile: `first − second`, paired by seed; None if no seed has both."""

    what: str
    profile: str
    interval: Interval | None
    records: Sequence[Record]
    of_table: bool  # the metric is one that the tables print

    @property
    def decided(self) -> bool:
        """Whether the interval leaves 0 out."""
        i = self.interval
        return i is not None and i.low is not None and i.high is not None and not i.low <= 0 <= i.high


@lru_cache(maxsize=1)
def readings() -> tuple[Reading, ...]:
    """All readings, in the order of the papers.

    >>> readings()[0].id
    'G1'
    """
    content = yaml.safe_load((places.book() / "readings.yml").read_text(encoding="utf-8"))
    return tuple(Reading(**entry) for entry in content)


def differences(reading: Reading, library: Library) -> list[Difference]:
    """What the records say about a reading: one difference for each of its experiments and each profile that ran it."""
    found = []
    for experiment in reading.experiments:
        study, metric = experiment["study"], experiment["metric"]
        first, second = (list(library.groups(study, experiment[side], metric)) for side in ("first", "second"))
        for one in first:
            for other in second:
                if one.records and other.records and (one.profile, one.source) == (other.profile, other.source):
                    found.append(_difference(experiment, one.profile, one.records, other.records))
    return found


def errata(paper: str, library: Library) -> Html:
    """The readings of a paper as a table, and where its intervals come from."""
    own, lines, used = [r for r in readings() if r.paper == paper], [], []
    for reading in own:
        found = differences(reading, library)
        used += [record for difference in found for record in difference.records]
        lines.append(_line(reading, found))
    head = ["", "what is printed", "how it can be read", "taken here", "what would tell", "what runs say", "a table?"]
    return table(head, lines, f"Readings of {len(own)} places") + provenance(used)


def _line(reading: Reading, found: Sequence[Difference]) -> list[str]:
    choices = "<br>".join(f"{letter}: {_marked(text)}" for letter, text in zip("ABCDEF", reading.readings))
    name = f"<br><code>{html.escape(reading.parameter)}</code>" if reading.parameter else ""
    said = "<br>".join(map(_said, found)) or f'<span class="verdict-none">{NOT_RUN}</span>'
    printed = f"<em>{_marked(reading.place)}</em>: {_marked(reading.printed)}"
    return [reading.id, printed, choices, _marked(reading.default) + name, _marked(reading.test), said,
            _changes(reading, found)]  # fmt: skip


def _said(difference: Difference) -> str:
    text = difference.interval.text(3) if difference.interval else "no seed in common"
    seeds = f", {difference.interval.n} seeds" if difference.interval else ""
    return f"{_marked(difference.what)}: {text} ({difference.profile}{seeds})"


def _changes(reading: Reading, found: Sequence[Difference]) -> str:
    """Whether the other reading would change a printed table, as far as runs tell."""
    if not reading.tables:
        return "none hangs on it"
    names = ", ".join(reading.tables)
    tried = [difference for difference in found if difference.of_table and difference.interval]
    if not tried:
        return f"{names}: {NOT_RUN}"
    return f"{names}: {'yes' if any(d.decided for d in tried) else 'not by more than seeds do'}"


def _difference(experiment: dict, profile: str, first: Sequence[Record], second: Sequence[Record]) -> Difference:
    metric = experiment["metric"]
    values = [{r.spec["seed"]: float(r.get(metric)) for r in side} for side in (first, second)]
    interval = paired(*values) if set(values[0]) & set(values[1]) else None
    return Difference(experiment["what"], profile, interval, [*first, *second], bool(experiment.get("table")))


def _marked(text: str) -> str:
    """Text with `code` marked as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
