"""CelebA's files, written small in their true format."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentlib.data import DataError, MissingData, celeba, files


def photograph(number: int, size: tuple[int, int] = (178, 218)) -> bytes:
    """A JPEG whose brightness grows to the right and whose blue grows downwards, of a level that tells its number."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([x, np.full_like(x, 20 * number), y], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def published(count: int) -> dict[str, bytes]:
    return {f"{number:06d}.jpg": photograph(number) for number in range(1, count + 1)}


def write_folder(root: Path, pictures: dict[str, bytes], place: str = "celeba/img_align_celeba") -> Path:
    folder = root / place
    folder.mkdir(parents=True)
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    return folder


def write_zip(root: Path, pictures: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = root / "celeba" / "img_align_celeba.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("img_align_celeba/", b"")
        for name, content in pictures.items():
            archive.writestr(f"img_align_celeba/{name}", content)
            archive.writestr(f"__MACOSX/img_align_celeba/{name}", b"rubbish")
    return path


def written(number: int) -> torch.Tensor:
    """What Pillow makes of the file, cut to rows 20…197: uint8 `[3, 178, 178]`."""
    with Image.open(io.BytesIO(photograph(number))) as image:
        return torch.from_numpy(np.array(image)[20:198]).permute(2, 0, 1)


def test_a_folder_gives_the_centre_square_in_the_order_of_the_names(tmp_path: Path) -> None:
    write_folder(tmp_path, published(4))
    dataset = celeba.read(tmp_path, 178, 4)
    assert (dataset.name, dataset.source, len(dataset), dataset.image_shape) == ("celeba", "real", 4, (3, 178, 178))
    images = dataset.bytes(torch.tensor([3, 0]))
    assert torch.equal(images[0], written(4)) and torch.equal(images[1], written(1))
    expected = torch.tensor([88.5, 80.0, 108.5])  # means of red 0…177, green 4 · 20, blue 20…197
    assert (images[0].float().mean((1, 2)) - expected).abs().max() < 1


@pytest.mark.parametrize("place", ["img_align_celeba", "celeba/img_align_celeba/img_align_celeba"])
def test_other_places_are_found(tmp_path: Path, place: str) -> None:
    write_folder(tmp_path, published(1), place)
    assert torch.equal(celeba.read(tmp_path, 178, 1).bytes(torch.tensor([0]))[0], written(1))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_zip_is_read_as_it_is(tmp_path: Path, method: int) -> None:
    write_zip(tmp_path, published(3), method)
    dataset = celeba.read(tmp_path, 178, 3)
    assert torch.equal(dataset.bytes(torch.tensor([2, 1])), torch.stack([written(3), written(2)]))


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_a_copy_for_a_worker_reads_the_same(tmp_path: Path, write) -> None:
    write(tmp_path, published(2))
    dataset = celeba.read(tmp_path, 64, 2)
    indices = torch.tensor([1, 0])
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).bytes(indices), dataset.bytes(indices))


def test_smaller_images_are_antialiased(tmp_path: Path) -> None:
    write_folder(tmp_path, published(1))
    half, other = (celeba.read(tmp_path, size, 1).bytes(torch.tensor([0]))[0] for size in (89, 64))
    means = written(1).double().reshape(3, 89, 2, 89, 2).mean((2, 4))
    assert (half.double() - means).abs().max() <= 0.5
    assert (other.int() - files.resize(written(1)[None], 64)[0].int()).abs().max() <= 1


def test_nothing_there_is_missing_data_and_says_where_to_get_it(tmp_path: Path) -> None:
    for download in (False, True):
        with pytest.raises(MissingData, match="mmlab.ie.cuhk.edu.hk"):
            celeba.load_real(tmp_path, None, download)


def test_the_public_loader_wants_all_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path, published(2))
    message = "expected 202599 pictures.*found 2; the first missing one is 000003.jpg"
    with pytest.raises(DataError, match=message) as caught:
        celeba.load_real(tmp_path, None, False)
    assert not isinstance(caught.value, MissingData)


def test_missing_and_unknown_pictures_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, published(3))
    (folder / "000002.jpg").rename(folder / "copy of 000002.jpg")
    with pytest.raises(DataError, match="found 3; the first missing one is 000002.jpg"):
        celeba.read(tmp_path, 64, 3)
    (folder / "copy of 000002.jpg").rename(folder / "000002.jpg")
    (folder / "000004.jpg").write_bytes(photograph(4))
    with pytest.raises(DataError, match="found 4; the first unknown one is 000004.jpg"):
        celeba.read(tmp_path, 64, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (photograph(2)[:700], "truncated"),
        (b"<html>not found</html>", "cannot identify"),
        (photograph(2, (178, 178)), "expected 178×218 pixels, found 178×178"),
        (b"", "cannot identify"),
    ],
    ids=["truncated", "not a picture", "another size", "empty"],
)
@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_a_broken_picture_is_named_when_it_is_read(tmp_path: Path, write, content: bytes, message: str) -> None:
    write(tmp_path, published(3) | {"000002.jpg": content})
    dataset = celeba.read(tmp_path, 64, 3)
    assert dataset.bytes(torch.tensor([0, 2])).shape == (2, 3, 64, 64)
    with pytest.raises(DataError, match=rf"000002\.jpg.*{message}"):
        dataset.bytes(torch.tensor([0, 1]))


def test_a_zip_cut_short_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path, published(3))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a whole zip file"):
        celeba.read(tmp_path, 64, 3)


def test_a_zip_with_flipped_bytes_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path, published(1), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xd8\xff") + 3000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"000001\.jpg.*CRC"):
        celeba.read(tmp_path, 64, 1).bytes(torch.tensor([0]))


def write_attributes(root: Path, rows: list[list[int]], names: int = 40, first: int = 1) -> None:
    lines = [str(len(rows)), " ".join(f"Name_{i}" for i in range(names)) + " "]
    lines += [f"{number:06d}.jpg " + " ".join(f"{value:2d}" for value in row) for number, row in enumerate(rows, first)]
    (root / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")


def test_attributes_are_zero_or_one(tmp_path: Path) -> None:
    rows = [[1, -1] * 20, [-1] * 39 + [1]]
    write_attributes(tmp_path, rows)
    names, values = celeba.attributes(tmp_path, 2)
    assert names[0] == "Name_0" and len(names) == 40 and values.dtype == torch.int64
    assert torch.equal(values * 2 - 1, torch.tensor(rows))


@pytest.mark.parametrize(
    ("written_as", "message"),
    [
        ({"rows": [[1] * 40]}, "found 40 names and 1 pictures"),
        ({"rows": [[1] * 39] * 2, "names": 39}, "found 39 names"),
        ({"rows": [[1] * 40] * 2, "first": 2}, "in order"),
        ({"rows": [[1] * 40, [1] * 39]}, "000002.jpg: expected 40 values"),
        ({"rows": [[0] * 40] * 2}, "000001.jpg: expected 40 values"),
    ],
    ids=["too few", "names", "order", "ragged", "values"],
)
def test_broken_attributes_are_named(tmp_path: Path, written_as: dict, message: str) -> None:
    write_attributes(tmp_path, **written_as)
    with pytest.raises(DataError, match=message):
        celeba.attributes(tmp_path, 2)


def test_attributes_may_be_absent(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="list_attr_celeba.txt"):
        celeba.attributes(tmp_path)
