"""What the chapter on metrics shows of scored codes: one picture of all cases, tables with intervals, sweeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from disentlib import figures, training
from disentlib.data import FactorGrid
from disentlib.experiments.controlled import CASES, GRID, Score, codes
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import environment
from disentlib.experiments.statistics import bootstrap, paired
from disentlib.metrics.mig import entropies, mutual_information

__all__ = [
    "FAIR_SHARE",
    "blind_spots",
    "by_reading",
    "case_sweep",
    "dots_by_case",
    "heatmaps",
    "information_maps",
    "metric_sweep",
    "origin",
    "score_differences",
    "score_table",
    "spread",
]

# A code without a fault should get at least this share of what an aligned one gets above noise; a faulty one, less.
FAIR_SHARE = 0.8
# DCI's parts need only see their own letter; each other metric is one number and should see any fault.
_ASKED = {"dci_disentanglement": "D", "dci_completeness": "C", "dci_informativeness": "I"}
_MARKERS = {"blind": "o", "harsh": "s"}
_BANDS = {"": "#E9F5EF", "some": "#FDF1E3", "DCI": "#EEEEEE"}  # lacks nothing, something, everything


def spread(values: Sequence[float]) -> figures.Spread:
    """Values over seeds with the bootstrap interval of their mean."""
    interval = bootstrap(values)
    return figures.Spread(values, None if interval.low is None else (interval.low, interval.high))


def blind_spots(rows: Sequence[Score]) -> dict[tuple[str, str], str]:
    """(metric, case) → "blind" or "harsh", by the share of what the aligned code has above pure noise.

    >>> score = lambda case, value: Score(case, 0, "mig", value)
    >>> blind_spots([score("aligned", 0.9), score("noise", 0.1), score("rotated", 0.8), score("warped", 0.2)])
    {('mig', 'rotated'): 'blind', ('mig', 'warped'): 'harsh'}
    """
    means = {key: float(np.mean(values)) for key, values in _grouped(rows).items()}
    found = {}
    for (metric, case), value in means.items():
        floor, top, lacks = means[metric, "noise"], means[metric, "aligned"], CASES[case].lacks
        if top <= floor:  # this metric tells nothing apart: no scale to be blind on
            continue
        share = (value - floor) / (top - floor)
        if share >= FAIR_SHARE and set(lacks) & set(_ASKED.get(metric, "DCI")):
            found[metric, case] = "blind"
        elif share < FAIR_SHARE and not lacks:
            found[metric, case] = "harsh"
    return found


def dots_by_case(rows: Sequence[Score]) -> Figure:
    """Every case and every metric: seeds, means and intervals; rings where a metric is blind, squares where harsh."""
    values, names, cases = _grouped(rows), _names(rows), _cases(rows)
    labels = {case: _label(case) for case in cases}
    panels = {figures.METRIC_LABELS[m]: {labels[c]: {m: spread(values[m, c])} for c in cases} for m in names}
    marks = {(figures.METRIC_LABELS[m], labels[c]): _MARKERS[kind] for (m, c), kind in blind_spots(rows).items()}
    figure = figures.interval_panels(panels, figures.METRIC_COLOURS, _bands(cases), marks)
    texts = {"blind": "blind: a faulty code scores like an aligned one", "harsh": "harsh: a good code scores low"}
    handles = [
        plt.Line2D([], [], marker=_MARKERS[k], ls="", ms=11, mfc="none", mec="k", mew=1.4, label=texts[k])
        for k in texts
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9.5)
    return figure


def heatmaps(protocols: Mapping[str, Sequence[Score]]) -> Figure:
    """One heat map of means a protocol, each with its own metrics and the same cases: side by side, never in one."""
    figure, axes = plt.subplots(1, len(protocols), figsize=(9.2, 5.2), sharey=True, squeeze=False)
    for axis, (name, rows) in zip(axes[0], protocols.items()):
        values, metrics, cases = _grouped(rows), _names(rows), _cases(rows)
        matrix = np.array([[np.mean(values[m, c]) for m in metrics] for c in cases])
        short = [figures.METRIC_LABELS[m].replace("\n", " ") for m in metrics]
        figures.heatmap(axis, matrix, [CASES[c].label for c in cases], short, "score", top=1.0, bar=False)
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelsize=8.5)
        axis.set_xticks(axis.get_xticks(), short, rotation=50, ha="right", rotation_mode="anchor")
    return figure


def by_reading(readings: Mapping[str, Sequence[Score]], colours: Mapping[str, str]) -> Figure:
    """The same codes and metrics under several readings of one protocol: a panel a metric, a dot a reading."""
    first = next(iter(readings.values()))
    values = {name: _grouped(rows) for name, rows in readings.items()}
    panels = {
        figures.METRIC_LABELS[m].replace("\n", " "): {
            CASES[c].label: {name: spread(values[name][m, c]) for name in readings} for c in _cases(first)
        }
        for m in _names(first)
    }
    figure = figures.interval_panels(panels, colours, height=0.45)
    handles = [plt.Line2D([], [], marker="o", ls="", color=colours[name], label=name) for name in readings]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(readings), frameon=False)
    return figure


def information_maps(cases: Sequence[str], seed: int, grid: FactorGrid = GRID) -> Figure:
    """What each dimension knows of each factor, `I(z_i; v_j) / H(v_j)` over the whole grid: one small map a case."""
    factors = grid.factors(torch.arange(len(grid))).numpy()
    figure, axes = plt.subplots(1, len(cases), figsize=(9.2, 2.9), squeeze=False)
    for axis, case in zip(axes[0], cases):
        known = mutual_information(codes(case, seed, grid), factors, bins=20) / entropies(factors)
        axis.imshow(known, vmin=0, vmax=1, cmap="viridis")
        axis.set_title(CASES[case].label, fontsize=9)
        axis.set_xticks(range(len(grid.names)), grid.names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axis.set_yticks(range(len(known)), [f"z{i}" for i in range(len(known))], fontsize=7.5)
        axis.set_anchor("N")
        axis.grid(False)
    return figure


def score_table(rows: Sequence[Score], caption: str, digits: int = 2, folded: bool = True) -> Html:
    """Cases × metrics of one protocol, each cell a mean with its interval over seeds."""
    values, metrics = _grouped(rows), _names(rows)
    lines = [
        [_label(c), *(bootstrap(values[m, c]).text(digits) if (m, c) in values else "–" for m in metrics)]
        for c in _cases(rows)
    ]
    head = ["codes", *(figures.METRIC_LABELS[m].replace("\n", " ") for m in metrics)]
    listing = table(head, lines, caption)
    if not folded:
        return listing
    return Html(f'<details class="parameters"><summary>{caption}: the numbers</summary>{listing.text}</details>')


def score_differences(first: Sequence[Score], second: Sequence[Score], caption: str, digits: int = 3) -> Html:
    """Cases × metrics, each cell the difference of two readings of one protocol, paired by seed, with its interval."""
    sides = [{(r.case, r.metric, r.seed): r.value for r in rows} for rows in (first, second)]
    lines = []
    for case in _cases(first):
        cells = []
        for metric in _names(first):
            pairs = [{s: v for (c, m, s), v in side.items() if (c, m) == (case, metric)} for side in sides]
            cells.append(paired(*pairs).text(digits))
        lines.append([_label(case), *cells])
    head = ["codes", *(figures.METRIC_LABELS[m].replace("\n", " ") for m in _names(first))]
    return table(head, lines, caption)


def metric_sweep(axes: Axes, rows: Sequence[Score], case: str, xlabel: str, title: str = "", log: bool = False) -> None:
    """Every metric of one case against what was swept: seeds as points, their means joined."""
    for metric in _names(rows):
        points = _swept(r for r in rows if r.case == case and r.metric == metric)
        figures.sweep(axes, points, figures.METRIC_COLOURS[metric], figures.METRIC_LABELS[metric].replace("\n", " "))
    _swept_axis(axes, rows, xlabel, title, log)


def case_sweep(
    axes: Axes, rows: Sequence[Score], metric: str, colours: Mapping[str, str], xlabel: str, title: str = "",
    log: bool = False,
) -> None:  # fmt: skip
    """One metric of several cases against what was swept."""
    for case, colour in colours.items():
        points = _swept(r for r in rows if r.case == case and r.metric == metric)
        figures.sweep(axes, points, colour, CASES[case].label)
    _swept_axis(axes, rows, xlabel, title, log)


def _swept_axis(axes: Axes, rows: Sequence[Score], xlabel: str, title: str, log: bool) -> None:
    """One tick a swept value, written out."""
    places = sorted({row.at for row in rows})
    axes.set(xlabel=xlabel, ylim=(-0.04, 1.04), title=title, xscale="log" if log else "linear")
    axes.set_xticks(places, [f"{place:g}" for place in places], fontsize=8.5)
    axes.minorticks_off()


def origin(p: SimpleNamespace, what: str) -> Html:
    """The line under a figure whose numbers the page computed itself: what, on which data, seeds and versions."""
    machine = environment(training.best_device())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scikit-learn", "lightgbm", "torch"))
    seeds = ", ".join(map(str, p.seeds))
    text = f"computed on this page · profile {p.profile} · {what} · seeds {seeds} · {machine['device']} · {libraries}"
    return provenance([], f"{text} · {machine['date'][:10]}")


def _grouped(rows: Sequence[Score]) -> dict[tuple[str, str], list[float]]:
    """(metric, case) → one value a seed."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        groups.setdefault((row.metric, row.case), []).append(row.value)
    return groups


def _swept(rows: Iterable[Score]) -> dict[float, list[float]]:
    points: dict[float, list[float]] = {}
    for row in sorted(rows, key=lambda r: r.at):
        points.setdefault(row.at, []).append(row.value)
    return points


def _names(rows: Sequence[Score]) -> list[str]:
    present = {row.metric for row in rows}
    return [name for name in figures.METRIC_COLOURS if name in present]


def _cases(rows: Sequence[Score]) -> list[str]:
    present = {row.case for row in rows}
    return [name for name in CASES if name in present]


def _label(case: str) -> str:
    lacks = CASES[case].lacks
    return f"{CASES[case].label}  ({', '.join(lacks)})" if lacks else CASES[case].label


def _bands(cases: Sequence[str]) -> list[tuple[int, str]]:
    kinds = [CASES[c].lacks if CASES[c].lacks in ("", "DCI") else "some" for c in cases]
    return [(1, _BANDS[kind]) for kind in kinds]
