"""What the chapter on the two temperatures draws: grids over τ1 × τ2, and tables of what collapses and what learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from disentlib import figures
from disentlib.experiments.markup import Html, table
from disentlib.experiments.pair_learning import COLLAPSED, Point, Setting, Source, collapsed, learn
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap
from disentlib.losses.collapse import escape_ratio
from disentlib.models.pairs import PairPlan

__all__ = [
    "collapse_table",
    "grid_of",
    "last",
    "paths",
    "real_grid",
    "real_table",
    "sides_table",
    "temperature_maps",
    "try_all",
]

Grid = dict[tuple[float, float], list[float]]  # (τ1, τ2) → one value a seed


def try_all(
    source: Source, plan: PairPlan, settings: Mapping[str, Setting], *, steps: int, every: int, seeds: Sequence[int]
) -> list[Point]:
    """`learn` for each seed."""
    return [p for seed in seeds for p in learn(source, plan, settings, steps=steps, every=every, seed=seed)]


def grid_of(taus: Sequence[float], lr: float) -> dict[str, Setting]:
    """A setting for each pair of temperatures, named `τ1 / τ2`."""
    return {f"{a:g} / {b:g}": Setting(tau1=a, tau2=b, lr=lr) for a in taus for b in taus}


def last(points: Sequence[Point]) -> dict[str, list[Point]]:
    """For each name the last point of each seed."""
    final = max(point.step for point in points)
    found: dict[str, list[Point]] = {}
    for point in points:
        if point.step == final:
            found.setdefault(point.name, []).append(point)
    return found


def collapse_table(points: Sequence[Point], chance: float, caption: str) -> Html:
    """For each setting at the end: accuracy, both cosines, the loss, and how many seeds collapsed."""
    lines = []
    for name, group in last(points).items():
        means = {key: bootstrap([p.values[key] for p in group]) for key in ("accuracy", "within", "between", "loss")}
        lost = f"{sum(map(collapsed, group))} of {len(group)}"
        lines.append([name, *(interval.text(2) for interval in means.values()), lost])
    head = ["", f"accuracy (chance {chance:.2f})", "cosine within", "cosine between", "loss, no evidence", "collapsed"]
    return table(head, lines, caption)


def paths(
    axes: Axes, points: Sequence[Point], colours: Mapping[str, str], value: str, ylabel: str, levels: Sequence[float]
) -> None:
    """A value during training: a line for each setting, its seeds as a band; `levels` are dotted."""
    for name, colour in colours.items():
        own = sorted((p for p in points if p.name == name), key=lambda p: p.step)
        steps = sorted({p.step for p in own})
        values = np.array([[p.values[value] for p in own if p.step == step] for step in steps])
        axes.plot(steps, values.mean(1), color=colour, label=name)
        axes.fill_between(steps, values.min(1), values.max(1), color=colour, alpha=0.2, lw=0)
    for level in levels:
        axes.axhline(level, color="#444444", lw=0.8, ls=":")
    axes.set(xlabel="updates of E", ylabel=ylabel)


def temperature_maps(axes: Sequence[Axes], grids: Mapping[str, Grid], taus: Sequence[float]) -> None:
    """Side by side, a map over τ1 (rows) and τ2 (columns) for each grid: means over seeds, a line along τ1 = τ2."""
    labels = [f"{tau:g}" for tau in taus]
    for axis, (title, grid) in zip(axes, grids.items()):
        matrix = np.array([[np.mean(grid[a, b]) if (a, b) in grid else np.nan for b in taus] for a in taus])
        figures.heatmap(axis, matrix, labels, labels, title, top=1.0, bar=False)
        axis.plot([0, len(taus)], [0, len(taus)], color="white", lw=1, ls="--")
        axis.set_title(title, fontsize=9.5)
        axis.set(xlabel="τ2", ylabel="τ1")


def real_grid(records: Sequence[Record], metric: str) -> Grid:
    """Records of one study by their temperatures: the metric of each seed."""
    found: Grid = {}
    for record in records:
        hyper = record.spec["hyper"]
        found.setdefault((hyper["tau1"], hyper["tau2"]), []).append(float(record.get(metric)))
    return found


def sides_table(records: Sequence[Record], chance: float, caption: str) -> Html:
    """The answer in three lines, τ1 below, at and above τ2: how many collapsed, and the range of what E has learnt.

    `names the label`: runs whose pair accuracy is at least twice chance.
    """
    sides = {"τ1 < τ2": lambda a, b: a < b, "τ1 = τ2": lambda a, b: a == b, "τ1 > τ2": lambda a, b: a > b}
    lines = []
    for name, holds in sides.items():
        group = [r for r in records if holds(r.spec["hyper"]["tau1"], r.spec["hyper"]["tau2"])]
        values = {n: [float(r.get(n)) for r in group] for n in ("pair_accuracy", "within_cosine", "between_cosine")}
        lost = sum(value >= COLLAPSED for value in values["between_cosine"])
        named = sum(value >= 2 * chance for value in values["pair_accuracy"])
        ranges = [f"{min(v):.2f} … {max(v):.2f}" if v else "not run" for v in values.values()]
        lines.append([name, str(len(group)), str(lost), str(named), *ranges])
    head = ["", "runs", "collapsed", "names the label", f"pair accuracy (chance {chance:.2f})", "cosine within",
            "cosine between"]  # fmt: skip
    return table(head, lines, caption)


def real_table(groups: Mapping[str, Sequence[Record]], chance: float, score: str, caption: str) -> Html:
    """For each setting of a trained GAN: pair accuracy, cosines, a score of Q's codes, escape ratio, collapsed runs."""
    lines = []
    for name, group in groups.items():
        hyper = group[0].spec["hyper"] if group else {}
        names = ("pair_accuracy", "within_cosine", "between_cosine", score)
        cells = [bootstrap([float(r.get(n)) for r in group]).text(2) if group else "not run" for n in names]
        lost = sum(float(r.get("between_cosine")) >= COLLAPSED for r in group)
        ratio = f"{escape_ratio(hyper['tau1'], hyper['tau2']):.2f}" if hyper else "–"
        lines.append([name, ratio, *cells, f"{lost} of {len(group)}"])
    head = ["", "τ2/τ1", f"pair accuracy (chance {chance:.2f})", "cosine within", "cosine between",
            score.replace("infogan_cr_", "").replace("_", " "), "collapsed"]  # fmt: skip
    return table(head, lines, caption)
