"""Seconds of each metric under LOCATELLO, and what faster trees cost DCI, as tables: `make bench-metrics`.

Codes are a table: ten dimensions, five of them mixtures of dSprites' five factors, so that encoding costs nothing and
only the metrics are timed. DCI's own trees take minutes; `--points` shortens them, and says so in the table's title.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from disentlib import metrics
from disentlib.data import Dataset, FactorGrid

GRID = FactorGrid(("shape", "scale", "orientation", "pos_x", "pos_y"), (3, 6, 40, 32, 32), nominal=("shape",))
# How the five factors mix, from not at all to wholly, for the deviation of the faster trees.
MIXTURES = {"aligned": 0.0, "partly mixed": 0.3, "rotated": None}


def factor_images() -> Dataset:
    """Images that are their factors: three factors fit into a byte each, the others too."""
    return Dataset(
        name="factors", source="bundled", description="factors as pixels", image_shape=(1, 1, 5), count=len(GRID),
        fetch=lambda indices: GRID.factors(indices).to(torch.uint8)[:, None, None], grid=GRID,
    )  # fmt: skip


def codes_of(factors: np.ndarray, mixing: float | None, seed: int = 0) -> np.ndarray:
    """Five mixtures of the standardised factors and five dimensions of noise, `[n, 10]`."""
    g = np.random.default_rng(seed)
    sizes = np.array(GRID.sizes)
    standard = (factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12)
    matrix = np.linalg.qr(g.normal(size=(5, 5)))[0] if mixing is None else np.eye(5) + mixing * g.normal(size=(5, 5))
    mixed = standard @ matrix + 0.05 * g.normal(size=standard.shape)
    return np.hstack([mixed, g.normal(size=standard.shape)]).astype(np.float32)


def seconds_of_scores() -> None:
    dataset = factor_images()
    table = torch.from_numpy(codes_of(GRID.factors(torch.arange(len(GRID))).numpy(), 0.3))

    def encode(images: torch.Tensor) -> torch.Tensor:
        return table[dataset.index((images.flatten(1) * 255).round().long())]

    print("seconds under LOCATELLO, ten dimensions, five factors, DCI's trees left out")
    spent = 0.0
    for workers in (1, 2):
        spent = 0.0
        for name in ("mig", "sap", "beta_vae", "factor_vae"):
            started = time.perf_counter()
            asked = {"protocol": metrics.LOCATELLO, "generator": torch.Generator().manual_seed(0), "scores": [name]}
            value = metrics.evaluate(dataset, encode, workers=workers, **asked)[name]
            took = time.perf_counter() - started
            spent += took
            print(f"  {name:<12} {took:6.1f} s with {workers} worker(s)   score {value:.4f}", flush=True)
        print(f"  {'all four':<12} {spent:6.1f} s with {workers} worker(s)", flush=True)


def split(mixing: float | None, train: int, test: int) -> tuple[np.ndarray, ...]:
    factors = GRID.sample(train + test, torch.Generator().manual_seed(1)).numpy()
    codes = codes_of(factors, mixing)
    return codes[:train], factors[:train], codes[train:], factors[train:]


def seconds_of_trees(train: int, test: int) -> None:
    protocol = replace(metrics.LOCATELLO, train_points=train, test_points=test)
    print(f"DCI on {train} and {test} points (the protocol has 10000 and 5000)")
    print(f"  {'codes':<14} {'estimator':<10} {'workers':>7} {'seconds':>8} {'D':>7} {'C':>7} {'I':>7}")
    for name, mixing in MIXTURES.items():
        arrays = split(mixing, train, test)
        for estimator, workers in (("sklearn", 1), ("sklearn", 2), ("lightgbm", 1), ("lightgbm", 2)):
            started = time.perf_counter()
            parts = metrics.dci(*arrays, protocol=protocol, estimator=estimator, workers=workers)
            took = time.perf_counter() - started
            values = " ".join(f"{value:7.3f}" for value in parts)
            print(f"  {name:<14} {estimator:<10} {workers:>7} {took:8.1f} {values}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000, help="training points of DCI; half as many to test on")
    options = parser.parse_args()
    seconds_of_scores()
    seconds_of_trees(options.points, options.points // 2)


if __name__ == "__main__":
    main()
