"""A model's traversals with what an instrument measures along them: images, numbers, figure, and table in one piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from disentlib.data import Dataset
from disentlib.experiments.evaluation import EVALUATION_SEED
from disentlib.experiments.factor_reader import FactorReader
from disentlib.experiments.markup import Html, table
from disentlib.metrics.strokes import STROKES, stroke_readings, stroke_scales
from disentlib.metrics.traversals import RowSummary, Scale, row_summaries
from disentlib.models.frozen_flow import finite
from disentlib.traversal_figures import measured_grid, number_lines

__all__ = [
    "Measured",
    "Reader",
    "StrokeReader",
    "base_codes",
    "illegible",
    "legibility",
    "measured_traversal",
    "read",
    "stroke_reader",
]

LEGIBLE = 0.5  # least R², or accuracy above chance as a share of what is above chance, on a model's own images
_CHUNK = 250
_SAMPLE = 5000  # real digits behind the strokes' scales


class Reader(Protocol):
    """An instrument: images float32 `[n, c, h, w]` in [0, 1] → readings `[n, k]`, one column for each of its scales."""

    scales: tuple[Scale, ...]

    def __call__(self, images: Tensor) -> np.ndarray: ...

    def summary(self) -> str: ...


class Decoder(Protocol):
    """What a traversal needs of a model."""

    code_dims: int

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Measured:
    """Traversals of some code dimensions: the first base point's images, and the measurements over all base points."""

    dimensions: tuple[int, ...]
    values: tuple[float, ...]  # in units of the code, added to the base code or put in its place
    images: Tensor  # [rows, values, c, h, w] in [0, 1], on the CPU
    readings: np.ndarray  # [bases, rows, values, k]
    summaries: tuple[RowSummary, ...]
    instrument: str  # what the reader says of itself

    def figure(self, rows: Sequence[str] = (), boxes: Mapping[int, str] | None = None, title: str = "") -> Figure:
        """The grid with the measured changes beside it; `rows` are labels, `z0`, `z1`, … without them."""
        return measured_grid(self.images, self.summaries, rows or self.names, boxes, title)

    def table(self, caption: str, rows: Sequence[str] = ()) -> Html:
        """All numbers, one line a row, with the instrument named in the caption."""
        bases = f"mean over {len(self.readings)} base point{'s' if len(self.readings) > 1 else ''}"
        return table(*number_lines(self.summaries, rows or self.names), f"{caption} ({bases}; {self.instrument})")

    @property
    def names(self) -> list[str]:
        return [f"z{dimension}" for dimension in self.dimensions]

    @property
    def unreadable(self) -> float:
        """The share of the images of which nothing can be read, as of those that are not finite."""
        return float(np.isnan(self.readings).all(-1).mean())


@torch.no_grad()
def measured_traversal(
    model: Decoder,
    dataset: Dataset,
    dimensions: Sequence[int],
    span: tuple[float, float] | Sequence[float],
    bases: Tensor | int,
    reader: Reader,
    columns: int = 10,
    relative: bool = False,
    without: Sequence[str] = (),
) -> Measured:
    """Move one code dimension at a time through `span` and let `reader` say what changes.

    `span`: the lowest and the highest value, `columns` of them evenly spaced, put in the place of the base code's own
    or, with `relative`, added to it. `bases`: base codes `[b, code_dims]`, or how many images of `dataset` to encode
    (the same ones for all models). `without`: factors not to be judged on this model, such as `illegible` names; they
    get a dash. The grid shows the first base point; the measurements are means over all of them. An image that is not
    finite has no readings.
    ValueError for dimensions that the model has not got, or base codes of another length.
    """
    codes = base_codes(model, dataset, bases) if isinstance(bases, int) else bases
    if codes.ndim != 2 or codes.shape[1] != model.code_dims or not len(codes):
        raise ValueError(f"expected base codes [b, {model.code_dims}], got {list(codes.shape)}")
    unknown = [d for d in dimensions if not 0 <= d < model.code_dims]
    if unknown or not len(dimensions):
        raise ValueError(f"dimensions must be some of 0…{model.code_dims - 1}, got {list(dimensions)}")
    values = torch.linspace(span[0], span[1], columns, dtype=codes.dtype, device=codes.device)
    moved = _moved(codes, dimensions, values, relative)
    grids = [model.decode(base.flatten(0, 1)).float().clamp(0, 1) for base in moved]
    readings = np.stack([read(reader, images).reshape(len(dimensions), columns, -1) for images in grids])
    readings[..., [scale.name in without for scale in reader.scales]] = np.nan
    return Measured(
        dimensions=tuple(dimensions),
        values=tuple(values.tolist()),
        images=grids[0].unflatten(0, (len(dimensions), columns)).cpu(),
        readings=readings,
        summaries=tuple(row_summaries(readings, reader.scales)),
        instrument=reader.summary(),
    )


