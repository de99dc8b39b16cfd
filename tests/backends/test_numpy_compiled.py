"""Programs of compiled code: every op has NumPy's bits, whatever is grouped and however many threads run it."""

from __future__ import annotations

from functools import cache
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl_backends.numpy import compiled
from mathdl_backends.numpy import products as products_module
from mathdl_backends.numpy.compiled import Pool, why_absent
from mathdl_backends.numpy.recording import maximum
from support import normal

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1.0, 3.0]
BINARY = [np.add, np.subtract, np.multiply, np.divide]


@cache
def pool(threads):
    """Pools that live as long as the tests: idle threads sleep."""
    return Pool(threads)


@pytest.fixture(autouse=True)
def quietly(monkeypatch):
    assert why_absent() is None, "the tests need the compiled part: python scripts/build_native.py"
    monkeypatch.setattr(compiled, "_ALONE", 0)
    monkeypatch.setattr(compiled, "_FEW_CALLS", 0)
    with np.errstate(all="ignore"):
        yield


def spiced(shape, dtype, seed=0):
    A = normal(*shape, seed=seed, dtype=dtype)
    flat = A.reshape(-1)
    where = np.random.default_rng(seed).integers(0, max(flat.size, 1), min(8, flat.size))
    flat[where] = np.array(SPECIAL, dtype=dtype)[: len(where)]
    return A


def bits(A):
    """The bits of A, NaN being one number."""
    return np.where(np.isnan(A), np.array(np.nan, A.dtype), A).tobytes()


def check(calls, arrays, threads=(1, 2, 3, 8), all_compiled=True):
    """Run calls(arrays) as they are and as programs, from the same state; compare all arrays."""
    for A in arrays:
        A.flags.writeable = A.base is None
    start = [A.copy() for A in arrays]
    for function, args in calls:
        function(*args)
    expected = [bits(A) if A.dtype.kind == "f" else A.tobytes() for A in arrays]
    for count in threads:
        programs = pool(count).compiled(calls, [])
        if all_compiled:
            assert len(programs) == 1
            assert programs[0][1] == ()
        for A, value in zip(arrays, start, strict=True):
            A[...] = value
        for function, args in programs:
            function(*args)
        assert [bits(A) if A.dtype.kind == "f" else A.tobytes() for A in arrays] == expected
    for A, value in zip(arrays, start, strict=True):
        A[...] = value


shapes = st.one_of(st.tuples(st.integers(1, 70)), st.tuples(st.integers(1, 40), st.integers(1, 600)))
dtypes = st.sampled_from(["float32", "float64"])


@given(
    shape=shapes,
    dtype=dtypes,
    op=st.sampled_from(BINARY),
    kinds=st.tuples(*2 * [st.sampled_from("wrn")]),
    at=st.integers(0, 2),
)
def test_binary_ops(shape, dtype, op, kinds, at):
    def operand(kind, seed):
        if kind == "r" and len(shape) == 2:
            return spiced(shape[1:], dtype, seed)
        return spiced((1,) if kind == "n" else shape, dtype, seed)

    A, B, C = operand(kinds[0], 1), operand(kinds[1], 2), spiced(shape, dtype, 3)
    out = (A, B, C)[at]
    if out.shape != shape or ("n" in kinds and np.prod(shape) == 1) or not {A.shape, B.shape} & {shape}:
        out, A = C, spiced(shape, dtype, 1)
    check([(op, (A, B, out))], [A, B, C], all_compiled=A.size > 1)


@given(shape=shapes, dtype=dtypes, in_place=st.booleans())
def test_square_root_and_relu(shape, dtype, in_place):
    A, B, C, D = (spiced(shape, dtype, seed) for seed in range(4))
    zero = np.zeros((), dtype)
    check([(np.sqrt, (A, A if in_place else B))], [A, B], all_compiled=A.size > 1)
    check([(maximum, (A, zero, A if in_place else B))], [A, B], all_compiled=A.size > 1)
    mask, number = np.empty(shape, bool), np.empty(shape, dtype)
    calls = [(np.greater, (A, zero, mask)), (np.copyto, (number, mask, "unsafe"))]
    check([*calls, (np.multiply, (C, number, C if in_place else D))], [A, C, D], all_compiled=A.size > 1)


