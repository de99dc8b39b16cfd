"""NumPy's files: memory maps, the names of arrays, and what is cut short, damaged or pickled."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from mathdl.data.numpy_files import read_npy, read_npz
from mathdl.errors import DataError, FileFormatError, UnknownNameError
from support import normal

X = normal(6, 3)


@pytest.mark.parametrize("array", [X, np.asfortranarray(X), X.astype(">f4"), np.array(["a"]), np.ones(2, bool)])
def test_npy_is_memory_mapped(tmp_path, array):
    np.save(tmp_path / "X.npy", array)
    found = read_npy(tmp_path / "X.npy")
    assert isinstance(found, np.memmap)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_damaged_npy(tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    content = path.read_bytes()
    for damaged, message in [
        (content[:-1], r"X.npy: expected 272 bytes \(128 of header, shape \(6, 3\) of float64\), found 271"),
        (content + b"\0", "expected 272 bytes .*found 273"),
        (content[:50], "not an .npy file"),
        (b"", "not an .npy file"),
        (b"hello, world", "not an .npy file, the magic string is not correct"),
    ]:
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=message):
            read_npy(path)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.array([1, "a", None], dtype=object), FileFormatError, "Python objects, which would have to be unpickled"),
        (np.ones(3, complex), FileFormatError, "found dtype complex128"),
        (np.zeros(3, "M8[s]"), FileFormatError, "found dtype datetime64"),
        (np.zeros(3, "f4,i4"), FileFormatError, "found dtype"),
        (np.zeros((0, 3)), DataError, r"is empty, its shape is \(0, 3\)"),
    ],
)
def test_what_cannot_be_trained_on(tmp_path, array, error, message):
    np.save(tmp_path / "X.npy", array)
    with pytest.raises(error, match=message):
        read_npy(tmp_path / "X.npy")
    np.savez(tmp_path / "X.npz", X=array)
    with pytest.raises(error, match=message):
        read_npz(tmp_path / "X.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("x", ["X", "x", "data", "features", "x_train", "X_train"])
@pytest.mark.parametrize("y", ["Y", "y", "target", "labels", "y_train"])
def test_npz_by_the_usual_names(tmp_path, save, x, y):
    save(tmp_path / "d.npz", **{x: X, y: np.arange(6)})
    X_found, Y_found, *test, key = read_npz(tmp_path / "d.npz")
    np.testing.assert_array_equal(X_found, X)
    assert Y_found.tolist() == [0, 1, 2, 3, 4, 5]
    assert (test, key) == ([None, None], y)


def test_npz_as_keras_publishes_mnist(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=np.arange(6), x_test=X[:2], y_test=np.arange(2))
    archive = read_npz(tmp_path / "mnist.npz")
    assert archive.X_test.shape == (2, 3)
    assert archive.Y_test.tolist() == [0, 1]


def test_npz_target(tmp_path):
    np.savez(tmp_path / "d.npz", X=X, y=np.arange(6), age=np.ones(6))
    assert read_npz(tmp_path / "d.npz", "age").Y.tolist() == [1.0] * 6
    with pytest.raises(UnknownNameError, match=r"unknown array of d.npz 'aged'.*Did you mean 'age'"):
        read_npz(tmp_path / "d.npz", "aged")
    np.savez(tmp_path / "d.npz", X=X)
    assert read_npz(tmp_path / "d.npz").Y is None
    np.savez(tmp_path / "d.npz", a=X, b=X)
    with pytest.raises(FileFormatError, match=r"expected an array X, x, data, .*found a, b"):
        read_npz(tmp_path / "d.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz(tmp_path, save):
    path = tmp_path / "d.npz"
    save(path, X=normal(100, 3))
    content = path.read_bytes()
    for damaged in (content[:-1], content[:500], b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=rf"expected a zip archive.*found {len(damaged)} bytes"):
            read_npz(path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    with pytest.raises(FileFormatError, match=rf"d.npz: damaged, {len(content)} bytes: "):
        read_npz(path)


def test_npz_whose_array_is_short(tmp_path):
    np.save(tmp_path / "X.npy", X)
    for name, content, message in [
        ("X.npy", (tmp_path / "X.npy").read_bytes()[:-8], r"d.npz: X.npy: expected 272 bytes .*found 264"),
        ("X.npy", b"hello, world", "d.npz: X.npy: not an .npy file"),
        ("X", b"", "d.npz: X is not an .npy array"),
    ]:
        with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
            archive.writestr(name, content)
        with pytest.raises(FileFormatError, match=message):
            read_npz(tmp_path / "d.npz")
