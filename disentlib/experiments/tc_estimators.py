"""The estimators of total correlation: where brute force knows the answer, and on trained models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from disentlib import figures, metrics
from disentlib.experiments.evaluation import EVALUATION_SEED, evaluation_points, posterior_table
from disentlib.experiments.markup import Html, table
from disentlib.experiments.metric_pictures import spread
from disentlib.experiments.runs import Run
from disentlib.experiments.statistics import bootstrap, paired
from disentlib.losses.total_correlation import ESTIMATORS, decompose, gaussian_log_density, log_mixtures

__all__ = [
    "COLOURS",
    "EXACT",
    "Measured",
    "compare_estimators",
    "exact_parts",
    "measured_total_correlation",
    "toy_means",
    "toy_picture",
    "toy_table",
]

EXACT = "all posteriors"
COLOURS = {
    EXACT: "#444444", "unbiased": "#0072B2", "stratified": "#56B4E9", "weighted": "#E69F00", "copied": "#D55E00",
}  # fmt: skip


class Measured(NamedTuple):
    """What one estimator made of one batch: nats, and nats per unit of σ."""

    estimator: str
    batch: int
    mutual_information: float
    total_correlation: float
    slope: float  # ∂TC/∂σ


def toy_means(n: int, d: int, sigma: float, generator: torch.Generator) -> Tensor:
    """Means of `n` posteriors `N(μ, σ²I)` whose aggregate is close to `N(0, I)`: μ ~ N(0, 1 − σ²), float64 `[n, d]`."""
    return math.sqrt(1 - sigma**2) * torch.randn(n, d, generator=generator, dtype=torch.float64)


def exact_parts(codes: Tensor, own: Tensor, means: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """Mutual information and total correlation at the samples `codes` `[m, d]`, with q(z) from all `n` posteriors.

    `own` int64 `[m]`: which posterior each sample came from; `means`, `logvar` `[n, d]`. In nats, batch means.
    """
    weights = torch.full((len(codes), len(means)), -math.log(len(means)), dtype=codes.dtype)
    joint, marginals = log_mixtures(codes, means, logvar, weights)
    density = gaussian_log_density(codes, means[own], logvar[own]).sum(1)
    return (density - joint).mean(), (joint - marginals.sum(1)).mean()


def compare_estimators(n: int, d: int, sigma: float, batch_size: int, batches: int, seed: int = 0) -> list[Measured]:
    """Every estimator, and brute force over all `n` posteriors, on the same samples of the same batches."""
    generator = torch.Generator().manual_seed(seed)
    means = toy_means(n, d, sigma, generator)
    found = []
    for number in range(batches):
        own = torch.randperm(n, generator=generator)[:batch_size]
        noise = torch.randn(batch_size, d, generator=generator, dtype=torch.float64)
        found += [_measured(name, number, means, own, noise, sigma) for name in (EXACT, *ESTIMATORS)]
    return found


def _measured(name: str, number: int, means: Tensor, own: Tensor, noise: Tensor, sigma: float) -> Measured:
    scale = torch.tensor(sigma, dtype=torch.float64, requires_grad=True)
    codes, logvar = means[own] + scale * noise, 2 * torch.log(scale).expand(means.shape)
    if name == EXACT:
        information, correlation = exact_parts(codes, own, means, logvar)
    else:
        information, correlation, _ = decompose(codes, means[own], logvar[own], len(means), name)
    (slope,) = torch.autograd.grad(correlation, scale)
    return Measured(name, number, information.item(), correlation.item(), slope.item())


def toy_picture(rows: Sequence[Measured]) -> Figure:
    """Each batch a point, the interval of their mean a bar: nats on a logarithmic axis, then the slope."""
    panels = {"mutual_information": "I(z; x), nats", "total_correlation": "TC, nats", "slope": "∂TC / ∂σ, nats"}
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.6))
    for axis, (name, label) in zip(axes, panels.items()):
        values = _by_estimator(rows, name)
        bars = {estimator: spread(list(v.values())).interval for estimator, v in values.items()}
        figures.dots(axis, {e: list(v.values()) for e, v in values.items()}, bars, label, colours=COLOURS)
        axis.set_xticks(range(len(values)), list(values), rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
    axes[1].set(yscale="log", yticks=[5, 10, 20, 50, 100], yticklabels=["5", "10", "20", "50", "100"])
    return figure


def toy_table(rows: Sequence[Measured], caption: str) -> Html:
    """Means over batches with intervals, and what each estimator is off by, paired batch by batch."""
    names = ("mutual_information", "total_correlation", "slope")
    values = {name: _by_estimator(rows, name) for name in names}
    lines = []
    for estimator in values["slope"]:
        means = [bootstrap(list(values[name][estimator].values())).text(2) for name in names]
        errors = [paired(values[name][estimator], values[name][EXACT]).text(2) for name in names[1:]]
        lines.append([estimator, *means, *(["–", "–"] if estimator == EXACT else errors)])
    head = ["estimator", "I(z; x), nats", "TC, nats", "∂TC/∂σ", "TC minus exact", "∂TC/∂σ minus exact"]
    return table(head, lines, caption)


def measured_total_correlation(run: Run, n: int) -> float:
    """TC of a trained model's posteriors over the same `n` evaluation images for every model, in nats."""
    _, images = evaluation_points(run.dataset, n)
    posterior = posterior_table(run.model, images, next(run.model.parameters()).device)
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    return metrics.total_correlation(posterior["mean"].numpy(), posterior["logvar"].numpy(), generator=generator)


def _by_estimator(rows: Sequence[Measured], name: str) -> dict[str, dict[int, float]]:
    """estimator → batch → value."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row.estimator, {})[row.batch] = getattr(row, name)
    return found
