"""Figures and summaries of whole groups of runs: what several chapters draw in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from disentlib import figures
from disentlib.experiments.evaluation import informed, row_labels
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Run
from disentlib.experiments.statistics import bootstrap, paired
from disentlib.experiments.tables import interval_of

__all__ = ["against", "loss_curves", "seed_dots", "summary", "traversals"]

MOST_ROWS = 20
Groups = Mapping[str, Sequence[Record]]


def loss_curves(axes: Axes, groups: Groups, key: str, ylabel: str) -> None:
    """A loss during training for each group: mean over its records as a line, their range as a band."""
    figures.curves(axes, {name: [r.history for r in group] for name, group in groups.items()}, key, ylabel)


def seed_dots(axes: Axes, groups: Groups, metric: str, ylabel: str, colour: str | None = None) -> None:
    """A metric for each group: every record as a point, the interval of their mean as a bar."""
    values = {name: [float(r.get(metric)) for r in group] for name, group in groups.items()}
    intervals = {name: bootstrap(points) for name, points in values.items()}
    bars = {name: (i.low, i.high) if i.low is not None else None for name, i in intervals.items()}
    figures.dots(axes, values, bars, ylabel, colours=dict.fromkeys(values, colour) if colour else None)


def summary(groups: Groups, metrics: Mapping[str, str], caption: str, digits: int = 2) -> Html:
    """A table of groups × metrics, each cell a mean with its interval over seeds; `metrics` maps names to headings."""
    lines = [[name, *(_cell(group, m, digits) for m in metrics), str(len(group))] for name, group in groups.items()]
    used = [record for group in groups.values() for record in group]
    return table(["", *metrics.values(), "seeds"], lines, caption) + provenance(used)


def against(groups: Groups, base: Sequence[Record], metrics: Mapping[str, str], caption: str, digits: int = 3) -> Html:
    """A table of groups × metrics, each cell the group's difference to `base`, paired by seed, with its interval."""
    lines = [[name, *(_difference(group, base, m, digits) for m in metrics)] for name, group in groups.items()]
    used = [*base, *(record for group in groups.values() for record in group)]
    return table(["", *metrics.values()], lines, caption) + provenance(used)


def traversals(runs: Mapping[str, Run], index: int, extent: float, columns: int, boxes: bool = False) -> Figure:
    """Grids side by side: image `index` encoded, each code dimension moved from −`extent` to `extent`.

    Rows are sorted by KL and labelled with dimension, nats, and the factor that it knows most about; those of a model
    without a posterior stand in their order, `MOST_ROWS` at most. With `boxes` the
    two rows that carry most are framed in red and green, as the papers do.
    """
    values = torch.linspace(-extent, extent, columns).tolist()
    grids, labels = {}, {}
    for name, run in runs.items():
        kl = run.record.metrics.get("kl_per_dimension")
        rows = sorted(range(len(kl)), key=lambda d: -kl[d]) if kl else list(range(run.model.code_dims))[:MOST_ROWS]
        start = run.dataset.images(torch.tensor([index]), device=next(run.model.parameters()).device)
        grids[name] = figures.traverse(run.model.decode, run.model.encode(start)[0].detach(), rows, values)
        known = informed(run.model, run.dataset, run.record.spec["eval_points"]) if run.dataset.grid else None
        labels[name] = row_labels(kl, rows, run.dataset, known)
    frames = dict.fromkeys(grids, dict(enumerate(figures.BOXES))) if boxes else None
    return figures.image_grids(grids, labels, frames)


def _cell(group: Sequence[Record], metric: str, digits: int) -> str:
    interval = interval_of(group, metric) if all(metric in r.metrics | r.losses for r in group) else None
    return interval.text(digits) if interval else "–"


def _difference(group: Sequence[Record], base: Sequence[Record], metric: str, digits: int) -> str:
    sides = [{r.spec["seed"]: float(r.get(metric)) for r in records} for records in (group, base)]
    return paired(*sides).text(digits)
