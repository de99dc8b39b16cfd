"""IDX files, as MNIST is published: a magic number, the shape, then the numbers, all big-endian.

    byte 0, 1: 0 · byte 2: type · byte 3: number of axes d · 4 d bytes: the shape · the entries, row-major

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section on file formats. Images (n, p, q) get
a channel axis (n, p, q, 1) and keep their uint8. Files that are not gzipped are memory-mapped.
"""

from __future__ import annotations

import gzip
import re
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Shape
from mathdl.errors import DataError, FileFormatError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NAME = re.compile(r"idx\d-[a-z]+(\.gz)?$")
_BLOCK = 1 << 20


def is_idx(path: Path) -> bool:
    """Whether the name is that of an IDX file: ``…idx3-ubyte``, ``…idx1-ubyte.gz``."""
    return NAME.search(path.name) is not None


def labels_beside(images: Path) -> Path | None:
    """The labels file that belongs to an images file: ``train-labels-idx1-ubyte`` to ``train-images-idx3-ubyte``."""
    name = re.sub(r"idx\d", "idx1", images.name.replace("images", "labels").removesuffix(".gz"))
    if "images" not in images.name:
        return None
    return next((path for path in (images.with_name(name), images.with_name(name + ".gz")) if path.is_file()), None)


def images_in(folder: Path) -> list[Path]:
    """The images files of a folder; of a file and its gzipped twin the former."""
    found = sorted(path for path in folder.iterdir() if is_idx(path) and "images" in path.name)
    return [path for path in found if path.suffix != ".gz" or path.with_suffix("") not in found]


def read_idx(path: Path) -> NDArray[Any]:
    """The array of an IDX file; a `numpy.memmap` if it is not gzipped. Raises `FileFormatError` with both sizes."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as stream:
            return _read_gzip(stream, path.name)
    with path.open("rb") as stream:
        shape, dtype, start = _header(stream.read(4 + 4 * 255), path.name)
    _check_size(path.name, shape, dtype, start, path.stat().st_size)
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)


def with_channel(images: NDArray[Any]) -> NDArray[Any]:
    """(n, p, q) as (n, p, q, 1); other shapes as they are."""
    return images[..., np.newaxis] if images.ndim == 3 else images


def _header(first: bytes, source: str) -> tuple[Shape, np.dtype[Any], int]:
    if len(first) < 4 or first[:2] != b"\0\0" or first[2] not in TYPES or first[3] == 0:
        raise FileFormatError(
            f"{source}: expected an IDX file, which begins 00 00, type, number of axes; "
            f"found {first[:4].hex(' ') or 'nothing'}"
        )
    start = 4 + 4 * first[3]
    if len(first) < start:
        raise FileFormatError(f"{source}: expected a header of {start} bytes, found {len(first)}")
    shape = tuple(int(size) for size in np.frombuffer(first[4:start], dtype=">u4"))
    return shape, np.dtype(TYPES[first[2]]), start


def _check_size(source: str, shape: Shape, dtype: np.dtype[Any], start: int, actual: int, note: str = "") -> None:
    expected = start + prod(shape) * dtype.itemsize
    if actual != expected:
        product = " × ".join(map(str, shape))
        raise FileFormatError(
            f"{source}: expected {expected} bytes ({start} of header, {product} entries of {dtype.itemsize}), "
            f"found {actual}{note}"
        )
    if 0 in shape:
        raise DataError(f"{source}: is empty, its shape is {shape}")


def _read_gzip(stream: gzip.GzipFile, source: str) -> NDArray[Any]:
    data, trouble = bytearray(), ""
    try:
        while block := stream.read1(_BLOCK):  # read() would drop what comes before the break
            data += block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        trouble = f" and then a broken gzip stream: {error}"
    if not data:
        raise FileFormatError(f"{source}: expected a gzipped IDX file, found 0 bytes{trouble}")
    shape, dtype, start = _header(bytes(data[: 4 + 4 * 255]), source)
    _check_size(source, shape, dtype, start, len(data), trouble)
    if trouble:
        raise FileFormatError(f"{source}: found the {len(data)} bytes expected{trouble}")
    return np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)
