"""What the chapter on InfoGAN shows: the game, pairs by both rules, samples, rotated codes, and paired contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from disentlib import figures, metrics
from disentlib.data import Dataset
from disentlib.experiments.evaluation import encoded, evaluation_points
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.runs import Run
from disentlib.experiments.statistics import bootstrap, paired
from disentlib.losses.information import prior_sample
from disentlib.models.pairs import pair_codes

__all__ = [
    "contrasts",
    "game_figure",
    "generated_figure",
    "pair_figure",
    "recovered",
    "rotated_mig",
    "rotation",
    "rotation_figure",
    "true_pairs",
]

Couples = Mapping[str, tuple[Sequence[Record], Sequence[Record]]]
_DARK, _LIGHT = figures.COLOURS["paper"], "#AAAAAA"  # no method's colours: the game is everybody's


def game_figure(distance: float = 2.0) -> Figure:
    """Two unit normals `distance` apart and the best discriminator; and how either loss of the generator pulls."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.0))
    x = np.linspace(-4, 4 + distance, 200)
    real, fake = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (distance, 0.0))
    left.plot(x, real, color=_DARK, label="data")
    left.plot(x, fake, color=_LIGHT, label="generator")
    left.plot(x, real / (real + fake), color="k", ls="--", label="best D(x)")
    left.set(xlabel="x", ylabel="density, or D", ylim=(0, 1.02))
    d = np.linspace(0, 1, 50)
    right.plot(d, 1 - d, color=_DARK, label="non-saturating, 1 − D")
    right.plot(d, d, color=_LIGHT, label="saturating, D")
    right.set(xlabel="D of a generated picture", ylabel="pull on the logit")
    for axis in (left, right):
        axis.legend(frameon=False)
    return figure


def true_pairs(dataset: Dataset, rule: str, pairs: int, generator: torch.Generator) -> Tensor:
    """Pairs that the data set itself draws, its factors in the place of codes: `[k, pairs, 2, c, h, w]`, row = label.

    `rule`: "change_one" or "share_one" (reading S5). Values that are to differ always do, where a factor has two.

    >>> from disentlib import data
    >>> true_pairs(data.load("dsprites", image_size=32), "share_one", 2, torch.Generator().manual_seed(0)).shape
    torch.Size([5, 2, 2, 1, 32, 32])
    """
    sizes = torch.tensor(dataset.factor_sizes)
    labels = torch.arange(len(sizes)).repeat_interleave(pairs)
    factors = dataset.sample_factors(len(labels), generator)
    shift = torch.rand(factors.shape, generator=generator) * (sizes - 1)
    other = (factors + 1 + shift.floor().long()) % sizes
    both = torch.stack(pair_codes(factors, labels, rule, other), dim=1)
    return dataset.images(dataset.index(both.flatten(0, 1))).unflatten(0, (len(sizes), pairs, 2))


def pair_figure(dataset: Dataset, pairs: int = 3, seed: int = 0) -> Figure:
    """Both pair rules side by side on the data set's own pictures: a row a label, white between pairs."""
    names = [name.replace("_", " ") for name in dataset.factor_names]
    titles = {"change_one": "IDGAN-SC: only this changes", "share_one": "InfoGAN-CR: only this is shared"}
    grids = {
        title: _parted(true_pairs(dataset, rule, pairs, torch.Generator().manual_seed(seed)))
        for rule, title in titles.items()
    }
    return figures.image_grids(grids, dict.fromkeys(grids, names))


@torch.no_grad()
def generated_figure(runs: Mapping[str, Run], columns: int = 14, rows: int = 2, seed: int = 0) -> Figure:
    """Pictures of the data, then of each model, for codes and noise drawn from its own prior; none is picked."""
    generator = torch.Generator().manual_seed(seed)
    dataset, n = next(iter(runs.values())).dataset, columns * rows
    sheets = {"data": dataset.images(torch.randint(len(dataset), (n,), generator=generator))}
    sheets |= {name: _drawn(run.model, n, generator) for name, run in runs.items()}
    labels = [name if row == 0 else "" for name in sheets for row in range(rows)]
    images = torch.cat([sheet.unflatten(0, (rows, columns)) for sheet in sheets.values()])
    return figures.image_grid(images, rows=labels)


