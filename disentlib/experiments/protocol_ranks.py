"""The same runs under two protocols: their scores drawn, how each ranks them, and which runs have collapsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import kendalltau, rankdata

from disentlib import figures
from disentlib.experiments.answers import feeds
from disentlib.experiments.claims import Claim
from disentlib.experiments.evaluation import ACTIVE_NATS
from disentlib.experiments.markup import Html, table
from disentlib.experiments.pair_learning import COLLAPSED
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.second_phase import LEAST, gan_collapsed, pair_network_collapsed
from disentlib.experiments.statistics import bootstrap

__all__ = [
    "HELD_OUT",
    "IN_SAMPLE",
    "against_print",
    "agreement",
    "collapse_table",
    "concordance",
    "feed",
    "headings",
    "protocol_picture",
    "rank_lines",
]

IN_SAMPLE, HELD_OUT = "infogan_cr_", ""  # what the names of the two protocols' scores begin with
NOT_SCORED = "not scored in this profile"
SILENT = 0.1  # R² below which a recovered code dimension says nothing
_BANDS = ("#FFFFFF", "#F3F3F3")

Groups = Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Concordance:
    """How two orders of the same models agree: Kendall's τ_b (None if one of them is all ties), and swapped pairs."""

    tau: float | None
    swapped: int
    pairs: int


def feed(study: str = "table3", answers: str = "idgan_sc/table3") -> dict:
    """What the study says that it answers: its `runs` by the paper's rows, its `metrics` by the paper's columns."""
    return next(found for name, found in feeds() if (name, found["table"]) == (study, answers))


def headings(prefix: str, groups: Groups | None = None) -> dict[str, str]:
    """The paper's five columns as names of scores under a protocol → heading; with `groups`, those that all runs have.

    >>> list(headings(HELD_OUT))[:2]
    ['factor_vae', 'dci_disentanglement']
    """
    names = {prefix + metric.removeprefix(IN_SAMPLE): column for column, metric in feed()["metrics"].items()}
    return {name: column for name, column in names.items() if groups is None or _scored(groups, name)}


def concordance(first: Sequence[float], second: Sequence[float]) -> Concordance:
    """Do the two rank alike? A pair is swapped if one puts it in one order and the other in the other; ties are not.

    >>> found = concordance([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    >>> round(found.tau, 3), found.swapped, found.pairs
    (0.333, 1, 3)
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"two orders of the same two models or more, got {len(first)} and {len(second)}")
    pairs = list(combinations(range(len(first)), 2))
    swapped = sum((first[i] - first[j]) * (second[i] - second[j]) < 0 for i, j in pairs)
    constant = len(set(first)) == 1 or len(set(second)) == 1
    return Concordance(None if constant else float(kendalltau(first, second).statistic), swapped, len(pairs))


def agreement(groups: Groups) -> Html:
    """For each score: do the in-sample and the held-out protocol rank the models alike, on average and in each seed?"""
    lines = []
    for (inside, column), outside in zip(headings(IN_SAMPLE).items(), headings(HELD_OUT)):
        if not (_scored(groups, inside) and _scored(groups, outside)):
            lines.append([column, NOT_SCORED, "", "", ""])
            continue
        whole = concordance(_means(groups, inside), _means(groups, outside))
        each = [concordance(*sides).tau for sides in _by_seed(groups, inside, outside)]
        known = [tau for tau in each if tau is not None]
        text = bootstrap(known).text(2) if known else "–"
        top = [_top(groups, metric) for metric in (inside, outside)]
        best = top[0] if top[0] == top[1] else f"{top[0]} against {top[1]}"
        lines.append([column, _shown(whole.tau), f"{whole.swapped} of {whole.pairs}", text, best])
    head = ["score", "Kendall's τ of the means", "pairs swapped", "τ within a seed", "best, in-sample against held-out"]
    return table(head, lines, "Do the two protocols rank the same runs alike?") + provenance(_all(groups))


def against_print(groups: Groups, print_of: Mapping[str, Mapping[str, Claim]]) -> Html:
    """For each score: our order of the paper's rows, in-sample as the paper has it, against the printed order."""
    lines = []
    for metric, column in headings(IN_SAMPLE).items():
        if not _scored(groups, metric):
            lines.append([column, NOT_SCORED, "", "", ""])
            continue
        claimed = [print_of[row][column].value for row in groups]
        found = concordance(claimed, _means(groups, metric))
        orders = [_order(list(groups), values) for values in (claimed, _means(groups, metric))]
        lines.append([column, _shown(found.tau), f"{found.swapped} of {found.pairs}", *orders])
    head = ["score", "Kendall's τ", "pairs swapped", "printed, best first", "ours, best first"]
    return table(head, lines, "The paper's order of its rows and ours") + provenance(_all(groups))


