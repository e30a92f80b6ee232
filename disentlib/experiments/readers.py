"""Readers trained once per data set and kept on disk, for all pages and processes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import torch

from disentlib import training
from disentlib.data import Dataset
from disentlib.data.atomic import replacing
from disentlib.experiments import factor_reader, fingerprint, places
from disentlib.experiments.factor_reader import FactorReader, Network, Settings, widths_of
from disentlib.experiments.runs import only_one
from disentlib.metrics.traversals import Scale

__all__ = ["read_factors"]


def read_factors(dataset: Dataset, seed: int = 0, settings: Settings | None = None) -> FactorReader:
    """The factor reader of a data set: read from `runs/readers/`, or trained now if there is none of these images.

    Its name holds the data's content, the code that draws, trains and reads, the settings and the seed. Two processes
    that ask at the same time train one. LookupError for a data set without factors.
    """
    folder = places.runs() / "readers" / _id(dataset, seed, settings or Settings())
    path = folder / "reader.pt"
    with only_one(folder):
        if not path.exists():
            _write(factor_reader.fit(dataset, settings or Settings(), seed, training.best_device()), path)
        return _read(path, dataset)


def _id(dataset: Dataset, seed: int, settings: Settings) -> str:
    code = (fingerprint.data_code(dataset.name), fingerprint._digest((factor_reader.__name__,)))
    whole = repr((dataset.content_hash(), dataset.factor_sizes, code, asdict(settings), torch.__version__))
    return f"{dataset.name}-{dataset.image_shape[-1]}px-s{seed}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def _write(reader: FactorReader, path: Path) -> None:
    content = {
        "weights": {name: weight.cpu() for name, weight in reader.network.state_dict().items()},
        "scales": [asdict(scale) for scale in reader.scales],
        "scores": reader.scores,
    }
    with replacing(path) as part:
        torch.save(content, part)


def _read(path: Path, dataset: Dataset) -> FactorReader:
    content = torch.load(path, map_location="cpu", weights_only=True)
    scales = tuple(Scale(**scale) for scale in content["scales"])
    sizes = dataset.factor_sizes
    network = Network(dataset.image_shape, sum(widths_of(scales, sizes)))
    network.load_state_dict(content["weights"])
    return FactorReader(network.to(training.best_device()).eval(), scales, sizes, content["scores"])
