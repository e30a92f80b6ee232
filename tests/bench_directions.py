"""Milliseconds of a Dis-GU step: cached bases and graph-free negatives against everything decoded with a graph.

Both take turns on copies of one Glow (32 pixels, L = 3; K = 8 and width 64 unless asked for otherwise), and the
quickest repeat of each counts, since other programs only ever add time. What is saved are decodes: the larger the Glow
beside the encoder, the higher the ratio. The first steps, which fill the pool of bases and choose kernels, do not
count; the pool's cost is printed by itself.
"""

from __future__ import annotations

import argparse
import time

import torch

from disentlib import models, training
from disentlib.models import Model

SHAPE = (3, 32, 32)


def seconds(model: Model, images: torch.Tensor, generator: torch.Generator, steps: int) -> float:
    """Seconds for `steps` steps, the device's work included."""
    started = time.perf_counter()
    for _ in range(steps):
        losses = model.step(images, generator)
    losses["loss"].item()
    return time.perf_counter() - started


def built(name: str, glow: Model, literal: bool, options: argparse.Namespace) -> Model:
    hyper = {"encoder_width": options.encoder_width, "bases": options.bases, "refresh": 0, "literal": literal}
    model = models.build(name, SHAPE, **hyper)
    model.adopt("glow", glow)
    return model.to(options.device).train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["dis_gu", "disco"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bases", type=int, default=512)
    parser.add_argument("--glow-width", type=int, default=64)
    parser.add_argument("--steps-per-level", type=int, default=8)
    parser.add_argument("--encoder-width", type=int, default=16)
    parser.add_argument("--device", default=str(training.best_device()))
    options = parser.parse_args()
    generator = torch.Generator(options.device).manual_seed(0)
    images = torch.rand(64, *SHAPE, generator=generator, device=options.device)
    size = {"steps_per_level": options.steps_per_level, "levels": 3, "width": options.glow_width}
    glow = models.build("glow", SHAPE, **size).to(options.device)
    glow.step(images, generator)
    print(f"{options.device}, {torch.get_num_threads()} threads; ms per step, best of {options.repeats}")
    print(f"{'model':<8} {'literal':>9} {'cached':>9} {'ratio':>6} {'pool, once':>11}")
    for name in options.models:
        literal, cached = (built(name, glow, flag, options) for flag in (True, False))
        seconds(literal, images, generator, 1)
        pool = seconds(cached, images, generator, 1)
        taken = [
            [seconds(m, images, generator, options.steps) for m in (literal, cached)] for _ in range(options.repeats)
        ]
        slow, quick = (1000 * min(column) / options.steps for column in zip(*taken))
        print(f"{name:<8} {slow:9.1f} {quick:9.1f} {slow / quick:5.2f}× {1000 * pool - quick:11.0f}", flush=True)


if __name__ == "__main__":
    main()
