"""Products, sums, gathers and windows as groups of ops: each has NumPy's bits, however it is cut."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiling import check, cut_finely, dtypes, everything_compiled, kinds, pool, sizes, spiced  # noqa: F401
from geometries import geometries, pools
from mathdl.layers.convolution import convolve, convolve_dA_by_taps, convolve_dW
from mathdl.layers.max_pool import max_line_backward, max_line_forward
from mathdl.layers.pooling import lines
from mathdl.windows import Gather, gather_table
from mathdl_backends.numpy import compiled, sums
from mathdl_backends.numpy.memory import Memory
from mathdl_backends.numpy.namespace import namespace as xp
from mathdl_backends.numpy.recording import record
from support import normal

pytestmark = pytest.mark.usefixtures("everything_compiled")


@given(
    data=st.data(), n=st.integers(1, 20), inside=st.sampled_from([(), (3,), (700,), (4, 5, 2)]),
    dtype=st.sampled_from(["float32", "float64", "int64", "uint32"]), size=sizes,
)  # fmt: skip
def test_rows_that_are_taken(data, n, inside, dtype, size):
    A = np.arange(n * max(1, int(np.prod(inside)))).reshape(n, *inside).astype(dtype)
    indices = np.array(data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=40)), dtype=np.int64)
    out = np.zeros((len(indices), *inside), dtype)

    def function(A, indices, out):
        out[...] = xp.take(A, indices, axis=0)

    with cut_finely(size):
        assert "TAKE_ROWS" in kinds(check(function, A, indices, out))


@pytest.mark.parametrize("outside", [5, -6, 1 << 40, -(1 << 63)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_that_is_not_there(threads, outside):
    A, indices, out = normal(5, 100), np.zeros(300, np.int64), np.zeros((300, 100))

    def function(A, indices, out):
        out[...] = xp.take(A, indices, axis=0)

    recorder, _ = record(lambda view: partial(function, *map(view, (A, indices, out))), Memory(1 << 20))
    ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, pool(threads))
    indices[150] = outside
    with pytest.raises(IndexError, match="a row was taken that is not there"):
        program()
    indices[150] = -5
    program()  # nothing is left of the error
    np.testing.assert_array_equal(out, A[indices])


@given(
    rows=st.integers(1, 70), inner=st.integers(0, 40), columns=st.integers(0, 300), dtype=dtypes,
    turned=st.tuples(st.booleans(), st.booleans()), least=st.sampled_from([100, 10**9]),
)  # fmt: skip
def test_products_and_what_follows(rows, inner, columns, dtype, turned, least):
    """The pieces of `cut`, each as NumPy computes it by itself; then a row and relu while it is in the cache."""
    A = normal(*((inner, rows) if turned[0] else (rows, inner)), dtype=dtype)
    B = normal(*((columns, inner) if turned[1] else (inner, columns)), dtype=dtype)
    row, Z, C = spiced((columns,), dtype), np.ones((rows, columns), dtype), np.ones((rows, columns), dtype)

    def function(A, B, row, Z, C):
        P = xp.matmul(A.T if turned[0] else A, B.T if turned[1] else B)
        P += row
        C[...] = xp.maximum(P, 0)
        Z[...] = P * C

    with cut_finely(1 << 14, least):
        check(function, A, B, row, Z, C, threads=(1, 3), calls=None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pieces_of_a_product_that_are_not_alike(dtype):
    """The largest is the last: what is local has room for it, and sums of pieces are those of pieces of their own."""
    A, W, b = normal(100, 40, dtype=dtype), normal(40, 30, dtype=dtype), normal(30, dtype=dtype)
    out, total = np.zeros((100, 30), dtype), np.zeros(30, dtype)

    def function(A, W, b, out, total):
        Z = xp.matmul(A, W) + b
        out[...] = (Z - b) * Z
        total[...] = sums.sum_rows(Z)

    for size in (480, 720, 1600):
        with cut_finely(size, 1000):
            check(function, A, W, b, out, total)


@given(rows=st.integers(1, 300), columns=st.integers(1, 300), dtype=dtypes, size=st.sampled_from([64, 1000, 1 << 14]))
def test_sums_of_rows(rows, columns, dtype, size):
    D, E, out = normal(rows, columns, dtype=dtype), normal(rows, columns, seed=1, dtype=dtype), np.zeros(columns, dtype)

    def function(D, E, out):
        out[...] = sums.sum_rows(D)
        out += sums.sum_rows(D * E)

    with cut_finely(size):
        check(function, D, E, out, calls=None)


@settings(max_examples=60)
@given(
    geometry=geometries(), adjoint=st.booleans(), B=st.integers(1, 3), k=st.sampled_from([1, 3, 5]),
    n=st.integers(1, 5), bias=st.booleans(), dtype=dtypes, size=st.sampled_from([16, 64, 1 << 14]),
)  # fmt: skip
def test_convolutions(geometry, adjoint, B, k, n, bias, dtype, size):
    """Few channels and many; strides, dilation, padding, and padding that cuts off."""
    window, input = geometry.window, geometry.input
    if adjoint:
        window = window._replace(stride=(1, 1))
        window, input = window.adjoint(), window.output(input)
    gather = Gather(window, input, gather_table(window, input))
    taps, places = int(np.prod(window.kernel)), B * int(np.prod(window.output(input)))
    A, W, b = normal(B, *input, k, dtype=dtype), normal(taps, k, n, dtype=dtype), normal(n, dtype=dtype)
    Z, dW, dA = np.zeros((places, n), dtype), np.zeros((taps, k, n), dtype), np.zeros((B, *input, k), dtype)

    def forward(A, W, b, Z):
        Z[...] = xp.maximum(convolve(A, W, b if bias else None, gather, 1), 0)

    def backward(A, Z, dW):
        convolve_dW(A, Z, gather, 1, dW)

    def backward_by_taps(Z, W, dA):
        dA[...] = convolve_dA_by_taps(xp.reshape(Z, (B, *window.output(input), n)), W, window, input, 1)

    A.flat[0] = np.nan
    with cut_finely(size):
        found = check(forward, A, W, b, Z, threads=(1, 3), calls=None)
        found += check(backward, A, normal(places, n, dtype=dtype), dW, threads=(1, 3), calls=None)
        if not adjoint:
            found += check(backward_by_taps, normal(places, n, dtype=dtype), W, dA, threads=(1, 3), calls=None)
    height = size // n  # NumPy takes another routine for a single row, or column
    if min(n, height, taps) > 1 and places % height != 1:
        assert {"CONVOLVE", "CONVOLVE_DW"} <= kinds(found)


@given(geometry=pools(), B=st.integers(1, 3), channels=st.sampled_from([1, 2, 9, 33]), dtype=dtypes, size=sizes)
def test_max_pooling(geometry, B, channels, dtype, size):
    """Ties and NaN; backward where windows lie side by side (elsewhere it is the reference's)."""
    A = np.random.default_rng(B).integers(-1, 2, (B, *geometry.input, channels)).astype(dtype)
    A.flat[0] = np.nan
    shape = (B, *geometry.window.output(geometry.input), channels)
    Z, dZ, dA = np.zeros(shape, dtype), spiced(shape, dtype), np.zeros(A.shape, dtype)

    def function(A, Z, dZ, dA):
        found, caches = A, []
        for line in lines(geometry.window):
            if line.padding != (0, 0):
                return
            found, cache = max_line_forward(found, line)
            caches.append(cache)
        Z[...] = found
        d = dZ * 1
        for cache in reversed(caches):
            d = max_line_backward(d, cache)
        dA[...] = d

    with cut_finely(size):
        check(function, A, Z, dZ, dA, threads=(1, 3), calls=None)


@pytest.mark.parametrize("taps", [2, 3])
def test_max_pooling_side_by_side(taps):
    A = np.random.default_rng(0).integers(-1, 2, (3, 4 * taps, 2 * taps, 17)).astype("float32")
    A[0, 0, 0, :3] = np.nan
    Z, dZ, dA = np.zeros((3, 4, 2, 17), "float32"), normal(3, 4, 2, 17, dtype="float32"), np.zeros_like(A)

    def function(A, Z, dZ, dA):
        found, caches = A, []
        for axis in (2, 1):
            found, cache = max_line_forward(found, lines(((taps, taps), (taps, taps), ((0, 0), (0, 0))))[axis == 1])
            caches.append(cache)
        Z[...] = found
        d = dZ
        for cache in reversed(caches):
            d = max_line_backward(d, cache)
        dA[...] = d

    for size in (64, 1 << 14):
        with cut_finely(size):
            assert {"MAX_LINE", "MAX_LINE_BACKWARD"} <= kinds(check(function, A, Z, dZ, dA))
