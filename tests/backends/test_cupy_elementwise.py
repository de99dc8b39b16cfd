"""CUDA kernels of our own against their references, without a GPU: their bodies, compiled as C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import pools
from host_cupy import COMPILER, ndarray, on_the_host
from mathdl import random
from mathdl import tables as tables_module
from mathdl.layers import average_pool, max_pool
from mathdl.layers.pooling import Line
from mathdl.primitive import PRIMITIVES, reference_only
from mathdl_backends.cupy import elementwise, kernels
from mathdl_backends.cupy.lazy import Lazy
from support import normal

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


@pytest.fixture(scope="module", autouse=True)
def cupy():
    """CuPy on host memory, which compiles the bodies of kernels as C; new arrays are full of rubbish."""
    with on_the_host():
        yield


def put(A):
    return ndarray(A)


def got(tree):
    return tuple(map(got, tree)) if isinstance(tree, tuple) else tree.get()


def spiced(shape, dtype, seed):
    """Small whole numbers, so that there are ties, with signed zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    A = rng.integers(-2, 3, shape).astype(dtype)
    A[rng.random(shape) < 0.05] = -np.inf
    A[rng.random(shape) < 0.03] = np.nan
    return A


def same(a, b):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


dtypes = st.sampled_from(["float32", "float64"])


@given(geometry=pools(), B=st.integers(1, 3), k=st.integers(1, 3), dtype=dtypes, seed=st.integers(0, 99))
def test_pooling_has_the_bits_of_the_reference(geometry, B, k, dtype, seed):
    A = spiced((B, *geometry.input, k), dtype, seed)
    for axis in (1, 2):
        line = Line(axis, geometry.kernel[axis - 1], geometry.stride[axis - 1], (0, 0))
        if line.size > A.shape[axis]:
            continue
        Z, beats = got(elementwise.max_line(put(A), line))
        Z_expected, beats_expected = max_pool.max_line.reference(A, line)
        same(Z, Z_expected)
        assert len(beats) == len(beats_expected) == line.size - 1
        for a, b in zip(beats, beats_expected, strict=True):
            same(a, b)
        dZ = normal(*Z.shape, dtype=dtype, seed=seed)
        found = got(elementwise.max_line_backward(put(dZ), max_pool.MaxLineCache(put(beats), A.shape, line)))
        same(found, max_pool.max_line_backward.reference(dZ.copy(), max_pool.MaxLineCache(beats, A.shape, line)))
        same(got(elementwise.sum_line(put(A), line)), average_pool.sum_line.reference(A, line))
        same(
            got(elementwise.sum_line_backward(put(dZ), line, A.shape[axis])),
            average_pool.sum_line_backward.reference(dZ, line, A.shape[axis]),
        )


def test_sums_are_made_in_the_order_of_the_reference():
    """Three windows meet in each element, or (max) in those that are the largest of all three."""
    A, line = normal(4, 9, 16, dtype="float32"), Line(1, 3, 1, (0, 0))
    A[:, 2::3] += 9
    dZ = normal(4, 7, 16, dtype="float32", seed=1)
    _, beats = got(elementwise.max_line(put(A), line))
    found = got(elementwise.max_line_backward(put(dZ), max_pool.MaxLineCache(put(beats), A.shape, line)))
    same(found, max_pool.max_line_backward.reference(dZ.copy(), max_pool.MaxLineCache(beats, A.shape, line)))
    same(got(elementwise.sum_line(put(A), line)), average_pool.sum_line.reference(A, line))
    same(got(elementwise.sum_line_backward(put(dZ), line, 9)), average_pool.sum_line_backward.reference(dZ, line, 9))


def test_arrays_that_do_not_lie_row_after_row():
    A, line = spiced((2, 5, 4, 3), "float32", 1).transpose(0, 2, 1, 3), Line(1, 2, 1, (0, 0))
    assert not A.flags.c_contiguous
    for a, b in zip(got(elementwise.max_line(put(A), line)), max_pool.max_line.reference(A, line), strict=True):
        np.testing.assert_array_equal(a, b)


