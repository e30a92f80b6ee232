"""An instrument that reads factors from images: a small network trained on a data set's own images and factors.

It is a measuring device and no model of the book: it needs labels, which the training loop rightly never gives, so it
has its own short supervised fit, here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from disentlib.data.dataset import Dataset
from disentlib.data.grid import FactorGrid
from disentlib.metrics.traversals import Scale, changes
from disentlib.models.base import adam, step_optimiser
from disentlib.networks import ConvEncoder, seeded

__all__ = ["PERIODS", "FactorReader", "Network", "Settings", "fit", "scales_of", "true_traversals", "widths_of"]

# Factors that run round a circle: after how many steps the picture is the same again. dSprites has its first
# orientation again as the last one, and is read modulo a quarter turn, since a square looks the same after one.
PERIODS: dict[str, dict[str, float]] = {
    "dsprites": {"orientation": 39 / 4},
    "chairs": {"azimuth": 31.0},
    "cars3d": {"azimuth": 24.0},
}
SURE_CLASS, SURE_DIRECTION = 0.7, 0.5  # least probability, least length of the arrow, of a reading that is trusted
_MEANS = 0.15  # share of the training images that are means over factors not told …
_MEAN_OF = 6  # … of so many pictures, …
_UNTOLD = 0.5  # … and the chance of each factor to be one of them
_WARM_UP = 0.15  # share of the steps in which the rate rises
_COLUMNS = 10  # values along a true traversal, as in the book's grids
_CHUNK = 500


@dataclass(frozen=True)
class Settings:
    """How the reader is trained: on `images` drawn from the whole set, by Adam with a rate that rises and falls.

    `held_out`: images that its scores are measured on; `bases` of them start true traversals, which give its noise.
    """

    images: int = 20_000
    steps: int = 2000
    batch_size: int = 64
    lr: float = 2e-3
    held_out: int = 2000
    bases: int = 64

    def __post_init__(self) -> None:
        if min(self.images, self.steps, self.batch_size, self.held_out, self.bases) < 1:
            raise ValueError(f"images, steps, batch_size, held_out and bases must be at least 1, got {self}")


class Network(nn.Module):
    """Images `[n, c, h, w]` in [0, 1] → the heads' outputs `[n, sum(widths)]`, from standardised pixels.

    Most pixels of a sprite are black: without the standardising it learns several times more slowly.
    """

    def __init__(self, image_shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.body = ConvEncoder(image_shape, outputs)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def standardise(self, images: Tensor) -> None:
        """Take mean and standard deviation of all pixels of these images, in [0, 1]."""
        self.mean.copy_(images.mean())
        self.deviation.copy_(images.std().clamp(min=1e-3))

    def forward(self, images: Tensor) -> Tensor:
        return self.body((images - self.mean) / self.deviation)


@dataclass(frozen=True)
class FactorReader:
    """Images to factors: a network with one head a factor, the factors' scales with the noise, and its own scores.

    `scores`: factor → `{"measure": "accuracy" or "R²", "score": …, "unreadable": share}` on images not trained on.
    """

    network: Network = field(repr=False)
    scales: tuple[Scale, ...]
    sizes: tuple[int, ...]
    scores: dict[str, dict[str, float | str]] = field(default_factory=dict)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        """Images float32 `[n, c, h, w]` in [0, 1], on any device → readings `[n, k]`, in steps of each factor.

        An ordinal factor's value, the likeliest class of a nominal one, a circular one's place in its period. A class
        or a direction that the network is not sure of is NaN (`SURE_CLASS`, `SURE_DIRECTION`).
        """
        device = self.network.mean.device
        outputs = torch.cat([self.network(chunk.to(device)).float().cpu() for chunk in images.split(_CHUNK)])
        heads = outputs.double().split(widths_of(self.scales, self.sizes), dim=1)
        columns = [_READ[s.kind](head, s.span).numpy() for head, s in zip(heads, self.scales)]
        return np.stack(columns, axis=1)

    def measure(self, images: Tensor, factors: Tensor) -> dict[str, dict[str, float | str]]:
        """How well it reads images `[n, c, h, w]` whose true factors `[n, k]` are known: a dictionary like `scores`.

        On a model's reconstructions this says what of the instrument's skill is left on a decoder's blur.
        """
        readings, truth = self(images), factors.cpu().numpy()
        return {scale.name: _score(readings[:, j], truth[:, j], scale) for j, scale in enumerate(self.scales)}

    def summary(self) -> str:
        """What every page says of its instrument, such as "shape accuracy 0.99, scale R² 0.97"."""
        return ", ".join(f"{n.replace('_', ' ')} {s['measure']} {s['score']:.2f}" for n, s in self.scores.items())


def fit(dataset: Dataset, settings: Settings, seed: int, device: torch.device | str = "cpu") -> FactorReader:
    """Train a reader on `settings.images` images and measure it on others; LookupError for a set without factors.

    Images are smoothed by a random amount, and some are means over factors, as a decoder's are.
    """
    sizes, generator = dataset.factor_sizes, torch.Generator().manual_seed(seed)
    indices = torch.randperm(len(dataset), generator=generator)
    train = indices[: min(settings.images, len(dataset) * 9 // 10)]
    test = indices[len(train) :][: settings.held_out]
    scales = scales_of(dataset.grid, PERIODS.get(dataset.name, {}))
    network = seeded(Network, dataset.image_shape, sum(widths_of(scales, sizes)), seed=seed).to(device)
    images = _training_images(dataset, train, generator).to(device)
    network.standardise(images[: settings.held_out].float() / 255)
    reader = FactorReader(network, scales, sizes)
    _train(reader, images, dataset.factors(train).to(device), settings, generator)
    network.eval()
    reader = replace(reader, scores=reader.measure(dataset.images(test), dataset.factors(test)))
    return _with_noise(reader, dataset, test[: settings.bases])


def scales_of(grid: FactorGrid, periods: Mapping[str, float]) -> tuple[Scale, ...]:
    """A noiseless scale for each factor of a grid; those in `periods` are circular.

    >>> [s.kind for s in scales_of(FactorGrid(("shape", "turn"), (3, 8), nominal=("shape",)), {"turn": 8.0})]
    ['nominal', 'circular']
    """
    return tuple(_scale(name, size, grid, periods) for name, size in zip(grid.names, grid.sizes))


def widths_of(scales: Sequence[Scale], sizes: Sequence[int]) -> list[int]:
    """Outputs of each factor's head: a logit a class, one value for an order, cosine and sine for a circle.

    >>> widths_of([Scale("shape", "nominal"), Scale("turn", "circular", 8.0), Scale("x", span=9.0)], [3, 8, 10])
    [3, 2, 1]
    """
    return [{"nominal": size, "circular": 2, "ordinal": 1}[scale.kind] for scale, size in zip(scales, sizes)]


def true_traversals(grid: FactorGrid, indices: Tensor, columns: int) -> Tensor:
    """Indices of images in which one factor at a time runs through its values, from several base points.

    `indices` int64 `[bases]` → int64 `[bases, k, columns]`; a factor with fewer values than columns repeats them.

    >>> true_traversals(FactorGrid(("y", "x"), (2, 4)), torch.tensor([5]), 4).tolist()
    [[[1, 1, 5, 5], [4, 5, 6, 7]]]
    """
    factors = grid.factors(indices)[:, None, None].repeat(1, len(grid.sizes), columns, 1)
    for j, size in enumerate(grid.sizes):
        factors[:, j, :, j] = torch.linspace(-0.499, size - 0.501, columns).round().long()
    return grid.index(factors.flatten(0, 2)).view(factors.shape[:3])


def _scale(name: str, size: int, grid: FactorGrid, periods: Mapping[str, float]) -> Scale:
    if name in grid.nominal:
        return Scale(name, "nominal")
    if name in periods:
        return Scale(name, "circular", span=periods[name])
    return Scale(name, "ordinal", span=max(size - 1, 1))


def _train(
    reader: FactorReader, images: Tensor, factors: Tensor, settings: Settings, generator: torch.Generator
) -> None:
    network, widths = reader.network.train(), widths_of(reader.scales, reader.sizes)
    optimiser = adam(network.parameters(), settings.lr)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / settings.steps))
    for _ in range(settings.steps):
        rows = torch.randint(len(images), (settings.batch_size,), generator=generator).to(images.device)
        crispness = torch.rand(settings.batch_size, 1, 1, 1, generator=generator).to(images.device)
        heads = network(_smoothed(images[rows].float() / 255, crispness)).split(widths, dim=1)
        terms = [_LOSS[s.kind](head, column, s.span) for head, column, s in zip(heads, factors[rows].T, reader.scales)]
        step_optimiser(optimiser, torch.stack(terms).sum())
        rate.step()


def _rate(part: float) -> float:
    """The learning rate after this part of the steps, as a share of its peak: up a line, down half a cosine."""
    if part < _WARM_UP:
        return part / _WARM_UP + 1e-3
    return 0.5 + 0.5 * math.cos(math.pi * (part - _WARM_UP) / (1 - _WARM_UP))


def _training_images(dataset: Dataset, indices: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 images `[n, c, h, w]` of these indices; the first `_MEANS` of them means over factors that are not told.

    A decoder whose code says nothing of a factor draws the mean over it. Shown such means, the reader learns not to be
    sure of what is not in the picture, instead of calling a blob by the class that it happens to resemble.
    """
    vague = indices[: int(_MEANS * len(indices))]
    told = dataset.factors(vague).repeat_interleave(_MEAN_OF - 1, dim=0)
    others = dataset.sample_factors(len(told), generator)
    untold = torch.rand(len(vague), told.shape[1], generator=generator) < _UNTOLD
    mixed = dataset.index(torch.where(untold.repeat_interleave(_MEAN_OF - 1, dim=0), others, told))
    images, more = (_drawn(dataset, which) for which in (indices, mixed))
    total = more.unflatten(0, (len(vague), _MEAN_OF - 1)).sum(1, dtype=torch.int32) + images[: len(vague)]
    images[: len(vague)] = (total.float() / _MEAN_OF).round().to(torch.uint8)
    return images


