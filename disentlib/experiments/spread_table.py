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
# What is told apart in a label.
_COUNTED = ("beta", "gamma", "alpha", "tau1", "tau2", "head", "pair_rule", "threshold", "directions")


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
    """Records that differ in nothing but their seed, by label and metric; of two settings with one label, both stay."""
    settings: dict[str, list[Record]] = {}
    for record in records:
        same = {k: v for k, v in record.spec.items() if k not in ("seed", "source", "parents")}
        key = json.dumps([same, record.data["source"], sorted(record.spec.get("parents", {}))], sort_keys=True)
        settings.setdefault(key, []).append(record)
    found: dict[tuple[str, str], list[Record]] = {}
    for group in settings.values():
        for metric in (name for name in group[0].metrics if name.endswith(_REPEATED)):
            own, label = [r for r in group if metric in r.metrics], _label(group[0])
            while (label, metric) in found:
                label += "′"
            found[label, metric] = own
    return found


def _label(record: Record) -> str:
    spec = record.spec
    settings = [f"{name} {spec['hyper'][name]}" for name in _COUNTED if name in spec["hyper"]]
    model = LABELS.get(spec["model"], spec["model"])
    return ", ".join([model, *settings, spec["dataset"], f"{spec['profile']}, {record.data['source']}"])


def _shown(spread: float | None) -> str:
    return "–" if spread is None else f"{spread:.3f}"
