"""Pieces that every chapter shows: its parameters, what its profiles cost, and the reader's run against the book's."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from disentlib.experiments import places
from disentlib.experiments.markup import Html, table
from disentlib.experiments.parameters import notebook_parameters, profiles
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record, read_all, select
from disentlib.experiments.runs import built_on
from disentlib.experiments.statistics import prediction

__all__ = ["against_ours", "costs", "parameter_table", "published", "record_table", "watched_table"]

_KINDS = {  # what a training's cost depends on
    "profile": lambda r: r.spec["profile"],
    "data": lambda r: r.spec["dataset"],
    "model": lambda r: r.spec["model"],
    "device": lambda r: r.environment["device"],
    "threads": lambda r: r.environment["threads"],
}


def published(**wanted: object) -> list[Record]:
    """The records that the book quotes, filtered as `select` does; none outside a checkout."""
    return select(read_all(places.published_records()), **wanted)


def parameter_table(p: SimpleNamespace) -> Html:
    """What each parameter of this notebook means, and its value in this run and in every profile."""
    known = profiles(p.notebook)
    source = places.project() / "notebooks" / f"{p.notebook}.ipynb"
    helps = {q.name: q.help for q in notebook_parameters(source).values()} if source.exists() else {}
    lines = []
    for name, value in vars(p).items():
        if name != "notebook":
            settings = [_code(known[profile].get(name, "")) for profile in known]
            lines.append([f"<code>{name}</code>", html.escape(helps.get(name, "")), _code(value), *settings])
    listing = table(["parameter", "meaning", "this run", *known], lines, "Parameters: this run and the profiles")
    summary = f"What each parameter means, and what the profiles {', '.join(known)} set"
    return Html(f'<details class="parameters"><summary>{summary}</summary>{listing.text}</details>')


def costs(records: Sequence[Record]) -> Html:
    """Seconds and memory of one training, from records: by profile, data, model, device and threads.

    What all of them share stands in the caption. Where runs build on others, a column has the seconds with all of
    those: a GAN's whole schedule, for one.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        groups.setdefault(tuple(str(value(r)) for value in _KINDS.values()), []).append(r)
    values = {"seconds a training": lambda r: r.seconds, "peak MB": lambda r: r.peak_memory_mb}
    if any(r.spec.get("parents") for r in records):
        values["seconds with all it builds on"] = _whole_seconds
    shared = {name: kinds[0] for name, kinds in zip(_KINDS, zip(*groups)) if name != "model" and len(set(kinds)) == 1}
    told = [name for name in _KINDS if name not in shared]
    lines = [
        [
            *(kind for name, kind in zip(_KINDS, key) if name in told),
            str(len(group)),
            *(_range(list(map(value, group))) for value in values.values()),
        ]
        for key, group in sorted(groups.items())
    ]
    head = [*told, "runs", *values]
    caption = ", ".join(["What one training costs", *(f"{name} {kind}" for name, kind in shared.items())])
    return table(head, lines or [["not run", *[""] * (len(head) - 1)]], caption) + provenance(records)


def against_ours(yours: Record, names: Sequence[str]) -> Html:
    """This run's values beside the book's runs with the same settings and other seeds (or the same one, run by us)."""
    same = _but_for_seeds(yours.spec)
    ours = [r for r in published() if _but_for_seeds(r.spec) == same and r.data["hash"] == yours.data["hash"]]
    lines = []
    for name in names:
        known = [float(r.metrics[name]) for r in ours if name in r.metrics]  # some were asked for fewer scores
        bounds, value = prediction(known), float(yours.get(name))
        text = f"{bounds[0]:.3g} … {bounds[1]:.3g} ({len(known)} runs)" if bounds else "not run"
        lines.append([name, f"{value:.4g}", text, _judge(value, bounds)])
    head = ["", "your run", "where ours say one more run falls (95 %)", ""]
    return table(head, lines, "Your run against ours") + provenance(ours)


def _but_for_seeds(spec: Mapping[str, object]) -> dict[str, object]:
    """The settings of a run and of all that it builds on, without what differs from seed to seed."""
    own = {k: v for k, v in spec.items() if k not in ("seed", "source", "id", "parents")}
    return own | {"parents": {role: _but_for_seeds(parent) for role, parent in spec.get("parents", {}).items()}}


def record_table(record: Record) -> Html:
    """What a record says of its training: settings, data, cost and environment; the numbers stand elsewhere."""
    cost = {"seconds": f"{record.seconds:.0f}", "peak memory": f"{record.peak_memory_mb:.0f} MB"}
    parts = {**record.spec, **{f"data.{k}": v for k, v in record.data.items()}, **cost, **record.environment}
    lines = [[f"<code>{html.escape(name)}</code>", html.escape(str(value))] for name, value in parts.items()]
    return table(["", record.id], lines, "The record") + provenance([record])


def watched_table(record: Record) -> Html:
    """The scores that were taken on the way: a line for each look, none if nothing was watched."""
    watched = dict(record.history.get("watched", {"steps": []}))
    steps = watched.pop("steps")
    lines = [[str(step), *(f"{values[i]:.3f}" for values in watched.values())] for i, step in enumerate(steps)]
    head = ["step", *(name.replace("_", " ") for name in watched)]
    return table(head, lines, "Scores on the way" if lines else "Nothing was watched") + provenance([record])


def _judge(value: float, bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return '<span class="verdict-none">no run of ours has these settings</span>'
    if bounds[0] <= value <= bounds[1]:
        return '<span class="verdict-inside">inside</span>'
    return '<span class="verdict-below">outside: another version of torch, other data, or a change in the code</span>'


def _whole_seconds(record: Record) -> float:
    """Of a run and of every run that it builds on, each once; NaN if one of those has no record here."""
    return record.seconds + sum(parent.seconds if parent else math.nan for parent in built_on(record).values())


def _range(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "–"
    low, high = min(known), max(known)
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f}–{high:.0f}"


def _code(value: object) -> str:
    return f"<code>{html.escape(str(value))}</code>" if value != "" else ""