def _drawn(dataset: Dataset, indices: Tensor) -> Tensor:
    return torch.cat([dataset.bytes(chunk) for chunk in indices.split(1000)])


def _smoothed(images: Tensor, crispness: Tensor) -> Tensor:
    smooth = functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    return crispness * images + (1 - crispness) * smooth


# ---- the three kinds of head: what each minimises, and how it is read ----------------------------------------------


def _class_loss(head: Tensor, column: Tensor, span: float) -> Tensor:
    return functional.cross_entropy(head, column)


def _order_loss(head: Tensor, column: Tensor, span: float) -> Tensor:
    """Squared error in units of a uniform factor's variance, so that a head that knows nothing costs about 1."""
    return 12 * (head[:, 0] - (column / span - 0.5)).square().mean()


def _circle_loss(head: Tensor, column: Tensor, span: float) -> Tensor:
    angle = column * (2 * math.pi / span)
    return (head - torch.stack([angle.cos(), angle.sin()], dim=1)).square().sum(1).mean()


def _read_class(head: Tensor, span: float) -> Tensor:
    probability, best = head.softmax(1).max(1)
    return torch.where(probability >= SURE_CLASS, best.double(), torch.nan)


def _read_order(head: Tensor, span: float) -> Tensor:
    return (head[:, 0] + 0.5).clamp(0, 1) * span


