"""NumPy's files: .npy, memory-mapped, and .npz. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mathdl.arrays import Shape
from mathdl.errors import DataError, FileFormatError, unknown_name

X_KEYS = ("X", "x", "data", "features", "X_train", "x_train")
Y_KEYS = ("Y", "y", "target", "labels", "Y_train", "y_train")
X_TEST_KEYS = ("X_test", "x_test")
Y_TEST_KEYS = ("Y_test", "y_test")


class Archive(NamedTuple):
    """What an .npz file holds, by the names that are understood; None is not there. `target` is the key of Y."""

    X: NDArray[Any]
    Y: NDArray[Any] | None
    X_test: NDArray[Any] | None
    Y_test: NDArray[Any] | None
    target: str | None


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an .npy file, memory-mapped. Raises `FileFormatError` with expected and actual size."""
    with path.open("rb") as stream:
        _check(stream, path.stat().st_size, path.name)
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_npz(path: Path, target: str | None = None) -> Archive:
    """The arrays of an .npz file: X, Y and, as Keras publishes mnist.npz, a test part. `target` is another key for Y.

    Raises `FileFormatError` if the file is damaged or holds no X.
    """
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
        raise FileFormatError(
            f"{path.name}: expected a zip archive, which ends with its table of contents; found {size} bytes that do "
            "not (the file was cut short, or is no .npz)"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            if target is not None and target not in keys:
                raise unknown_name(f"array of {path.name}", target, keys)

            def member(names: Sequence[str]) -> NDArray[Any] | None:
                found = next((name for name in names if name in keys), None)
                return None if found is None else _read_member(archive, f"{found}.npy", path.name)

            X = member(X_KEYS)
            if X is None:
                raise FileFormatError(
                    f"{path.name}: expected an array {', '.join(X_KEYS)}; found {', '.join(keys) or 'none'}"
                )
            key = target or next((name for name in Y_KEYS if name in keys), None)
            return Archive(X, member([key] if key else []), member(X_TEST_KEYS), member(Y_TEST_KEYS), key)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FileFormatError(f"{path.name}: damaged, {path.stat().st_size} bytes: {error}") from error


def _read_member(archive: zipfile.ZipFile, name: str, source: str) -> NDArray[Any]:
    if name not in archive.namelist():
        raise FileFormatError(f"{source}: {name.removesuffix('.npy')} is not an .npy array")
    with archive.open(name) as stream:
        _check(stream, archive.getinfo(name).file_size, f"{source}: {name}")
    with archive.open(name) as stream:
        array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    return array


def _check(stream: IO[bytes], actual: int, source: str) -> None:
    """Read the header, and compare the size that it promises with the size that is there."""
    shape, dtype = _header(stream, source)
    if dtype.hasobject:
        raise FileFormatError(
            f"{source}: holds Python objects, which would have to be unpickled. Save an array of numbers"
        )
    if dtype.kind not in "biufUS":
        raise FileFormatError(f"{source}: expected an array of numbers (or text labels), found dtype {dtype}")
    if 0 in shape:
        raise DataError(f"{source}: is empty, its shape is {shape}")
    start = stream.tell()
    expected = start + prod(shape) * dtype.itemsize
    if actual != expected:
        raise FileFormatError(
            f"{source}: expected {expected} bytes ({start} of header, shape {shape} of {dtype}), found {actual}"
        )


def _header(stream: IO[bytes], source: str) -> tuple[Shape, np.dtype[Any]]:
    try:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the format is for records, which cannot be trained on")
        shape, _, dtype = npy.read_array_header_1_0(stream) if version == (1, 0) else npy.read_array_header_2_0(stream)
    except ValueError as error:
        raise FileFormatError(f"{source}: not an .npy file, {error}") from error
    return shape, dtype