def test_a_mask_that_is_read_again_is_made():
    A, C, D, E = (normal(8, 600, seed=seed) for seed in range(4))
    zero, mask, number = np.zeros(()), np.zeros(A.shape, bool), np.zeros(A.shape)
    triple = [(np.greater, (A, zero, mask)), (np.copyto, (number, mask, "unsafe")), (np.multiply, (C, number, D))]
    hidden = (lambda made: np.copyto(made, np.where(mask, 1.0, 2.0)), (E,))
    for later in ([hidden], [(np.add, (number, C, E))], [(number[0].take, (np.arange(2), 0, E[0, :2], "raise"))]):
        mask[...], number[...] = False, 0.0
        check([*triple, *later], [A, C, D, E, mask, number], all_compiled=False)
    assert len(pool(1).compiled(triple, [mask])) > len(pool(1).compiled(triple, [D]))


def test_a_mask_that_is_transposed_is_not_the_mask():
    A, C, D = (normal(40, 40, seed=seed) for seed in range(3))
    mask, number = np.empty(A.shape, bool), np.empty(A.shape)
    calls = [(np.greater, (A, np.zeros(()), mask)), (np.copyto, (number, mask, "unsafe"))]
    check([*calls, (np.multiply, (C, number.T, D))], [A, C, D], all_compiled=False)


def test_a_mask_of_one_number_is_not_read_as_many():
    A, C, D = normal(1), normal(40), np.zeros(40)
    mask, number = np.empty(1, bool), np.empty(1)
    calls = [(np.greater, (A, np.zeros(()), mask)), (np.copyto, (number, mask, "unsafe"))]
    check([*calls, (np.multiply, (C, number, D))], [A, C, D], all_compiled=False)


@given(
    rows=st.integers(1, 70), inner=st.integers(0, 40), columns=st.integers(0, 300),
    dtype=dtypes, turned=st.tuples(st.booleans(), st.booleans()), least=st.sampled_from([100, 10**9]),
)  # fmt: skip
def test_products_and_what_follows(rows, inner, columns, dtype, turned, least):
    """The pieces of `cut`, each as NumPy computes it by itself; then a row and relu while it is in the cache."""
    A = normal(inner, rows, dtype=dtype).T if turned[0] else normal(rows, inner, dtype=dtype)
    B = normal(columns, inner, dtype=dtype).T if turned[1] else normal(inner, columns, dtype=dtype)
    row, Z, C = spiced((columns,), dtype), np.ones((rows, columns), dtype), np.ones((rows, columns), dtype)

    def run(A, B, out, parts):
        for r, c in parts or [(slice(0, rows), slice(0, columns))]:
            np.matmul(A[r], B[:, c], out=out[r, c])

    run.is_product = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products_module, "SMALLEST_PIECE", least)
        products_module.cut.cache_clear()
        parts = products_module.cut(rows, inner, columns)
        calls = [(run, (A, B, Z, parts)), (np.add, (Z, row, Z)), (maximum, (Z, np.zeros((), dtype), C))]
        check(calls, [row, Z, C], threads=(1, 3), all_compiled=False)
    products_module.cut.cache_clear()


@given(rows=st.integers(1, 300), columns=st.integers(1, 300), dtype=dtypes)
def test_sums_of_rows(rows, columns, dtype):
    D, out = normal(rows, columns, dtype=dtype), np.zeros(columns, dtype)
    check([(np.matmul, (np.ones(rows, dtype), D, out))], [D, out], all_compiled=min(rows, columns) > 1)


