"""Programs of compiled code: every op has NumPy's bits, whatever is grouped and however many threads run it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geometries import geometries, pools
from mathdl.layers.convolution import convolve, convolve_dA_by_taps, convolve_dW
from mathdl.layers.max_pool import max_line_backward, max_line_forward
from mathdl.layers.pooling import lines
from mathdl.tables import put_row, take_row
from mathdl.windows import Gather, gather_table
from mathdl_backends.numpy import compiled, programs, sums
from mathdl_backends.numpy.memory import Memory
from mathdl_backends.numpy.namespace import namespace as xp
from mathdl_backends.numpy.programs import KINDS, Pool, Program
from mathdl_backends.numpy.recording import record
from programs import check, cut_finely, everything_compiled, pool, run, spiced  # noqa: F401
from support import normal

pytestmark = pytest.mark.usefixtures("everything_compiled")

shapes = st.one_of(st.tuples(st.integers(1, 70)), st.tuples(st.integers(1, 40), st.integers(1, 600)))
dtypes = st.sampled_from(["float32", "float64"])
piece = st.sampled_from([16, 100, 1 << 14])


def kinds(groups):
    return {kind for group in groups for kind in group}


# -- elementwise -----------------------------------------------------------------------------------------------------


@given(
    shape=shapes, dtype=dtypes, op=st.sampled_from([np.add, np.subtract, np.multiply, np.divide]),
    operands=st.tuples(*2 * [st.sampled_from("wrn")]), at=st.integers(0, 2), size=piece,
)  # fmt: skip
def test_binary_ops_of_arrays_rows_and_numbers(shape, dtype, op, operands, at, size):
    def operand(kind, seed):
        if kind == "r" and len(shape) == 2:
            return spiced(shape[1:], dtype, seed)
        return spiced((1,) if kind == "n" else shape, dtype, seed)

    A, B, C = operand(operands[0], 1), operand(operands[1], 2), spiced(shape, dtype, 3)
    out = (A, B, C)[at]
    with cut_finely(size):
        check(lambda A, B, C: op(A, B, out=(A, B, C)[at if out.shape == shape else 2]), A, B, C)


@given(shape=shapes, dtype=dtypes, in_place=st.booleans())
def test_square_root_and_relu(shape, dtype, in_place):
    A, C, D = (spiced(shape, dtype, seed) for seed in range(3))

    def relu_backward(A, C, D):
        np.multiply(C, xp.astype(A > 0, A.dtype), out=C if in_place else D)

    assert check(lambda A, D: np.sqrt(A, out=A if in_place else D), A, D) == [["SQRT"]]
    assert check(lambda A, D: np.maximum(A, 0, out=A if in_place else D), A, D) == [["RELU"]]
    assert check(relu_backward, A, C, D) == [["RELU_BACKWARD"]]


UNARY = ["abs", "exp", "expm1", "log", "log1p", "sign", "tanh", "square", "negative", "reciprocal", "isnan"]


@given(shape=shapes, dtype=dtypes, name=st.sampled_from(UNARY), seen=st.sampled_from(["plain", "strided", "turned"]))
def test_functions_of_numpy(shape, dtype, name, seen):
    """On runs of numbers, and on views whose numbers lie apart: NumPy's loops take these in other ways."""
    whole = spiced((*shape[:-1], 2 * shape[-1]), dtype)
    out = np.zeros(shape, bool if name == "isnan" else dtype)

    def function(whole, out):
        A = whole[..., ::2] if seen == "strided" else whole[..., : shape[-1]]
        if seen == "turned" and len(shape) == 2 and shape[0] == shape[1]:
            A = A.T
        getattr(np, name)(A, out=out)

    check(function, whole, out)
    check(lambda out: getattr(np, name)(out, out=out) if out.dtype != bool else np.logical_not(out, out=out), out)


BROADCAST = [(7, 40), (1, 40), (7, 1), (40,), (1,), ()]


