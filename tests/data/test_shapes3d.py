"""Shapes3D's file, written small in its true format."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from disentlib import data
from disentlib.data import files, shapes3d
from disentlib.data.grid import FactorGrid

SMALL = FactorGrid(shapes3d.GRID.names, (2, 1, 2, 2, 2, 3))  # a grid small enough to write in the published format
IMAGES = np.random.default_rng(0).integers(0, 256, (len(SMALL), 64, 64, 3), dtype=np.uint8)
# Hues and scales are fractions, orientations degrees.
LABELS = SMALL.factors(torch.arange(len(SMALL))).numpy() * [0.1, 0.1, 0.1, 0.0714, 1.0, 30.0] - [0, 0, 0, -0.75, 0, 30]


def write(folder: Path, name: str = shapes3d.FILE, **changes: np.ndarray | None) -> Path:
    """The file over the small grid, packed in chunks of several images as the published one is."""
    path = folder / name
    with h5py.File(path, "w") as file:
        for key, array in ({"images": IMAGES, "labels": LABELS} | changes).items():
            if array is not None:
                file.create_dataset(key, data=array, chunks=(7, *array.shape[1:]), compression="gzip")
    return path


def test_images_come_in_the_order_asked_for(tmp_path: Path) -> None:
    dataset = shapes3d.read(write(tmp_path), 64, SMALL)
    assert (dataset.name, dataset.source, len(dataset), dataset.image_shape) == ("shapes3d", "real", 48, (3, 64, 64))
    wanted = [47, 0, 13, 12, 14, 0]
    images = dataset.bytes(torch.tensor(wanted))
    assert images.dtype == torch.uint8 and np.array_equal(images.permute(0, 2, 3, 1).numpy(), IMAGES[wanted])
    assert dataset.bytes(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 64, 64)
    assert dataset.factors(torch.tensor([13])).tolist() == [[0, 0, 1, 0, 0, 1]]


@pytest.mark.parametrize("size", [32, 48])
def test_other_sizes_are_resized(tmp_path: Path, size: int) -> None:
    dataset = shapes3d.read(write(tmp_path), size, SMALL)
    found = dataset.bytes(torch.tensor([5]))
    assert torch.equal(found, files.resize(torch.from_numpy(IMAGES[[5]]).permute(0, 3, 1, 2), size))
    if size == 32:
        means = IMAGES[5].reshape(32, 2, 32, 2, 3).mean((1, 3)).transpose(2, 0, 1)
        assert np.abs(found[0].numpy() - means).max() <= 0.5


@pytest.mark.parametrize("folder", [".", "shapes3d"])
def test_the_public_loader_finds_the_file_and_wants_the_whole_grid(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    write(tmp_path / folder)
    with pytest.raises(data.DataError, match=r"labels: expected float64 \(480000, 6\), found float64 \(48, 6\)"):
        data.load("shapes3d", root=tmp_path)


def test_a_copy_for_a_worker_opens_its_own_file(tmp_path: Path) -> None:
    dataset = shapes3d.read(write(tmp_path), 64, SMALL)
    first = dataset.bytes(torch.tensor([3]))  # the file is open now
    assert torch.equal(pickle.loads(pickle.dumps(dataset.fetch))(torch.tensor([3])), first)
    opened = dataset.fetch._opened[1]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        equal, same = pool.apply(_read_in_worker, (dataset.fetch, first))
    assert equal and dataset.fetch._opened[1] is opened


def _read_in_worker(fetch, first: torch.Tensor) -> tuple[bool, bool]:
    return torch.equal(fetch(torch.tensor([3])), first), fetch._opened is None


def test_a_handle_from_another_process_is_not_used(tmp_path: Path) -> None:
    fetch = shapes3d.read(write(tmp_path), 64, SMALL).fetch
    fetch._opened = (-1, None)  # what a fork would leave
    assert fetch(torch.tensor([3])).shape == (1, 3, 64, 64)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(data.MissingData) as caught:
        data.load("shapes3d", source="real", root=tmp_path)
    for part in (shapes3d.FILE, str(tmp_path), "shapes3d/", shapes3d.URL, "download=True"):
        assert part in str(caught.value)
    assert data.load("shapes3d", source="auto", root=tmp_path).source == "rendered"


def test_download_fetches_a_missing_file_and_compares_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def download(url: str, target: Path, checksum: str) -> None:
        fetched.append((url, target.name, checksum))
        target.parent.mkdir()
        write(target.parent)

    monkeypatch.setattr(files, "download", download)
    for _ in range(2):
        with pytest.raises(data.DataError, match="480000"):  # the fake is small
            data.load("shapes3d", "real", root=tmp_path, download=True)
    assert fetched == [(shapes3d.URL, "3dshapes.h5", "md5:099a2078d58cec4daad0702c55d06868")]
    with pytest.raises(data.MissingData):
        shapes3d.load_real(None, None, True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"images": None}, "expected an array images, found only labels"),
        ({"labels": None}, "expected an array labels, found only images"),
        ({"images": IMAGES[:-1]}, r"images: expected uint8 \(48, 64, 64, 3\), found uint8 \(47, 64, 64, 3\)"),
        ({"images": IMAGES[:, :32]}, r"found uint8 \(48, 32, 64, 3\)"),
        ({"images": IMAGES.astype(np.float32)}, "found float32"),
        ({"labels": LABELS[:, :5]}, r"labels: expected float64 \(48, 6\)"),
        ({"labels": LABELS[::-1]}, "labels: floor_hue is not in the published order"),
        ({"labels": LABELS * [1, 1, 1, 1, 0, 1]}, r"labels: shape is not in the published order \(1 values found\)"),
    ],
)
def test_another_content_is_refused(tmp_path: Path, changes: dict[str, np.ndarray | None], text: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(data.DataError, match=text) as caught:
        shapes3d.read(path, 64, SMALL)
    assert str(path) in str(caught.value) and shapes3d.ADDRESS in str(caught.value)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(data.DataError, match="not the published Shapes3D file"):
        shapes3d.read(path, 64, SMALL)


def test_what_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / shapes3d.FILE).write_text("<html>404 Not Found</html>" * 100)
    with pytest.raises(data.DataError, match="not the published Shapes3D file") as caught:
        data.load("shapes3d", "auto", root=tmp_path)
    assert not isinstance(caught.value, data.MissingData)


def test_corrupt_images_are_named_when_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(1)  # images 7 to 13
    content = bytearray(path.read_bytes())
    for place in range(chunk.byte_offset + chunk.size // 2, chunk.byte_offset + chunk.size // 2 + 100):
        content[place] ^= 0x55
    path.write_bytes(content)
    dataset = shapes3d.read(path, 64, SMALL)
    assert dataset.bytes(torch.tensor([0, 6, 14])).shape == (3, 3, 64, 64)
    with pytest.raises(data.DataError, match=r"3dshapes\.h5: cannot read images"):
        dataset.bytes(torch.tensor([0, 10]))


def test_random_damage_is_a_data_error_or_does_no_harm(tmp_path: Path) -> None:
    """HDF5 reports broken bytes as many kinds of errors; whichever it is, the message names the file."""
    path = write(tmp_path)
    whole, drawn, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(120):
        content = bytearray(whole)
        for place in drawn.integers(0, 4000, 5):  # where the file describes itself
            content[place] ^= drawn.integers(1, 256)
        path.write_bytes(content)
        try:
            shapes3d.read(path, 64, SMALL).bytes(torch.arange(len(SMALL)))
        except data.DataError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 20
