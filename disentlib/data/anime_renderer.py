"""Rendered anime faces: flat drawn portraits with nine factors, drawn by code; a stand-in for sets of anime faces.

Layers are painted from the background to the spectacles, with an ink line around hair and face. Lengths are in half
pictures, or, for what is painted on the face, in its half height and half width (see `anime_scene`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.data.anime_scene import GRID, HEAD_HEIGHT, HEAD_WIDTH, HEAD_Y, Scene, set_scene
from disentlib.data.dataset import Dataset
from disentlib.data.exact import square_root
from disentlib.data.layers import Layer, draw_layers
from disentlib.data.raster import (
    bump,
    by_chunks,
    coverage,
    ellipse,
    mix,
    paint,
    rounded_box,
    smoothstep,
)

__all__ = ["GRID", "draw", "load_rendered"]

HAIR = (
    (0.17, 0.16, 0.22),
    (0.48, 0.29, 0.18),
    (0.97, 0.82, 0.42),
    (0.85, 0.25, 0.20),
    (0.98, 0.60, 0.74),
    (0.33, 0.52, 0.90),
    (0.38, 0.72, 0.48),
    (0.80, 0.80, 0.88),
)
EYES = (
    (0.45, 0.25, 0.12),
    (0.88, 0.58, 0.10),
    (0.80, 0.14, 0.22),
    (0.20, 0.62, 0.30),
    (0.14, 0.45, 0.88),
    (0.55, 0.25, 0.75),
)
SKIN = ((1.0, 0.91, 0.85), (0.95, 0.79, 0.66), (0.74, 0.53, 0.39))
BACKGROUNDS = (
    (0.70, 0.87, 0.97),
    (0.98, 0.80, 0.84),
    (0.80, 0.93, 0.76),
    (0.99, 0.93, 0.70),
    (0.82, 0.77, 0.95),
    (0.36, 0.40, 0.56),
)
INK, WHITE, BLUSH, RED = (0.16, 0.10, 0.16), (1.0, 1.0, 1.0), (0.96, 0.42, 0.42), (0.86, 0.16, 0.24)
BLOUSE, COLLAR, MOUTH, RIMS = (0.96, 0.96, 0.98), (0.20, 0.26, 0.46), (0.66, 0.16, 0.20), (0.20, 0.12, 0.12)
LINE = 0.022  # breadth of the ink around a shape, half pictures
ABSENT = 9.0  # added to the distance of what a hair style has not
HAIR_STYLE, GLASSES = (GRID.names.index(name) for name in ("hair_style", "glasses"))

# By hair style: bob, long, twin tails, ponytail, buns, spikes.
TWIN_TAILS, PONYTAIL, BUNS, SPIKES = 2, 3, 4, 5
FALL_ENDS = (0.56, 1.30, 0.30, 0.20, 0.30, 0.20)  # y at which the hair behind the head ends
FALL_WIDTHS = (0.68, 0.70, 0.52, 0.50, 0.52, 0.52)
LOCK_ENDS = (0.86, 1.15, 0.95, 0.55, 0.70, 0.28)  # v at which the locks beside the face end
FRINGES = (-0.28, -0.32, -0.36, -0.40, -0.34, -0.44)  # v of the fringe's roots between its points
POINTS = (0.16, 0.26, 0.24, 0.28, 0.20, 0.46)  # length of its points
POINT_WIDTHS = (0.20, 0.36, 0.46, 0.56, 0.30, 0.44)

# By eye shape: round, raised, drooping, sleepy.
SLANTS = (0.0, -0.50, 0.50, 0.10)  # fall of the eye towards its outer end
EYE_HEIGHTS = (0.29, 0.21, 0.22, 0.25)
LIDS = (-1.0, -1.0, -1.0, -0.03)  # v above which the lid covers the eye
EYE_U, EYE_V, EYE_WIDTH = 0.42, 0.20, 0.225

# By mouth: frown, flat, smile, open.
BENDS, OPENINGS, MOUTH_WIDTHS = (-0.15, 0.0, 0.16, 0.05), (0.0, 0.0, 0.0, 0.19), (0.24, 0.20, 0.32, 0.23)


def draw(factors: Tensor, image_size: int) -> Tensor:
    """Factors int64 `[n, 9]` → uint8 pictures `[n, 3, s, s]` on the factors' device."""
    alike = (2 * factors[:, HAIR_STYLE] + factors[:, GLASSES]).argsort()  # what a whole piece lacks is not drawn
    samples = 2 * image_size * image_size  # half of those of a picture: about what a layer covers
    pictures = by_chunks(_draw, factors[alike], image_size, samples)
    return torch.empty_like(pictures).index_copy_(0, alike, pictures)