def recovered(records: Sequence[Record]) -> list[Record]:
    """The records with `mean_recovery` and `least_recovery` among their metrics: of R² over the code's dimensions."""

    def more(record: Record) -> dict[str, float]:
        values = record.metrics["code_recovery"]
        return {"mean_recovery": float(np.mean(values)), "least_recovery": float(min(values))}

    return [replace(record, metrics=record.metrics | more(record)) for record in records]


def contrasts(couples: Couples, headings: Mapping[str, str], caption: str, digits: int = 2) -> Html:
    """For each couple and metric both means and the difference paired by seed, with intervals and a verdict.

    `couples`: what is compared → (records, records to subtract); `headings`: name of a metric → what to call it. The
    verdict says on which side of 0 the whole interval of the difference lies, if on one.
    """
    lines = [
        [name, heading, *_contrast(*couple, metric, digits)]
        for name, couple in couples.items()
        for metric, heading in headings.items()
    ]
    used = [record for couple in couples.values() for side in couple for record in side]
    head = ["A − B", "", "A", "B", "difference, paired by seed", "so A is"]
    return table(head, lines, caption) + provenance(used)


def rotation(d: int, generator: torch.Generator) -> Tensor:
    """A rotation of `d` dimensions drawn evenly from all (Haar measure, with reflections), float64 `[d, d]`.

    >>> r = rotation(3, torch.Generator().manual_seed(0))
    >>> torch.allclose(r @ r.T, torch.eye(3, dtype=torch.float64))
    True
    """
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def rotated_mig(run: Run, count: int = 40, seed: int = 0) -> tuple[float, list[float]]:
    """MIG of a model's codes as they are, and of the same codes under `count` random rotations.

    Under protocol LOCATELLO, on as many points as the run was evaluated on. LookupError for data without factors.
    """
    n, device = run.record.spec["eval_points"], next(run.model.parameters()).device
    indices, images = evaluation_points(run.dataset, n)
    codes, factors = encoded(run.model, images, device).double(), run.dataset.factors(indices).numpy()
    protocol, generator = replace(metrics.LOCATELLO, train_points=n), torch.Generator().manual_seed(seed)
    turned = [codes @ rotation(codes.shape[1], generator) for _ in range(count)]
    own, *others = (metrics.mig(each.numpy(), factors, protocol=protocol) for each in (codes, *turned))
    return own, others


def rotation_figure(found: Mapping[str, tuple[float, Sequence[float]]]) -> Figure:
    """What `rotated_mig` found for several models: rotated codes as points, the model's own as a hollow diamond."""
    figure, axes = plt.subplots(figsize=(5.5, 3.0))
    own, turned = {name: value for name, (value, _) in found.items()}, {name: list(v) for name, (_, v) in found.items()}
    figures.dots(axes, turned, {}, "MIG", colours=dict.fromkeys(found, figures.COLOURS["infogan"]), paper=own)
    return figure


def _contrast(first: Sequence[Record], second: Sequence[Record], metric: str, digits: int) -> list[str]:
    sides = [{r.spec["seed"]: float(r.get(metric)) for r in records} for records in (first, second)]
    difference = paired(*sides)
    return [*(bootstrap(list(s.values())).text(digits) for s in sides), difference.text(digits), difference.side]


def _parted(pairs: Tensor) -> Tensor:
    """`[k, pairs, 2, c, h, w]` → `[k, columns, c, h, w]`: pairs in a row with a white picture between two."""
    k, count, _, *shape = pairs.shape
    white = torch.ones(k, count, 1, *shape)
    return torch.cat([pairs, white], dim=2).flatten(1, 2)[:, :-1]


def _drawn(model: torch.nn.Module, n: int, generator: torch.Generator) -> Tensor:
    codes, noise = (prior_sample(model.prior, n, d, generator) for d in (model.code_dims, model.noise_dims))
    device = next(model.parameters()).device
    return model.generate(codes.to(device), noise.to(device)).cpu()
