"""Images that were drawn once are kept on disk: many runs of a study look at the same ones, each in its own process.

Drawing the training images of a short run can take longer than the training. What is kept is what was drawn, byte for
byte, under a name that depends on the data set's content, on the code that draws it, and on the images asked for.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from disentlib.data import Dataset
from disentlib.data.atomic import replacing
from disentlib.experiments import fingerprint, places

__all__ = ["ROOM", "kept"]

ROOM = 6 * 2**30  # bytes in all, six whole grids at 32 pixels; what does not fit is drawn again each time
_WORTH_IT = 200  # images asked for together; fewer are drawn as quickly as read


def kept(dataset: Dataset) -> Dataset:
    """The same data set, whose larger requests are answered from `runs/images/` if they were drawn before.

    Real data are returned as they are: reading them is no work. Writing is atomic, so that processes may share it.
    """
    if dataset.source != "rendered":
        return dataset
    folder = places.runs() / "images" / f"{dataset.content_hash()}-{fingerprint.data_code(dataset.name)}"
    return replace(dataset, fetch=lambda indices: _fetch(dataset, folder, indices))


def _fetch(dataset: Dataset, folder: Path, indices: Tensor) -> Tensor:
    if len(indices) < _WORTH_IT:
        return dataset.fetch(indices)
    path = folder / f"{hashlib.sha256(indices.cpu().numpy().tobytes()).hexdigest()[:20]}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path)).to(indices.device)
    images = dataset.fetch(indices)
    if _used(folder.parent) + images.numel() <= ROOM:
        _write(images.cpu().numpy(), path)
    return images


def _write(images: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < 2 * ROOM:  # a nearly full disk has better uses
        return
    with replacing(path) as part, open(part, "wb") as file:
        np.save(file, images)


def _used(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*/*.npy"))