def load_rendered(image_size: int | None = None) -> Dataset:
    """All 1 161 216 faces, drawn when asked for; `image_size` in pixels (64 if None).

    >>> load_rendered(32).image_shape
    (3, 32, 32)
    """
    size = 64 if image_size is None else image_size
    return Dataset(
        name="anime",
        source="rendered",
        description="rendered anime faces (a stand-in drawn by code, not a published set)",
        image_shape=(3, size, size),
        count=len(GRID),
        fetch=lambda indices: draw(GRID.factors(indices), size),
        grid=GRID,
    )


def _draw(factors: Tensor, image_size: int) -> Tensor:
    scene = set_scene(factors, 2 * image_size)
    layers = [(_between(reach, layer), top, bottom) for layer, reach, top, bottom in LAYERS]
    return draw_layers(scene, _background(scene), layers, image_size)


def _between(reach: float, layer: Layer) -> Layer:
    """The layer, painted on the columns from x = −reach to reach alone."""

    def painted(s: Scene, canvas: Tensor) -> Tensor:
        half = s.x.shape[2] // 2
        columns = slice(int((1 - reach) * half), int((1 + reach) * half) + 1)
        canvas[..., columns] = layer(s.columns(columns), canvas[..., columns])
        return canvas

    return painted


def _background(s: Scene) -> Tensor:
    """A plain sky, paler below."""
    return mix(s.of("background", BACKGROUNDS), s.constant(WHITE), (0.22 + 0.22 * s.y + 0 * s.x)[:, None])


def _inked(s: Scene, canvas: Tensor, colour: Tensor, shape: Tensor) -> Tensor:
    """A shape of that colour with an ink line around it."""
    inner = (0.45 + 0.55 * coverage(shape, s.pixel))[:, None]
    return paint(canvas, colour * inner, coverage(shape - LINE, s.pixel))


def _hair_behind(s: Scene, canvas: Tensor) -> Tensor:
    """What of the hair is seen behind head and shoulders, darker than in front: the fall, tails, buns or spikes."""
    x, y = s.x + 0.10 * s.turn, s.y - HEAD_Y
    end = s.of("hair_style", FALL_ENDS)
    shape = rounded_box(x, s.y - (end - 0.3) / 2, s.of("hair_style", FALL_WIDTHS), (end + 0.3) / 2, 0.18)
    for style, part in ((TWIN_TAILS, _twin_tails), (PONYTAIL, _ponytail), (BUNS, _buns), (SPIKES, _spikes)):
        if (s.factors["hair_style"] == style).any():
            elsewhere = [0.0 if i == style else ABSENT for i in range(len(FALL_ENDS))]
            shape = torch.minimum(shape, part(s, x, y) + s.of("hair_style", elsewhere))
    shade = 0.74 + 0.10 * smoothstep(s.y, 0.9, -0.3)
    return _inked(s, canvas, s.of("hair_colour", HAIR) * shade[:, None], shape)


def _twin_tails(s: Scene, x: Tensor, y: Tensor) -> Tensor:
    return ellipse(x.abs() - 0.76 - 0.14 * s.y, s.y - 0.22, 0.19, 0.66)


def _ponytail(s: Scene, x: Tensor, y: Tensor) -> Tensor:
    """One tail, high on the right."""
    return torch.minimum(ellipse(x - 0.52, s.y + 0.66, 0.26, 0.22), ellipse(x - 0.76 - 0.1 * s.y, s.y, 0.18, 0.72))


def _buns(s: Scene, x: Tensor, y: Tensor) -> Tensor:
    return ellipse(x.abs() - 0.46, s.y + 0.66, 0.23, 0.23)


def _spikes(s: Scene, x: Tensor, y: Tensor) -> Tensor:
    """A ragged crown: an ellipse whose radius runs up and down with the direction (a quarter turn is 1)."""
    turn = x / (x.abs() + y.abs() + 1e-6)
    radius = 0.66 + 0.26 * _zigzag(turn * 2.5 + 0.5)
    return ellipse(x, y, radius, radius * 1.12) + (s.y - 0.35).clamp(min=0)


