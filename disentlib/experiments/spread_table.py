"""Two spreads kept apart: of seeds and of evaluations of one model, or of Glows and of a method's seeds on one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from disentlib.colours import LABELS
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap, spreads

__all__ = ["glow_spreads", "two_spreads"]

_REPEATED = "_evaluations"
_OF_NO_SETTING = ("seed", "source", "id", "model", "hyper", "parents")  # in a record's spec


def two_spreads(records: Sequence[Record]) -> Html:
    """A line for each setting whose models were evaluated repeatedly: the mean, and both standard deviations.

    The mean's interval is over seeds. A spread that cannot be told, of a single seed, is left open.
    """
    lines, used = [], []
    for (label, metric), group in sorted(_groups(records).items()):
        values = {r.spec["seed"]: r.metrics[metric] for r in group}
        apart = spreads(values)
        mean = bootstrap([sum(each) / len(each) for each in values.values()])
        times = max(map(len, values.values()))
        numbers = [str(len(values)), str(times), _shown(apart.seeds), _shown(apart.evaluations)]
        lines.append([label, metric.removesuffix(_REPEATED).replace("_", " "), mean.text(3), *numbers])
        used += group
    head = ["", "score", "mean [over seeds]", "seeds", "evaluations", "spread of seeds", "spread of evaluations"]
    caption = "Two spreads: between trainings that differ in their seed, and between evaluations of one model"
    return table(head, lines or [["not run", *[""] * 6]], caption) + provenance(used)


def glow_spreads(records: Sequence[Record], metrics: Mapping[str, str]) -> Html:
    """Runs of one method on several Glows, several seeds on each: both standard deviations of each score (reading D15).

    `metrics`: the name of a score → its heading. LookupError for a run that builds on no Glow.
    """
    by_glow: dict[int, list[Record]] = {}
    for record in records:
        by_glow.setdefault(record.spec["parents"]["glow"]["seed"], []).append(record)
    lines = []
    for metric, heading in metrics.items():
        values = {seed: [float(r.get(metric)) for r in group] for seed, group in sorted(by_glow.items())}
        apart = spreads(values)
        means = [f"{sum(each) / len(each):.3f}" for each in values.values()]
        lines.append([heading, *means, _shown(apart.seeds), _shown(apart.evaluations)])
    head = ["", *(f"Glow {seed}" for seed in sorted(by_glow)), "spread of Glows", "spread of seeds on one Glow"]
    caption = "Two spreads: means over seeds on each Glow, and standard deviations between Glows and between seeds"
    return table(head, lines, caption) + provenance(records)


def _groups(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Records that differ in nothing but their seed, by label and metric."""
    by_setting: dict[str, list[Record]] = {}
    for record in records:
        if _repeated(record):
            by_setting.setdefault(json.dumps([record.spec["model"], _settings(record)], sort_keys=True), []).append(
                record
            )
    groups = list(by_setting.values())
    found: dict[tuple[str, str], list[Record]] = {}
    for label, group in zip(_labels([group[0] for group in groups]), groups, strict=True):
        for metric in {name: None for record in group for name in _repeated(record)}:
            found[label, metric] = [r for r in group if metric in r.metrics]
    return found


def _repeated(record: Record) -> list[str]:
    return [name for name in record.metrics if name.endswith(_REPEATED)]


def _settings(record: Record) -> dict[str, object]:
    own = {name: value for name, value in record.spec.items() if name not in _OF_NO_SETTING}
    return own | record.spec["hyper"] | {"data": record.data["source"], "on": _lineage(record.spec) or "nothing"}


def _lineage(spec: Mapping) -> str:
    """What a run builds on, as `InfoGAN on β-VAE`."""
    parents = spec.get("parents", {}).values()
    return " and ".join(" on ".join(filter(None, [_named(p["model"]), _lineage(p)])) for p in parents)


def _labels(records: Sequence[Record]) -> list[str]:
    """For each record its model, and those of its settings in which records of that model differ."""
    labels = []
    for record in records:
        own = _settings(record)
        peers = [_settings(other) for other in records if other.spec["model"] == record.spec["model"]]
        told = [name for name in own if any(peer.get(name) != own[name] for peer in peers)]
        labels.append(", ".join([_named(record.spec["model"]), *(f"{name} {own[name]}" for name in told)]))
    return labels


def _named(model: str) -> str:
    return LABELS.get(model, model)


def _shown(spread: float | None) -> str:
    return "–" if spread is None else f"{spread:.3f}"