def read(reader: Reader, images: Tensor) -> np.ndarray:
    """The reader's readings of images `[n, c, h, w]`, `[n, k]`: NaN for an image that is not finite."""
    whole = finite(images)
    readings = np.array(reader(torch.where(whole[:, None, None, None], images, 0.5)), dtype=np.float64)
    readings[~whole.cpu().numpy()] = np.nan
    return readings


@torch.no_grad()
def base_codes(model: Decoder, dataset: Dataset, n: int) -> Tensor:
    """The codes of `n` images drawn from a fixed generator, `[n, code_dims]`: the same images for every model."""
    if n < 1:
        raise ValueError(f"a traversal starts from at least 1 base point, got {n}")
    return model.encode(dataset.images(_points(dataset, n), _device(model)))


@torch.no_grad()
def legibility(
    model: Decoder, dataset: Dataset, reader: FactorReader, n: int = 500
) -> dict[str, dict[str, float | str]]:
    """How well the reader finds an image's true factors in `decode(encode(image))`, for `n` images: as `reader.scores`.

    Where a factor scores badly here, either the code does not hold it or the reader is blind to it on this model's
    images: it may then be sure of a class that a blob happens to resemble, and see it change along every row.
    """
    indices = _points(dataset, n)
    found = [model.decode(model.encode(dataset.images(chunk, _device(model)))) for chunk in indices.split(_CHUNK)]
    return reader.measure(torch.cat(found).float().clamp(0, 1), dataset.factors(indices))


@dataclass(frozen=True)
class StrokeReader:
    """Strokes as an instrument, for digits, which have no factors."""

    scales: tuple[Scale, ...]
    source: str  # of the digits behind the scales

    def __call__(self, images: Tensor) -> np.ndarray:
        return stroke_readings(images.detach().float().cpu().numpy(), [scale.name for scale in self.scales])

    def summary(self) -> str:
        noise = ", ".join(f"{scale.name} {scale.noise:.2f}" for scale in self.scales)
        return f"1 = the 5–95 % range of {self.source}; noise {noise}"


def stroke_reader(dataset: Dataset, names: Sequence[str] = STROKES) -> StrokeReader:
    """The instrument for digits, scaled on up to 5 000 images of `dataset`, evenly spread over it."""
    indices = torch.linspace(0, len(dataset) - 1, min(_SAMPLE, len(dataset)), dtype=torch.float64).round().long()
    return StrokeReader(stroke_scales(dataset.images(indices).numpy(), names), dataset.description)


def illegible(reader: FactorReader, found: Mapping[str, Mapping[str, float | str]]) -> tuple[str, ...]:
    """The factors that score below `LEGIBLE` in what `legibility` found, or that are unreadable more often than not.

    For autoencoders. A generator whose code holds no shape draws crisp shapes nevertheless, which the reader can read.

    >>> reader = FactorReader(None, (Scale("shape", "nominal"), Scale("x", span=9.0)), (3, 10))
    >>> illegible(reader, {"shape": {"score": 0.45, "unreadable": 0.1}, "x": {"score": 0.9, "unreadable": 0.0}})
    ('shape',)
    """
    chances = [1 / size if scale.kind == "nominal" else 0.0 for scale, size in zip(reader.scales, reader.sizes)]
    scores = {s.name: (found[s.name]["score"] - chance) / (1 - chance) for s, chance in zip(reader.scales, chances)}
    return tuple(name for name, score in scores.items() if score < LEGIBLE or found[name]["unreadable"] > 0.5)


def _points(dataset: Dataset, n: int) -> Tensor:
    return torch.randint(len(dataset), (n,), generator=torch.Generator().manual_seed(EVALUATION_SEED))


def _device(model: Decoder) -> torch.device | None:
    """Where a model's weights are; None for one without any."""
    parameter = next(iter(getattr(model, "parameters", tuple)()), None)
    return None if parameter is None else parameter.device


def _moved(codes: Tensor, dimensions: Sequence[int], values: Tensor, relative: bool) -> Tensor:
    """Base codes `[b, d]` → `[b, rows, values, d]`, each row with its dimension moved."""
    moved = codes[:, None, None].repeat(1, len(dimensions), len(values), 1)
    for row, dimension in enumerate(dimensions):
        moved[:, row, :, dimension] = values + codes[:, dimension, None] * relative
    return moved
