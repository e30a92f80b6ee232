"""MPI3D's files, written small in their true format, and how a large array in an npz stays on the disk."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from disentlib import data
from disentlib.data import files, mpi3d, npz
from disentlib.data.grid import FactorGrid
from disentlib.data.stored import read_rows

# Two releases of different size, as the published ones are.
LARGE, EARLY = (FactorGrid(mpi3d.GRID.names, (n, n, 1, 1, 1, 1, 2)) for n in (3, 2))
PUBLISHED = mpi3d.GRIDS
IMAGES = np.random.default_rng(0).integers(0, 256, (len(LARGE), 64, 64, 3), dtype=np.uint8)
NAME = "mpi3d_toy.npz"
SAVERS = pytest.mark.parametrize("save", [np.savez, np.savez_compressed])


@pytest.fixture(autouse=True)
def small_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi3d, "GRIDS", {len(grid): grid for grid in (LARGE, EARLY)})


@SAVERS
@pytest.mark.parametrize("folder", [".", "mpi3d"])
def test_images_come_in_the_order_asked_for(tmp_path: Path, save, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    save(tmp_path / folder / NAME, images=IMAGES)
    dataset = data.load("mpi3d", root=tmp_path)
    assert (dataset.name, dataset.source, len(dataset), dataset.image_shape) == ("mpi3d", "real", 18, (3, 64, 64))
    wanted = [17, 0, 4, 3, 5, 0]
    images = dataset.bytes(torch.tensor(wanted))
    assert images.dtype == torch.uint8 and np.array_equal(images.permute(0, 2, 3, 1).numpy(), IMAGES[wanted])
    assert dataset.bytes(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 64, 64)
    assert torch.equal(pickle.loads(pickle.dumps(dataset.fetch))(torch.tensor(wanted)), images)
    half = data.load("mpi3d", root=tmp_path, image_size=32).bytes(torch.tensor([5]))
    assert torch.equal(half, files.resize(torch.from_numpy(IMAGES[[5]]).permute(0, 3, 1, 2), 32))


def test_a_stored_array_is_mapped_in_the_npz_and_a_packed_one_unpacked_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "stored.npz", other=np.arange(1000), images=IMAGES)
    found = npz.locate_array(tmp_path / "stored.npz", "images", mpi3d._grid)
    assert found.path.name == "stored.npz" and isinstance(found.open(), np.memmap)
    assert np.array_equal(found.open(), IMAGES)

    packed = tmp_path / NAME
    np.savez_compressed(packed, images=IMAGES)
    beside = tmp_path / "mpi3d_toy.images.npy"
    for _ in range(2):
        assert npz.locate_array(packed, "images", mpi3d._grid).path == beside
        assert np.array_equal(np.load(beside), IMAGES)
        written = beside.stat().st_mtime_ns
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mpi3d_toy.images.npy", NAME, "stored.npz"]
    npz.locate_array(packed, "images", mpi3d._grid)
    assert beside.stat().st_mtime_ns == written

    np.savez_compressed(packed, images=255 - IMAGES)  # another npz: what was unpacked is out of date
    os.utime(packed, (beside.stat().st_mtime + 5,) * 2)
    assert np.array_equal(npz.locate_array(packed, "images", mpi3d._grid).open(), 255 - IMAGES)


@SAVERS
def test_the_grid_follows_from_the_number_of_images(tmp_path: Path, save) -> None:
    """An early file of 4 × 4 colours and shapes must not be indexed as one of 6 × 6, or the other way round."""
    save(tmp_path / NAME, images=IMAGES[: len(EARLY)])
    dataset = data.load("mpi3d", root=tmp_path)
    assert dataset.factor_sizes == EARLY.sizes and "2 colours and 2 shapes" in dataset.description
    assert dataset.factors(torch.tensor([7])).tolist() == [[1, 1, 0, 0, 0, 0, 1]]


def test_the_published_counts_have_their_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi3d, "GRIDS", PUBLISHED)
    rest, uint8 = (64, 64, 3), np.dtype(np.uint8)
    assert mpi3d._grid((1_036_800, *rest), uint8).sizes == (6, 6, 2, 3, 3, 40, 40)
    assert mpi3d._grid((460_800, *rest), uint8).sizes == (4, 4, 2, 3, 3, 40, 40)
    assert mpi3d._grid((1_036_800, *rest), uint8) == mpi3d.GRID
    with pytest.raises(ValueError, match=r"1036800 \(6 colours × 6 shapes × …\) or 460800.*found uint8 \(1000, 64"):
        mpi3d._grid((1000, *rest), uint8)


@SAVERS
@pytest.mark.parametrize(
    ("images", "text"),
    [
        (IMAGES[:-1], r"found uint8 \(17, 64, 64, 3\)"),
        (IMAGES[:, :32], r"found uint8 \(18, 32, 64, 3\)"),
        (IMAGES.astype(np.float32), "found float32"),
        (IMAGES.reshape(3, 3, 2, 64, 64, 3), r"found uint8 \(3, 3, 2, 64, 64, 3\)"),
        (np.asfortranarray(IMAGES), "by columns"),
        (np.uint8(7), r"found uint8 \(\)"),
    ],
)
def test_another_content_is_refused_before_anything_is_unpacked(
    tmp_path: Path, save, images: np.ndarray, text: str
) -> None:
    path = tmp_path / NAME
    save(path, images=images)
    with pytest.raises(data.DataError, match=text) as caught:
        data.load("mpi3d", root=tmp_path)
    assert str(path) in str(caught.value) and mpi3d.ADDRESS in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


@SAVERS
def test_another_key_and_pickled_objects_are_refused(tmp_path: Path, save) -> None:
    save(tmp_path / NAME, pictures=IMAGES)
    with pytest.raises(data.DataError, match=r"expected an array images, found only pictures\.npy"):
        data.load("mpi3d", root=tmp_path)
    save(tmp_path / NAME, images=np.array([{}], dtype=object))
    with pytest.raises(data.DataError, match="found object"):
        data.load("mpi3d", root=tmp_path)


@SAVERS
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, save, kept: float) -> None:
    path = tmp_path / NAME
    save(path, images=IMAGES)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(data.DataError, match="not usable as the published MPI3D file"):
        data.load("mpi3d", root=tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_corrupt_packed_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / NAME
    np.savez_compressed(path, images=IMAGES)
    content = path.read_bytes()
    for place in np.linspace(0.2, 0.9, 5):
        at = int(place * len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        with pytest.raises(data.DataError, match="not usable as the published MPI3D file"):
            data.load("mpi3d", root=tmp_path)
        assert list(tmp_path.iterdir()) == [path]


def test_random_damage_to_a_header_is_a_data_error_or_does_no_harm(tmp_path: Path) -> None:
    """Numpy parses a header as Python, and what is no Python any more fails in many ways."""
    path = tmp_path / NAME
    np.savez(path, images=IMAGES)
    whole, drawn, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        content = bytearray(whole)
        for place in drawn.integers(0, 190, 2):  # the local header of the zip, and that of the array
            content[place] ^= drawn.integers(1, 256)
        path.write_bytes(content)
        try:
            data.load("mpi3d", root=tmp_path).bytes(torch.tensor([0]))
        except data.DataError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 20


def test_an_array_of_another_length_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    np.savez(path, images=IMAGES)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("images.npy")
    for changed in (content[:-1], content + b"\0"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", changed)
        with pytest.raises(data.DataError, match="bytes of data"):
            data.load("mpi3d", root=tmp_path)


def test_a_disk_without_room_is_named_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / NAME, images=IMAGES)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1000))
    with pytest.raises(data.DataError, match="takes 221,312 bytes, and only 1,000 are free"):
        data.load("mpi3d", root=tmp_path)


def test_a_file_that_vanishes_is_named_when_it_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / NAME, images=IMAGES)
    dataset = data.load("mpi3d", root=tmp_path)
    (tmp_path / NAME).unlink()
    with pytest.raises(data.DataError, match=r"mpi3d_toy\.npz: cannot read images"):
        dataset.bytes(torch.tensor([0]))


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(data.MissingData) as caught:
        data.load("mpi3d", source="real", root=tmp_path)
    for part in (NAME, str(tmp_path), f"mpi3d/{NAME}", mpi3d.ADDRESS, "download=True"):
        assert part in str(caught.value)
    assert data.load("mpi3d", source="auto", root=tmp_path).source == "rendered"


def test_variants_are_files_of_their_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "mpi3d_realistic.npz", images=IMAGES)
    assert mpi3d.load_real(tmp_path, variant="realistic").description == "MPI3D realistic, 3 colours and 3 shapes"
    with pytest.raises(data.MissingData, match="mpi3d_real.npz"):
        mpi3d.load_real(tmp_path, variant="real")
    with pytest.raises(ValueError, match="'complex'.*toy, realistic, real"):
        mpi3d.load_real(tmp_path, variant="complex")


@pytest.mark.parametrize(("variant", "checksum"), [("toy", "md5:55889cb7c7dfc655d6e0277beee88868"), ("real", None)])
def test_download_fetches_a_missing_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, checksum: str | None
) -> None:
    fetched = []

    def download(url: str, target: Path, checksum: str | None) -> None:
        fetched.append((url, checksum))
        target.parent.mkdir()
        np.savez(target, images=IMAGES)

    monkeypatch.setattr(files, "download", download)
    assert [len(mpi3d.load_real(tmp_path, None, True, variant)) for _ in range(2)] == [18, 18]
    assert fetched == [(f"{mpi3d.ADDRESS}/resolve/main/mpi3d_{variant}.npz", checksum)]
    with pytest.raises(data.MissingData):
        mpi3d.load_real(None, None, True)


def test_rows_are_read_once_and_in_runs() -> None:
    class Counting:
        shape, dtype = (100,), np.dtype(int)
        asked: list[tuple[int, int]] = []

        def __getitem__(self, rows: slice) -> np.ndarray:
            self.asked.append((rows.start, rows.stop))
            return np.arange(100)[rows] * 3

    array = Counting()
    assert read_rows(array, np.array([9, 4, 9, 5, 3, 70])).tolist() == [27, 12, 27, 15, 9, 210]
    assert array.asked == [(3, 6), (9, 10), (70, 71)]
