"""Lazy arrays against NumPy: whatever is called on them, in whatever order, the values are those of the calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_cupy import COMPILER, ndarray
from mathdl.arrays import device_of, namespace
from mathdl_backends.cupy import expressions, lazy
from mathdl_backends.cupy.lazy import Lazy

pytestmark = [pytest.mark.skipif(COMPILER is None, reason="no C compiler"), pytest.mark.usefixtures("xp", "launches")]


def given_array(A):
    return Lazy(ndarray(A), shared=True)


def new_array(A):
    """One that nobody else knows."""
    return Lazy(ndarray(A))


def value(A):
    return A.array.get()


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-3, 4, shape).astype(float)


# -- any program -------------------------------------------------------------------------------------------------------

START = {"A": (4, 3), "B": (4, 3), "v": (3,), "c": (4, 1), "s": (1,), "D": (2, 2, 3)}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["binary", "binary", "in place", "in place", "view", "transposed", "store", "row sum", "row max", "total",
             "mean", "cast", "where", "reshaped", "force", "drop", "columns", "argmax"]
        ),
        st.integers(0, 99), st.integers(0, 99), st.integers(0, 5),
    ),
    min_size=1, max_size=14,
)  # fmt: skip
BINARY = ["add", "subtract", "maximum", "minimum", "less", "add"]


class Both:
    """The same arrays on NumPy and lazily. `free`: what a reshape has made, or was made of, may share memory or not."""

    def __init__(self):
        self.pairs = [(numbers(*shape, seed=j), j % 2) for j, shape in enumerate(START.values())]
        self.pairs = [[A, given_array(A.copy()) if shared else new_array(A.copy())] for A, shared in self.pairs]
        self.free = set()

    def add(self, plain, lazily, like=()):
        plain = np.asarray(plain, dtype=float) if np.asarray(plain).dtype != float else plain
        self.pairs.append([plain, lazily])

    def step(self, xp, kind, i, j, k):
        a, A = self.pairs[i % len(self.pairs)]
        b, B = self.pairs[j % len(self.pairs)]
        name = BINARY[k]
        fits = broadcasts(a, b)
        if kind == "binary" and fits is not None:
            self.add(getattr(np, name)(a, b).astype(float), xp.astype(getattr(xp, name)(A, B), xp.float64))
        elif kind == "in place" and fits == a.shape and not {id(A), id(B)} & self.free:
            if k % 2:
                a += b
                A += B
            else:
                a -= b * 0.5
                A -= B * 0.5
            self.pairs[i % len(self.pairs)] = [a, A]
        elif kind == "view" and a.ndim > 1:
            self.add(a[: 1 + k % 2], A[: 1 + k % 2, ...])
        elif kind == "transposed" and a.ndim == 2:
            self.add(a.T, A.T)
        elif kind == "store" and fits == a.shape and not {id(A), id(B)} & self.free:
            if k % 2:
                a[...] = b
                A[...] = B
            elif broadcasts(a[:1], b) == a[:1].shape:
                a[:1] = b
                A[:1, ...] = B
        elif kind == "row sum" and a.ndim:
            self.add(a.sum(axis=-1, keepdims=True), xp.sum(A, axis=-1, keepdims=True))
        elif kind == "row max" and a.ndim:
            self.add(a.max(axis=-1, keepdims=True), xp.max(A, axis=-1, keepdims=True))
        elif kind == "argmax" and a.ndim:
            self.add(a.argmax(axis=-1).astype(float), xp.astype(xp.argmax(A, axis=-1), xp.float64))
        elif kind == "total":
            self.add(np.asarray(a.sum()), xp.sum(A))
        elif kind == "mean" and a.ndim:
            self.add(a.mean(axis=-1), xp.mean(A, axis=-1))
        elif kind == "cast":
            self.add(a.astype(float), xp.astype(A, xp.float64))
        elif kind == "where" and fits is not None:
            self.add(np.where(a > 0, b, 1.0) + a, xp.where(A > 0, B, 1.0) + A)
        elif kind == "reshaped" and a.ndim == 3:
            made = xp.reshape(A, (a.shape[0] * a.shape[1], a.shape[2]))
            self.add(a.reshape(-1, a.shape[2]).copy(), made)
            self.free |= {id(A), id(made)}
            self.kept = [*getattr(self, "kept", []), A, made]  # an identity is not given out again
        elif kind == "columns" and a.ndim == 2:
            self.add(a.sum(axis=0), xp.sum(A, axis=0))
        elif kind == "force":
            A.array  # noqa: B018
        elif kind == "drop" and len(self.pairs) > 6:
            del self.pairs[-1]


def broadcasts(a, b):
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return None


@settings(max_examples=150)
@given(steps=STEPS, backwards=st.booleans())
def test_the_values_are_those_of_the_calls_in_their_order(xp, steps, backwards):
    both = Both()
    for step in steps:
        both.step(xp, *step)
    for a, A in reversed(both.pairs) if backwards else both.pairs:
        np.testing.assert_allclose(value(A), a, rtol=1e-12, atol=1e-12)
        assert (A.shape, A.dtype) == (a.shape, a.dtype)


# -- what waits, and what does not -------------------------------------------------------------------------------------


def test_a_product_with_bias_and_activation_is_a_product_and_one_kernel(xp, launches):
    A, W, b = given_array(numbers(5, 4)), given_array(numbers(4, 3)), given_array(numbers(3))
    Z = xp.matmul(A, W)
    Z += b
    result = xp.maximum(Z, 0.0)
    assert launches == ["product"]
    np.testing.assert_array_equal(value(result), np.maximum(value(A) @ value(W) + value(b), 0))
    assert launches == ["product", "mathdl_add_maximum"]
    np.testing.assert_array_equal(value(Z), value(A) @ value(W) + value(b))  # is still there for who asks


def test_what_nobody_asks_for_is_not_computed(xp, launches):
    A = given_array(numbers(3))
    B = xp.exp(A) * 2.0
    del B
    A += 1.0
    assert launches == ["mathdl_add"]


def test_what_waits_sees_what_was_there_when_it_was_called(xp, launches):
    """Through views as well, of all sorts; what lies elsewhere in the same memory does not count."""
    memory = numbers(12)
    A = given_array(memory.copy())
    first, last, both = A[:6] * 2.0, A[6:] * 2.0, A * 2.0
    A[:3] = 7.0
    assert launches.count("mathdl_multiply") == 2, "the first and both, but not the last"
    rows = xp.reshape(A, (3, 4), copy=False)
    rows += 1.0
    assert launches.count("mathdl_multiply") == 3
    for found, expected in ((first, memory[:6]), (last, memory[6:]), (both, memory)):
        np.testing.assert_array_equal(value(found), 2 * expected)
    np.testing.assert_array_equal(value(A), np.where(np.arange(12) < 3, 8.0, memory + 1.0))


def test_an_update_of_what_others_know_is_made_there(xp):
    A, B = given_array(numbers(4)), new_array(numbers(4))
    whole, own = A.array, B.array
    A *= 3.0
    np.testing.assert_array_equal(whole.get(), 3 * numbers(4))
    B *= 3.0
    np.testing.assert_array_equal(own.get(), numbers(4))  # nobody else knows it
    np.testing.assert_array_equal(value(B), 3 * numbers(4))


def test_an_update_from_another_place_of_the_same_memory(xp):
    A = given_array(np.arange(6.0))
    A[1:] = A[:-1] + 0.0
    np.testing.assert_array_equal(value(A), [0, 0, 1, 2, 3, 4])
    A[...] = A[::-1] * 2.0
    np.testing.assert_array_equal(value(A), [8, 6, 4, 2, 0, 0])


def test_a_view_sees_what_is_updated(xp):
    A = new_array(numbers(3, 2))
    row = A[:1, :]
    A += 1.0
    np.testing.assert_array_equal(value(row), numbers(3, 2)[:1] + 1)
    row *= 0.0
    assert not value(A)[:1].any()


def test_a_value_of_more_axes_is_stored_in_fewer(xp):
    A = given_array(np.zeros((2, 3)))
    A[0, :] = given_array(np.ones((1, 3))) + 1.0
    A[1, 0] = given_array(np.ones(1)) * 5.0
    np.testing.assert_array_equal(value(A), [[2, 2, 2], [5, 0, 0]])


def test_an_update_of_a_view_is_made_once(xp, launches):
    A = given_array(np.zeros((3, 2)))
    A[1:, :] += 1.0
    assert launches == ["mathdl_add"]
    assert value(A).tolist() == [[0, 0], [1, 1], [1, 1]]


def test_a_value_in_two_forms_is_computed_once(xp, launches):
    A = given_array(numbers(2, 3, 4))
    B = A * 2.0 + given_array(numbers(4))
    flat = xp.reshape(B, (6, 4))
    np.testing.assert_array_equal(value(flat), value(B).reshape(6, 4))
    assert len(launches) == 1
    again = xp.reshape(B, (3, 2, 4))
    B *= 0.0
    assert not value(B).any()
    np.testing.assert_array_equal(value(again).reshape(6, 4), value(flat))


def test_a_form_is_kept_when_the_memory_of_another_is_overwritten(xp):
    B = given_array(numbers(2, 3, 4)) * 2.0
    flat = xp.reshape(B, (6, 4))
    expected = value(flat).copy()
    flat[:2, ...] = 9.0  # B waits, and would be read there
    np.testing.assert_array_equal(value(B).reshape(6, 4), expected)
    assert (value(flat)[:2] == 9).all()


def test_the_form_of_an_expression_with_numbers_rows_and_columns(xp, launches):
    """What all rows have in common, and single numbers, fit every form; a column does not, and is computed before."""
    A, v = given_array(numbers(2, 3, 4)), given_array(numbers(4))
    expected = ((value(A) + value(v)) * 2.0).reshape(6, 4)
    for one in (given_array(np.array(2.0)), given_array(np.array([2.0])), given_array(np.full((1, 1, 1), 2.0))):
        launches.clear()
        flat = xp.reshape((A + v) * one, (6, 4))
        assert flat.waits
        np.testing.assert_array_equal(value(flat), expected)
        assert len(launches) == 1
    column = given_array(numbers(2, 3, 1))
    flat = xp.reshape(A * column, (6, 4))
    np.testing.assert_array_equal(value(flat), (value(A) * value(column)).reshape(6, 4))


def test_another_form_of_what_nobody_else_knows_is_updated_without_being_written(xp, launches):
    A = new_array(numbers(2, 3))
    B = xp.reshape(A, (3, 2))
    B -= 1.0
    B *= 2.0
    assert launches == []
    np.testing.assert_array_equal(value(B), 2 * (numbers(2, 3).reshape(3, 2) - 1))
    assert len(launches) == 1
    np.testing.assert_array_equal(value(A), numbers(2, 3))
    assert xp.reshape(A, (2, 3)) is A


def test_a_number_is_put_into_what_is_read_by_what_waits(xp):
    A = given_array(np.ones(3))
    B = A + 1.0
    A[...] = 5.0
    assert value(B).tolist() == [2, 2, 2]


def test_an_update_keeps_the_dtype_and_refuses_another_shape(xp):
    A = new_array(np.ones((1, 3), "float32"))
    A += given_array(np.ones((1, 3)))
    assert A.dtype == np.float32
    with pytest.raises(ValueError, match=r"an update in place of \(1, 3\) by an expression of \(2, 3\)"):
        A += given_array(np.ones((2, 3)))


def test_large_expressions_are_computed_in_parts(xp, launches):
    A = given_array(np.ones(4))
    for _ in range(expressions.MOST_CALLS + 50):
        A = -A
    assert value(A).tolist() == 4 * [1]
    assert len(launches) == 2
    launches.clear()
    for _ in range(expressions.MOST_CONSTANTS + 50):
        A = A + 1.0
    assert value(A).tolist() == 4 * [expressions.MOST_CONSTANTS + 51]
    assert len(launches) == 2
    launches.clear()
    B = given_array(np.ones(4))
    for _ in range(expressions.MOST_ARRAYS + 5):
        B = B + given_array(np.ones(4))
    assert value(B).tolist() == 4 * [expressions.MOST_ARRAYS + 6]
    assert len(launches) == 2


def test_many_reductions_are_computed_in_parts(xp, launches):
    A = given_array(np.ones((2, 3)))
    for _ in range(expressions.MOST_REDUCTIONS + 2):
        A = A + xp.sum(A, axis=-1, keepdims=True)
    assert value(A)[0, 0] == 4.0 ** (expressions.MOST_REDUCTIONS + 2)
    assert 2 <= len(launches) <= 4


def test_a_root_of_few_numbers_is_not_taken_for_each_of_many(xp, launches, monkeypatch):
    monkeypatch.setattr(lazy, "_MANY", 30)
    few, many, less = given_array(np.full(3, 4.0)), given_array(np.ones((10, 3))), given_array(np.ones((4, 3)))
    for A, count in ((many, 2), (less, 1)):
        launches.clear()
        np.testing.assert_array_equal(value(A / xp.sqrt(few + 0.0)), value(A) / 2)
        assert len(launches) == count
    launches.clear()
    np.testing.assert_array_equal(value(many * (few + 1.0)), 5 * value(many))  # a sum is
    assert len(launches) == 1


# -- reductions --------------------------------------------------------------------------------------------------------


def test_a_softmax_is_one_kernel(xp, launches):
    Z = given_array(numbers(5, 7))
    E = xp.exp(Z - xp.max(Z, axis=-1, keepdims=True))
    E /= xp.sum(E, axis=-1, keepdims=True)
    expected = np.exp(value(Z) - value(Z).max(axis=1, keepdims=True))
    np.testing.assert_allclose(value(E), expected / expected.sum(axis=1, keepdims=True), rtol=1e-14)
    assert len(launches) == 1


def test_a_reduction_of_another_kind_is_computed_before(xp, launches):
    """Rows of another length, a sum of all, an array of another form: each is a kernel of its own, and right."""
    A, B = given_array(numbers(4, 3)), given_array(numbers(4, 5))
    column = xp.sum(A, axis=-1, keepdims=True)
    np.testing.assert_array_equal(value(B + column), value(B) + value(A).sum(axis=1, keepdims=True))
    assert len(launches) == 2
    launches.clear()
    whole = xp.sum(xp.sum(A, axis=-1, keepdims=True) * 2.0)
    assert value(whole) == 2 * value(A).sum()
    assert len(launches) == 2
    launches.clear()
    scaled = A * xp.sum(A * A)
    np.testing.assert_array_equal(value(scaled), value(A) * np.sum(value(A) ** 2))
    assert len(launches) == 2
    cube = given_array(numbers(2, 4, 3))
    found = cube + xp.sum(A, axis=-1, keepdims=True)
    np.testing.assert_array_equal(value(found), value(cube) + value(A).sum(axis=1, keepdims=True))


def test_sums_of_two_kinds_are_two_kernels(xp):
    A, c, v = given_array(numbers(4, 3)), given_array(numbers(4, 1)), given_array(numbers(3))
    rows, a = xp.sum(A, axis=1, keepdims=True), value(A)
    np.testing.assert_array_equal(value(rows + xp.sum(A)), a.sum(axis=1, keepdims=True) + a.sum())
    np.testing.assert_array_equal(value(xp.sum(c * v)), np.sum(value(c) * value(v)))  # of more numbers than are there


def test_sums_of_what_depends_on_the_place(xp, launches):
    A, places = given_array(numbers(4, 3)), np.arange(3)
    weighted = A * xp.arange(3, dtype=xp.float64)
    assert value(xp.sum(weighted)) == np.sum(value(A) * places)
    np.testing.assert_array_equal(value(xp.sum(weighted, axis=1)), np.sum(value(A) * places, axis=1))
    assert value(xp.sum(given_array(numbers(3)) * xp.arange(3, dtype=xp.float64))) == np.sum(numbers(3) * places)


def test_a_reduction_is_stored_where_its_shape_fits(xp):
    A, row = given_array(numbers(4, 3)), given_array(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="broadcast"):
        row[...] = xp.sum(A, axis=1, keepdims=True)
    row[...] = xp.sum(A, axis=1, keepdims=True).T
    np.testing.assert_array_equal(value(row)[0], value(A).sum(axis=1))


def test_a_figure_is_one_kernel(xp, launches):
    values, weights, total = given_array(numbers(9)), given_array(numbers(9, seed=1)), given_array(np.full(1, 4.0))
    figures = given_array(np.zeros(3))
    figures[1:2] = xp.sum(values * weights) / total
    assert len(launches) == 1
    np.testing.assert_array_equal(value(figures), [0, value(values) @ value(weights) / 4, 0])


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 3), {"axis": 0}), ((4, 3), {"axis": (0, 1)}), ((4, 3), {"axis": None, "keepdims": True}), ((), {}),
     ((2, 0), {"axis": 1}), ((2, expressions.LONGEST_ROW + 1), {"axis": 1}), ((expressions.MOST_NUMBERS + 1,), {})],
)  # fmt: skip
def test_what_is_no_reduction_of_rows_is_left_to_cupy(xp, launches, shape, options):
    A = given_array(numbers(*shape))
    np.testing.assert_array_equal(value(xp.sum(A, **options)), value(A).sum(**options))
    assert not any(name.startswith("mathdl") for name in launches)


def test_sums_of_whole_numbers_are_left_to_cupy(xp):
    A = given_array(np.arange(6).reshape(2, 3))
    found = xp.sum(A, axis=1)
    assert (value(found).tolist(), found.dtype) == ([3, 12], np.int64)


# -- an array like others ----------------------------------------------------------------------------------------------


def test_it_belongs_to_cupy(xp):
    A = given_array(np.ones((2, 3), "float32"))
    assert namespace(A) is xp
    assert namespace(A * 2.0) is xp
    assert device_of(A * 2.0).name == "cuda:0"
    assert (A.ndim, A.size, len(A), A.T.shape) == (2, 6, 2, (3, 2))
    assert repr(A * 2.0) == "Lazy(waits, (2, 3), float32)"
    assert repr(A) == "Lazy(memory, (2, 3), float32)"


def test_numbers_of_the_host(xp):
    A = given_array(np.array(3))
    assert (int(A + 1), float(A * 1.0), bool(A > 5), [1, 2, 3, 4][A]) == (4, 3.0, False, 4)


def test_no_array_of_numpy_is_made_of_it(xp):
    with pytest.raises(TypeError, match="stays on its device"):
        np.asarray(given_array(np.ones(2)))
    with pytest.raises(TypeError):
        np.exp(given_array(np.ones(2)))


def test_operators_with_arrays_of_cupy_and_numbers(xp):
    A, B = given_array(numbers(3)), ndarray(numbers(3, seed=1))
    a, b = value(A), B.get()
    for found, expected in ((A + B, a + b), (B - A, b - a), (2.0 - A, 2 - a), (-A, -a), (abs(A), abs(a)),
                            (A**2.0, a**2), (A // 2.0, a // 2), (A % 2.0, a % 2), (A == B, a == b)):  # fmt: skip
        np.testing.assert_array_equal(value(found), expected)
    words = given_array(np.array([5, 9], "uint32"))
    np.testing.assert_array_equal(value((words << 1) ^ (words & 4) | (words >> 2)), [15, 18])
    np.testing.assert_array_equal(value(~(words > 6)), [True, False])


def test_an_index_that_is_an_array(xp):
    A, rows = given_array(numbers(4, 3)), given_array(np.array([2, 0]))
    np.testing.assert_array_equal(value(A[rows + 1, :]), value(A)[[3, 1]])
    np.testing.assert_array_equal(value(xp.take(A, rows, axis=0)), value(A)[[2, 0]])


def test_ranges_wait_and_know_their_device(xp, launches):
    labels = given_array(np.array([2, 0]))
    found = labels[:, None] == xp.arange(3, dtype=labels.dtype, device=labels.device)
    assert launches == []
    assert value(found).tolist() == [[False, False, True], [True, False, False]]
    assert value(xp.arange(1, 8, 3, dtype=xp.int64)).tolist() == [1, 4, 7]
    assert xp.arange(2, dtype=xp.int64).device == labels.device
    assert value(xp.arange(0, dtype=xp.int64)).shape == (0,)


def test_dtypes_are_those_of_numpy(xp):
    half = given_array(np.ones(2, "float16"))
    assert value(half + 1.0).dtype == np.float16  # which CuPy computes
    counts = given_array(np.array([1, 2]))
    assert value(counts / 2).dtype == np.float64
    assert value(counts + given_array(np.ones(2, "float32"))).dtype == np.float64
    truth = given_array(np.array([True, False]))
    assert value(truth + truth).dtype == bool
    assert value(xp.astype(truth, xp.float32) * 2.0).tolist() == [2, 0]
    assert value(xp.astype(given_array(np.array([0.0, 0.5])), xp.bool)).tolist() == [False, True]


def test_shapes_that_do_not_fit_raise(xp):
    with pytest.raises(ValueError, match="broadcast"):
        given_array(np.ones(3)) + given_array(np.ones(2))