@pytest.mark.parametrize("name", ["maximum", "minimum", "greater", "less_equal", "equal", "logical_and", "add"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_functions_of_two_broadcast(name, dtype):
    made = bool if name not in ("maximum", "minimum", "add") else dtype
    for one in BROADCAST:
        for other in BROADCAST:
            if np.broadcast_shapes(one, other) != (7, 40):
                continue
            A, B = (spiced(shape, "float64", seed) for seed, shape in enumerate((one, other)))
            if dtype == "int64":
                A, B = (np.nan_to_num(X, posinf=9, neginf=-9) for X in (A, B))
            operand = "bool" if name == "logical_and" else dtype
            A, B = (np.array(X, dtype=operand) for X in (A, B))
            check(partial(two, name), A, B, np.zeros((7, 40), made), threads=(1, 3))


def two(name, A, B, out):
    getattr(np, name)(A, B, out=out)


@given(n=st.integers(1, 3000), seed=st.integers(0, 1000))
def test_integers_of_random_numbers(n, seed):
    """As Philox mixes them: 64-bit products, their halves, and exclusive or."""
    rng = np.random.default_rng(seed)
    A = rng.integers(0, 1 << 63, n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    low, high, drawn = np.zeros(n, np.uint32), np.zeros(n, np.uint64), rng.integers(0, 1 << 32, n, dtype=np.uint32)

    def mix(A, low, high, drawn):
        P = xp.astype(drawn, xp.uint64) * np.uint64(0xD2511F53)
        high[...] = (P >> np.uint64(32)) ^ A
        low[...] = xp.astype((P & np.uint64(0xFFFFFFFF)) + A, xp.uint32)
        A += np.uint64(0x9E3779B97F4A7C15)

    check(mix, A, low, high, drawn, calls=None)


@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=3), data=st.data(), dtype=dtypes, size=piece)
def test_reductions(shape, data, dtype, size):
    ufunc = data.draw(st.sampled_from([np.add, np.maximum, np.minimum]))
    first = data.draw(st.integers(0, len(shape) - 1))
    axes = data.draw(st.sampled_from([None, tuple(range(first, len(shape))), tuple(range(first + 1)), first]))
    wide = [n * data.draw(st.sampled_from([1, 9, 40])) for n in shape[-2:]]
    A = spiced((*shape[:-2], *wide), dtype)
    out = np.zeros(ufunc.reduce(A, axis=axes).shape, dtype)
    with cut_finely(size):
        groups = check(lambda A, out: ufunc.reduce(A, axis=axes, out=out), A, out, threads=(1, 3))
    assert groups == [["REDUCE"]]


def test_a_reduction_whose_last_piece_is_one_column():
    """It adds one term after the other, as NumPy does along columns, and not in pairs."""
    A, out = normal(300, 33, dtype="float32"), np.zeros(33, "float32")
    with cut_finely(16):
        check(lambda A, out: np.add.reduce(A, axis=0, out=out), A, out)


@given(rows=st.integers(1, 40), columns=st.integers(1, 12), dtype=dtypes, ties=st.booleans())
def test_the_largest_of_each_row(rows, columns, dtype, ties):
    A = np.random.default_rng(rows).integers(-2, 3, (rows, columns)).astype(dtype) if ties else spiced((rows, columns), dtype)
    out = np.zeros(rows, np.int64)

    def function(A, out):
        out[...] = xp.argmax(A, axis=1)

    assert "ARGMAX" in kinds(check(function, A, out))


# -- moving numbers --------------------------------------------------------------------------------------------------

SEEN = {
    "turned": lambda A: A.transpose(2, 0, 1),
    "flipped": lambda A: A[::-1, :, ::-1],
    "every other": lambda A: A[:, ::2],
    "a part": lambda A: A[1:, 1:2, :3],
    "by many": lambda A: np.broadcast_to(A[:, None, :1], (4, 3, 5, 6)),
    "a row": lambda A: A[2, 1],
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint32", "bool", "complex128"])
@pytest.mark.parametrize("name", SEEN)
def test_copies_along_axes(name, dtype):
    A = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(dtype)
    out = np.zeros(SEEN[name](A).shape, dtype)

    def there(A, out):
        out[...] = SEEN[name](A)

    def and_back(A, out):
        SEEN[name](A)[...] = out

    check(there, A, out, threads=(1, 3))
    if name != "by many":
        out[...] = np.arange(out.size).reshape(out.shape) % 7
        check(and_back, A, out, threads=(1, 3))


@given(shape=shapes, dtype=dtypes)
def test_numbers_of_a_mask(shape, dtype):
    A, B, out = (spiced(shape, dtype, seed) for seed in range(3))

    def function(A, B, out):
        out[...] = xp.astype(A > B, A.dtype)

    assert kinds(check(function, A, B, out)) <= {"LOOP", "FROM_BOOL", "COPY"}


@given(
    data=st.data(), n=st.integers(1, 20), inside=st.sampled_from([(), (3,), (700,), (4, 5, 2)]),
    dtype=st.sampled_from(["float32", "float64", "int64", "uint32"]), size=piece,
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


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint32"])
def test_rows_of_tables(dtype):
    T, out, at = np.arange(35).reshape(5, 7).astype(dtype), np.zeros(7, dtype), np.array([3])

    def function(T, out, at):
        out[...] = take_row(T, at)
        out += 1
        put_row(T, at, out)
        at -= 1

    assert {"TAKE_ROWS", "PUT_ROW"} <= kinds(check(function, T, out, at))


# -- products and sums -------------------------------------------------------------------------------------------------


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
    A, W, b, out = normal(100, 40, dtype=dtype), normal(40, 30, dtype=dtype), normal(30, dtype=dtype), np.zeros((100, 30), dtype)
    total = np.zeros(30, dtype)

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


# -- windows -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    geometry=geometries(), adjoint=st.booleans(), B=st.integers(1, 3), k=st.sampled_from([1, 3, 5]), n=st.integers(1, 5),
    bias=st.booleans(), dtype=dtypes, size=st.sampled_from([16, 64, 1 << 14]),
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
    if n >= 2 and k > 1 and places % max(1, size // n) not in (1,) and size >= 2 * n and not window.is_point and taps > 1:
        assert {"CONVOLVE", "CONVOLVE_DW"} <= kinds(found)


@given(geometry=pools(), B=st.integers(1, 3), channels=st.sampled_from([1, 2, 9, 33]), dtype=dtypes, size=piece)
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


# -- what is grouped, and in which order -------------------------------------------------------------------------------


def test_ops_on_the_same_pieces_are_one_group():
    A, W, b, out = normal(64, 40), normal(40, 50), normal(50), np.zeros((64, 50))

    def function(A, W, b, out):
        out[...] = xp.maximum(xp.matmul(A, W) + b, 0) * 2

    assert check(function, A, W, b, out) == [["PRODUCT", "ADD", "RELU", "MULTIPLY", "COPY"]]
    for after in (lambda A, out: np.sqrt(xp.exp(A) + A, out=out), lambda A, out: np.sqrt(A.T * 1, out=out.T)):
        check(after, normal(40, 40), np.zeros((40, 40)))


HAZARDS = {
    "a row of what is made": lambda A, B, C, P, row, S, W, T: (np.add(A, B, out=C), np.multiply(B, C[0], out=P)),
    "the last row of it": lambda A, B, C, P, row, S, W, T: (np.add(A, B, out=C), np.multiply(B, C[63], out=P)),
    "views that overlap": lambda A, B, C, P, row, S, W, T: (np.add(T[:64], B, out=C), np.multiply(C, B, out=T[1:])),
    "a row that is changed": lambda A, B, C, P, row, S, W, T: (
        np.add(A, B, out=C), np.add(C[3], row, out=row), np.multiply(B, row, out=P)
    ),
    "an input that is overwritten": lambda A, B, C, P, row, S, W, T: (
        np.matmul(A, W, out=P), np.add(P, A, out=A), np.matmul(A, W, out=C), np.multiply(P, C, out=B)
    ),
    "sums in place": lambda A, B, C, P, row, S, W, T: (
        row.__setitem__(slice(None), sums.sum_rows(A)), np.add(A, row, out=A),
        row.__setitem__(slice(None), sums.sum_rows(A)), np.add(B, row, out=B),
    ),
    "round and round": lambda A, B, C, P, row, S, W, T: (
        np.multiply(A, B[5], out=C), np.add(A, C, out=B), np.subtract(C, B, out=A)
    ),
    "an input of a product that a later op writes": lambda A, B, C, P, row, S, W, T: (
        np.matmul(A, W, out=P), np.add(B, B, out=A)
    ),
    "products of what is transposed": lambda A, B, C, P, row, S, W, T: (
        np.matmul(A.T, B, out=S), np.add(S, W, out=W), np.matmul(A, W, out=P), np.add(W, S, out=S)
    ),
    "a factor that is squared": lambda A, B, C, P, row, S, W, T: (
        np.add(A, B, out=C), np.matmul(C, W, out=P), np.multiply(W, W, out=W), np.add(P, C, out=B)
    ),
    "its own transpose": lambda A, B, C, P, row, S, W, T: (np.add(W, W.T, out=S), np.multiply(S.T, W, out=W)),
    "its own row": lambda A, B, C, P, row, S, W, T: (np.multiply(A, A[3], out=C), np.add(C, C[3], out=P)),
    "exp in place, then a sum in place": lambda A, B, C, P, row, S, W, T: (
        np.exp(A, out=C), np.add(C, B, out=C), np.multiply(C, B, out=P)
    ),
    "a product that is not needed at once": lambda A, B, C, P, row, S, W, T: (
        np.matmul(A, W, out=P), np.matmul(P, W, out=C), np.multiply(A, 2, out=P), np.matmul(P, W, out=B)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HAZARDS)
def test_no_piece_reads_what_another_writes(name):
    arrays = [normal(64, 96, seed=seed) for seed in range(3)]
    arrays += [np.zeros((64, 96)), normal(96), np.zeros((96, 96)), normal(96, 96), normal(65, 96)]

    def function(*arrays):
        HAZARDS[name](*arrays)

    for size in (96, 1000, 1 << 14):
        with cut_finely(size, 50_000):
            check(function, *arrays, calls=None)


def test_what_is_local_and_what_is_not():
    """A buffer that only its group reads lives in the scratch; one that others read, or that is a result, does not."""
    A, W, out, more = normal(64, 40), normal(40, 50), np.zeros((64, 50)), np.zeros((64, 50))

    def local_of(function, results=False):
        recorder, result = record(lambda view: partial(function, *map(view, (A, W, out, more))), Memory(1 << 20))
        found = []
        with pytest.MonkeyPatch.context() as patch:
            places = programs._local_places
            patch.setattr(programs, "_local_places", lambda *args: found.append(places(*args)) or found[-1])
            compiled.compiled(recorder.calls, [result] if results else [], recorder.makes, pool(1))
        return sum(map(len, found))

    def once(A, W, out, more):
        out[...] = xp.matmul(A, W) * 2
        return None

    def read_by_another_group(A, W, out, more):
        Z = xp.matmul(A, W) * 2
        out[...] = Z
        more[...] = xp.matmul(Z, xp.matmul(A, W).T @ Z)

    def read_by_a_call(A, W, out, more):
        Z = xp.matmul(A, W)
        out[...] = Z * 2
        more[...] = np.cumsum(Z, axis=0)

    def a_result(A, W, out, more):
        Z = xp.matmul(A, W)
        out[...] = Z * 2
        return Z

    def written_by_a_loop(A, W, out, more):
        Z = xp.exp(out)
        Z += 1
        more[...] = Z

    assert local_of(once) == 2
    assert local_of(read_by_another_group) == 2  # the first product and the last, but not twice the first
    assert local_of(read_by_a_call) == 1  # twice of the product
    assert local_of(a_result, results=True) == 1
    assert local_of(written_by_a_loop) == 0
    for function in (once, read_by_another_group, read_by_a_call, written_by_a_loop):
        check(function, A, W, out, more, calls=None)


def test_a_call_that_is_no_op_does_not_end_the_program_unless_it_has_to():
    A, B, C, D = (normal(40, 50, seed=seed) for seed in range(4))

    def beside(A, B, C, D):
        np.add(A, B, out=C)
        D[...] = np.cumsum(A, axis=0)
        np.multiply(C, B, out=B)

    def between(A, B, C, D):
        np.add(A, B, out=C)
        D[...] = np.cumsum(C, axis=0)
        np.multiply(D, B, out=B)

    def overwritten(A, B, C, D):
        np.add(A, B, out=C)
        A[...] = np.cumsum(D, axis=0)
        np.multiply(A, B, out=B)

    for function, programs_ in ((beside, 1), (between, 2), (overwritten, 1)):
        recorder, _ = record(lambda view, f=function: partial(f, *map(view, (A, B, C, D))), Memory(1 << 20, hands_on=False))
        found = compiled.compiled(recorder.calls, [], recorder.makes, pool(2))
        assert sum(isinstance(call.function, Program) for call in found) == programs_, function
        check(function, A, B, C, D, calls=None)


@pytest.mark.parametrize("change", ["mixed", "empty", "object", "unaligned"])
def test_what_no_program_knows_stays_a_call(change):
    A, B, C = normal(20, 30), normal(20, 30), np.zeros((20, 30))
    if change == "object":
        A, B, C = (X.astype(object) for X in (A, B, C))
    elif change == "mixed":
        A = A.astype(np.float32)
    elif change == "unaligned":
        C = np.zeros(20 * 30 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(20, 30)
    else:
        A, B, C = (X[:0] for X in (A, B, C))
    recorder, _ = record(lambda view: partial(two, "add", *map(view, (A, B, C))), Memory(1 << 20))
    assert compiled.compiled(recorder.calls, [], recorder.makes, pool(2)) == recorder.calls


# -- random programs ---------------------------------------------------------------------------------------------------


class Machine:
    """Matrices (m, n), rows (n,), columns (m, 1) and a square (n, n), made and changed by numbered instructions."""

    def __init__(self, given, square, row, indices):
        self.given, self.square, self.row, self.indices = list(given), square, row, indices
        self.made = []

    def pick(self, j):
        every = [*self.given, *self.made]
        return every[j % len(every)]

    def do(self, what, j, k, at):
        A, B, xs = self.pick(j), self.pick(k), self.made
        m = A.shape[0]
        cut, rows = slice(at % m, m), slice(0, m - at % m)
        match what % 22:
            case 0: xs.append(A + B)
            case 1: xs.append(A * B)
            case 2: xs.append(xp.tanh(A))
            case 3: xs.append(xp.maximum(A, 0))
            case 4: xs.append(B * xp.astype(A > 0, A.dtype))
            case 5: xs.append(xp.matmul(A, self.square) * 0.125)
            case 6: xs.append(A + self.row)
            case 7: xs.append(A - xp.sum(A, axis=1, keepdims=True) * 0.125)
            case 8: self.row[...] = sums.sum_rows(A) * 0.01
            case 9: self.square += xp.matmul(A.T, B) * 0.01
            case 10: A += B
            case 11: A *= 0.5
            case 12: A -= self.row
            case 13: A[cut] = B[rows]
            case 14: A[...] = xp.take(B, self.indices, axis=0)
            case 15: A[:, ::2] *= 0.5
            case 16: self.square[...] = self.square.T + 0.5
            case 17: A[cut] += B[cut] * B[cut]
            case 18: xs.append(xp.exp(xp.minimum(A, 1.0)))
            case 19: self.row -= A[at % m]
            case 20: A[...] = xp.abs(B)
            case 21: xs[:] = xs[1:]

    def end(self):
        for j, A in enumerate(self.made[-3:]):
            self.given[j % len(self.given)] -= A * 0.25


@settings(max_examples=150)
@given(
    m=st.integers(2, 40), n=st.integers(2, 20), size=st.sampled_from([16, 64, 200, 1 << 14]), dtype=dtypes,
    product=st.sampled_from([500, 10**9]), seed=st.integers(0, 99),
    instructions=st.lists(st.tuples(*[st.integers(0, 21)] * 3, st.integers(0, 50)), min_size=3, max_size=14),
)  # fmt: skip
def test_random_programs(m, n, size, dtype, product, seed, instructions):
    """Short random sequences of calls on a few arrays, their views and what is made of them."""
    arrays = [normal(m, n, seed=seed + j, dtype=dtype) for j in range(3)]
    arrays += [normal(n, n, seed=seed, dtype=dtype), normal(n, seed=seed, dtype=dtype)]
    indices = np.random.default_rng(seed).integers(0, m, m)

    def function(A, B, C, square, row, indices):
        machine = Machine([A, B, C], square, row, indices)
        for instruction in instructions:
            machine.do(*instruction)
        machine.end()

    with cut_finely(size, product):
        check(function, *arrays, indices, threads=(1, 3), calls=None)


# -- pools ---------------------------------------------------------------------------------------------------------------


def test_two_pools_at_once_and_threads_that_slept():
    """Each thread runs programs of its own pool; more threads than cores."""
    wrong = []

    def work(seed):
        own = Pool(3)
        A, B, C = normal(200, 300, seed=seed), normal(300, 200), np.zeros((200, 200))
        out = np.zeros((200, 200))

        def function(A, B, C, out):
            np.matmul(A, B, out=C)
            np.add(C, sums.sum_rows(C), out=out)

        recorder, _ = record(lambda view: partial(function, *map(view, (A, B, C, out))), Memory(1 << 24))
        expected = out.tobytes()
        ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, own)
        for _ in range(3):
            own.open()
            for _ in range(30):
                out[...] = 0
                program()
                if out.tobytes() != expected:
                    wrong.append(seed)
            own.close()
            own.close()  # nothing is there any more

    threads = [Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_steps_in_a_row_end_where_J_is_not_finite(dtype, value):
    """J = X[at]; G counts the gradients, θ the updates."""
    X, at = np.ones((5, 1), dtype), np.zeros(1, np.int64)
    J, G, theta = np.zeros(1, dtype), np.zeros(1, dtype), np.zeros(1, dtype)

    def gradient(X, at, J, G):
        J[...] = take_row(X, at)
        G += 1

    def update(theta, at):
        theta += 1
        at += 1

    made = []
    for function, arrays in ((gradient, (X, at, J, G)), (update, (theta, at))):
        recorder, _ = record(lambda view, f=function, arrays=arrays: partial(f, *map(view, arrays)), Memory(1 << 20))
        ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, pool(2))
        made.append(program)
    at[...], G[...], theta[...] = 0, 0, 0
    assert pool(2).steps(*made, J, 5) == 5
    assert (at[0], G[0], theta[0]) == (5, 5, 5)
    with pytest.raises(IndexError, match="not there"):
        pool(2).steps(*made, J, 1)
    X[3], at[...], G[...], theta[...] = value, 0, 0, 0
    assert pool(2).steps(*made, J, 5) == 3
    assert (at[0], G[0], theta[0]) == (3, 4, 3)
    np.testing.assert_array_equal(J, X[3])


def test_every_kind_of_op_has_a_test():
    """This file names each of them but those that are the same op with another sign."""
    text = Path(__file__).read_text("utf-8")
    assert set(KINDS) - {kind for kind in KINDS if f'"{kind}"' in text} <= {"SUM_ROWS", "SUM_PIECES", "CONVOLVE_DA"}
