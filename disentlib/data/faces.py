"""Rendered faces: shaded cartoon portraits with eleven factors, drawn by code; a stand-in for CelebA.

Layers are painted from the background to the spectacles. Lengths are in half pictures, or, for what is painted
on the head, in its half height and half width (see `face_scene`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.data.face_scene import GRID, HEAD_HEIGHT, HEAD_Y, LIGHTS, Scene, set_scene
from disentlib.data.layers import draw_layers
from disentlib.data.raster import (
    bump,
    by_chunks,
    coverage,
    ellipse,
    lit,
    mix,
    paint,
    rounded_box,
    segment,
    smoothstep,
    wave,
)

__all__ = ["GRID", "draw", "load_rendered"]

SKIN = ((0.98, 0.83, 0.72), (0.92, 0.71, 0.56), (0.80, 0.57, 0.41), (0.60, 0.40, 0.28), (0.46, 0.30, 0.21))
HAIR = (
    (0.10, 0.09, 0.11),
    (0.27, 0.17, 0.11),
    (0.47, 0.28, 0.14),
    (0.66, 0.24, 0.10),
    (0.80, 0.60, 0.28),
    (0.93, 0.85, 0.66),
)
HAIR_ENDS = (0.05, 0.42, 0.78, 1.4)  # y at which the hair behind the head ends
HAIR_HALF_WIDTHS = (0.50, 0.62, 0.68, 0.74)
HAIR_VOLUMES = (1.05, 1.10, 1.13, 1.15)  # size of the hair on the head against the head
CURTAINS = (0.22, 0.34, 0.42, 0.50)  # depth w in front of which the side of the head is bare
HAIRLINES = (-0.74, -0.56, -0.38, -0.22)  # v in the middle of the forehead
SMILES = (-0.20, -0.09, 0.03, 0.13, 0.22)  # how far the mouth's corners lie above its middle
OPENINGS = (0.0, 0.0, 0.012, 0.06, 0.11)  # half height of the open mouth
BACKGROUNDS = (
    (0.80, 0.36, 0.34),
    (0.86, 0.68, 0.32),
    (0.45, 0.66, 0.40),
    (0.32, 0.62, 0.70),
    (0.34, 0.42, 0.72),
    (0.66, 0.42, 0.68),
)
AGES = (0.0, 0.5, 1.0)
CLOTHES, GREY, RIMS = (0.30, 0.34, 0.45), (0.72, 0.72, 0.74), (0.10, 0.10, 0.14)
LIPS, MOUTH, TEETH = (0.84, 0.28, 0.28), (0.24, 0.05, 0.06), (0.97, 0.95, 0.92)
EYE, IRIS, PUPIL = (0.97, 0.96, 0.95), (0.27, 0.33, 0.36), (0.05, 0.04, 0.05)


def draw(factors: Tensor, image_size: int) -> Tensor:
    """Factors int64 `[n, 11]` → uint8 pictures `[n, 3, s, s]` on the factors' device."""
    return by_chunks(_draw, factors, image_size, samples=(2 * image_size) ** 2)


def load_rendered(image_size: int | None = None) -> Dataset:
    """All faces, drawn when asked for; `image_size` in pixels (64 if None)."""
    size = 64 if image_size is None else image_size
    return Dataset(
        name="celeba",
        source="rendered",
        description="rendered faces (a stand-in drawn by code, not CelebA)",
        image_shape=(3, size, size),
        count=len(GRID),
        fetch=lambda indices: draw(GRID.factors(indices), size),
        grid=GRID,
    )


def _draw(factors: Tensor, image_size: int) -> Tensor:
    scene = set_scene(factors, 2 * image_size)
    return draw_layers(scene, _background(scene), LAYERS, image_size)


def _background(s: Scene) -> Tensor:
    """A plain wall, brighter above and on the side of the light."""
    glow = 0.92 + 0.16 * s.of("lighting", LIGHTS) * s.x - 0.16 * s.y
    return s.of("background", BACKGROUNDS) * glow[:, None]


