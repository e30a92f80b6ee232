"""3D Chairs' files, written small in their true format."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentlib.data import DataError, MissingData, chairs, files

MODELS = ("1a2b", "9f00")
VIEWS = ("image_000_p020_t011_r096.png", "image_001_p020_t023_r096.png", "image_010_p030_t011_r096.png")


def pixels(model: int, view: int) -> np.ndarray:
    """uint8 `[600, 600, 3]`: coarse noise that differs from picture to picture (coarse, so that PNG is quick)."""
    blocks = np.random.default_rng(10 * model + view).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return np.roll(blocks.repeat(10, 0).repeat(10, 1), 3, (0, 1))


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return {
        f"{model}/renders/{view}": png(pixels(m, v)) for m, model in enumerate(MODELS) for v, view in enumerate(VIEWS)
    }


def write_folder(root: Path, pictures: dict[str, bytes]) -> Path:
    folder = root / "rendered_chairs"
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "all_chair_names.mat").write_bytes(b"MATLAB")
    return folder


def write_tar(root: Path, pictures: dict[str, bytes], mode: str = "w") -> Path:
    path = root / "rendered_chairs.tar"
    with tarfile.open(path, mode) as archive:
        # Backwards and with strangers in between, so that neither the order nor the place can be guessed.
        for name, content in [*reversed(pictures.items()), ("all_chair_names.mat", b"MATLAB"), ("a/._b.png", b"")]:
            member = tarfile.TarInfo(f"rendered_chairs/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def written(model: int, view: int) -> torch.Tensor:
    return torch.from_numpy(pixels(model, view)[75:525, 75:525]).permute(2, 0, 1)


WRITERS = pytest.mark.parametrize("write", [write_folder, write_tar])


@WRITERS
def test_pictures_come_by_model_then_view(tmp_path: Path, write, pictures: dict[str, bytes]) -> None:
    write(tmp_path, pictures)
    dataset = chairs.read(tmp_path, 450, 2, 3)
    assert (dataset.name, dataset.source, len(dataset), dataset.image_shape) == ("chairs", "real", 6, (3, 450, 450))
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1] and dataset.labels.dtype == torch.int64
    assert dataset.grid is None
    images = dataset.bytes(torch.tensor([5, 0, 2]))
    assert torch.equal(images, torch.stack([written(1, 2), written(0, 0), written(0, 2)]))


@WRITERS
def test_smaller_images_are_antialiased(tmp_path: Path, write, pictures: dict[str, bytes]) -> None:
    (tmp_path / "chairs").mkdir()
    write(tmp_path / "chairs", pictures)
    third, other = (chairs.read(tmp_path, size, 2, 3).bytes(torch.tensor([4]))[0] for size in (150, 64))
    means = written(1, 1).double().reshape(3, 150, 3, 150, 3).mean((2, 4))
    assert (third.double() - means).abs().max() <= 0.6  # Pillow rounds in fixed point
    assert (other.int() - files.resize(written(1, 1)[None], 64)[0].int()).abs().max() <= 1


@WRITERS
def test_a_copy_for_a_worker_reads_the_same(tmp_path: Path, write, pictures: dict[str, bytes]) -> None:
    write(tmp_path, pictures)
    dataset = chairs.read(tmp_path, 64, 2, 3)
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).bytes(torch.tensor([3])), dataset.bytes(torch.tensor([3])))


def test_nothing_there_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="rendered_chairs.tar.*di.ens.fr"):
        chairs.load_real(tmp_path, None, False)
    with pytest.raises(MissingData, match="DISENTLIB_DATA"):
        chairs.load_real(None, None, True)


def test_download_fetches_the_tar_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    monkeypatch.setattr(files, "download", lambda url, target: fetched.append((url, target)))
    with pytest.raises(MissingData):  # the fake fetches nothing
        chairs.load_real(tmp_path, None, True)
    assert fetched == [(chairs.ADDRESS, tmp_path / "rendered_chairs.tar")]
    (tmp_path / "rendered_chairs").mkdir()
    with pytest.raises(DataError):
        chairs.load_real(tmp_path, None, True)
    assert len(fetched) == 1


@WRITERS
def test_the_public_loader_wants_all_models(tmp_path: Path, write, pictures: dict[str, bytes]) -> None:
    write(tmp_path, pictures)
    message = "expected 1393 models × 62 views = 86366 pictures, found 2 models and 6 pictures"
    with pytest.raises(DataError, match=message) as caught:
        chairs.load_real(tmp_path, None, False)
    assert not isinstance(caught.value, MissingData)


@WRITERS
def test_a_missing_view_is_named(tmp_path: Path, write, pictures: dict[str, bytes]) -> None:
    write(tmp_path, {name: content for name, content in pictures.items() if name != f"{MODELS[1]}/renders/{VIEWS[1]}"})
    with pytest.raises(DataError, match="model 9f00: expected 3 views, found 2"):
        chairs.read(tmp_path, 64, 2, 3)


def test_a_tar_cut_within_a_picture_is_an_error(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    path = write_tar(tmp_path, pictures)
    path.write_bytes(path.read_bytes()[: sum(map(len, pictures.values())) // 2])
    with pytest.raises(DataError, match=r"rendered_chairs\.tar: expected a whole uncompressed tar.*unexpected end"):
        chairs.read(tmp_path, 64, 2, 3)


def test_a_tar_cut_between_pictures_is_an_error(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    path = write_tar(tmp_path, pictures)
    with tarfile.open(path) as archive:
        end = archive.getmembers()[4].offset
    path.write_bytes(path.read_bytes()[: end + 100])  # four pictures and part of a header: one whole model, one view
    with pytest.raises(DataError, match="expected 3 views, found 1|expected a whole"):
        chairs.read(tmp_path, 64, 2, 3)


@pytest.mark.parametrize("mode", ["w:gz", None])
def test_what_is_no_tar_is_an_error(tmp_path: Path, mode: str | None, pictures: dict[str, bytes]) -> None:
    if mode:
        write_tar(tmp_path, pictures, mode)
    else:
        (tmp_path / "rendered_chairs.tar").write_text("<html>404 Not Found</html>" * 100)
    with pytest.raises(DataError, match="expected a whole uncompressed tar"):
        chairs.read(tmp_path, 64, 2, 3)


@pytest.mark.parametrize("case", ["truncated", "another size", "flipped"])
@WRITERS
def test_a_broken_picture_is_named_when_it_is_read(
    tmp_path: Path, write, case: str, pictures: dict[str, bytes]
) -> None:
    name = f"{MODELS[0]}/renders/{VIEWS[1]}"
    good = pictures[name]
    middle = len(good) // 2
    broken = {
        "truncated": good[:middle],
        "another size": png(pixels(0, 1)[:450]),
        "flipped": good[:middle] + bytes(255 - value for value in good[middle : middle + 50]) + good[middle + 50 :],
    }
    write(tmp_path, pictures | {name: broken[case]})
    dataset = chairs.read(tmp_path, 64, 2, 3)
    assert dataset.bytes(torch.tensor([0, 2])).shape == (2, 3, 64, 64)
    with pytest.raises(DataError, match=rf"cannot decode .*{name}"):
        dataset.bytes(torch.tensor([0, 1]))
