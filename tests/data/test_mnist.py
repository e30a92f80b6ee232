"""MNIST's files, written small in their true format, and the digits that stand in for them."""

import gzip
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from disentlib.data import DataError, MissingData, files, mnist

REAL = Path(__file__).parents[3] / "shared" / "data"
COUNTS = {"train": 5, "t10k": 3}


def digits(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 10, (count,), generator=generator)


def idx(values: Tensor) -> bytes:
    """Images `[n, 1, h, w]` or labels `[n]` as an IDX file."""
    sizes = values.shape if values.ndim == 1 else (values.shape[0], *values.shape[2:])
    return struct.pack(f">{1 + len(sizes)}i", 0x0800 + len(sizes), *sizes) + values.to(torch.uint8).numpy().tobytes()


def write_part(folder: Path, part: str, images: Tensor, labels: Tensor, zipped: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
        content = idx(values)
        (folder / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("folder", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("zipped", [True, False])
def test_both_parts_come_back_as_written_train_first(tmp_path: Path, folder: str, zipped: bool) -> None:
    parts = {part: digits(count, seed=count) for part, count in COUNTS.items()}
    for part, (images, labels) in parts.items():
        write_part(tmp_path / folder, part, images, labels, zipped)
    images, labels, present = mnist.read_parts(tmp_path, COUNTS, {})
    assert present == ("train", "t10k") and labels.dtype == torch.int64
    assert torch.equal(images, torch.cat([parts["train"][0], parts["t10k"][0]]))
    assert torch.equal(labels, torch.cat([parts["train"][1], parts["t10k"][1]]))


def test_one_part_alone_is_used_and_named(tmp_path: Path) -> None:
    write_part(tmp_path, "t10k", *digits(3))
    images, _, present = mnist.read_parts(tmp_path, COUNTS, {})
    assert present == ("t10k",) and torch.equal(images, digits(3)[0])


def test_no_part_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="MNIST/raw/train-images-idx3-ubyte"):
        mnist.load_real(tmp_path, None, False)
    with pytest.raises(MissingData, match="DISENTLIB_DATA"):
        mnist.load_real(None, None, False)


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_half_a_part_is_an_error_and_not_missing_data(tmp_path: Path, kind: str) -> None:
    write_part(tmp_path, "train", *digits(5))
    write_part(tmp_path, "t10k", *digits(3))
    (tmp_path / f"train-{kind}-ubyte.gz").unlink()
    with pytest.raises(DataError, match=f"train-{kind}-ubyte") as caught:
        mnist.read_parts(tmp_path, COUNTS, {})
    assert not isinstance(caught.value, MissingData)


def broken_images(good: bytes) -> dict[str, tuple[bytes, str]]:
    """What can be wrong with three images → the file's bytes, and what the message must say."""
    return {
        "magic": (struct.pack(">i", 2049) + good[4:], "magic number: expected 2051, found 2049"),
        "shape": (idx(torch.zeros(3, 1, 32, 32)), r"expected \(28, 28\), found \(32, 32\)"),
        "truncated": (good[:-1], "expected 2352, found 2351"),
        "too long": (good + b"\0", "expected 2352, found 2353"),
        "negative": (struct.pack(">2i", 2051, -1) + good[8:], "expected -784, found 2352"),
        "no header": (good[:10], "expected a header of 16 bytes, found 10"),
        "empty": (b"", "found 0"),
    }


@pytest.mark.parametrize("case", broken_images(b""))
def test_broken_images_are_named(tmp_path: Path, case: str) -> None:
    content, message = broken_images(idx(digits(3)[0]))[case]
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        mnist.read_images(tmp_path / "images")
    assert str(tmp_path / "images") in str(caught.value) and mnist.ADDRESS in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(torch.tensor([1, 10, 2])), r"expected labels in 0…9, found 10"),
        (idx(torch.tensor([1, 2]))[:-1], "expected 2, found 1"),
        (idx(digits(1)[0]), "magic number: expected 2049, found 2051"),
        (b"\0" * 7, "header of 8 bytes, found 7"),
    ],
    ids=["range", "truncated", "images", "no header"],
)
def test_broken_labels_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError, match=message):
        mnist.read_labels(tmp_path / "labels")


