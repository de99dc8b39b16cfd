"""Programs of compiled code: every op has NumPy's bits, whatever is grouped and however many threads run it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiling import check, cut_finely, dtypes, everything_compiled, kinds, pool, shapes, sizes, spiced  # noqa: F401
from mathdl.layers.convolution import convolve, convolve_dA_by_taps, convolve_dW
from mathdl.layers.max_pool import max_line_backward, max_line_forward
from mathdl.layers.pooling import Line
from mathdl.random import bits as random_bits
from mathdl.tables import put_row
from mathdl.windows import Gather, Window, gather_table
from mathdl_backends.numpy import compiled, programs, sums
from mathdl_backends.numpy.memory import Memory
from mathdl_backends.numpy.namespace import namespace as xp
from mathdl_backends.numpy.programs import KINDS, Program
from mathdl_backends.numpy.recording import record
from support import normal

pytestmark = pytest.mark.usefixtures("everything_compiled")


@given(
    shape=shapes, dtype=dtypes, op=st.sampled_from([np.add, np.subtract, np.multiply, np.divide]),
    operands=st.tuples(*2 * [st.sampled_from("wrcn")]), at=st.integers(0, 2), size=sizes,
)  # fmt: skip
def test_binary_ops_of_arrays_rows_columns_and_numbers(shape, dtype, op, operands, at, size):
    def operand(kind, seed):
        if kind == "r" and len(shape) == 2:
            return spiced(shape[1:], dtype, seed)
        if kind == "c" and len(shape) == 2:
            return spiced((shape[0], 1), dtype, seed)
        return spiced((1,) if kind == "n" else shape, dtype, seed)

    A, B, C = operand(operands[0], 1), operand(operands[1], 2), spiced(shape, dtype, 3)
    out = (A, B, C)[at]
    with cut_finely(size):
        check(lambda A, B, C: op(A, B, out=(A, B, C)[at if out.shape == shape else 2]), A, B, C)


def test_a_column_is_an_operand_like_a_row():
    A, row, column = normal(30, 10), normal(10), normal(30, 1)

    def shifted(A, row, column):
        A -= row
        A /= column

    assert check(shifted, A, row, column) == [["SUBTRACT", "DIVIDE"]]


@given(shape=shapes, dtype=dtypes, in_place=st.booleans())
def test_square_root_and_relu(shape, dtype, in_place):
    A, C, D = (spiced(shape, dtype, seed) for seed in range(3))

    def relu_backward(A, C, D):
        np.multiply(C, xp.astype(A > 0, A.dtype), out=C if in_place else D)

    assert check(lambda A, D: np.sqrt(A, out=A if in_place else D), A, D) == [["SQRT"]]
    assert check(lambda A, D: np.maximum(A, 0, out=A if in_place else D), A, D) == [["RELU"]]
    assert check(relu_backward, A, C, D) == [["RELU_BACKWARD"]]


def test_every_kind_of_op_is_reached():
    """One step of a kind that no network takes: what the tests above compare is what programs are made of."""
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    gather = Gather(window, (4, 4), gather_table(window, (4, 4)))
    X, W, T = normal(6, 4, 4, 3, dtype="float32"), normal(9, 3, 4, dtype="float32"), normal(5, 16, dtype="float32")
    Z, dW, rows, at = np.zeros((6, 4, 4, 4), "float32"), np.zeros_like(W), np.array([4, 0, 2, 1, 3, 5]), np.array([2])
    total, key = np.zeros(4, "float32"), np.array([1, 2], np.uint32)

    def function(X, W, T, Z, dW, rows, at, total, key):
        A = xp.maximum(convolve(xp.take(X, rows, axis=0), W, None, gather, 1), 0)
        dA = A * xp.astype(A > 0, A.dtype) / 3 - 1
        convolve_dW(X, dA, gather, 1, dW)
        dX = convolve_dA_by_taps(xp.reshape(dA, Z.shape), W, window, (4, 4), 1)
        maxima, cache = max_line_forward(xp.reshape(A, Z.shape), Line(1, 2, 2, (0, 0)))
        Z[...] = xp.sqrt(xp.abs(max_line_backward(maxima, cache)) * 2) + xp.sum(dX)
        row = xp.reshape(maxima, (-1, 16))[0:1]
        put_row(T, at, xp.exp(xp.matmul(row[0:1, :4] + T[:2, :4], T[:4, :]))[1])
        at += xp.argmax(T, axis=1)[0:1] * 0
        total[...] = sums.sum_rows(A) + sums.sum_rows(A[:3]) + xp.astype(T[0, :4] > 0, T.dtype)
        total += xp.astype(random_bits(key, 0, 1, 4)[0] > 2**31, T.dtype)
        dW[0, 0, :] = total
        X[0] = X[1].transpose(1, 0, 2)

    with cut_finely(64):
        found = check(function, X, W, T, Z, dW, rows, at, total, key, calls=None)
    assert kinds(found) == set(KINDS)


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
        A[...] = xp.arange(50)
        np.multiply(A, B, out=B)

    for function, count in ((beside, 1), (between, 2), (overwritten, 2)):
        apart = Memory(1 << 20, hands_on=False)
        recorder, _ = record(lambda view, f=function: partial(f, *map(view, (A, B, C, D))), apart)
        found = compiled.compiled(recorder.calls, [], recorder.makes, pool(2))
        assert sum(isinstance(call.function, Program) for call in found) == count, function
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
    recorder, _ = record(lambda view: partial(np.add, *map(view, (A, B, C))), Memory(1 << 20))
    assert compiled.compiled(recorder.calls, [], recorder.makes, pool(2)) == recorder.calls


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
            case 0:
                xs.append(A + B)
            case 1:
                xs.append(A * B)
            case 2:
                xs.append(xp.tanh(A))
            case 3:
                xs.append(xp.maximum(A, 0))
            case 4:
                xs.append(B * xp.astype(A > 0, A.dtype))
            case 5:
                xs.append(xp.matmul(A, self.square) * 0.125)
            case 6:
                xs.append(A + self.row)
            case 7:
                xs.append(A - xp.sum(A, axis=1, keepdims=True) * 0.125)
            case 8:
                self.row[...] = sums.sum_rows(A) * 0.01
            case 9:
                self.square += xp.matmul(A.T, B) * 0.01
            case 10:
                A += B
            case 11:
                A *= 0.5
            case 12:
                A -= self.row
            case 13:
                A[cut] = B[rows]
            case 14:
                A[...] = xp.take(B, self.indices, axis=0)
            case 15:
                A[:, ::2] *= 0.5
            case 16:
                self.square[...] = self.square.T + 0.5
            case 17:
                A[cut] += B[cut] * B[cut]
            case 18:
                xs.append(xp.exp(xp.minimum(A, 1.0)))
            case 19:
                self.row -= A[at % m]
            case 20:
                A[...] = xp.abs(B)
            case 21:
                xs[:] = xs[1:]

    def end(self):
        for j, A in enumerate(self.made[-3:]):
            self.given[j % len(self.given)] -= A * 0.25


@settings(max_examples=100)
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
        check(function, *arrays, indices, threads=(1, 2), calls=None)
