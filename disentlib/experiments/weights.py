"""Weights that the book ships: of networks that many runs build on, so that all of these build on the very same one.

The same settings trained on another machine end in other weights: sums are rounded in another order there, or in
another precision, and a few hundred steps make a difference of it. A record can be compared; a network has to be kept.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch

from disentlib.data.atomic import replacing
from disentlib.experiments import places, records
from disentlib.models import Model

__all__ = ["digest", "ship", "unpack"]


def digest(model: Model) -> str:
    """12 hex digits over a model's weights: two copies of one network have the same, two trainings hardly ever.

    >>> from disentlib import models
    >>> first, second = (digest(models.build("vae", (1, 28, 28), seed=seed)) for seed in (0, 1))
    >>> first == digest(models.build("vae", (1, 28, 28), seed=0)), first == second
    (True, False)
    """
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().float().numpy().tobytes())
    return found.hexdigest()[:12]


def ship(id: str) -> Path:
    """Put the weights of a finished run of `runs/` into the book, and its record with them; where the weights lie.

    What only a longer training would need, the optimisers' moments, stays behind: two thirds of the file. LookupError
    without a finished run of that id.
    """
    folder = places.runs() / id
    if not ((folder / "record.json").exists() and (folder / "checkpoint.pt").exists()):
        raise LookupError(f"no finished run {id!r} in {places.runs().name}/")
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    state["optimisers"] = {name: kept | {"state": {}} for name, kept in state["optimisers"].items()}
    with replacing(_file(id)) as part:
        torch.save(state, part)
    records.write(records.read(folder / "record.json"), places.published_records() / f"{id}.json")
    return _file(id)


def unpack(id: str, folder: Path) -> None:
    """Put what the book ships of a run into the run's folder, unless it has a checkpoint already."""
    record, weights = places.published_records() / f"{id}.json", _file(id)
    if weights.exists() and record.exists() and not (folder / "checkpoint.pt").exists():
        for source, name in ((record, "record.json"), (weights, "checkpoint.pt")):
            with replacing(folder / name) as part:
                shutil.copyfile(source, part)


def _file(id: str) -> Path:
    return places.published_weights() / f"{id}.pt"