@pytest.mark.parametrize("cut", [slice(0, -20), slice(5, None)], ids=["truncated", "no gzip"])
def test_broken_gzip_is_named(tmp_path: Path, cut: slice) -> None:
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(digits(3)[0]))[cut])
    with pytest.raises(DataError, match=r"images\.gz: cannot be read"):
        mnist.read_images(tmp_path / "images.gz")


@pytest.mark.parametrize(
    ("images", "labels", "message"), [(4, 4, "images: expected 3, found 4"), (3, 2, "labels: expected 3, found 2")]
)
def test_wrong_counts_are_named(tmp_path: Path, images: int, labels: int, message: str) -> None:
    write_part(tmp_path, "t10k", digits(images)[0], digits(labels)[1])
    with pytest.raises(DataError, match=message):
        mnist.read_parts(tmp_path, COUNTS, {})


def test_the_public_loader_knows_the_published_archives(tmp_path: Path) -> None:
    write_part(tmp_path, "t10k", *digits(10_000))
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte.gz is not the published file: expected md5 9fb629c4"):
        mnist.load_real(tmp_path, None, False)


def test_download_fetches_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    monkeypatch.setattr(files, "download", lambda url, target, checksum: fetched.append((url, target, checksum)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(digits(5)[0]))
    with pytest.raises(DataError):  # the fake fetches nothing
        mnist.load_real(tmp_path, None, True)
    names = ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert [url for url, _, _ in fetched] == [mnist.ADDRESS + name for name in names]
    assert [target for _, target, _ in fetched] == [tmp_path / "MNIST" / "raw" / name for name in names]
    assert all(checksum.startswith("md5:") for _, _, checksum in fetched)
    with pytest.raises(MissingData, match="DISENTLIB_DATA"):
        mnist.load_real(None, None, True)


def test_fit_pads_to_32_and_resizes_otherwise() -> None:
    images = digits(2)[0]
    assert torch.equal(mnist.fit(images, None), images)
    padded = mnist.fit(images, 32)
    assert padded.shape == (2, 1, 32, 32) and torch.equal(padded[..., 2:-2, 2:-2], images)
    assert padded.long().sum() == images.long().sum()
    assert torch.equal(mnist.fit(images, 14), files.resize(images, 14))


def test_the_bundled_digits_say_what_they_are() -> None:
    dataset = mnist.load_rendered(None)
    assert (dataset.name, dataset.source, dataset.image_shape) == ("mnist", "bundled", (1, 28, 28))
    assert len(dataset) == len(dataset.labels) == 1797 and "not MNIST" in dataset.description
    assert dataset.labels.unique().tolist() == list(range(10)) and dataset.grid is None
    assert mnist.load_rendered(32).image_shape == (1, 32, 32)


def test_the_bundled_digits_are_laid_out_as_mnist_is() -> None:
    from sklearn.datasets import load_digits

    images = mnist.load_rendered(None).bytes(torch.arange(1797)).float()
    assert images[..., :4, :].max() == images[..., -4:, :].max() == images[..., :4].max() == images[..., -4:].max() == 0
    assert images.max() == 255
    # Enlarging keeps the picture: averaged back to 8×8, it is the original up to what smoothing takes.
    back = torch.nn.functional.interpolate(images[..., 4:-4, 4:-4], (8, 8), mode="area")[:, 0]
    original = torch.from_numpy(load_digits().images).float() * 255 / 16
    assert torch.corrcoef(torch.stack([back.flatten(), original.flatten()]))[0, 1] > 0.97


def test_images_follow_the_indices() -> None:
    dataset = mnist.load_rendered(None)
    indices = torch.tensor([5, 0, 5])
    assert torch.equal(dataset.bytes(indices), dataset.bytes(torch.arange(6))[indices])


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="needs MNIST/raw/t10k-*.gz in ../shared/data")
def test_the_real_test_images() -> None:
    dataset = mnist.load_real(REAL, None, False)
    if len(dataset) == 10_000:
        assert dataset.description == "MNIST test images (10 000 real)"
        assert dataset.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # as everybody's first look shows them
    last = dataset.images(torch.arange(len(dataset) - 10_000, len(dataset)))
    assert dataset.source == "real" and last.shape == (10_000, 1, 28, 28)
    assert last.mean().item() == pytest.approx(0.1325, abs=5e-4)  # the test part's published mean
    assert torch.bincount(dataset.labels[-10_000:]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
