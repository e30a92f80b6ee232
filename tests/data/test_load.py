"""`load`: which source it takes, and what it refuses."""

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from disentlib import data
from disentlib.data import DataError, MissingData


def write_test_part(root: Path, images: int = 10_000) -> None:
    """MNIST's test part, unzipped, with the right header for 10 000 images; fewer `images` make it truncated."""
    picture = bytes(range(196)) * 4
    (root / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 10_000, 28, 28) + picture * images)
    (root / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 10_000) + bytes(range(10)) * 1000)


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISENTLIB_DATA", raising=False)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'cifar'.*dsprites, mnist, celeba, chairs, cars3d, anime, shapes3d, mpi3d"):
        data.load("cifar")
    assert data.names() == ("dsprites", "mnist", "celeba", "chairs", "cars3d", "anime", "shapes3d", "mpi3d")


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'fake'.*auto, real, rendered"):
        data.load("mnist", source="fake")


@pytest.mark.parametrize("size", [0, 7, 513, -64, 28.0, "64"])
def test_an_unusable_size_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="image_size must be a whole number of pixels"):
        data.load("mnist", source="rendered", image_size=size)


@pytest.mark.parametrize("name", ["mnist", "celeba", "chairs", "cars3d", "anime", "shapes3d", "mpi3d"])
def test_real_never_falls_back(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingData, match="looked in"):
        data.load(name, source="real", root=tmp_path)
    with pytest.raises(MissingData, match="DISENTLIB_DATA"):
        data.load(name, source="real")


def test_auto_takes_the_real_files_where_they_are(tmp_path: Path) -> None:
    write_test_part(tmp_path)
    dataset = data.load("mnist", root=tmp_path)
    assert (dataset.source, dataset.description) == ("real", "MNIST test images (10 000 real)")
    assert dataset.bytes(torch.tensor([9_999])).flatten().tolist() == list(range(196)) * 4
    assert dataset.labels[:12].tolist() == [*range(10), 0, 1]
    assert data.load("mnist", root=str(tmp_path), image_size=32).image_shape == (1, 32, 32)


def test_auto_draws_where_there_are_no_files_and_says_so(tmp_path: Path) -> None:
    for dataset in (data.load("mnist"), data.load("mnist", root=tmp_path), data.load("mnist", source="rendered")):
        assert dataset.source == "bundled" and "not MNIST" in dataset.description


def test_rendered_ignores_real_files(tmp_path: Path) -> None:
    write_test_part(tmp_path)
    assert data.load("mnist", source="rendered", root=tmp_path).source == "bundled"


def test_auto_stops_at_broken_real_files(tmp_path: Path) -> None:
    write_test_part(tmp_path, images=9_999)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: .*expected 7840000, found 7839216"):
        data.load("mnist", source="auto", root=tmp_path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("celeba", "celeba/img_align_celeba"),
        ("chairs", "rendered_chairs"),
        ("cars3d", "data/cars"),
        ("anime", "anime"),
    ],
)
def test_auto_stops_at_incomplete_real_files(tmp_path: Path, name: str, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    with pytest.raises(DataError, match="found 0"):
        data.load(name, source="auto", root=tmp_path)


def test_the_environment_names_the_folder_and_root_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    write_test_part(tmp_path)
    monkeypatch.setenv("DISENTLIB_DATA", str(tmp_path))
    assert data.load("mnist").source == "real"
    assert data.load("mnist", root=tmp_path / "empty").source == "bundled"


def test_the_size_and_the_wish_to_download_reach_the_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    loader = SimpleNamespace(
        load_real=lambda *given: calls.append(("real", *given)),
        load_rendered=lambda *given: calls.append(("drawn", *given)),
    )
    monkeypatch.setattr(data, "import_module", lambda name: loader)
    data.load("chairs", source="rendered", image_size=32)
    data.load("chairs", source="auto", image_size=48, root=tmp_path)
    data.load("chairs", source="auto", root=tmp_path, download=True)
    assert calls == [("drawn", 32), ("real", tmp_path, 48, False), ("real", tmp_path, None, True)]
