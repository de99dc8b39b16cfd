"""NumPy's own inner loops, called from programs, and what moves numbers without looking: the same bits as NumPy's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiling import check, cut_finely, dtypes, everything_compiled, kinds, shapes, sizes, spiced  # noqa: F401
from mathdl.tables import put_row, take_row
from mathdl_backends.numpy.namespace import namespace as xp
from support import normal

pytestmark = pytest.mark.usefixtures("everything_compiled")

UNARY = ["abs", "exp", "expm1", "log", "log1p", "sign", "tanh", "square", "negative", "reciprocal", "isnan"]


BROADCAST = [(7, 40), (1, 40), (7, 1), (40,), (1,), ()]


SEEN = {
    "turned": lambda A: A.transpose(2, 0, 1),
    "flipped": lambda A: A[::-1, :, ::-1],
    "every other": lambda A: A[:, ::2],
    "a part": lambda A: A[1:, 1:2, :3],
    "by many": lambda A: np.broadcast_to(A[:, None, :1], (4, 3, 5, 6)),
    "a row": lambda A: A[2, 1],
}


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


@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=3), data=st.data(), dtype=dtypes, size=sizes)
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
    A = spiced((rows, columns), dtype)
    if ties:
        A[...] = np.random.default_rng(rows).integers(-2, 3, A.shape)
    out = np.zeros(rows, np.int64)

    def function(A, out):
        out[...] = xp.argmax(A, axis=1)

    assert "ARGMAX" in kinds(check(function, A, out))


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


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint32"])
def test_rows_of_tables(dtype):
    T, out, at = np.arange(35).reshape(5, 7).astype(dtype), np.zeros(7, dtype), np.array([3])

    def function(T, out, at):
        take_row(T, at, out)
        out += 1
        put_row(T, at, out)
        at -= 1

    assert {"TAKE_ROWS", "PUT_ROW"} <= kinds(check(function, T, out, at))