def _hair_shade(s: Scene) -> Tensor:
    """Brightness of the hair: the head's light, strands that fan out from the crown, and a band of shine."""
    strands = wave(s.side * 3.5 / (1.6 + s.v)) + wave(s.side * 8 / (1.7 + s.v))
    shine = bump((s.v + 0.72 - 0.25 * s.side * s.side) / 0.13) * (1 - s.side.abs()).clamp(min=0)
    return (0.25 + 0.75 * s.light) * (0.78 + 0.12 * strands) + 0.30 * shine


def _hair_colour(s: Scene) -> Tensor:
    """Hair turns grey with age, more so towards the temples."""
    grey = s.of("age", AGES) * (0.38 + 0.37 * smoothstep(s.v, -0.9, -0.2))
    return mix(s.of("hair_colour", HAIR), s.constant(GREY), grey[:, None])


def _hair_behind(s: Scene, canvas: Tensor) -> Tensor:
    """The hair behind neck and shoulders, round at the top; its end and its breadth are the hair's length."""
    end, half_width = s.of("hair_length", HAIR_ENDS), s.of("hair_length", HAIR_HALF_WIDTHS) * s.width / 0.56
    x = s.x + 0.08 * s.turn_sin
    fall = rounded_box(x, s.y - (end - 0.2) / 2, half_width, (end + 0.2) / 2, 0.12)
    shape = torch.minimum(fall, ellipse(x, s.y, half_width, 0.72))
    shape = torch.maximum(shape, s.y - end)
    strands = 0.8 + 0.2 * wave(x * 6 / (1.4 + 0.2 * s.y))
    light = (0.66 + 0.35 * s.of("lighting", LIGHTS) * x) * strands * (1 - 0.15 * s.y)
    return paint(canvas, lit(_hair_colour(s), light), coverage(shape, s.pixel))


def _shoulders(s: Scene, canvas: Tensor) -> Tensor:
    """Neck, in the shadow of the chin, and a round collar."""
    lamp = s.of("lighting", LIGHTS)
    x = s.x + 0.04 * s.turn_sin
    neck = rounded_box(x, s.y - 0.9, 0.27, 0.4, 0.1)
    light = 0.50 + 0.6 * lamp * x + 0.35 * smoothstep(s.y, 0.80, 1.0)
    canvas = paint(canvas, lit(s.of("skin", SKIN), light), coverage(neck, s.pixel))
    body = torch.maximum(ellipse(s.x, s.y - 1.32, 0.95, 0.46), -ellipse(x, s.y - 0.86, 0.27, 0.13))
    light = 0.85 + 0.35 * lamp * s.x - 0.3 * (s.y - 1)
    return paint(canvas, lit(s.constant(CLOTHES), light), coverage(body, s.pixel))


def _head(s: Scene, canvas: Tensor) -> Tensor:
    """Skin with the hollows of the eyes and blushing cheeks, which a smile lifts into the light."""
    skin, age = s.of("skin", SKIN), s.of("age", AGES)
    across = s.u.abs()
    hollow = bump((across - 0.36) / 0.24, (s.v + 0.03) / 0.15)
    cheek = bump((across - 0.48) / 0.20, (s.v - 0.32) / 0.18)
    sunken = age * bump((across - 0.55) / 0.14, (s.v - 0.55) / 0.2)
    light = s.light - 0.14 * hollow + (0.05 + 0.6 * s.of("smile", SMILES)) * cheek - 0.06 * sunken
    canvas = paint(canvas, lit(skin, light), coverage(s.outside, s.pixel))
    blush = skin * s.constant((1.0, 0.62, 0.60))
    return paint(canvas, blush, 0.35 * cheek * s.covered(s.outside))


def _ears(s: Scene, canvas: Tensor) -> Tensor:
    """Two shells beside the head, darker within; the head covers the one that is turned away."""
    skin = s.of("skin", SKIN)
    for sign in (-1, 1):
        x, y = s.x - s.width * (sign * s.turn_cos - 0.1 * s.turn_sin), s.y - HEAD_Y - 0.04
        light = 0.6 + 0.45 * s.light * (1 - bump(x / 0.05, y / 0.09))
        canvas = paint(canvas, lit(skin, light), coverage(ellipse(x, y, 0.075, 0.14), s.pixel))
    return canvas


