"""What pair networks learnt from a given generator, as curves and tables (readings S1, S3, S5, S6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
from matplotlib.axes import Axes

from disentlib import figures, training
from disentlib.experiments.markup import Html, table
from disentlib.experiments.pair_learning import Point, collapsed
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import environment
from disentlib.experiments.statistics import Interval, bootstrap, paired

__all__ = ["COLOURS", "accuracy_table", "computed", "final", "gains", "learning", "value_table"]

# One colour a loss: those of the models that are trained with it.
COLOURS = {
    "τ₁ = 0.07, τ₂ = 0.1": figures.COLOURS["idgan_sc"],
    "τ₁ = τ₂ = 0.1": figures.COLOURS["idgan_sc_one"],
    "cross-entropy": figures.COLOURS["infogan_cr"],
}
Learnt = Sequence[Point]  # of several networks, seeds and steps


def final(points: Learnt, name: str) -> list[Point]:
    """The last point of each seed of the network `name`; LookupError if there is none."""
    own = [point for point in points if point.name == name]
    if not own:
        raise LookupError(f"no network {name!r}; known: {', '.join(dict.fromkeys(p.name for p in points))}")
    return list({point.seed: point for point in sorted(own, key=lambda p: p.step)}.values())


def learning(axes: Axes, points: Learnt, value: str, ylabel: str, chance: float | None = None) -> None:
    """A value of each network against its steps: mean over seeds as a line, their range as a band."""
    for name in dict.fromkeys(point.name for point in points):
        own = [point for point in points if point.name == name]
        steps = sorted({point.step for point in own})
        values = [[p.values[value] for p in own if p.step == step] for step in steps]
        colour = COLOURS.get(name)
        (line,) = axes.plot(steps, [np.mean(v) for v in values], color=colour, label=name)
        low, high = list(map(min, values)), list(map(max, values))
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, lw=0)
    if chance is not None:
        axes.axhline(chance, color="#777777", lw=0.8, ls=":")
    axes.set(xlabel="updates of the pair network", ylabel=ylabel)


def accuracy_table(learnt: Mapping[tuple[str, ...], Learnt], names: Sequence[str], head: Sequence[str], caption: str,
                   origin: Html) -> Html:  # fmt: skip
    """A line for each key of `learnt`, a column for each network: accuracy, and how many seeds collapsed."""
    lines = [[*key, *(_accuracy(final(points, name)) for name in names)] for key, points in learnt.items()]
    return table([*head, *names], lines, caption) + origin


def gains(learnt: Mapping[tuple[str, ...], Learnt], couples: Sequence[tuple[tuple, tuple]], caption: str,
          origin: Html) -> Html:  # fmt: skip
    """Differences of accuracy, paired by seed; a side of a couple is a key of `learnt` and a network's name."""
    lines = []
    for first, second in couples:
        difference = paired(*({p.seed: p.values["accuracy"] for p in final(learnt[k], n)} for k, n in (first, second)))
        lines.append([_side(first), _side(second), difference.text(2), _verdict(difference)])
    return table(["first", "second", "first − second, by seed", ""], lines, caption) + origin


def value_table(points: Learnt, values: Mapping[str, str], caption: str, origin: Html, digits: int = 2) -> Html:
    """A line for each network, a column for each value, with intervals over seeds; `values` maps names to headings."""
    names = list(dict.fromkeys(point.name for point in points))
    lines = [[n, *(bootstrap([p.values[v] for p in final(points, n)]).text(digits) for v in values)] for n in names]
    return table(["", *values.values()], lines, caption) + origin


def computed(p: SimpleNamespace, what: str, seeds: Sequence[int]) -> Html:
    """The line under what a page computed itself: what, profile, seeds, device, version, day."""
    machine = environment(training.best_device())
    numbers = f"seeds {', '.join(map(str, seeds))}" if seeds else "no random numbers"
    text = f"computed on this page · profile {p.profile} · {what} · {numbers} · {machine['device']}"
    return provenance([], f"{text} · torch {machine['versions']['torch']} · {machine['date'][:10]}")


def _accuracy(points: Learnt) -> str:
    lost = sum(map(collapsed, points))
    accuracy = bootstrap([point.values["accuracy"] for point in points]).text(2)
    return f"{accuracy}, {lost} of {len(points)} collapsed" if lost else accuracy


def _side(side: tuple[tuple[str, ...], str]) -> str:
    return ", ".join([*side[0], side[1]])


def _verdict(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return "one seed"
    if difference.low <= 0 <= difference.high:
        return "undecided: the interval holds 0"
    return "first is higher" if difference.mean > 0 else "second is higher"
