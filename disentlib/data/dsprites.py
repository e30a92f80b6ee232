"""dSprites (Matthey et al. 2017): white squares, ellipses and hearts on black; five factors, 737 280 binary images.

The rendered twin has the factors, the sizes and the index order of the published file. Its geometry was fitted to
genuine frames, which it reproduces nearly pixel by pixel. Both sources hold or make the same packed bits (`[n, 512]`,
big-endian bit order as in `np.packbits`), and share everything after that: unpacking, shrinking, the `Dataset`.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from disentlib.data import files
from disentlib.data.dataset import Dataset
from disentlib.data.exact import square_root
from disentlib.data.files import DataError, MissingData
from disentlib.data.grid import FactorGrid

__all__ = ["GRID", "draw", "draw_at", "load_real", "load_rendered", "read_npz", "render_bits", "shrink", "unpack"]

GRID = FactorGrid(("shape", "scale", "orientation", "pos_x", "pos_y"), (3, 6, 40, 32, 32), nominal=("shape",))
SIZE = 64  # pixels a side of the published images

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
ADDRESS = "https://github.com/google-deepmind/dsprites-dataset"
URL = f"{ADDRESS}/raw/master/{FILE}"

# Geometry in pixels of the 64×64 image, at scale 1; y points down. All of it was fitted to 160 genuine frames.
SQUARE_HALF_SIDE = 9.598  # fitted to genuine frames: no pixel differs
ELLIPSE_HALF_AXES = (12.766, 7.214)  # along x and y at orientation 0; fitted to genuine frames: no pixel differs
HEART_HALF_WIDTH = 9.594  # fitted to genuine frames, as the next two: 4 of about 20 000 white pixels differ
HEART_UNIT = 0.6622  # pixels of one unit of the heart curve's y
HEART_LIFT = 1.4367  # pixels between the curve's origin and the point about which the heart turns, upwards
FIRST_CENTRE, CENTRE_RANGE = 16, 32  # pixels; positions run evenly from 16 to 48; fitted to genuine frames

_WINDOW = 32  # pixels a side; a sprite reaches at most 13.6 pixels from its centre, which lies in the window's middle
_AT_ONCE = 1024  # images drawn or read together
# Exact tables, not torch.cos, so that every device turns alike. The last orientation, 2π, is the first one again.
_ANGLES = [2 * math.pi * (k % 39) / 39 for k in range(40)]
_COS, _SIN = (torch.tensor([f(a) for a in _ANGLES], dtype=torch.float64) for f in (math.cos, math.sin))


def load_rendered(image_size: int | None = None) -> Dataset:
    """The twin, drawn when asked for, on the indices' device; the same image for an index in whatever batch.

    64 (the default) is binary like the original, a size that divides 64 is its area average, any other is drawn
    directly at that size and binary.
    """
    size = SIZE if image_size is None else image_size
    if SIZE % size:
        return _dataset("rendered", size, lambda indices: draw_at(GRID.factors(indices), size) * 255)
    return _dataset("rendered", size, lambda indices: shrink(draw(GRID.factors(indices)), size))


def load_real(root: Path | None, image_size: int | None = None, download: bool = False) -> Dataset:
    """The published file from `root` or `root/dsprites`, held as packed bits (378 MB); some ten seconds to read.

    Raises MissingData without the file, DataError if it is not as published, ValueError for a size that does not
    divide 64. `download` fetches a missing file into `root/dsprites`.
    """
    path = _find(root, download)
    size = SIZE if image_size is None else image_size
    if SIZE % size:
        raise ValueError(f"the real dSprites are 64×64: image_size must divide 64, got {size}")
    bits = read_npz(path, GRID)
    return _dataset("real", size, lambda indices: shrink(unpack(bits[indices.cpu()].to(indices.device)), size))


def _dataset(source: str, size: int, pictures: Callable[[Tensor], Tensor]) -> Dataset:
    return Dataset(
        name="dsprites",
        source=source,
        description={"real": "dSprites", "rendered": "rendered sprites, a twin of dSprites"}[source],
        image_shape=(1, size, size),
        count=len(GRID),
        fetch=lambda indices: pictures(indices)[:, None],
        grid=GRID,
    )


# ---- what both sources share ---------------------------------------------------------------------------------------


def unpack(bits: Tensor) -> Tensor:
    """Packed bits uint8 `[n, 512]` → pictures uint8 `[n, 64, 64]`, values 0 and 1; the inverse of `np.packbits`."""
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    return (bits[..., None] >> places & 1).view(-1, SIZE, SIZE)


def shrink(pictures: Tensor, size: int) -> Tensor:
    """Pictures uint8 `[n, 64, 64]` of 0 and 1 → uint8 `[n, size, size]` in 0…255: area means, halves rounded up.

    `size` divides 64. Whole-number arithmetic, so that the result is the same on every device.
    """
    box = SIZE // size
    if box == 1:
        return pictures * 255
    white = pictures.view(-1, size, box, size, box).sum((2, 4), dtype=torch.int32)
    return ((white * 255 + box * box // 2) // (box * box)).to(torch.uint8)


# ---- the twin ------------------------------------------------------------------------------------------------------


def draw(factors: Tensor) -> Tensor:
    """Factors int64 `[n, 5]` → pictures uint8 `[n, 64, 64]`, values 0 and 1, on the factors' device."""
    return unpack(_draw_bits(factors))