def _age(s: Scene, canvas: Tensor) -> Tensor:
    """Lines on the forehead, beside the mouth and under the eyes."""
    across = s.u.abs()
    folds = segment(across, s.v, (0.19, 0.27), (0.36, 0.55)) - 0.012
    bags = ellipse(across - 0.36, s.v - 0.02, 0.19, 0.16).abs() + (0.08 - s.v).clamp(min=0) - 0.006
    height = s.v + 0.1 * across
    brow = torch.minimum((height + 0.36).abs(), (height + 0.47).abs()) + (across - 0.34).clamp(min=0) - 0.008
    lines = torch.minimum(torch.minimum(folds, bags), brow)
    return paint(canvas, canvas * 0.45, 0.85 * s.of("age", AGES) * s.painted * smoothstep(lines, 0.035, -0.005))


def _eyes(s: Scene, canvas: Tensor) -> Tensor:
    """Almond eyes that look ahead, lashes and brows; a smile lifts the lower lids and the inner ends of the brows."""
    across = s.u.abs() - 0.36
    lid = 1 - across * across / (0.19 * 0.19)
    bend = s.of("smile", SMILES)
    eye = torch.maximum(-s.v - 0.095 * lid, s.v - (0.085 - 0.15 * bend) * lid)
    white = s.covered(eye)
    canvas = paint(canvas, s.constant(EYE) * (0.55 + 0.45 * s.light)[:, None], white)
    round_x = s.u - torch.where(s.u < 0, -0.36, 0.36)
    canvas = paint(canvas, s.constant(IRIS), white * s.covered(ellipse(round_x, s.v + 0.01, 0.082, 0.085)))
    canvas = paint(canvas, s.constant(PUPIL), white * s.covered(ellipse(round_x, s.v + 0.01, 0.042, 0.045)))
    canvas = paint(canvas, s.constant(EYE), white * s.covered(ellipse(round_x + 0.03, s.v + 0.045, 0.022, 0.022)))
    lashes = (s.v + 0.095 * lid).abs() + (across.abs() - 0.19).clamp(min=0) - 0.016
    canvas = paint(canvas, s.constant(PUPIL), 0.8 * s.covered(lashes))
    arch = s.v + 0.21 - 0.35 * across * across - (0.05 + 0.8 * bend) * across
    brow = arch.abs() + (across.abs() - 0.18).clamp(min=0) - 0.028
    return paint(canvas, 0.75 * _hair_colour(s), 0.85 * s.covered(brow))


def _nose(s: Scene, canvas: Tensor) -> Tensor:
    """A ridge that stands out from the head: it overtakes the face when the head turns; lit and shaded by side."""
    along = ((s.v + 0.08) / 0.36).clamp(0, 1)
    x = s.side - s.turn_sin * (0.97 + 0.17 * along)
    half_width = 0.055 + 0.075 * along * along
    ridge = bump(x / half_width) * smoothstep(s.v, -0.12, 0.1) * smoothstep(s.v, 0.36, 0.27)
    tilt = x / half_width * (s.of("lighting", LIGHTS) - 0.8 * s.turn_sin)
    change = ridge * (0.10 + 0.38 * tilt)
    canvas = canvas * (1 + change)[:, None]
    under = bump(x / 0.13, (s.v - 0.34) / 0.035)
    nostrils = bump((x.abs() - 0.07) / 0.035, (s.v - 0.315) / 0.025)
    return paint(canvas, canvas * 0.35, (0.45 * under + 0.5 * nostrils).clamp(max=0.8))


