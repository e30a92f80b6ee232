"""Strokes: bars of known thickness, slant and size are measured as what they are."""

from __future__ import annotations

import numpy as np
import pytest

from disentlib import data
from disentlib.metrics.strokes import NAMES, STROKES, stroke_readings, stroke_scales, strokes

FINE = 8  # samples a pixel along each axis


def bar(length: float, thickness: float, slant: float = 0.0, turn: float = 0.0, centre: float = 14.0) -> np.ndarray:
    """A bar sheared by `slant` degrees or turned by `turn`, its edges smoothed by area, `[1, 28, 28]`."""
    places = (np.arange(28 * FINE) + 0.5) / FINE - centre
    y, x = np.meshgrid(places, places, indexing="ij")
    x = x + np.tan(np.radians(slant)) * y
    angle = np.radians(turn)
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = (abs(u) < thickness / 2) & (abs(v) < length / 2)
    return inside.reshape(28, FINE, 28, FINE).mean((1, 3))[None]


@pytest.mark.parametrize("thickness", [2, 3, 4, 6])
@pytest.mark.parametrize("turn", [0, 20, 44, 90])
def test_the_thickness_of_a_bar(thickness: float, turn: float) -> None:
    found = strokes(bar(20, thickness, turn=turn))
    assert found["thickness"][0] == pytest.approx(thickness * 20 / (20 + thickness), rel=0.1)
    assert found["mass"][0] == pytest.approx(20 * thickness, rel=0.02)


def test_a_ring_has_no_ends() -> None:
    places = (np.arange(28 * FINE) + 0.5) / FINE - 14
    radius = np.hypot(places[:, None], places[None])
    ring = (abs(radius - 8) < 1.5).reshape(28, FINE, 28, FINE).mean((1, 3))[None]
    assert strokes(ring)["thickness"][0] == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("slant", [-30, -10, 0, 15, 35])
def test_the_slant_of_a_sheared_bar_and_its_size_without_the_slant(slant: float) -> None:
    """A sheared edge in grey adds 1/12 to the variance, an edge between two pixels takes 1/12 from it."""
    found = strokes(bar(18, 4, slant=slant))
    assert found["slant"][0] == pytest.approx(slant, abs=0.5)
    assert found["width"][0] == pytest.approx(4, rel=0.05) and found["height"][0] == pytest.approx(18, rel=0.02)


def test_the_top_of_a_positive_slant_leans_to_the_right() -> None:
    picture = np.zeros((1, 28, 28))
    picture[0, range(4, 24), range(23, 3, -1)] = 1
    assert strokes(picture)["slant"][0] == pytest.approx(45, abs=0.5)
    assert strokes(picture[:, :, ::-1])["slant"][0] == pytest.approx(-45, abs=0.5)


def test_a_fainter_stroke_elsewhere_has_the_same_measures_but_less_mass() -> None:
    crisp, faint = strokes(bar(16, 3, slant=12)), strokes(0.4 * bar(16, 3, slant=12, centre=16))
    for name in set(NAMES) - {"mass"}:
        assert faint[name][0] == pytest.approx(crisp[name][0], rel=1e-6), name
    assert faint["mass"][0] == pytest.approx(0.4 * crisp["mass"][0])


def test_blank_images_have_no_strokes() -> None:
    found = strokes(np.stack([np.zeros((28, 28)), bar(16, 3)[0]])[:, None])
    for name in set(NAMES) - {"mass"}:
        assert np.isnan(found[name][0]) and np.isfinite(found[name][1]), name
    assert found["mass"][0] == 0


def test_the_scales_are_the_middle_nine_tenths_of_real_digits() -> None:
    digits = data.load("mnist", source="rendered")
    images = digits.images(np.arange(300)).numpy()
    scales = stroke_scales(images)
    assert tuple(scale.name for scale in scales) == STROKES
    readings = np.sort(stroke_readings(images), axis=0)
    for column, scale in zip(readings.T, scales):
        inner = column[15:-15]  # 270 of 300
        assert inner[-1] - inner[0] == pytest.approx(scale.span, rel=0.1) and scale.kind == "ordinal"
        assert 0 < scale.noise < 0.2, scale


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: strokes(np.zeros((2, 3, 28, 28))), r"grey images .* got \[2, 3, 28, 28\]"),
        (lambda: strokes(np.full((1, 28, 28), 1.5)), r"values in \[0, 1\], got 1.5"),
        (lambda: strokes(np.full((1, 28, 28), np.nan)), r"values in \[0, 1\]"),
        (lambda: stroke_scales(bar(18, 3).repeat(5, axis=0)), "5 digits do not differ in thickness, slant, width"),
        (lambda: stroke_readings(bar(18, 3), ["girth"]), "girth; known: thickness"),
    ],
)
def test_bad_input_is_refused(call: object, said: str) -> None:
    with pytest.raises((ValueError, LookupError), match=said):
        call()