def _read_circle(head: Tensor, span: float) -> Tensor:
    """The least squares of an uncertain direction is a shorter arrow, so its length is how sure the network is."""
    angle = torch.atan2(head[:, 1], head[:, 0]) % (2 * math.pi)
    return torch.where(head.norm(dim=1) >= SURE_DIRECTION, angle * (span / (2 * math.pi)), torch.nan)


_LOSS = {"nominal": _class_loss, "ordinal": _order_loss, "circular": _circle_loss}
_READ = {"nominal": _read_class, "ordinal": _read_order, "circular": _read_circle}


# ---- what the instrument is worth ----------------------------------------------------------------------------------


def _score(readings: np.ndarray, truth: np.ndarray, scale: Scale) -> dict[str, float | str]:
    """Accuracy, or R² = 1 − mean squared error / variance, of the readings that are trusted, and the share that is not.

    On a circle the error is the shorter way round, and the variance that of a uniform one, period²/12.
    """
    readable = ~np.isnan(readings)
    unreadable = round(1 - float(readable.mean()), 4)
    measure = "accuracy" if scale.kind == "nominal" else "R²"
    if not readable.any():
        return {"measure": measure, "score": 0.0, "unreadable": unreadable}
    error = readings[readable] - truth[readable]
    if scale.kind == "nominal":
        score = (error == 0).mean()
    elif scale.kind == "circular":
        error = (error + scale.span / 2) % scale.span - scale.span / 2
        score = 1 - (error**2).mean() / (scale.span**2 / 12)
    else:
        score = 1 - (error**2).mean() / max(truth.var(), 1e-12)
    return {"measure": measure, "score": round(float(score), 4), "unreadable": unreadable}


def _with_noise(reader: FactorReader, dataset: Dataset, bases: Tensor) -> FactorReader:
    """The reader with the noise of each factor: its mean change where another factor is truly moved, the worst one."""
    indices = true_traversals(dataset.grid, bases, _COLUMNS)
    readings = np.concatenate([reader(dataset.images(chunk)) for chunk in indices.flatten().split(_CHUNK)])
    crosstalk = np.nan_to_num(changes(readings.reshape(*indices.shape, -1), reader.scales))
    np.fill_diagonal(crosstalk, 0.0)
    noise = crosstalk.max(0).clip(0, 0.99)
    scales = tuple(replace(scale, noise=round(float(n), 4)) for scale, n in zip(reader.scales, noise))
    return replace(reader, scales=scales)
