"""Second phases of a GAN that branch from one first phase: their scores on the way, and whether anything collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from disentlib import figures
from disentlib.experiments.markup import Html, table
from disentlib.experiments.pair_learning import COLLAPSED
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap

__all__ = ["LEAST", "gan_collapsed", "pair_network_collapsed", "score_curves", "signs"]

LEAST = 0.25  # share of the data's variety, or of its brightness, below which pictures count as all alike or as empty


def score_curves(axes: Axes, groups: Mapping[str, Sequence[Record]], score: str, ylabel: str,
                 paper: Mapping[str, float] | None = None) -> None:  # fmt: skip
    """A watched score against the step: mean over seeds as a line, its 95 % interval as a band.

    Runs that were not watched have one point, at their end. `paper`: the paper's value for some of the groups, a hollow
    diamond at the last step. A group without runs is left out.
    """
    for name, records in groups.items():
        if not records:
            continue
        watched = [_watched(record, score) for record in records]
        intervals = [bootstrap(values) for values in zip(*(w[score] for w in watched), strict=True)]
        steps, colour = watched[0]["steps"], figures.COLOURS.get(name)
        label = figures.LABELS.get(name, name).replace("\n", " ")
        axes.plot(steps, [i.mean for i in intervals], "o-", ms=3, color=colour, label=label)
        if intervals[0].low is not None:
            bounds = [i.low for i in intervals], [i.high for i in intervals]
            axes.fill_between(steps, *bounds, color=colour, alpha=0.2, lw=0)
        if name in (paper or {}):
            axes.scatter([steps[-1]], [paper[name]], marker="D", s=45, facecolors="none", edgecolors=colour, zorder=4)
    axes.set(xlabel="step of the second phase", ylabel=ylabel)
    axes.legend(frameon=False)


def pair_network_collapsed(record: Record) -> bool | None:
    """Whether E gives pairs of different classes one and the same representation; None where it has another head."""
    return record.metrics["between_cosine"] >= COLLAPSED if record.spec["hyper"].get("head") == "supcon" else None


def gan_collapsed(record: Record) -> bool:
    """Whether the generator's pictures are nearly all alike, nearly empty, or nearly full."""
    variety, brightness = record.metrics["pixel_std_ratio"], record.metrics["foreground_ratio"]
    return variety < LEAST or not LEAST <= brightness <= 1 / LEAST


def signs(groups: Mapping[str, Sequence[Record]], caption: str) -> Html:
    """For each group how many runs collapsed, by the pair network's cosines and by the pictures, and those numbers."""
    lines = [[name, *_counts(records), *_signs(records)] for name, records in groups.items()]
    used = [record for records in groups.values() for record in records]
    head = ["", "seeds", "pair network collapsed", "pictures collapsed", "cosine of two classes",
            "neighbours that share the label", "variety (data: 1)", "brightness (data: 1)"]  # fmt: skip
    return table(head, lines, caption) + provenance(used)


def _watched(record: Record, score: str) -> Mapping[str, list]:
    return record.history.get("watched") or {"steps": [record.spec["steps"]], score: [float(record.get(score))]}


def _counts(records: Sequence[Record]) -> list[str]:
    networks = [pair_network_collapsed(record) for record in records]
    judged = [network for network in networks if network is not None]
    return [str(len(records)), str(sum(judged)) if judged else "–", str(sum(map(gan_collapsed, records)))]


def _signs(records: Sequence[Record]) -> list[str]:
    names = ("between_cosine", "pair_accuracy", "pixel_std_ratio", "foreground_ratio")
    if not records:
        return ["not run"] * len(names)
    cells = {name: bootstrap([r.metrics[name] for r in records]).text(2) for name in names}
    if any(pair_network_collapsed(record) is None for record in records):  # cosines of logits mean little
        cells["between_cosine"] = "–"
    return list(cells.values())