def _mouth(s: Scene, canvas: Tensor) -> Tensor:
    """Lips around an opening; a smile lifts the corners, widens the mouth and shows the teeth."""
    bend, opening = s.of("smile", SMILES), s.of("smile", OPENINGS)
    half_width = 0.33 + 0.5 * bend.clamp(min=0)
    t = s.u / half_width
    lens = (1 - t * t).clamp(min=-1)
    v = s.v - 0.56 - bend * (lens - 0.5)
    lips = torch.maximum(-v - (opening + 0.055) * lens, v - (opening + 0.072) * lens)
    inside = torch.maximum(-v - opening * lens, v - opening * lens) - 0.022 + 0.03 * t * t
    canvas = paint(canvas, canvas * 0.8, 0.6 * bump(t / 0.5, (v - opening - 0.12) / 0.04))
    light = 0.45 + 0.55 * s.light + 0.2 * smoothstep(v, 0.0, 0.05)
    canvas = paint(canvas, mix(s.of("skin", SKIN), s.constant(LIPS), 0.70) * light[:, None], s.covered(lips))
    canvas = paint(canvas, s.constant(MOUTH), s.covered(inside))
    teeth = s.covered(inside + 0.022) * smoothstep(v, 0.6, 0.0) * smoothstep(opening, 0.015, 0.06)
    return paint(canvas, s.constant(TEETH), teeth)


def _hair(s: Scene, canvas: Tensor) -> Tensor:
    """The hair on the head: above the hairline and behind the curtains, a little larger than the skull."""
    line = s.of("fringe", HAIRLINES) + 0.10 * s.u + 0.55 * s.u * s.u * s.u * s.u - 0.04 * wave(s.u * 4.0)
    # The nape is lower than the temples.
    end = (s.of("hair_length", HAIR_ENDS) - HEAD_Y) / HEAD_HEIGHT + 0.5 * smoothstep(s.w, 0.15, -0.5)
    bare = torch.minimum((s.v - line) * HEAD_HEIGHT, (s.w - s.of("hair_length", CURTAINS)) * s.width)
    volume = s.of("hair_length", HAIR_VOLUMES)
    skull = ellipse(s.x + 0.05 * s.turn_sin, s.y - HEAD_Y + 0.07, s.width * volume, HEAD_HEIGHT * 1.06)
    shape = torch.maximum(torch.maximum(skull, (s.v - end) * HEAD_HEIGHT), torch.minimum(bare, -s.outside))
    shadow = coverage(shape - 0.05, 0.12) * coverage(s.outside, s.pixel)
    canvas = paint(canvas, canvas * 0.55, shadow)
    return paint(canvas, lit(_hair_colour(s), _hair_shade(s)), coverage(shape, s.pixel))


def _glasses(s: Scene, canvas: Tensor) -> Tensor:
    """Dark rims, a bridge, temples towards the ears, and a faint reflection in the lenses."""
    worn = s.of("glasses", (0.0, 1.0))
    across = s.u.abs()
    lens = rounded_box(across - 0.37, s.v - 0.01, 0.25, 0.19, 0.13)
    bridge = (s.v + 0.05).abs() + (across - 0.14).clamp(min=0)
    temple = (s.v + 0.05).abs() + (0.60 - across).clamp(min=0)
    rims = torch.minimum(lens.abs(), torch.minimum(bridge, temple)) - 0.028
    gleam = worn * s.covered(lens) * (0.12 + 0.25 * smoothstep(s.u - s.v, 0.1, 0.3) * smoothstep(s.u - s.v, 0.5, 0.3))
    canvas = paint(canvas, s.constant(EYE), gleam)
    return paint(canvas, s.constant(RIMS), worn * s.covered(rims))


# Painted in this order, each on the rows of the picture it can reach: y from, y to.
LAYERS = (
    (_hair_behind, -0.80, 1.0),
    (_shoulders, 0.45, 1.0),
    (_ears, -0.04, 0.32),
    (_head, -0.70, 0.90),
    (_age, -0.40, 0.60),
    (_eyes, -0.22, 0.26),
    (_nose, -0.02, 0.46),
    (_mouth, 0.26, 0.84),
    (_hair, -0.82, 1.0),
    (_glasses, -0.12, 0.32),
)
