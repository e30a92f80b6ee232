"""Cars3D's files, written small in their true format: MATLAB arrays h × w × colour × azimuth × elevation."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from disentlib.data import DataError, MissingData, cars3d, files, load

NAMES = ("car_010_mesh", "car_002_mesh", "car_199_mesh")  # the order of list.txt, which is not the alphabet's


def views(car: int) -> np.ndarray:
    """uint8 `[128, 128, 3, 24, 4]`: coarse noise of its own, and a level that tells azimuth and elevation."""
    noise = np.random.default_rng(car).integers(0, 100, (16, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    level = np.arange(24)[:, None] * 4 + np.arange(4) + 50
    return (noise[..., None, None] + level).astype(np.uint8)


def mat(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=True)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def published() -> dict[str, bytes]:
    mask = np.zeros((128, 128, 24, 4), dtype=np.uint8)
    cars = {f"{name}.mat": mat(im=views(number), mask=mask) for number, name in enumerate(NAMES)}
    return cars | {"list.txt": "".join(f"{name}\n" for name in NAMES).encode()}


def write_folder(root: Path, contents: dict[str, bytes], place: str = "data/cars") -> Path:
    folder = root / place
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "readme.txt").write_bytes(b"not a car")
    return folder


def write_archive(root: Path, contents: dict[str, bytes]) -> Path:
    path = root / cars3d.FILE
    strangers = {"data/sprites/sprites_1.mat": b"MATLAB", "data/cars/._car_002_mesh.mat": b""}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in ({f"data/cars/{name}": content for name, content in contents.items()} | strangers).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


WRITERS = pytest.mark.parametrize("write", [write_folder, write_archive])


@WRITERS
def test_the_grid_is_elevation_azimuth_object(tmp_path: Path, write, published: dict[str, bytes]) -> None:
    write(tmp_path, published)
    dataset = cars3d.read(tmp_path, 128, 3)
    assert (dataset.name, dataset.source, len(dataset), dataset.image_shape) == ("cars3d", "real", 288, (3, 128, 128))
    assert dataset.grid.sizes == (4, 24, 3) and dataset.grid.nominal == ("object",)
    assert dataset.factor_names == cars3d.load_rendered().factor_names
    factors = torch.tensor([[0, 0, 0], [3, 17, 2], [1, 23, 1], [2, 5, 0]])
    images = dataset.bytes(dataset.index(factors))
    for image, (elevation, azimuth, car) in zip(images, factors.tolist()):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), views(car)[..., azimuth, elevation])


@pytest.mark.parametrize("place", ["cars", "cars3d/cars", "cars3d/data/cars"])
def test_other_places_are_found(tmp_path: Path, published: dict[str, bytes], place: str) -> None:
    write_folder(tmp_path, published, place)
    assert len(cars3d.read(tmp_path, 8, 3)) == 288


def test_smaller_images_are_pillows_lanczos(tmp_path: Path, published: dict[str, bytes]) -> None:
    write_folder(tmp_path, published)
    dataset = cars3d.read(tmp_path, 64, 3)
    image = Image.fromarray(np.ascontiguousarray(views(1)[..., 7, 2]))
    image.thumbnail((64, 64), Image.Resampling.LANCZOS)  # as the published loaders do
    shrunk = dataset.bytes(dataset.index(torch.tensor([[2, 7, 1]])))[0].permute(1, 2, 0)
    assert np.array_equal(shrunk.numpy(), np.asarray(image))


def test_nothing_there_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="data/cars.*scottreed.info"):
        cars3d.load_real(tmp_path, None, False)
    with pytest.raises(MissingData, match="DISENTLIB_DATA"):
        cars3d.load_real(None, None, True)


def test_sizes_above_the_published_one_are_refused(tmp_path: Path, published: dict[str, bytes]) -> None:
    write_folder(tmp_path, published)
    with pytest.raises(ValueError, match="at most 128, got 129"):
        cars3d.load_real(tmp_path, 129, False)


def test_download_fetches_the_archive_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: dict[str, bytes]
) -> None:
    calls = []

    def fetch(url: str, target: Path, checksum: str) -> None:
        calls.append((url, checksum))
        write_archive(target.parent, published)

    monkeypatch.setattr(files, "download", fetch)
    for _ in range(2):
        with pytest.raises(DataError, match="expected 183 files.*found 3"):  # the public loader wants all cars
            cars3d.load_real(tmp_path, 8, True)
    assert calls == [(cars3d.ADDRESS, "md5:4e866a7919c1beedf53964e6f7a23686")]


@WRITERS
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"car_002_mesh.mat": None}, "expected 3 files car_.*found 2"),
        ({"car_003_mesh.mat": mat(im=views(3))}, "expected 3 files car_.*found 4"),
        ({"list.txt": None}, "expected list.txt"),
        ({"list.txt": b"car_002_mesh\ncar_010_mesh\n"}, "disagree about car_199_mesh"),
        ({"list.txt": b"car_002_mesh\ncar_010_mesh\ncar_004_mesh\n"}, "disagree about car_004_mesh"),
        ({"list.txt": b"car_002_mesh\n" * 2 + b"car_010_mesh\ncar_199_mesh"}, "disagree about a car that is named"),
        ({"car_002_mesh.mat": b""}, "cannot read car_002_mesh.mat"),
        ({"car_002_mesh.mat": b"<html>not found</html>" * 20}, "cannot read car_002_mesh.mat"),
        ({"car_002_mesh.mat": mat(im=views(1))[:3000]}, "cannot read car_002_mesh.mat"),
        ({"car_002_mesh.mat": mat(mask=views(1))}, "car_002_mesh.mat: expected an array im.*found none"),
        ({"car_002_mesh.mat": mat(im=views(1)[:64])}, r"expected an array im.*found uint8 \(64, 128, 3, 24, 4\)"),
        ({"car_002_mesh.mat": mat(im=views(1).astype(float))}, "expected an array im.*found float64"),
    ],
    ids=[
        "too_few",
        "too_many",
        "no_list",
        "short_list",
        "other_list",
        "twice",
        "empty",
        "html",
        "cut",
        "no_im",
        "shape",
        "dtype",
    ],
)
def test_broken_files_are_named(
    tmp_path: Path, write, published: dict[str, bytes], changes: dict[str, bytes | None], message: str
) -> None:
    write(tmp_path, {name: content for name, content in (published | changes).items() if content is not None})
    with pytest.raises(DataError, match=message) as caught:
        cars3d.read(tmp_path, 8, 3)
    assert not isinstance(caught.value, MissingData) and "scottreed.info" in str(caught.value)


@pytest.mark.parametrize("keep", [10, 2000, -200])
def test_an_archive_cut_short_is_an_error(tmp_path: Path, published: dict[str, bytes], keep: int) -> None:
    path = write_archive(tmp_path, published)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="expected a whole tar.gz"):
        cars3d.read(tmp_path, 8, 3)


def test_a_folder_in_place_of_a_file_is_a_missing_file(tmp_path: Path, published: dict[str, bytes]) -> None:
    write_folder(tmp_path, {name: content for name, content in published.items() if name != "list.txt"})
    (next(tmp_path.rglob("car_002_mesh.mat")).parent / "list.txt").mkdir()
    with pytest.raises(DataError, match="expected list.txt"):
        cars3d.read(tmp_path, 8, 3)


def test_only_real_files_limit_the_size(tmp_path: Path) -> None:
    assert load("cars3d", source="auto", root=tmp_path, image_size=256).source == "rendered"