def _zigzag(x: Tensor) -> Tensor:
    """A triangle wave of period 1: 0 at whole numbers, 1 between."""
    return 1 - ((x - x.floor()) * 2 - 1).abs()


def _shoulders(s: Scene, canvas: Tensor) -> Tensor:
    """Neck in the shadow of the chin, a blouse with a wide collar, a red bow."""
    x = s.x - 0.03 * s.turn
    skin = s.of("skin", SKIN) * (0.82 + 0.18 * smoothstep(s.y, 0.76, 0.82) + 0 * x)[:, None]
    canvas = _inked(s, canvas, skin, rounded_box(x, s.y - 0.85, 0.15, 0.30, 0.05))
    body = torch.maximum(ellipse(s.x, s.y - 1.38, 0.74, 0.56), 0.95 - s.y - 1.3 * x.abs() + 0.05)
    collar = (s.y - 1.06 + 0.16 * (x.abs() / 0.5)).abs() - 0.09
    colour = mix(s.constant(BLOUSE), s.constant(COLLAR), coverage(collar, s.pixel)[:, None])
    canvas = _inked(s, canvas, colour, body)
    bow = torch.maximum((s.y - 0.91).abs() - 0.02 - 0.40 * x.abs(), x.abs() - 0.17)
    return _inked(s, canvas, s.constant(RED), bow)


def _face(s: Scene, canvas: Tensor) -> Tensor:
    """Face and ears, with blushing cheeks and a small nose."""
    skin = s.of("skin", SKIN)
    ear = ellipse(s.side.abs() * HEAD_WIDTH - 0.53, s.y - HEAD_Y - 0.12, 0.07, 0.12)
    blush = bump((s.u.abs() - 0.50) / 0.20, (s.v - 0.50) / 0.11)
    flat = mix(skin, s.constant(BLUSH), 0.42 * blush[:, None])
    nose = ellipse(s.u - 0.05 * s.turn, s.v - 0.47, 0.030, 0.028)
    flat = flat * (1 - 0.4 * coverage(nose, s.pixel / HEAD_HEIGHT))[:, None]
    return _inked(s, canvas, flat, torch.minimum(ear, s.outside))


def _eyes(s: Scene, canvas: Tensor) -> Tensor:
    """Large eyes: white, an iris that is dark above and bright below, pupil, two sparks, a thick upper lash, a brow."""
    slant, height = s.of("eye_shape", SLANTS), s.of("eye_shape", EYE_HEIGHTS)
    across = s.u.abs() - EYE_U
    v = s.v - EYE_V - slant * across
    lid = torch.maximum(-height, s.of("eye_shape", LIDS))
    eye = torch.maximum(ellipse(across, v, EYE_WIDTH, height), lid - v)
    white = s.covered(eye)
    canvas = paint(canvas, s.constant(WHITE), white)
    x = s.u - torch.where(s.u < 0, -EYE_U, EYE_U) - 0.10 * s.turn
    iris = s.of("eye_colour", EYES) * (0.62 + 0.75 * smoothstep(v, -0.18, 0.22))[:, None]
    canvas = paint(canvas, iris.clamp(max=1), white * s.covered(ellipse(x, v - 0.01, 0.170, 0.240)))
    dark = torch.minimum(ellipse(x, v + 0.01, 0.060, 0.105), ellipse(x, v - 0.01, 0.170, 0.240).abs() - 0.015)
    canvas = paint(canvas, s.constant(INK), 0.85 * white * s.covered(dark))
    sparks = torch.minimum(ellipse(x + 0.055, v + 0.09, 0.058, 0.068), ellipse(x - 0.065, v - 0.11, 0.030, 0.036))
    canvas = paint(canvas, s.constant(WHITE), white * s.covered(sparks))
    rim = 1 - across * across / (EYE_WIDTH * EYE_WIDTH)
    top = torch.maximum(-height * square_root(rim.clamp(min=0)), lid)
    lash = torch.maximum((v - top + 0.005).abs() - 0.042, across.abs() - EYE_WIDTH - 0.02)
    canvas = paint(canvas, s.constant(INK), s.covered(lash))
    arch = v + height + 0.15 + 0.10 * rim - 0.35 * slant * across
    brow = torch.maximum(arch.abs() - 0.022, across.abs() - 0.17)
    return paint(canvas, 0.45 * s.of("hair_colour", HAIR), s.covered(brow))