@given(data=st.data(), n=st.integers(1, 20), inside=st.sampled_from([(3,), (700,), (4, 5, 2)]), dtype=dtypes)
def test_rows_that_are_taken(data, n, inside, dtype):
    A = spiced((n, *inside), dtype)
    indices = np.array(data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=40)), dtype=np.int64)
    out = np.zeros((len(indices), *inside), dtype)
    check([(A.take, (indices, 0, out, "wrap"))], [indices, out])


def test_rows_that_may_lie_outside_are_left_to_numpy():
    A, indices, out = normal(5, 100), np.array([7]), np.zeros((1, 100))
    ((function, args),) = pool(1).compiled([(A.take, (indices, 0, out, "raise"))], [])
    with pytest.raises(IndexError):
        function(*args)


def test_no_piece_reads_what_another_writes():
    """Hazards of grouping: a row that is made, a row of what is made, an input overwritten, a transposed view."""
    A, B, C = (normal(64, 640, seed=seed) for seed in range(3))
    row, S, W = normal(640), np.zeros((640, 640)), normal(640, 640)
    P, Q = np.zeros((64, 640)), np.zeros((64, 640))
    T, ones = normal(65, 640), np.ones(64)
    add, matmul = np.add, np.matmul
    for calls in (
        [(add, (A, B, C)), (np.multiply, (B, C[0], P))],
        [(add, (A, B, C)), (np.multiply, (B, C[63], P))],
        [(add, (T[:64], B, C)), (np.multiply, (C, B, T[1:]))],
        [(add, (A, B, C)), (add, (C[3], row, row)), (np.multiply, (B, row, P))],
        [(matmul, (ones, A, row)), (add, (A, row, A)), (matmul, (ones, A, row)), (add, (B, row, B))],
        [(np.multiply, (A, B[5], C)), (add, (A, C, B)), (np.subtract, (C, B, A))],
        [(matmul, (A, W, P)), (add, (P, A, A)), (matmul, (A, W, Q)), (np.multiply, (P, Q, B))],
        [(matmul, (A, W, P)), (add, (B, B, A))],
        [(matmul, (A.T, B, S)), (add, (S, W, W)), (matmul, (A, W, P)), (add, (W, S, S))],
        [(add, (A, B, C)), (matmul, (C, W, P)), (np.multiply, (W, W, W)), (add, (P, C, Q))],
    ):
        for _ in range(3):
            check(calls, [A, B, C, row, S, W, P, Q, T], all_compiled=False)


@pytest.mark.parametrize("change", ["integers", "float16", "strided", "mixed", "empty"])
def test_what_no_program_knows_stays_a_call(change):
    A, B, C = normal(20, 30), normal(20, 30), np.zeros((20, 30))
    if change == "integers":
        A, B, C = (X.astype(int) for X in (A, B, C))
    elif change == "float16":
        A, B, C = (X.astype(np.float16) for X in (A, B, C))
    elif change == "strided":
        A = normal(20, 60)[:, ::2]
    elif change == "mixed":
        A = A.astype(np.float32)
    else:
        A, B, C = (X[:0] for X in (A, B, C))
    assert pool(2).compiled([(np.add, (A, B, C))], []) == [(np.add, (A, B, C))]


def test_two_pools_at_once_and_threads_that_slept():
    """Each thread runs programs of its own pool; more threads than cores."""
    wrong = []

    def work(seed):
        own = Pool(3)
        A, B, C = normal(200, 300, seed=seed), normal(300, 200), np.zeros((200, 200))
        row, out = np.zeros(200), np.zeros((200, 200))
        calls = [(np.matmul, (A, B, C)), (np.matmul, (np.ones(200), C, row)), (np.add, (C, row, out))]
        for function, args in calls:
            function(*args)
        expected = out.tobytes()
        ((program, _),) = own.compiled(calls, [])
        for _ in range(100):
            out[...] = 0
            program()
            if out.tobytes() != expected:
                wrong.append(seed)
        own.close()

    threads = [Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