def protocol_picture(groups: Groups, prefix: str, models: Mapping[str, str],
                     print_of: Mapping[str, Mapping[str, Claim]] | None = None) -> Figure:  # fmt: skip
    """All models × five scores under one protocol: seeds, mean, interval, and the printed value as a hollow diamond.

    `models`: group → the model whose colour it has. `print_of`: group → column → claim.
    """
    named = headings(prefix)
    panels = {column: {g: _series(groups[g], name, models[g]) for g in groups} for name, column in named.items()}
    bands = [(1, _BANDS[i % 2]) for i in range(len(groups))]
    figure = figures.interval_panels(panels, figures.COLOURS, bands, height=0.4)
    hollow = {"marker": "D", "s": 42, "facecolors": "none", "edgecolors": figures.COLOURS["paper"], "zorder": 5}
    for axis, column in zip(figure.axes, panels):
        for y, group in enumerate(groups):
            claim = (print_of or {}).get(group, {}).get(column)
            if claim:
                axis.scatter([claim.value], [y], **hollow)
        if not any(panels[column].values()):
            _left_open(axis, len(groups) / 2 - 0.5)
    return figure


def rank_lines(groups: Groups, models: Mapping[str, str]) -> Figure:
    """One panel a score: each model's rank in-sample (left) and held-out (right), joined; 1 is best."""
    figure, axes = plt.subplots(1, 5, figsize=(9.2, 0.32 * len(groups) + 1.2), sharey=True)
    for axis, (inside, column), outside in zip(axes, headings(IN_SAMPLE).items(), headings(HELD_OUT)):
        axis.set(title=column, xlim=(-0.25, 1.25), ylim=(len(groups) + 0.5, 0.5))
        axis.set_xticks([0, 1], ["in-sample", "held-out"], fontsize=8)
        axis.grid(axis="x", visible=False)
        if _scored(groups, inside) and _scored(groups, outside):
            _draw_ranks(axis, groups, models, inside, outside)
        else:
            _left_open(axis, len(groups) / 2)
    axes[0].set_ylabel("rank, 1 is best")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def collapse_table(groups: Groups) -> Html:
    """How many runs of each model ended in one of three kinds of collapse, and how many code dimensions say nothing.

    A dash where a model has no such thing. Dimensions are counted run by run.
    """
    lines = []
    for name, records in groups.items():
        lines.append(
            [name, str(len(records)), *(_counted(records, sign) for sign in _SIGNS), _dimension_counts(records)]
        )
    head = [
        "",
        "runs",
        "code says nothing",
        "pictures collapsed",
        "pairs all parallel",
        "silent dimensions, run by run",
    ]
    caption = (
        f"Collapsed runs: no dimension above {ACTIVE_NATS:g} nats, or of a GAN's codes none that Q recovers with an R² "
        f"of {SILENT:g}; pictures with less than {LEAST:g} of the data's variety or brightness, or more than "
        f"{1 / LEAST:g} times its brightness; pair representations of different labels with a mean cosine of "
        f"{COLLAPSED:g} or more. A dimension is silent at {ACTIVE_NATS:g} nats or less, or below that R²"
    )
    return table(head, lines, caption) + provenance(_all(groups))


# ---- parts ---------------------------------------------------------------------------------------------------------


