"""Anime faces as folders and zips of small pictures."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentlib.data import DataError, MissingData, anime, files


def pixels(number: int, width: int, height: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(array: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


# Sorted by name: 1.png, 10.PNG, 2.jpg, part/3.jpeg. Numbers, widths and heights differ.
PICTURES = {
    "2.jpg": encoded(pixels(2, 64, 64), "JPEG"),
    "10.PNG": encoded(pixels(10, 30, 50)),
    "1.png": encoded(pixels(1, 32, 32)),
    "part/3.jpeg": encoded(pixels(3, 96, 64), "JPEG"),
}
STRANGERS = {"list.csv": b"1,2", "__MACOSX/._1.png": b"", ".thumbnails/1.png": b"", "part/._3.jpeg": b""}


def write_folder(root: Path, contents: dict[str, bytes], place: str = "anime") -> Path:
    for name, content in contents.items():
        (root / place / name).parent.mkdir(parents=True, exist_ok=True)
        (root / place / name).write_bytes(content)
    return root / place


def write_zip(root: Path, contents: dict[str, bytes], place: str = "anime.zip") -> Path:
    with zipfile.ZipFile(root / place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return root / place


WRITERS = pytest.mark.parametrize("write", [write_folder, write_zip])


@WRITERS
def test_pictures_come_in_the_order_of_their_names(tmp_path: Path, write) -> None:
    write(tmp_path, PICTURES | STRANGERS)
    dataset = anime.load_real(tmp_path, 32, False)
    assert (dataset.name, dataset.source, len(dataset), dataset.image_shape) == ("anime", "real", 4, (3, 32, 32))
    images = dataset.bytes(torch.tensor([0, 2]))
    assert torch.equal(images[0], torch.from_numpy(pixels(1, 32, 32)).permute(2, 0, 1))
    with Image.open(io.BytesIO(PICTURES["2.jpg"])) as image:
        halved = torch.from_numpy(np.array(image)).double().reshape(32, 2, 32, 2, 3).mean((1, 3)).permute(2, 0, 1)
    assert (images[1].double() - halved).abs().max() <= 0.6


@WRITERS
def test_the_largest_centred_square_is_resized(tmp_path: Path, write) -> None:
    write(tmp_path, PICTURES)
    dataset = anime.load_real(tmp_path, None, True)
    assert dataset.image_shape == (3, 64, 64)
    square = pixels(10, 30, 50)[10:40]  # 30 × 50: the middle 30 rows, enlarged
    larger = np.asarray(Image.fromarray(square).resize((64, 64), Image.Resampling.BILINEAR))
    assert torch.equal(dataset.bytes(torch.tensor([1]))[0], torch.from_numpy(larger.copy()).permute(2, 0, 1))


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    grey, clear = pixels(5, 16, 16)[..., 0], np.dstack([pixels(6, 16, 16), np.full((16, 16), 255, np.uint8)])
    write_folder(tmp_path, {"a.png": encoded(grey), "b.png": encoded(clear)})
    images = anime.load_real(tmp_path, 16, False).bytes(torch.tensor([0, 1])).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images[0], grey[..., None].repeat(3, 2)) and np.array_equal(images[1], clear[..., :3])


@pytest.mark.parametrize(("write", "place"), [(write_folder, "anime-faces"), (write_zip, "anime-faces.zip")])
def test_other_names_are_found(tmp_path: Path, write, place: str) -> None:
    write(tmp_path, PICTURES, place)
    assert len(anime.load_real(tmp_path, 8, False)) == 4


@WRITERS
def test_a_copy_for_a_worker_reads_the_same(tmp_path: Path, write) -> None:
    write(tmp_path, PICTURES)
    dataset = anime.load_real(tmp_path, 16, False)
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).bytes(torch.tensor([3])), dataset.bytes(torch.tensor([3])))


def test_there_are_no_factors(tmp_path: Path) -> None:
    write_folder(tmp_path, PICTURES)
    dataset = anime.load_real(tmp_path, 16, False)
    for ask in (lambda: dataset.factor_names, lambda: dataset.sample_factors(2, torch.Generator())):
        with pytest.raises(LookupError, match=r"anime \(real\) has no ground-truth factors"):
            ask()


def test_nothing_there_is_missing_data_even_with_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "download", lambda *given: pytest.fail("nothing may be fetched"))
    for download in (False, True):
        with pytest.raises(MissingData, match="anime-faces.zip.*kaggle.com"):
            anime.load_real(tmp_path, None, download)
    with pytest.raises(MissingData, match="DISENTLIB_DATA"):
        anime.load_real(None, None, False)


@WRITERS
def test_a_place_without_pictures_is_an_error(tmp_path: Path, write) -> None:
    write(tmp_path, STRANGERS)
    with pytest.raises(DataError, match="expected pictures.*found 0") as caught:
        anime.load_real(tmp_path, None, False)
    assert not isinstance(caught.value, MissingData)


@WRITERS
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", PICTURES["2.jpg"][:700]])
def test_a_broken_picture_is_named_when_it_is_read(tmp_path: Path, write, content: bytes) -> None:
    write(tmp_path, PICTURES | {"2.jpg": content})
    dataset = anime.load_real(tmp_path, 16, False)
    assert dataset.bytes(torch.tensor([0, 1, 3])).shape == (3, 3, 16, 16)
    with pytest.raises(DataError, match=r"cannot decode 2\.jpg"):
        dataset.bytes(torch.tensor([1, 2]))


def test_a_zip_cut_short_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path, PICTURES)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a whole zip file.*kaggle.com"):
        anime.load_real(tmp_path, None, False)
