"""Tables of the chapter on information distillation: a generator beside its stage 1, and what passes a bottleneck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from disentlib import metrics
from disentlib.experiments.evaluation import ACTIVE_NATS
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap, paired

__all__ = ["STAGE1", "counted", "gained", "unmoved"]

STAGE1 = "stage1_"  # what the names of ID-GAN's measurements of its stage 1 begin with


def counted(records: Sequence[Record]) -> list[Record]:
    """The records with `active_dimensions` among their metrics: how many dimensions have more than 0.1 nats."""
    active = [metrics.active_dimensions(np.array(r.metrics["kl_per_dimension"]), ACTIVE_NATS) for r in records]
    return [replace(r, metrics=r.metrics | {"active_dimensions": n}) for r, n in zip(records, active)]


def gained(groups: Mapping[str, Sequence[Record]], headings: Mapping[str, str], caption: str, digits: int = 2) -> Html:
    """Stage 1's decoder, ID-GAN's generator on the same codes, and their difference by seed, with intervals.

    `groups`: ID-GAN's records by what they were trained on. `headings`: name of a measurement → what to call it. The
    verdict says on which side of 0 the whole interval of the difference lies, if on one.
    """
    lines = [
        [name, heading, *_compared(records, metric, digits)]
        for name, records in groups.items()
        for metric, heading in headings.items()
    ]
    used = [record for records in groups.values() for record in records]
    head = ["data", "", "stage 1", "ID-GAN", "ID-GAN − stage 1, by seed", "so the generator's is"]
    return table(head, lines, caption) + provenance(used)


def unmoved(children: Sequence[Record], parents: Sequence[Record], headings: Mapping[str, str], caption: str) -> Html:
    """The largest difference over the seeds between a run's scores and those of the run that it builds on."""
    lines = [[heading, f"{_apart(children, parents, name):.4f}"] for name, heading in headings.items()]
    return table(["", "largest difference to stage 1"], lines, caption) + provenance([*children, *parents])


def _apart(children: Sequence[Record], parents: Sequence[Record], metric: str) -> float:
    return max(abs(float(a.get(metric)) - float(b.get(metric))) for a, b in zip(children, parents, strict=True))


def _compared(records: Sequence[Record], metric: str, digits: int) -> list[str]:
    first, second = ({r.spec["seed"]: float(r.get(name)) for r in records} for name in (STAGE1 + metric, metric))
    difference = paired(second, first)
    sides = [bootstrap(list(values.values())).text(digits) for values in (first, second)]
    return [*sides, difference.text(digits), difference.side]