def _silent_dimensions(record: Record) -> list[bool] | None:
    """Which dimensions of the code say nothing; None for a model that measures neither nats nor recovery."""
    metrics = record.metrics
    if "kl_per_dimension" in metrics:
        return [nats <= ACTIVE_NATS for nats in metrics["kl_per_dimension"]]
    return [r2 < SILENT for r2 in metrics["code_recovery"]] if "code_recovery" in metrics else None


def _silent(record: Record) -> bool | None:
    """Whether no dimension of the code says anything."""
    silent = _silent_dimensions(record)
    return None if silent is None else all(silent)


def _dimension_counts(records: Sequence[Record]) -> str:
    found = [silent for silent in map(_silent_dimensions, records) if silent is not None]
    return ", ".join(str(sum(silent)) for silent in found) + f" of {len(found[0])}" if found else "–"


def _pictures_collapsed(record: Record) -> bool | None:
    return gan_collapsed(record) if "pixel_std_ratio" in record.metrics else None


_SIGNS: tuple[Callable[[Record], bool | None], ...] = (_silent, _pictures_collapsed, pair_network_collapsed)


def _counted(records: Sequence[Record], sign: Callable[[Record], bool | None]) -> str:
    judged = [found for found in map(sign, records) if found is not None]
    return str(sum(judged)) if judged else "–"


def _scored(groups: Groups, metric: str) -> bool:
    return all(metric in record.metrics for records in groups.values() for record in records)


def _values(records: Sequence[Record], metric: str) -> list[float]:
    return [float(record.metrics[metric]) for record in records]


def _means(groups: Groups, metric: str) -> list[float]:
    return [float(np.mean(_values(records, metric))) for records in groups.values()]


def _series(records: Sequence[Record], metric: str, model: str) -> dict[str, figures.Spread]:
    """One series in the model's colour, or none where the score is missing."""
    if not _scored({model: records}, metric):
        return {}
    values = _values(records, metric)
    interval = bootstrap(values)
    return {model: figures.Spread(values, None if interval.low is None else (interval.low, interval.high))}


def _left_open(axis: Axes, height: float) -> None:
    axis.text(0.5, height, NOT_SCORED.replace(" in", "\nin"), ha="center", va="center", fontsize=8)


def _by_seed(groups: Groups, first: str, second: str) -> list[tuple[list[float], list[float]]]:
    """Both scores of every model, for each seed that all models have."""
    runs = [{record.spec["seed"]: record for record in records} for records in groups.values()]
    seeds = sorted(set.intersection(*map(set, runs)))
    return [tuple([float(own[seed].metrics[m]) for own in runs] for m in (first, second)) for seed in seeds]


def _top(groups: Groups, metric: str) -> str:
    return list(groups)[int(np.argmax(_means(groups, metric)))]


def _order(names: Sequence[str], values: Sequence[float]) -> str:
    """Best first; equal values (as far as they are given) are joined by =."""
    order = sorted(range(len(names)), key=lambda i: -values[i])
    parts = [names[order[0]]]
    for before, i in zip(order, order[1:]):
        parts += ["=" if values[before] == values[i] else ">", names[i]]
    return " ".join(parts).replace(">", "&gt;")


def _draw_ranks(axis: Axes, groups: Groups, models: Mapping[str, str], inside: str, outside: str) -> None:
    ranks = np.stack([rankdata([-v for v in _means(groups, metric)]) for metric in (inside, outside)])
    styles: dict[str, int] = {}
    for group, pair in zip(groups, ranks.T):
        number = styles[models[group]] = styles.get(models[group], -1) + 1  # rows of one model differ in their line
        style = {"color": figures.COLOURS[models[group]], "linestyle": ("-", "--", "-.", ":")[number % 4]}
        axis.plot([0, 1], pair, marker="o", ms=4.5, lw=1.6, label=group, **style)


def _shown(tau: float | None) -> str:
    return "–" if tau is None else f"{tau:+.2f}"


def _all(groups: Groups) -> list[Record]:
    return [record for records in groups.values() for record in records]
