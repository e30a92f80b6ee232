"""All scores of one model in one pass over the data: each image that any metric looks at is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disentlib.data.dataset import Dataset
from disentlib.metrics.beta_vae import plan as plan_pairs
from disentlib.metrics.beta_vae import score as score_pairs
from disentlib.metrics.checks import check_factors
from disentlib.metrics.dci import dci
from disentlib.metrics.factor_vae import plan as plan_votes
from disentlib.metrics.factor_vae import score as score_votes
from disentlib.metrics.mig import mig
from disentlib.metrics.protocol import Protocol
from disentlib.metrics.sap import sap
from disentlib.metrics.votes import Encode, LookUp, look_up_codes

__all__ = ["SCORES", "evaluate"]

_LARGEST_SEED = 2**62


class _Part(NamedTuple):
    """One metric before anything is encoded: the images it will look at, and what it makes of their codes."""

    indices: Tensor  # int64 [n]
    finish: Callable[[LookUp], dict[str, float]]


def evaluate(
    dataset: Dataset,
    encode: Encode,
    *,
    protocol: Protocol,
    generator: torch.Generator,
    scores: Sequence[str] | None = None,
    workers: int = 1,
) -> dict[str, float]:
    """Scores by name, each in [0, 1], higher is better: all of `SCORES`, or the ones asked for.

    "dci" comes as its three parts, `dci_disentanglement`, `dci_completeness` and `dci_informativeness`.
    Each metric draws from a generator of its own, made from `generator` (which is advanced), so that its number does
    not depend on which others are asked for. MIG, SAP and DCI look at the same points. `encode` as for `factor_vae`;
    `workers` as for `dci`. ValueError for an unknown score; LookupError for a data set without factors.

    >>> from dataclasses import replace; from disentlib import data, metrics
    >>> sprites = data.load("dsprites", source="rendered", image_size=8)
    >>> protocol = replace(metrics.LOCATELLO, train_points=200, test_points=100)
    >>> asked = dict(protocol=protocol, generator=torch.Generator(), scores=["mig"])
    >>> found = evaluate(sprites, lambda x: x.flatten(1), **asked)
    >>> list(found), 0 <= found["mig"] <= 1
    (['mig'], True)
    """
    chosen = tuple(SCORES) if scores is None else tuple(dict.fromkeys(scores))
    unknown = [name for name in chosen if name not in SCORES]
    if unknown:
        raise ValueError(f"unknown score {', '.join(map(repr, unknown))}; known: {', '.join(SCORES)}")
    check_factors(dataset)
    seeds = torch.randint(_LARGEST_SEED, (len(_STREAMS),), generator=generator).tolist()
    streams = dict(zip(_STREAMS, seeds))
    parts = [SCORES[n](dataset, protocol, torch.Generator().manual_seed(streams[_stream(n)]), workers) for n in chosen]
    if not parts:
        return {}
    look_up = look_up_codes(dataset, encode, torch.cat([part.indices for part in parts]))
    return {name: value for part in parts for name, value in part.finish(look_up).items()}


def _beta_vae(dataset: Dataset, protocol: Protocol, generator: torch.Generator, workers: int) -> _Part:
    votes = plan_pairs(dataset, protocol, generator)
    needed = torch.cat([part.indices.flatten() for part in votes])
    return _Part(needed, lambda look_up: {"beta_vae": score_pairs(votes, look_up)})


def _factor_vae(dataset: Dataset, protocol: Protocol, generator: torch.Generator, workers: int) -> _Part:
    votes, count = plan_votes(dataset, protocol, generator), len(dataset.factor_sizes)
    return _Part(votes.indices, lambda look_up: {"factor_vae": score_votes(votes, look_up, protocol, count)})


def _mig(dataset: Dataset, protocol: Protocol, generator: torch.Generator, workers: int) -> _Part:
    points = _points(dataset, protocol, generator)
    return _Part(
        points, lambda look_up: {"mig": mig(*_tables(dataset, look_up, points, protocol)[:2], protocol=protocol)}
    )


def _sap(dataset: Dataset, protocol: Protocol, generator: torch.Generator, workers: int) -> _Part:
    points, nominal = _points(dataset, protocol, generator), dataset.grid.nominal_columns

    def finish(look_up: LookUp) -> dict[str, float]:
        tables = _tables(dataset, look_up, points, protocol)
        return {"sap": sap(*tables, protocol=protocol, nominal=nominal, workers=workers)}

    return _Part(points, finish)


def _dci(dataset: Dataset, protocol: Protocol, generator: torch.Generator, workers: int) -> _Part:
    points = _points(dataset, protocol, generator)

    def finish(look_up: LookUp) -> dict[str, float]:
        parts = dci(*_tables(dataset, look_up, points, protocol), protocol=protocol, workers=workers)
        return {f"dci_{name}": value for name, value in parts._asdict().items()}

    return _Part(points, finish)


SCORES = {"beta_vae": _beta_vae, "factor_vae": _factor_vae, "mig": _mig, "sap": _sap, "dci": _dci}
_STREAMS = ("beta_vae", "factor_vae", "points")


def _stream(name: str) -> str:
    """Which stream of random numbers a metric draws from: those of arrays share their points."""
    return name if name in _STREAMS else "points"


def _points(dataset: Dataset, protocol: Protocol, generator: torch.Generator) -> Tensor:
    """Points to fit on, then points to score on (none in sample), drawn uniformly: indices int64 `[n]`."""
    count = protocol.train_points + (0 if protocol.in_sample else protocol.test_points)
    return dataset.index(dataset.sample_factors(count, generator))


def _tables(dataset: Dataset, look_up: LookUp, points: Tensor, protocol: Protocol) -> list[np.ndarray]:
    """Codes and factors to fit on, then codes and factors to score on (none of them in sample)."""
    parts = [part for part in points.split([protocol.train_points, len(points) - protocol.train_points]) if len(part)]
    return [table for part in parts for table in (look_up(part), dataset.factors(part).numpy())]
