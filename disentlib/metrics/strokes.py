"""Thickness, slant, width, height and mass of a written digit, measured from its grey values by moments.

MNIST has no factors; the papers read these off by eye. Here they are measured, in the image's pixels and in degrees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disentlib.metrics.traversals import Scale

__all__ = ["NAMES", "STROKES", "stroke_readings", "stroke_scales", "strokes"]

STROKES = ("thickness", "slant", "width")  # what the papers name
NAMES = (*STROKES, "height", "mass")  # and two more: the mass follows from the others, so it spoils a row's purity
_LEAST_INK = 1.0  # pixels' worth; below it there is nothing to measure
_LOW, _HIGH = 5, 95  # percentiles of real digits that stand for the whole of a measure


def strokes(images: np.ndarray) -> dict[str, np.ndarray]:
    """Grey images `[n, h, w]` or `[n, 1, h, w]` in [0, 1], light on dark → name → `[n]`; NaN where (almost) blank.

    `mass`: the sum of the grey values, in pixels.
    `thickness`: 2 · mass / (length of the outline), in pixels; the outline is the total variation, from gradients at
    the corners between pixels, so that a fainter or smoother stroke is as thick as a crisp one (and one thinner than
    about two pixels, which the grid only makes fainter, can measure two). A bar of length L and thickness t measures
    t · L / (L + t), for its ends belong to the outline.
    `slant`: degrees from upright, positive when the top leans to the right: the shear that makes the second moments
    upright, `tan = −μ_xy / μ_yy` with y downwards.
    `width`, `height`: sides in pixels of the upright rectangle with the same second moments once the slant is taken
    out: √12 · standard deviation, from `μ_xx − μ_xy² / μ_yy` and `μ_yy`.
    ValueError for other shapes or values outside [0, 1].

    >>> bar = np.zeros((1, 28, 28)); bar[0, 4:24, 12:16] = 1
    >>> {name: round(float(strokes(bar)[name][0]), 1) for name in ("thickness", "width", "height")}
    {'thickness': 3.4, 'width': 3.9, 'height': 20.0}
    """
    images = _checked(images)
    mass = images.sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        xx, xy, yy = _central_moments(images, mass)
        measures = {
            "thickness": 2 * mass / _outline(images),
            "slant": np.degrees(np.arctan(-xy / yy)),
            "width": np.sqrt(12 * np.maximum(xx - xy**2 / yy, 0)),
            "height": np.sqrt(12 * yy),
        }
    blank = mass < _LEAST_INK
    return {name: np.where(blank, np.nan, values) for name, values in measures.items()} | {"mass": mass}


def stroke_readings(images: np.ndarray, names: Sequence[str] = STROKES) -> np.ndarray:
    """The named measures as readings `[n, k]`; LookupError for an unknown name."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise LookupError(f"unknown measure {', '.join(unknown)}; known: {', '.join(NAMES)}")
    found = strokes(images)
    return np.stack([found[name] for name in names], axis=1)


def stroke_scales(images: np.ndarray, names: Sequence[str] = STROKES) -> tuple[Scale, ...]:
    """What counts as the whole of each measure, and its noise, from real digits `[n, 1, h, w]` or `[n, h, w]`.

    The whole is the range from the 5th to the 95th percentile. The noise is the mean change when the same digit is
    moved by half a pixel to the side and down, which changes none of the measures but smooths the image a little.
    ValueError if the digits do not differ.
    """
    readings, moved = (stroke_readings(x, names) for x in (images, _half_a_pixel_away(_checked(images))))
    low, high = np.nanpercentile(readings, [_LOW, _HIGH], axis=0)
    noise = np.nanmean(np.abs(moved - readings), axis=0)
    spans = high - low
    if not (spans > 0).all():
        same = [name for name, span in zip(names, spans) if not span > 0]
        raise ValueError(f"these {len(readings)} digits do not differ in {', '.join(same)}")
    return tuple(
        Scale(name, "ordinal", float(span), float(min(n / span, 0.99))) for name, span, n in zip(names, spans, noise)
    )


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images, dtype=np.float64)
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim != 3:
        raise ValueError(f"expected grey images [n, h, w] or [n, 1, h, w], got {list(images.shape)}")
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"expected values in [0, 1], got {images.min()} to {images.max()}")
    return images


def _central_moments(images: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ink's variance along x, covariance, variance along y, each `[n]`, in pixels²; it lies at pixel centres."""
    y, x = np.indices(images.shape[1:], dtype=np.float64)
    weights = images / mass[:, None, None]
    mean_x, mean_y = (np.einsum("nhw,hw->n", weights, axis)[:, None, None] for axis in (x, y))
    dx, dy = x - mean_x, y - mean_y
    xx, xy, yy = ((weights * a * b).sum((1, 2)) for a, b in ((dx, dx), (dx, dy), (dy, dy)))
    return xx, xy, yy


def _outline(images: np.ndarray) -> np.ndarray:
    """Total variation `[n]`: of a picture of 0 and 1 the length of its outline, in pixels.

    Gradients at the corners between pixels see both sides of a line one pixel wide, and are exact along 45° too.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    across, down = np.diff(padded, axis=2), np.diff(padded, axis=1)
    return np.hypot(across[:, 1:] + across[:, :-1], down[:, :, 1:] + down[:, :, :-1]).sum((1, 2)) / 2


def _half_a_pixel_away(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (1, 0), (1, 0)))
    return (padded[:, 1:, 1:] + padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, :-1, :-1]) / 4
