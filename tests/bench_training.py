"""Steps per second of the training loop against a plain one, as a table: `make bench`.

The plain loop is what a tutorial would write: eager float32, a DataLoader with two workers over a Dataset of images.
Network, batch size, data and optimiser's settings are the same. Both run alternately, so that a machine whose speed
drifts is fair to both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from disentlib import data, models, training
from disentlib.networks.convolutional import InterleavedUpsampling

MODELS = ("beta_vae", "beta_gvae")


class Images(Dataset):
    """One image at a time, as a tutorial's data set gives it: uint8 in memory, float on request."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index].float() / 255


def usual_layers(model: nn.Module) -> None:
    """Let every layer with a quicker way of its own compute as torch's layer does."""
    for layer in model.modules():
        if isinstance(layer, InterleavedUpsampling):
            layer.__class__ = nn.ConvTranspose2d


def plain(name: str, dataset: data.Dataset, images: torch.Tensor, steps: int) -> float:
    """Steps per second of the plain loop, its workers' start not counted."""
    model = models.build(name, dataset.image_shape, lr=1e-3)
    usual_layers(model)
    for optimiser in model.optimisers.values():
        for group in optimiser.param_groups:
            group["fused"] = False
    generator = torch.Generator().manual_seed(0)
    batches = iter(DataLoader(Images(images), batch_size=64, shuffle=True, num_workers=2, drop_last=True))
    for _ in range(5):
        model.step(next(batches), generator)
    started = time.perf_counter()
    for _ in range(steps):
        losses = model.step(next(batches), generator)
        _ = {key: value.item() for key, value in losses.items()}
    return steps / (time.perf_counter() - started)


def ours(name: str, dataset: data.Dataset, train_size: int, steps: int, precision: str) -> float:
    """Steps per second of `training.train`, its first steps not counted."""
    model = models.build(name, dataset.image_shape, lr=1e-3)
    settings = {"train_size": train_size, "precision": precision, "progress": False}
    training.train(model, dataset, steps=5, **settings)
    return steps / training.train(model, dataset, steps=steps, **settings).seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[32, 64])
    options = parser.parse_args()
    for image_size in options.image_sizes:
        table(image_size, options)


def table(image_size: int, options: argparse.Namespace) -> None:
    """Print the table of one image size."""
    dataset = data.load("dsprites", source="rendered", image_size=image_size)
    train_size = 64 * (options.steps + 10)
    images = training.training_images(dataset, train_size, torch.device("cpu"))
    print(f"{image_size} px, batch 64, {torch.get_num_threads()} threads; median steps/s of {options.repeats}")
    print(f"{'model':<10} {'plain':>8} {'float32':>8} {'bf16':>8} {'bf16 / plain':>13}")
    for name in MODELS:
        rows = []
        for _ in range(options.repeats):
            rows.append(
                (
                    plain(name, dataset, images, options.steps),
                    ours(name, dataset, train_size, options.steps, "float32"),
                    ours(name, dataset, train_size, options.steps, "bf16"),
                )
            )
        middle = [statistics.median(column) for column in zip(*rows)]
        ratio = statistics.median(row[2] / row[0] for row in rows)
        print(f"{name:<10} {middle[0]:8.1f} {middle[1]:8.1f} {middle[2]:8.1f} {ratio:12.2f}×")


if __name__ == "__main__":
    main()
