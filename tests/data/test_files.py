"""Finding, checking, fetching, resizing and decoding files; no network, a fake one stands in."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentlib.data.files import DataError, MissingData, Pictures, decode, download, locate, resize, verify

URL = "https://example.org/data/file.bin"
CONTENT = bytes(range(256)) * 10


class Response(io.BytesIO):
    """What `urlopen` returns, as far as `download` looks; `fails_after` bytes the connection breaks."""

    def __init__(self, content: bytes, announced: int | None, fails_after: int | None = None) -> None:
        super().__init__(content)
        self.headers = {} if announced is None else {"Content-Length": str(announced)}
        self.fails_after = fails_after

    def read(self, size: int = -1) -> bytes:
        if self.fails_after is not None:
            if self.tell() >= self.fails_after:
                raise ConnectionResetError("connection reset by peer")
            size = self.fails_after
        return super().read(size)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_locate_takes_the_first_candidate_that_exists(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    (tmp_path / "c").mkdir()
    assert locate(tmp_path, ["a", "b", "c"], "things", URL) == tmp_path / "b"
    assert locate(tmp_path, ["c", "b"], "things", URL) == tmp_path / "c"


def test_locate_says_what_where_and_whence(tmp_path: Path) -> None:
    with pytest.raises(MissingData) as caught:
        locate(tmp_path, ["a", "x/b"], "the things", URL)
    for part in ("the things", str(tmp_path), "a, x/b", URL):
        assert part in str(caught.value)
    with pytest.raises(MissingData, match="no such folder"):
        locate(tmp_path / "nowhere", ["a"], "things", URL)


def test_locate_without_a_folder_says_how_to_set_one() -> None:
    with pytest.raises(MissingData, match=r"root=.*DISENTLIB_DATA") as caught:
        locate(None, ["a"], "things", URL)
    assert isinstance(caught.value, FileNotFoundError) and URL in str(caught.value)


@pytest.mark.parametrize("method", ["md5", "sha256"])
def test_verify_names_file_expected_and_found(tmp_path: Path, method: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    right, wrong = (hashlib.new(method, content).hexdigest() for content in (CONTENT, b"other"))
    verify(path, f"{method}:{right}")
    with pytest.raises(DataError) as caught:
        verify(path, f"{method}:{wrong}")
    for part in (str(path), wrong, right):
        assert part in str(caught.value)


def test_verify_refuses_a_checksum_it_cannot_compute(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="md5"):
        verify(tmp_path, "0123456789abcdef")


@pytest.mark.parametrize("announced", [len(CONTENT), None])
def test_download_writes_the_whole_file_and_nothing_else(tmp_path: Path, announced: int | None) -> None:
    target = tmp_path / "new" / "folder" / "file.bin"
    asked = []
    checksum = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    download(URL, target, checksum, opener=lambda url: asked.append(url) or Response(CONTENT, announced))
    assert target.read_bytes() == CONTENT
    assert asked == [URL] and list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("response", "checksum", "reason"),
    [
        (Response(CONTENT[:100], len(CONTENT)), None, "expected 2560 bytes, found 100"),
        (Response(CONTENT, len(CONTENT), fails_after=1000), None, "connection reset"),
        (Response(CONTENT, len(CONTENT)), "md5:" + "0" * 32, "expected md5 0000"),
    ],
    ids=["ends early", "breaks", "other content"],
)
def test_download_that_fails_leaves_nothing(tmp_path: Path, response: Response, checksum: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        download(URL, tmp_path / "file.bin", checksum, opener=lambda url: response)
    assert URL in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_download_that_fails_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(b"older")
    with pytest.raises(DataError):
        download(URL, target, opener=lambda url: Response(CONTENT[:100], len(CONTENT)))
    assert target.read_bytes() == b"older" and list(tmp_path.iterdir()) == [target]


def test_download_interrupted_by_hand_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(Response):
        def read(self, size: int = -1) -> bytes:
            if self.tell():
                raise KeyboardInterrupt
            return super().read(100)

    with pytest.raises(KeyboardInterrupt):
        download(URL, tmp_path / "file.bin", opener=lambda url: Interrupted(CONTENT, len(CONTENT)))
    assert list(tmp_path.iterdir()) == []


def test_download_reports_an_address_that_refuses(tmp_path: Path) -> None:
    def refuse(url: str) -> Response:
        raise OSError("HTTP Error 404: Not Found")

    with pytest.raises(DataError, match="404"):
        download(URL, tmp_path / "file.bin", opener=refuse)


def test_resize_averages_areas_where_the_size_divides() -> None:
    images = noise(3, 2, 12, 12)
    means = images.double().reshape(3, 2, 4, 3, 4, 3).mean((3, 5))
    small = resize(images, 4)
    assert small.dtype == torch.uint8
    assert (small.double() - means).abs().max() <= 0.5 + 1e-4


def test_resize_is_bilinear_with_antialiasing_otherwise() -> None:
    image = noise(1, 1, 30, 30)
    pillow = np.array(Image.fromarray(image[0, 0].numpy()).resize((13, 13), Image.Resampling.BILINEAR))
    assert (resize(image, 13)[0, 0].int() - torch.from_numpy(pillow).int()).abs().max() <= 1


def test_resize_makes_oblong_images_square_and_keeps_square_ones() -> None:
    assert resize(noise(2, 3, 20, 10), 8).shape == (2, 3, 8, 8)
    assert torch.equal(resize(noise(2, 3, 8, 8), 8), noise(2, 3, 8, 8))
    assert resize(noise(0, 3, 20, 10), 8).shape == (0, 3, 8, 8)


def test_resize_of_many_equals_resize_of_each() -> None:
    images = noise(1030, 1, 4, 4)  # more than are converted at once
    assert torch.equal(resize(images, 3)[[0, 1023, 1024, 1029]], resize(images[[0, 1023, 1024, 1029]], 3))


def test_decode_keeps_the_centre_square_exactly() -> None:
    pixels = noise(10, 8, 3).numpy()  # height 10, width 8
    assert torch.equal(decode(png(pixels), (8, 10), 6, 6), torch.from_numpy(pixels[2:8, 1:7]).permute(2, 0, 1))


@pytest.mark.parametrize("size", [8, 7])
def test_decode_resizes_as_resize_does(size: int) -> None:
    pixels = noise(40, 30, 3).numpy()
    crop = torch.from_numpy(pixels[8:32, 3:27]).permute(2, 0, 1)
    difference = decode(png(pixels), (30, 40), 24, size).int() - resize(crop[None], size)[0].int()
    assert difference.abs().max() <= 1


def test_decode_gives_three_channels_to_grey_pictures() -> None:
    grey = noise(8, 8).numpy()
    assert torch.equal(decode(png(grey), (8, 8), 8, 8), torch.from_numpy(grey).expand(3, 8, 8))


def test_decode_refuses_another_size() -> None:
    with pytest.raises(ValueError, match="expected 9×8 pixels, found 8×8"):
        decode(png(noise(8, 8, 3).numpy()), (9, 8), 8, 8)


def test_pictures_come_in_the_order_asked_for() -> None:
    stored = {name: png(np.full((8, 8, 3), value, np.uint8)) for name, value in (("a", 10), ("b", 20), ("c", 30))}
    pictures = Pictures(list(stored), stored.__getitem__, (8, 8), 8, 4, Path("there"), URL)
    assert pictures(torch.tensor([2, 0, 0, 1]))[:, 0, 0, 0].tolist() == [30, 10, 10, 20]
    assert pictures(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 4, 4)


def test_pictures_name_the_broken_file() -> None:
    stored = {"good.png": png(noise(8, 8, 3).numpy()), "bad.png": png(noise(8, 8, 3).numpy())[:60]}
    pictures = Pictures(list(stored), stored.__getitem__, (8, 8), 8, 4, Path("there"), URL)
    with pytest.raises(DataError, match=r"there: cannot decode bad\.png.*example\.org"):
        pictures(torch.tensor([0, 1]))
