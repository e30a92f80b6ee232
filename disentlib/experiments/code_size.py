"""Does the FactorVAE metric grow with the number of code dimensions? Codes that are no better, only larger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from disentlib import figures, metrics
from disentlib.experiments.controlled import GRID, encoder, factor_images, standardised
from disentlib.experiments.controlled_sweeps import widened
from disentlib.experiments.markup import Html, table
from disentlib.experiments.statistics import paired
from disentlib.metrics import Protocol
from disentlib.metrics.factor_vae import active, local_variances, majority_accuracy, plan, vote_counts
from disentlib.metrics.votes import look_up_codes

__all__ = ["KINDS", "PROTOCOL", "both_ways", "growth", "split_votes", "vote_picture", "vote_sweep"]

# InfoGAN-CR's votes, and as many new ones to be scored on: nothing but "in-sample" differs between the two scores.
PROTOCOL = replace(metrics.INFOGAN_CR, in_sample=False, test_votes=metrics.INFOGAN_CR.train_votes)
_FAINT = 3.0  # standard deviation of the noise on a rotated code that still says a little of everything

Make = Callable[[int, int], np.ndarray]  # number of dimensions, seed → codes [len(GRID), d]
Sweep = Mapping[str, Mapping[int, Sequence[tuple[float, float]]]]  # kind → dimensions → (in-sample, held-out) a draw


def _noise(d: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 20_011]).normal(size=(len(GRID), d)).astype(np.float32)


def _rotated(seed: int, noise: float) -> np.ndarray:
    """Standardised factors, rotated at random, with noise of its own on each image's code: float32 `[n, k]`."""
    generator, factors = np.random.default_rng([seed, 20_021]), standardised(GRID)
    rotation = np.linalg.qr(generator.normal(size=(factors.shape[1],) * 2))[0]
    return (factors @ rotation + noise * generator.normal(size=factors.shape)).astype(np.float32)


def _spare(d: int, seed: int) -> np.ndarray:
    return widened(_rotated(seed, _FAINT), d - len(GRID.sizes), seed)


KINDS: Mapping[str, Make] = {"pure noise": _noise, "faint code, spare noise": _spare}
_COLOURS = dict(zip(KINDS, ("#444444", "#0072B2")))


def both_ways(codes: np.ndarray, seed: int, protocol: Protocol = PROTOCOL) -> tuple[float, float]:
    """FactorVAE metric of codes `[len(GRID), d]` on the votes that made the classes, and on new ones.

    >>> both_ways(_noise(5, 0), 0, replace(PROTOCOL, train_votes=5, test_votes=5, variance_points=9))[0] >= 0.2
    True
    """
    images = factor_images()
    drawn = plan(images, protocol, torch.Generator().manual_seed(seed))
    look_up = look_up_codes(images, encoder(images, codes), drawn.indices)
    sample = look_up(drawn.sample)
    voters = active(sample, protocol.prune_std)
    scale = sample[:, voters].var(0, ddof=1)
    ratios = [local_variances(look_up, votes.indices)[:, voters] / scale for votes in drawn.votes]
    fitted, new = (vote_counts(r, v.labels.numpy(), len(GRID.sizes)) for r, v in zip(ratios, drawn.votes))
    return majority_accuracy(fitted, fitted), majority_accuracy(fitted, new)


def split_votes(votes: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """Votes `[d, k]` of dimensions that are each replaced by `parts` equal ones, which share its votes by chance.

    >>> split_votes(np.array([[4, 2]]), 3, seed=0).sum(0).tolist()
    [4, 2]
    """
    shares = np.random.default_rng(seed).multinomial(votes, [1 / parts] * parts)  # [d, k, parts]
    return shares.transpose(0, 2, 1).reshape(-1, votes.shape[1])


def vote_sweep(sizes: Sequence[int], draws: int) -> Sweep:
    """`both_ways` of every kind of code at every size; ValueError for a size below the number of factors."""
    least = len(GRID.sizes)
    if min(sizes) < least or draws < 1:
        raise ValueError(f"sizes must be at least {least} and draws at least 1, got {list(sizes)} and {draws}")
    return {k: {d: [both_ways(make(d, s), s) for s in range(draws)] for d in sizes} for k, make in KINDS.items()}


def vote_picture(sweep: Sweep) -> Figure:
    """Two panels, in-sample and held-out: the score of each kind of code against its number of dimensions."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for side, (axis, title) in enumerate(zip(axes, ("scored in-sample", "scored on new votes"))):
        for kind, points in sweep.items():
            shown = {d: [pair[side] for pair in pairs] for d, pairs in points.items()}
            figures.sweep(axis, shown, _COLOURS[kind], kind)
        axis.axhline(1 / len(GRID.sizes), color=figures.COLOURS["paper"], lw=1, ls=":", label="guessing")
        axis.set(title=title, xlabel="code dimensions", xticks=list(next(iter(sweep.values()))))
    axes[0].set_ylabel("FactorVAE score")
    axes[1].legend(frameon=False, fontsize=8.5)
    return figure


def growth(sweep: Sweep, first: int, second: int, digits: int = 3) -> Html:
    """What going from `first` to `second` dimensions adds to each kind of code, in-sample and on new votes, by draw."""
    lines = []
    for kind, points in sweep.items():
        sides = [[dict(enumerate(p[side] for p in points[d])) for d in (second, first)] for side in (0, 1)]
        lines.append([kind, *(paired(*side).text(digits) for side in sides)])
    head = ["codes", "in-sample", "on new votes"]
    caption = f"FactorVAE score with {second} dimensions minus that with {first}: mean and 95 % interval over draws"
    return table(head, lines, caption)