def draw_at(factors: Tensor, size: int) -> Tensor:
    """Factors int64 `[n, 5]` → pictures uint8 `[n, size, size]`, values 0 and 1: `draw` at any size."""
    centres = (torch.arange(size, dtype=torch.float64, device=factors.device) + 0.5) * (SIZE / size)
    x, y = (FIRST_CENTRE + CENTRE_RANGE * factors[:, k, None] / 31.0 for k in (3, 4))
    return _covered(factors, centres - x, centres - y).to(torch.uint8)


def render_bits(progress: bool = False) -> Tensor:
    """The whole set in index order as packed bits, uint8 `[737280, 512]` (378 MB)."""
    bits = torch.empty(len(GRID), SIZE * SIZE // 8, dtype=torch.uint8)
    for start in tqdm(range(0, len(GRID), _AT_ONCE), "dSprites", disable=not progress):
        indices = torch.arange(start, min(start + _AT_ONCE, len(GRID)))
        bits[start : start + _AT_ONCE] = _draw_bits(GRID.factors(indices))
    return bits


def _draw_bits(factors: Tensor) -> Tensor:
    """Factors int64 `[n, 5]` → packed bits uint8 `[n, 512]`. One image row is one 64-bit number on the way."""
    device = factors.device
    columns = torch.arange(_WINDOW, device=device)
    # A centre at 16 + 32·k/31 lies k/31 pixels (0 at both ends) past the middle of the window that starts at `start`.
    positions = factors[:, 3:]
    start, past = positions + positions // 31, (positions % 31).double() / 31
    x, y = (columns + 0.5 - _WINDOW / 2 - past[:, k, None] for k in (0, 1))
    window = _covered(factors, x, y)
    rows = (window * (1 << columns.flip(0))).sum(2) << (_WINDOW - start[:, :1])
    image = torch.zeros(len(factors), SIZE, dtype=torch.int64, device=device)
    image.scatter_(1, start[:, 1:] + columns, rows)
    bytes_from_left = torch.arange(56, -8, -8, device=device)
    return (image[..., None] >> bytes_from_left & 255).to(torch.uint8).view(-1, SIZE * SIZE // 8)


def _covered(factors: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Which pixel centres the sprite covers: offsets from its centre `x [n, w]`, `y [n, h]` → bool `[n, h, w]`.

    Float64, so that no rounding, which may depend on device and batch, comes near the size of a decision.
    """
    covered = torch.empty(len(factors), y.shape[1], x.shape[1], dtype=torch.bool, device=factors.device)
    for shape, inside in enumerate((_in_square, _in_ellipse, _in_heart)):
        chosen = factors[:, 0] == shape
        covered[chosen] = inside(*_own_axes(factors[chosen], x[chosen], y[chosen]))
    return covered


def _own_axes(factors: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets in the image → offsets along the sprite's own axes at scale 1, each `[n, h, w]`."""
    scale = (5 + factors[:, 1]).double() / 10
    turn = factors[:, 2]
    cos, sin = ((table.to(turn.device)[turn] / scale)[:, None, None] for table in (_COS, _SIN))
    x, y = x[:, None, :], y[:, :, None]
    return cos * x - sin * y, sin * x + cos * y  # y points down: orientation turns anticlockwise on the screen


def _in_square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) < SQUARE_HALF_SIDE


def _in_ellipse(u: Tensor, v: Tensor) -> Tensor:
    return (u / ELLIPSE_HALF_AXES[0]).square() + (v / ELLIPSE_HALF_AXES[1]).square() < 1


def _in_heart(u: Tensor, v: Tensor) -> Tensor:
    """Inside x = sin³t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t (y up), stretched and lifted.

    With c = cos t, y = (4 − 2c² − 8c⁴) + c(19 − 8c²), and ±c belong to the same x: an upper and a lower end.
    """
    cos2 = (1 - (u / HEART_HALF_WIDTH).square().pow(1 / 3)).clamp(min=0)
    middle, half_height = 4 - 2 * cos2 - 8 * cos2.square(), square_root(cos2) * (19 - 8 * cos2)
    return ((-v - HEART_LIFT) / HEART_UNIT - middle).abs() < half_height


# ---- the published file --------------------------------------------------------------------------------------------


def _find(root: Path | None, download: bool) -> Path:
    hint = f"{ADDRESS} ($DISENTLIB_DATA or root=… sets the folder)"
    try:
        return files.locate(root, [FILE, f"dsprites/{FILE}"], f"dSprites ({FILE})", hint)
    except MissingData:
        if root is None or not download:
            raise
    target = root / "dsprites" / FILE
    files.download(URL, target, None)
    return target


def read_npz(path: Path, grid: FactorGrid = GRID) -> Tensor:
    """A file in the published format over `grid` → packed bits uint8 `[len(grid), 512]`, in the grid's order.

    Reads block by block, never the whole 3 GB, and nothing pickled. Raises DataError for any other content.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_order(archive, grid)
            return _read_bits(archive, len(grid))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{path} is not the published dSprites file: {error}. Get it from {ADDRESS}") from error


def _check_order(archive: zipfile.ZipFile, grid: FactorGrid) -> None:
    """ValueError unless the classes are colour (always 0) and then the grid's factors, row by row."""
    start = 0
    for block in _rows(archive, "latents_classes", (len(grid), 1 + len(grid.sizes)), np.int64):
        factors = grid.factors(torch.arange(start, start + len(block))).numpy()
        if block[:, 0].any() or (block[:, 1:] != factors).any():
            raise ValueError(f"latents_classes: expected colour 0 and {grid.sizes} in order, found another order")
        start += len(block)


def _read_bits(archive: zipfile.ZipFile, count: int) -> Tensor:
    bits, start = torch.empty(count, SIZE * SIZE // 8, dtype=torch.uint8), 0
    rows = _rows(archive, "imgs", (count, SIZE, SIZE), np.uint8)
    for block in tqdm(rows, "dSprites", total=-(-count // _AT_ONCE), disable=None):  # None: only at a terminal
        if block.max() > 1:
            raise ValueError(f"imgs: expected the values 0 and 1, found {block.max()}")
        bits[start : start + len(block)] = torch.from_numpy(np.packbits(block.reshape(len(block), -1), axis=1))
        start += len(block)
    return bits


def _rows(archive: zipfile.ZipFile, key: str, shape: tuple[int, ...], dtype: type) -> Iterator[np.ndarray]:
    """The array `key`, `_AT_ONCE` rows at a time; ValueError unless it is there, whole, and of that shape and type."""
    if f"{key}.npy" not in archive.namelist():
        raise ValueError(f"expected an array {key}, found only {', '.join(archive.namelist()) or 'nothing'}")
    with archive.open(f"{key}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found_shape, by_columns, found_dtype = read(stream)
        if (found_shape, by_columns, found_dtype) != (shape, False, np.dtype(dtype)):
            raise ValueError(f"{key}: expected {np.dtype(dtype)} {shape}, found {found_dtype} {found_shape}")
        for start in range(0, shape[0], _AT_ONCE):
            rows = (min(_AT_ONCE, shape[0] - start), *shape[1:])
            data = stream.read(math.prod(rows) * found_dtype.itemsize)
            if len(data) < math.prod(rows) * found_dtype.itemsize:
                raise ValueError(f"{key}: expected {shape[0]} rows, the file ends near row {start}")
            yield np.frombuffer(data, found_dtype).reshape(rows)
        if stream.read(1):  # reading past the end also makes zipfile compare the checksum
            raise ValueError(f"{key}: expected {shape[0]} rows, found more bytes than that")
