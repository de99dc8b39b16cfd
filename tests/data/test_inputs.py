"""The door: what is taken, what is refused and with which place, memory maps, arrays of every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mathdl.data import as_arrays, chunks, first_non_finite, inputs
from mathdl.errors import DataError, UsageError
from support import host, normal


class Frame:
    """What as_arrays uses of a data frame."""

    def __init__(self, **columns):
        self.data, self.columns = columns, list(columns)

    def __getitem__(self, name):
        return self.data[name]

    def __array__(self, dtype=None, copy=None):
        return np.column_stack([np.asarray(column) for column in self.data.values()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given_as", ["uint8", "bool", "int64", ">i4", "float32", "float64", ">f8", "longdouble"])
def test_numbers_are_cast(given_as, dtype):
    X, Y = as_arrays(np.array([[0, 1], [1, 0]], dtype=given_as), [0, 1], dtype=dtype)
    assert X.dtype == np.dtype(dtype)
    assert X.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert Y.dtype == np.int64


def test_no_copy_where_none_is_needed():
    A = normal(3, 2, dtype="float32")
    assert as_arrays(A)[0] is A
    assert as_arrays(np.asfortranarray(normal(3, 2)))[0].flags.c_contiguous
    kept, _ = as_arrays(np.arange(6, dtype=">i2").reshape(3, 2), dtype=None)
    assert kept.dtype == np.dtype("int16")
    assert kept.dtype.isnative
    assert kept.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_lists_and_frames():
    X, Y = as_arrays([[1, 2], [3, 4]], [0.5, 1.5])
    assert (X.tolist(), Y.tolist()) == ([[1, 2], [3, 4]], [0.5, 1.5])
    assert as_arrays(Frame(a=[1, 2], b=[3.5, 4.5]))[0].tolist() == [[1, 3.5], [2, 4.5]]


def test_float16_is_cast_up_with_a_warning():
    with pytest.warns(UserWarning, match="X is float16, and is cast up"):
        assert as_arrays(np.ones((2, 2), "float16"), dtype=None)[0].dtype == np.float32
    with pytest.warns(UserWarning, match="Y is float16"):
        assert as_arrays(np.ones((2, 2)), np.ones(2, "float16"))[1].dtype == np.float32


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([["a", "b"]]), r"X must hold numbers, found text \(dtype <U1\)"),
        (np.array([[1j]]), "found complex numbers"),
        (np.array([["2026-01-01"]], dtype="datetime64[D]"), "found dates"),
        (np.array([[1]], dtype="timedelta64[s]"), "found times"),
        (np.array([(1, 2.0)], dtype="i4,f8"), "found records"),
        ([[1, None], [2, 3]], r"found Python objects \(dtype object\): entry \[0, 1\] is None"),
        (np.array([[1.5, 2]], dtype=object), r"All of them are numbers: X\.astype"),
        (Frame(a=[1, 2], b=np.array([3, "x"], dtype=object)), "column 'b' is of Python objects, 3"),
        (Frame(a=["u", "v"]), "column 'a' is of text"),
        ([[1, 2], [3, 4], [5]], "row 0 has 2 entries and row 2 has 1"),
        ([[1, 2], 3], "row 0 has 2 entries and row 1 has None"),
        (np.zeros((0, 4)), r"X is empty: shape \(0, 4\)"),
        ([], r"X is empty: shape \(0,\)"),
        (np.zeros((3, 0)), "X is empty"),
        (3.0, "X must be an array of rows, got 3.0"),
        (None, "X must be an array of rows, got None"),
        ([1.0, 2.0], r"got shape \(2,\). One feature: X.reshape\(-1, 1\)"),
        (sparse.csr_matrix([[1.0]]), r"X is a sparse matrix; mathdl takes dense arrays: X.toarray\(\)"),
        (np.ma.masked_less([[1.0, 2.0]], 2), "masked"),
    ],
)
def test_what_cannot_be_trained_on(X, message):
    with pytest.raises(DataError, match=message):
        as_arrays(X)


def test_lengths_and_dtypes():
    with pytest.raises(DataError, match=r"as many rows · X \(3, 2\) · Y \(2,\)"):
        as_arrays(np.zeros((3, 2)), [0, 1])
    with pytest.raises(DataError, match="Y must hold numbers, found text"):
        as_arrays(np.zeros((2, 2)), ["cat", "dog"])
    with pytest.raises(UsageError, match="dtype must be one of float32, float64 or None, got 'int8'"):
        as_arrays(np.zeros((2, 2)), dtype="int8")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_named_by_their_place(bad):
    X, images, y = normal(4, 3), normal(4, 2, 2, 1), normal(4)
    X[2, 1] = images[3, 1, 0, 0] = y[1] = bad
    with pytest.raises(DataError, match=rf"X\[2, 1\] is {bad}: row 2, column 1$"):
        as_arrays(X)
    with pytest.raises(DataError, match=rf"X\[3, 1, 0, 0\] is {bad}: row 3, position \(1, 0, 0\)"):
        as_arrays(images, dtype=None)
    with pytest.raises(DataError, match=rf"Y\[1\] is {bad}: row 1$"):
        as_arrays(normal(4, 3), y)
    with pytest.raises(DataError, match=r"row 1, column 0 \('age'\)"):
        as_arrays(Frame(age=[1.0, bad], size=[1.0, 2.0]))


def test_numbers_too_large_for_the_dtype():
    X = np.array([[1.0, 1e300]])
    with pytest.raises(DataError, match=r"X\[0, 1\] is 1e\+300, too large for float32: row 0, column 1"):
        as_arrays(X)
    assert as_arrays(X, dtype="float64")[0] is X
    X = np.full((3, 2), 1e30, np.float32)  # whose squares are infinite
    assert as_arrays(X)[0] is X


def test_memory_maps_stay_in_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks.row_chunks, "__defaults__", (4,))
    A = normal(7, 2)
    np.save(tmp_path / "good.npy", A)
    X, _ = as_arrays(np.load(tmp_path / "good.npy", mmap_mode="r"))
    assert isinstance(X, np.memmap)
    assert X.dtype == np.float64
    A[5, 1] = np.nan
    np.save(tmp_path / "bad.npy", A)
    with pytest.raises(DataError, match=r"X\[5, 1\] is nan: row 5, column 1"):
        as_arrays(np.load(tmp_path / "bad.npy", mmap_mode="r"))
    A[5, 1] = 1e300
    np.save(tmp_path / "large.npy", A)
    with pytest.raises(DataError, match=r"X\[5, 1\] is 1e\+300, too large"):
        as_arrays(np.load(tmp_path / "large.npy", mmap_mode="r"))


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), data=st.data())
def test_first_non_finite(backend, shape, data):
    A = normal(*shape)
    assert first_non_finite(backend.put(A)) is None
    places = [data.draw(st.tuples(*(st.integers(0, size - 1) for size in shape))) for _ in range(2)]
    for place in places:
        A[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks.row_chunks, "__defaults__", (data.draw(st.integers(1, 50)),))
        assert first_non_finite(backend.put(A)) == min(places)
    assert first_non_finite(backend.put(np.ones(shape, dtype=np.int64))) is None


def test_arrays_of_every_backend_stay_on_their_device(backend):
    A = normal(3, 2)
    X, Y = as_arrays(backend.put(A), backend.put(np.array([0, 1, 2])), dtype="float64")
    assert type(X) is type(Y) is type(backend.put(A))
    assert X.device == backend.put(A).device
    np.testing.assert_array_equal(host(X), A)
    assert host(as_arrays(backend.put(np.ones((2, 2), "uint8")))[0]).dtype == np.float32
    A[1, 0] = np.inf
    with pytest.raises(DataError, match=r"X\[1, 0\] is inf: row 1, column 0"):
        as_arrays(backend.put(A), dtype=None)
    with pytest.raises(DataError, match="X must hold numbers, found complex"):
        as_arrays(backend.put(A + 1j))


def test_every_unfit_dtype_has_words():
    assert set(inputs.UNFIT).isdisjoint("biuf")
