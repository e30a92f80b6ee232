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


def watched_curves(
    axes: Axes, groups: Groups, name: str, ylabel: str, paper: Mapping[str, float] | None = None, xlabel: str = "step"
) -> None:
    """What was watched on the way against the step: mean over seeds as a line, its 95 % interval as a band.

    Runs that were not watched have one point, at their end. `paper`: the paper's value for some of the groups, a hollow
    diamond at the last step. A group without runs is left out.
    """
    for group, records in groups.items():
        if not records:
            continue
        watched = [_watched(record, name) for record in records]
        intervals = [bootstrap(values) for values in zip(*(w[name] for w in watched), strict=True)]
        steps, colour = watched[0]["steps"], figures.COLOURS.get(group)
        label = figures.LABELS.get(group, group).replace("\n", " ")
        axes.plot(steps, [i.mean for i in intervals], "o-", ms=3, color=colour, label=label)
        if intervals[0].low is not None:
            bounds = [i.low for i in intervals], [i.high for i in intervals]
            axes.fill_between(steps, *bounds, color=colour, alpha=0.2, lw=0)
        if group in (paper or {}):
            axes.scatter([steps[-1]], [paper[group]], marker="D", s=45, facecolors="none", edgecolors=colour, zorder=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False)


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


def _watched(record: Record, name: str) -> Mapping[str, list]:
    return record.history.get("watched") or {"steps": [record.spec["steps"]], name: [float(record.get(name))]}


def _difference(group: Sequence[Record], base: Sequence[Record], metric: str, digits: int) -> str:
    sides = [{r.spec["seed"]: float(r.get(metric)) for r in records} for records in (group, base)]
    return paired(*sides).text(digits)
