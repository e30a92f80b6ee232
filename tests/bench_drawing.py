"""Pictures a second of each data set that is drawn by code: `make bench-drawing`.

Of each set the best of three draws of pictures chosen at random counts, since other programs only ever take time away.
"""

from __future__ import annotations

import argparse
import time

import torch

from disentlib import data


def rate(dataset: data.Dataset, pictures: int, repeats: int = 3) -> float:
    """Pictures a second, the best of some draws; the first pictures, for which tables are made, do not count."""
    g = torch.Generator().manual_seed(0)
    dataset.bytes(torch.arange(2), torch.device("cpu"))
    best = 0.0
    for _ in range(repeats):
        indices = torch.randint(len(dataset), (pictures,), generator=g)
        started = time.perf_counter()
        dataset.bytes(indices, torch.device("cpu"))
        best = max(best, pictures / (time.perf_counter() - started))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image-size", type=int, default=32, help="pixels a side")
    parser.add_argument("--pictures", type=int, default=8192, help="how many a draw")
    options = parser.parse_args()
    print(f"pictures a second at {options.image_size} pixels, {torch.get_num_threads()} threads")
    for name in data.names():
        dataset = data.load(name, source="rendered", image_size=options.image_size)
        print(f"{name:10} {rate(dataset, options.pictures):9,.0f}", flush=True)


if __name__ == "__main__":
    main()
