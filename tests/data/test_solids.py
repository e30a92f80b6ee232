"""Rays against solids: closed forms against small steps along each ray, and normals against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from disentlib.data import solids
from disentlib.data.solids import FAR, Solid, cast

STEP = 2e-3


def hexagon(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    sides = [x * np.cos(a) + y * np.sin(a) for a in np.arange(6) * np.pi / 3]
    return np.maximum(np.max(sides, 0), abs(z)) - 1


# Each solid told apart from its coefficients: negative inside.
OUTSIDE: dict[str, Callable[..., np.ndarray]] = {
    "BALL": lambda x, y, z: np.sqrt(x * x + y * y + z * z) - 1,
    "CUBE": lambda x, y, z: np.max([abs(x), abs(y), abs(z)], 0) - 1,
    "CYLINDER": lambda x, y, z: np.maximum(np.hypot(x, y), abs(z)) - 1,
    "CONE": lambda x, y, z: np.maximum(np.hypot(x, y) - (1 - z) / 2, -1 - z),
    "HEXAGON": hexagon,
    "PYRAMID": lambda x, y, z: np.maximum(np.maximum(abs(x), abs(y)) - (1 - z) / 2, -1 - z),
}


def rays(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts on a sphere around the solids and unit directions to points near them, each `[3, n]`; some steep."""
    rng = np.random.default_rng(seed)
    start, target = rng.normal(size=(3, n)), rng.uniform(-1.4, 1.4, (3, n))
    start *= 4 / np.linalg.norm(start, axis=0)
    return start, (target - start) / np.linalg.norm(target - start, axis=0)


def tensors(vector: np.ndarray) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(vector).float())


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_first_point_inside_is_where_the_ray_enters(name: str) -> None:
    start, direction = rays(300, seed=len(name))
    t = np.arange(0, 8, STEP)
    points = start[..., None] + direction[..., None] * t
    inside = OUTSIDE[name](*points) < 0
    expected = np.where(inside.any(1), t[inside.argmax(1)], FAR)
    found = cast(getattr(solids, name), tensors(start), tensors(direction)).distance.numpy()
    grazing = inside.sum(1) < 3  # shorter than the steps can tell
    assert (~grazing).sum() > 50 and (~inside.any(1)).sum() > 50
    # A step lies at or just behind the point where the ray enters.
    assert np.abs(found - expected + STEP / 2)[~grazing].max() < STEP
    assert (found[~inside.any(1)] == FAR).mean() > 0.97


@pytest.mark.parametrize("name", OUTSIDE)
def test_facing_is_the_cosine_with_the_surfaces_normal(name: str) -> None:
    start, direction = rays(300, seed=100 + len(name))
    towards = np.array([[0.6], [-0.48], [0.64]])
    hit = cast(getattr(solids, name), tensors(start), tensors(direction), [tensors(towards)])
    seen = hit.distance.numpy() < FAR
    point = (start + direction * hit.distance.numpy())[:, seen]
    steps = np.eye(3)[..., None] * 1e-3
    outside = OUTSIDE[name]
    slope = np.array([outside(*(point + s)) - outside(*(point - s)) for s in steps])
    expected = (slope * towards).sum(0) / np.linalg.norm(slope, axis=0)
    near = np.abs(hit.facing[0].numpy()[seen] - expected) < 2e-3
    assert near.mean() > 0.97  # not at an edge, where the finite difference sees two faces


def test_rays_that_start_inside_or_look_away_miss() -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    for name in OUTSIDE:
        solid: Solid = getattr(solids, name)
        assert cast(solid, (zero, zero, zero - 0.5), (one, zero, zero)).distance == FAR
        assert cast(solid, (zero - 3, zero, zero - 0.5), (-one, zero, zero)).distance == FAR
        assert cast(solid, (zero - 3, zero, zero - 0.5), (one, zero, zero)).distance < 3


def test_parallel_rays_may_share_a_direction_and_rays_of_an_eye_a_start() -> None:
    start, direction = rays(50, 1)
    each = cast(solids.CONE, tensors(start), tensors(direction[:, :1].repeat(50, 1))).distance
    assert torch.equal(cast(solids.CONE, tensors(start), tensors(direction[:, :1])).distance, each)
    each = cast(solids.CONE, tensors(start[:, :1].repeat(50, 1)), tensors(direction)).distance
    assert torch.equal(cast(solids.CONE, tensors(start[:, :1]), tensors(direction)).distance, each)