def _mouth(s: Scene, canvas: Tensor) -> Tensor:
    """A line that bends, or an open mouth with a tongue."""
    bend, opening, half_width = (s.of("mouth", table) for table in (BENDS, OPENINGS, MOUTH_WIDTHS))
    t = s.u / half_width
    lens = 1 - t * t
    v = s.v - 0.70 - bend * (lens - 0.5)
    inside = torch.maximum(-v, v - opening * lens.clamp(min=0))
    shape = torch.maximum(inside - 0.038, (t.abs() - 1) * half_width)
    canvas = paint(canvas, s.constant(MOUTH), s.covered(shape))
    tongue = ellipse(s.u, v - 0.15, 0.13, 0.07)
    return paint(canvas, s.constant(BLUSH), s.covered(torch.maximum(tongue, inside)))


def _hair(s: Scene, canvas: Tensor) -> Tensor:
    """The hair in front: a cap with a pointed fringe, locks beside the face, a band of shine, a shadow on the face."""
    x, y = s.x + 0.03 * s.turn, s.y - HEAD_Y
    cap = ellipse(x, y + 0.10, HEAD_WIDTH * 1.16, HEAD_HEIGHT * 1.08)
    width = s.of("hair_style", POINT_WIDTHS)
    points = _zigzag(s.u / width + 0.5 * (s.u / width).abs())
    line = s.of("hair_style", FRINGES) + s.of("hair_style", POINTS) * points + 0.20 * s.u * s.u
    temples = 0.80 + 0.34 * (s.v + 0.2).clamp(min=0)
    open_face = torch.maximum((line - s.v) * HEAD_HEIGHT * 0.7, ((s.side - 0.3 * s.turn).abs() - temples) * HEAD_WIDTH)
    cap = torch.maximum(torch.maximum(cap, -open_face), (s.v - 0.45) * HEAD_HEIGHT)
    end = s.of("hair_style", LOCK_ENDS)
    breadth = 0.17 * smoothstep(end - s.v, 0.0, 0.6)
    lock = (
        torch.maximum((s.side.abs() - 1.0).abs() - breadth, (s.v - (end - 0.4) / 2).abs() - (end + 0.4) / 2)
        * HEAD_WIDTH
    )
    shape = torch.minimum(cap, lock)
    canvas = canvas * (1 - 0.2 * coverage(shape - 0.06, s.pixel) * coverage(s.outside, s.pixel))[:, None]
    band = (s.v + 0.58 - 0.28 * s.side * s.side + 0.07 * points).abs() - 0.055
    gleam = 0.45 * coverage(band, 0.03) * smoothstep(s.side.abs(), 0.95, 0.6)
    shade = 1.03 - 0.10 * s.side * s.side - 0.12 * smoothstep(s.v, -0.4, 0.9)
    hair = s.of("hair_colour", HAIR) * (shade * (1 - gleam))[:, None] + gleam[:, None]
    return _inked(s, canvas, hair, shape)


def _glasses(s: Scene, canvas: Tensor) -> Tensor:
    """Round dark rims, a bridge, and a pale gleam in the lenses."""
    if not s.factors["glasses"].any():
        return canvas
    worn = s.of("glasses", (0.0, 1.0))
    across = s.u.abs()
    lens = rounded_box(across - 0.43, s.v - 0.22, 0.31, 0.28, 0.20)
    bridge = torch.maximum((s.v - 0.14).abs(), across - 0.16)
    rims = torch.minimum(lens.abs(), bridge) - 0.034
    stripe = smoothstep(s.u - s.v, 0.0, 0.08) * smoothstep(s.u - s.v, 0.26, 0.18)
    canvas = paint(canvas, s.constant(WHITE), worn * s.covered(lens) * (0.10 + 0.25 * stripe))
    return paint(canvas, s.constant(RIMS), worn * s.covered(rims))


# Painted in this order, each in the part of the picture it can reach: x from −reach to reach, y from, y to.
LAYERS = (
    (_hair_behind, 1.0, -1.0, 1.0),
    (_shoulders, 0.64, 0.55, 1.0),
    (_face, 0.72, -0.62, 0.76),
    (_eyes, 0.60, -0.34, 0.42),
    (_mouth, 0.50, 0.40, 0.76),
    (_hair, 0.76, -0.78, 0.90),
    (_glasses, 0.60, -0.10, 0.46),
)
