"""Seconds per seed and step: many seeds as one stack against separate runs, as a table: `make bench-seeds`.

Separate runs come in two forms: one after the other with all threads, and several processes side by side that share
the cores, as a study with `--workers` has them (on a GPU they share the GPU). All variants take turns, and the quickest
repeat of each counts, since other programs only ever add time. The first steps, which choose kernels, do not count.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import torch

from disentlib import data, models, training
from disentlib.models.stacked import Stack

WARM_UP = 3


def seconds(name: str, seeds: list[int], stacked: bool, options: argparse.Namespace) -> float:
    """Seconds that training these seeds takes: as one stack, or one after the other."""
    dataset = data.load("dsprites", source="rendered", image_size=options.image_size)
    settings = {"train_size": 2048, "batch_size": options.batch_size, "precision": options.precision}
    settings |= {"progress": False, "log_every": 10_000}
    total = 0.0
    for together in [seeds] if stacked else [[seed] for seed in seeds]:
        family = [models.build(name, dataset.image_shape, seed=seed, lr=1e-3) for seed in together]
        model, seed = (Stack(family), together) if stacked else (family[0], together[0])
        training.train(model, dataset, steps=WARM_UP, seed=seed, **settings)
        total += training.train(model, dataset, steps=options.steps, seed=seed, **settings).seconds
    return total


def side_by_side(name: str, seeds: list[int], options: argparse.Namespace, pool: ProcessPoolExecutor) -> float:
    """Seconds until the last process has trained its share of the seeds."""
    shares = [seeds[first :: options.workers] for first in range(min(options.workers, len(seeds)))]
    return max(pool.map(seconds, *zip(*[(name, share, False, options) for share in shares])))


def row(name: str, count: int, options: argparse.Namespace, pool: ProcessPoolExecutor) -> list[float]:
    """The quickest repeats, in milliseconds per seed and step: one by one, side by side, stacked."""
    seeds, found = list(range(count)), []
    for _ in range(options.repeats):
        taken = (
            seconds(name, seeds, False, options),
            side_by_side(name, seeds, options, pool),
            seconds(name, seeds, True, options),
        )
        found.append([1000 * value / options.steps / count for value in taken])
    return [min(column) for column in zip(*found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["vae", "beta_vae", "beta_gvae"])
    parser.add_argument("--seeds", type=int, nargs="+", help="how many at once; 1 2 4 8, and 50 on a GPU")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="in all; torch's own choice")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=training.PRECISIONS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = training.best_device()
    counts = options.seeds or [1, 2, 4, 8, *([50] if device.type == "cuda" else [])]
    share = max(1, options.threads // options.workers)
    setting = f"{options.image_size} px, batch {options.batch_size}, {options.precision}"
    print(f"{setting}, {device}, {options.threads} threads", end="; ")
    print(f"side by side: {options.workers} processes of {share}; ms per seed and step, best of {options.repeats}")
    print(f"{'model':<10} {'S':>3} {'one by one':>11} {'side by side':>13} {'stack':>8} {'stack / best separate':>22}")
    context = multiprocessing.get_context("spawn")  # a forked child could not use the GPU
    with ProcessPoolExecutor(options.workers, context, torch.set_num_threads, (share,)) as pool:
        for name in options.models:
            for count in counts:
                one, side, stack = row(name, count, options, pool)
                ratio = stack / min(one, side)
                print(f"{name:<10} {count:>3} {one:11.1f} {side:13.1f} {stack:8.1f} {ratio:21.2f}×", flush=True)


if __name__ == "__main__":
    main()
