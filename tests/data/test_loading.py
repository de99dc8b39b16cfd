"""load: every kind of file and folder, what is remembered for the next file, and names that are not there."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from mathdl.data import Encoding, as_arrays, diabetes, load
from mathdl.errors import DataError, FileFormatError, UnknownNameError, UsageError
from support import normal

X, LABELS = normal(6, 3), np.array([0, 1, 2, 0, 1, 2])


def write_mnist(folder, packed):
    """Four images of 3 × 2 with labels, and two for the test, as MNIST is published."""
    for part, labels in (("train", [0, 1, 1, 0]), ("t10k", [1, 0])):
        n = len(labels)
        images = struct.pack(f">4B3I{6 * n}B", 0, 0, 8, 3, n, 3, 2, *range(6 * n))
        for name, content in (
            (f"{part}-images-idx3-ubyte", images),
            (f"{part}-labels-idx1-ubyte", struct.pack(f">4BI{n}B", 0, 0, 8, 1, n, *labels)),
        ):
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def csv(tmp_path):
    def csv(text, name="iris.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return csv


def test_csv(csv):
    path = csv("width,colour,species\n1,red,b\n2,blue,a\n3,red,b\n")
    table = load(path)
    assert table.X.tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1]]
    assert table.Y.tolist() == [1, 0, 1]
    assert (table.features, table.target) == (("width", "colour=blue", "colour=red"), "species")
    assert (table.kind, table.classes, table.outputs, len(table)) == ("classification", ("a", "b"), 2, 3)
    assert table.source == "iris.csv: 3 rows, 3 features, target 'species' (the last column)"
    assert load(str(path), target="width").Y.tolist() == [1, 2, 3]
    assert load(path, target=0, kind="classification").classes == ("1", "2", "3")
    assert load(path, target=False).Y is None
    assert load(path, target=False).X.shape == (3, 5)


def test_csv_by_the_encoding_of_another(csv):
    learnt = load(csv("width,colour,species\n1,red,b\n2,blue,a\n3,red,b\n")).encoding
    table = load(csv("colour,width\nblue,7\n", "new.csv"), encoding=learnt)
    assert (table.X.tolist(), table.Y, table.classes) == ([[7, 1, 0]], None, ("a", "b"))
    renamed = csv("colour,width,kind\nblue,7,b\n", "new.csv")
    assert load(renamed, encoding=learnt).Y is None
    assert load(renamed, target="kind", encoding=learnt).Y.tolist() == [1]
    with pytest.raises(DataError, match=r"new.csv: row 0 \(line 2\), column 'kind'.*got 'c'"):
        load(csv("colour,width,kind\nblue,7,c\n", "new.csv"), target="kind", encoding=learnt)


def test_csv_by_the_encoding_of_arrays(csv, tmp_path):
    np.savez(tmp_path / "d.npz", X=X, y=np.array(["b", "a"] * 3))
    learnt = load(tmp_path / "d.npz").encoding
    table = load(csv("u,v,label\n1,2,b\n3,4,b\n"), encoding=learnt)
    assert (table.X.tolist(), table.Y.tolist()) == ([[1, 2], [3, 4]], [1, 1])
    assert load(csv("u,v\n1,2\n"), encoding=learnt).X.shape == (1, 2)


def test_embedded_encoding_reads_csv(csv):
    header = ",".join((*diabetes().features, "progression"))
    table = load(csv(f"{header}\n{','.join('12345678901'[:11])}\n"), encoding=load("diabetes").encoding)
    assert (table.X.shape, table.Y.tolist(), table.kind) == ((1, 10), [1.0], "regression")


def test_npz(tmp_path):
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=LABELS, x_test=images[:2], y_test=np.array([1, 3]))
    table = load(tmp_path / "d.npz")
    assert (table.X.shape, table.X.dtype, table.kind, table.classes) == (
        (6, 2, 2, 1),
        np.dtype("uint8"),
        "classification",
        None,
    )
    assert (table.test.X.shape, table.test.Y.tolist(), table.test.test) == ((2, 2, 2, 1), [1, 3], None)
    assert load(tmp_path / "d.npz", target=False).Y is None
    assert table.take([0]).test is None
    with pytest.raises(UsageError, match="target must be the name of an array, got 3"):
        load(tmp_path / "d.npz", target=3)


def test_npz_with_text_labels(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=np.array(["dog", "cat"] * 3))
    np.savez(tmp_path / "b.npz", X=X[:2], y=np.array(["dog", "dog"]))
    table = load(tmp_path / "a.npz")
    assert (table.classes, table.Y.tolist(), table.target) == (("cat", "dog"), [1, 0] * 3, "y")
    assert load(tmp_path / "b.npz", encoding=table.encoding).Y.tolist() == [1, 1]
    with pytest.raises(DataError, match=r"expected numbers as targets, found text, Y\[0\] = .*dog"):
        load(tmp_path / "b.npz", kind="regression")


def test_classes_are_those_of_both_parts(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X, y_train=[3, 1] * 3, x_test=X[:2], y_test=[1, 5])
    table = load(tmp_path / "d.npz")
    assert (table.classes, table.Y.tolist(), table.test.Y.tolist()) == (("1", "3", "5"), [1, 0] * 3, [0, 2])


@pytest.mark.parametrize(
    ("Y", "kind", "outputs"),
    [(normal(6), "regression", 1), (normal(6, 4), "regression", 4), (np.eye(6)[:, :3], None, 3), (np.eye(6), None, 6)],
)
def test_targets_of_every_shape(tmp_path, Y, kind, outputs):
    np.savez(tmp_path / "d.npz", X=X, Y=Y)
    table = load(tmp_path / "d.npz")
    np.testing.assert_array_equal(table.Y, Y)
    assert table.outputs == outputs
    assert kind is None or table.kind == kind


def test_column_of_labels(tmp_path):
    np.savez(tmp_path / "d.npz", X=X, Y=LABELS[:, np.newaxis])
    assert load(tmp_path / "d.npz").Y.tolist() == LABELS.tolist()


def test_npy(tmp_path):
    np.save(tmp_path / "d.npy", np.column_stack([X, LABELS]))
    table = load(tmp_path / "d.npy")
    assert (table.X.shape, table.Y, table.kind) == ((6, 4), None, None)
    with pytest.raises(DataError, match="has no targets"):
        _ = table.outputs
    for target in (3, -1, "3"):
        table = load(tmp_path / "d.npy", target=target)
        np.testing.assert_array_equal(table.X, X)
        assert isinstance(table.X, np.memmap)
        assert isinstance(as_arrays(table.X)[0], np.memmap)
        assert (table.Y.tolist(), table.target) == (LABELS.tolist(), "column 3")
    np.testing.assert_array_equal(load(tmp_path / "d.npy", target=1).X[:, 1], X[:, 2])
    for target in (4, -5):
        with pytest.raises(UsageError, match=rf"target = column {target} of an array of shape \(6, 4\)"):
            load(tmp_path / "d.npy", target=target)
    with pytest.raises(UsageError, match="must be the number of a column, got 'age'"):
        load(tmp_path / "d.npy", target="age")


def test_folder_of_npy(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "Y.npy", normal(6))
    table = load(tmp_path)
    assert isinstance(table.X, np.memmap)
    assert isinstance(table.Y, np.memmap)
    np.save(tmp_path / "Y.npy", normal(5))
    with pytest.raises(DataError, match=r"as many rows · X \(6, 3\) · Y \(5,\)"):
        load(tmp_path)
    (tmp_path / "Y.npy").unlink()
    assert load(tmp_path).Y is None


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_folder(tmp_path, packed):
    write_mnist(tmp_path, packed)
    table = load(tmp_path)
    assert (table.X.shape, table.X.dtype, table.Y.tolist()) == ((4, 3, 2, 1), np.dtype("uint8"), [0, 1, 1, 0])
    assert (table.test.X.shape, table.test.Y.tolist()) == ((2, 3, 2, 1), [1, 0])
    assert isinstance(table.X, np.memmap) is not packed
    assert (table.kind, table.outputs) == ("classification", 2)
    suffix = ".gz" if packed else ""
    one = load(tmp_path / f"t10k-images-idx3-ubyte{suffix}")
    assert (one.X.shape, one.Y.tolist(), one.test) == ((2, 3, 2, 1), [1, 0], None)
    assert load(tmp_path, target=False).Y is None
    with pytest.raises(FileFormatError, match="holds labels; give the images file"):
        load(tmp_path / f"t10k-labels-idx1-ubyte{suffix}")
    (tmp_path / f"t10k-labels-idx1-ubyte{suffix}").unlink()
    assert load(tmp_path / f"t10k-images-idx3-ubyte{suffix}").Y is None


def test_images_and_labels_must_be_as_many(tmp_path):
    write_mnist(tmp_path, packed=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1, 5])))
    with pytest.raises(DataError, match=r"\(test\): X and Y must have as many rows"):
        load(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(FileFormatError, match=r"expected X.npy and Y.npy, or .*; found nothing"):
        load(tmp_path)
    (tmp_path / "readme.txt").touch()
    with pytest.raises(FileFormatError, match=r"found readme.txt"):
        load(tmp_path)
    with pytest.raises(FileFormatError, match=r"readme.txt: this kind of file is not supported. Supported are .csv"):
        load(tmp_path / "readme.txt")


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(UnknownNameError, match=r"nor embedded\) 'digit'\. Did you mean 'digits'"):
        load("digit")
    with pytest.raises(UnknownNameError, match=r"nor embedded\) '.*none.csv'\. Known: diabetes, digits"):
        load(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="target of an embedded data set is fixed; got target='digit'"):
        load("digits", target="digit")
    with pytest.raises(UsageError, match="kind must be one of"):
        load("digits", kind="labels")


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "file.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileFormatError, match="cannot be read, Not a directory"):
        load(tmp_path / "file.csv" / "inside.csv")


def test_an_empty_encoding_is_none(csv):
    assert load(csv("a,b\n1,2.5\n"), encoding=Encoding()).Y.tolist() == [2.5]


def test_take():
    table = load("diabetes").take([3, 1])
    np.testing.assert_array_equal(table.X, diabetes().X[[3, 1]])
    np.testing.assert_array_equal(table.Y, diabetes().Y[[3, 1]])
    assert table.features == diabetes().features