@given(first=st.integers(0, 2**31), instances=st.integers(1, 3), elements=st.integers(1, 9), seed=st.integers(0, 99))
def test_random_words(first, instances, elements, seed):
    key = np.random.default_rng(seed).integers(0, 2**32, 2, dtype=np.uint32)
    found = got(elementwise.words(put(key), first, instances, elements))
    same(found, random.bits.reference(key, first, instances, elements))


def test_rows_are_taken_from_where_the_cursor_stands():
    tables = normal(3, 4, dtype="float32"), np.arange(12).reshape(3, 2, 2), np.ones((5, 0), "uint32"), normal(5, 9)
    found = [np.zeros_like(T[0]) for T in tables]
    expected = [A.copy() for A in found]
    for at in (2, 0, 1):
        given = [(put(T), put(A)) for T, A in zip(tables, found, strict=True)]
        elementwise.take_rows(put(np.array([at])), *given)
        tables_module.take_rows.reference(np.array([at]), *zip(tables, expected, strict=True))
        for A, B in zip(found, expected, strict=True):
            same(A, B)
    for at in (4, -1):  # there is no such row in some, or in none, and nothing is read that is not the table's
        elementwise.take_rows(put(np.array([at])), *[(put(T), put(A)) for T, A in zip(tables, found, strict=True)])
        for A, B, T in zip(found, expected, tables, strict=True):
            same(A, T[at] if 0 <= at < len(T) else B)
        expected = [A.copy() for A in found]


def test_finite_numbers_are_counted_up_to_the_first_that_is_not():
    for dtype in ("float32", "float64"):
        good = np.array([1, 0])
        for J, expected in ((2, [1, 1]), (-0.0, [1, 2]), (np.nan, [0, 2]), (1, [0, 2]), (np.inf, [0, 2])):
            elementwise.count_finite(put(np.array([J], dtype)), put(good))
            assert good.tolist() == expected


def test_what_waits_is_computed_before_rows_are_taken():
    row, table, at = (Lazy(put(A), shared=True) for A in (np.ones(2), np.zeros((3, 2)), np.array([1])))
    before = row * 3.0
    elementwise.take_rows(at, (table, row))
    same(before.array.get(), np.full(2, 3.0))
    same(row.array.get(), np.zeros(2))


def test_a_row_is_left_where_the_cursor_stands():
    for at in (0, 2, 3, -1):
        found, expected = normal(3, 4, dtype="float32"), normal(3, 4, dtype="float32")
        row, cursor, other = normal(4, dtype="float32", seed=5), np.array([at]), np.array([at])
        elementwise.leave_row(put(cursor), put(found), put(row))
        with reference_only():
            tables_module.leave_row(other, expected, row)
        same(found, expected)
        same(cursor, other)


@pytest.mark.parametrize(
    ("name", "args", "reason"),
    [
        ("max_line", (np.zeros((1, 2), "int64"), None), "numbers of int64"),
        ("max_line_backward", (np.zeros((1, 2)), max_pool.MaxLineCache((), (1, 2), None)), "what the reference left"),
        ("sum_line_backward", (np.zeros((1, 2), "float16"), None, 2), "numbers of float16"),
        ("bits", (np.zeros(2, "uint32"), 2**32 - 1, 2, 3), "counted in 32 bits"),
        ("take_rows", (np.zeros(1, "int64"), (np.zeros((2, 3)), np.zeros(3, "float32"))), "float64 and float32"),
        ("take_rows", (np.zeros(1, "int32"), (np.zeros((2, 3)), np.zeros(3))), "a cursor of int32"),
        ("take_rows", (np.zeros(1, "int64"),), "no rows"),
        ("leave_row", (np.zeros(1, "int64"), np.zeros((2, 65)), np.zeros(65)), "64 numbers at most"),
        ("leave_row", (np.zeros(1, "int64"), np.zeros((2, 3)), np.zeros(3, "float32")), "float64 and float32"),
    ],
)
def test_what_is_declined(name, args, reason):
    assert reason in elementwise.KERNELS[name].supports(*args)


def test_kernels_are_those_of_primitives():
    assert set(elementwise.KERNELS) <= set(kernels()) <= set(PRIMITIVES)
    for name in elementwise.KERNELS:
        assert kernels()[name] is elementwise.KERNELS[name]
