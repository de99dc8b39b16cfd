"""Kernels written for expressions, compiled as C: the bits of NumPy's calls, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_cupy import COMPILER, ElementwiseKernel, Machine, ndarray, on_the_host
from mathdl_backends.cupy import expressions, generated
from mathdl_backends.cupy.expressions import array, called, cast, reduction, total

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -3.75, 1e-30, 1e30, np.inf, -np.inf, np.nan]


@pytest.fixture(scope="module", autouse=True)
def cupy():
    with on_the_host():
        yield


@pytest.fixture
def sources(monkeypatch):
    """The kernels that are asked for."""
    found, original = [], generated.compiled
    monkeypatch.setattr(generated, "compiled", lambda source: found.append(source) or original(source))
    return found


def computed(*wanted):
    into = [ndarray(np.full(each.shape, 77, each.dtype)) for each in wanted]
    generated.compute(wanted, into)
    found = [A.get() for A in into]
    return found[0] if len(found) == 1 else found


def on_device(A):
    return array(ndarray(A))


def plain_call(name, *args):
    with np.errstate(all="ignore"):
        return getattr(np, name)(*args)


OF_TWO = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "less_equal", "greater",
          "greater_equal", "equal", "not_equal"]  # fmt: skip
EXACT = ["negative", "abs", "sign", "sqrt", "square", "isnan", "isfinite"]
NEARLY = ["exp", "expm1", "log", "log1p", "tanh"]


def test_every_function_is_tried():
    logical = {"logical_and", "logical_or", "logical_not"}
    bits = {"bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"}
    assert {*OF_TWO, *EXACT, *NEARLY, *logical, *bits, "power", "where"} == expressions.NAMES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two(name, dtype):
    a, b = (A.astype(dtype) for A in np.meshgrid(SPECIAL, SPECIAL))
    found, expected = computed(called(name, on_device(a), on_device(b))), plain_call(name, a, b)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(computed(called(name, on_device(a), 2.5)), plain_call(name, a, 2.5))
    np.testing.assert_array_equal(computed(called(name, 2.5, on_device(a))), plain_call(name, 2.5, a))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*EXACT, *NEARLY])
def test_functions_of_one(name, dtype):
    A = np.array([*SPECIAL, *np.linspace(-4, 4, 50)], dtype)
    found, expected = computed(called(name, on_device(A))), plain_call(name, A)
    assert found.dtype == expected.dtype
    if name in EXACT:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_a_power_and_a_choice():
    A = np.array([0.5, 2.0, 3.0])
    np.testing.assert_allclose(computed(called("power", on_device(A), 3.0)), A**3, rtol=1e-15)
    np.testing.assert_array_equal(computed(called("where", called("greater", on_device(A), 1.0), on_device(A), 0.0)),
                                  [0, 2, 3])  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint32", "int64", "uint8"])
def test_functions_of_words(dtype):
    a, b = np.array([0, 1, 5, 200], dtype), np.array([3, 1, 2, 3], dtype)
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "add", "multiply"):
        np.testing.assert_array_equal(computed(called(name, on_device(a), on_device(b))), plain_call(name, a, b))
    p, q = a > 0, b > 2
    for name in ("logical_and", "logical_or", "bitwise_xor"):
        np.testing.assert_array_equal(computed(called(name, on_device(p), on_device(q))), plain_call(name, p, q))
    np.testing.assert_array_equal(computed(called("logical_not", on_device(p))), ~p)
    np.testing.assert_array_equal(computed(called("isnan", on_device(a))), np.zeros(4, bool))
    np.testing.assert_array_equal(computed(called("isfinite", on_device(a))), np.ones(4, bool))


@pytest.mark.parametrize(("name", "args"), [
    ("abs", (np.array([1]),)), ("add", (np.array([True]), np.array([True]))), ("add", (np.ones(1, "float16"), 1.0)),
    ("floor_divide", (np.ones(1), 2.0)), ("add", (np.ones(2), np.ones(3))), ("add", (np.ones(1, "uint8"), 300)),
    ("exp", (np.ones(1, complex),)), ("add", (1.0, 2.0)),
])  # fmt: skip
def test_what_is_left_to_cupy(name, args):
    assert called(name, *(on_device(A) if isinstance(A, np.ndarray) else A for A in args)) is None


def test_casts():
    A = np.array([0.0, 0.5, -2.0, np.nan])
    for dtype in ("float32", "int32", "bool"):
        source = A[:3] if dtype == "int32" else A
        np.testing.assert_array_equal(computed(cast(on_device(source), dtype)), source.astype(dtype))
    again = on_device(A)
    assert cast(again, "float64") is again


def test_arrays_broadcast_and_lie_as_they_may():
    A, v, c = np.arange(12.0).reshape(4, 3), np.arange(3.0), np.arange(4.0)[:, None]
    for a in (A, np.asfortranarray(A), np.arange(24.0).reshape(4, 6)[:, ::2]):
        found = computed(called("add", called("multiply", on_device(a), on_device(v)), on_device(c)))
        np.testing.assert_array_equal(found, a * v + c)
    into = np.zeros((4, 6))
    generated.compute([called("add", on_device(v), 1.0)], [ndarray(into)[:, ::2]])
    np.testing.assert_array_equal(into[:, ::2], np.broadcast_to(v + 1, (4, 3)))
    assert not into[:, 1::2].any()


def test_a_range_along_the_last_axis():
    y, j = on_device(np.array([[2], [0]])), expressions.arange(0, 1, 3, "int64")
    np.testing.assert_array_equal(computed(called("equal", y, j)), [[False, False, True], [True, False, False]])
    np.testing.assert_array_equal(computed(expressions.arange(5, -2, 3, "int64")), [5, 3, 1])
    one = called("add", expressions.arange(4, 1, 1, "int64"), on_device(np.array([[1], [2]])))
    np.testing.assert_array_equal(computed(one), [[5], [6]])


def test_several_results_of_the_values_before():
    a, b = ndarray(np.array([1.0, 2.0])), ndarray(np.array([10.0, 20.0]))
    generated.compute([called("add", array(a), array(b)), called("subtract", array(a), array(b))], [a, b])
    assert (a.get().tolist(), b.get().tolist()) == ([11, 22], [-9, -18])


def test_a_part_that_comes_twice_is_computed_once(sources):
    E = called("exp", on_device(np.ones(3)))
    np.testing.assert_allclose(computed(called("multiply", E, called("add", E, 1.0))), np.e * (np.e + 1))
    assert sources[0].body.count("exp(") == 1
    assert sources[0].inputs.count(",") == 1


def test_a_kernel_is_compiled_once_for_all_numbers():
    generated.compiled.cache_clear()
    for number in (1.5, 2.5, -0.0):
        np.testing.assert_array_equal(computed(called("multiply", on_device(np.ones(2)), number)), number)
    assert generated.compiled.cache_info().currsize == 1
    zeros = called("add", called("divide", on_device(np.ones(1)), 0.0), called("divide", on_device(np.ones(1)), -0.0))
    assert np.isnan(computed(zeros)[0]), "0 and −0 are two numbers"


def test_products_and_sums_are_rounded_one_by_one(monkeypatch):
    made = []
    monkeypatch.setattr(ElementwiseKernel, "__init__", spy(ElementwiseKernel.__init__, made))
    generated.compiled.cache_clear()
    computed(called("add", called("multiply", on_device(np.ones(2)), 3.0), 1.0))
    generated.compiled.cache_clear()
    assert made == [{"options": ("--fmad=false",)}]


def spy(original, made):
    def init(self, *args, **keywords):
        made.append(keywords)
        original(self, *args, **keywords)

    return init


def test_names_tell_what_a_kernel_does():
    Machine.launches.clear()
    Z = called("maximum", called("add", on_device(np.ones(2)), 1.0), 0.0)
    computed(Z)
    computed(on_device(np.ones(2)))
    assert Machine.launches == ["mathdl_add_maximum", "mathdl_copy"]


# -- reductions --------------------------------------------------------------------------------------------------------

ROWS = st.integers(1, 9), st.sampled_from([1, 2, 3, 31, 32, 33, 200, 1024, 1025, 3000])


def spiced(shape, seed):
    """Small whole numbers, so that there are ties, with infinities and NaN."""
    rng = np.random.default_rng(seed)
    A = rng.integers(-2, 3, shape).astype(float)
    A[rng.random(shape) < 0.02] = -np.inf
    A[rng.random(shape) < 0.01] = np.nan
    return A


@given(rows=ROWS[0], length=ROWS[1], seed=st.integers(0, 99), dtype=st.sampled_from(["float32", "float64"]))
def test_reductions_of_rows(rows, length, seed, dtype):
    A = spiced((rows, length), seed).astype(dtype)
    N = np.random.default_rng(seed).integers(-9, 10, (rows, length)).astype(dtype)
    largest, place, sums = (
        reduction(name, on_device(a)) for name, a in (("max", A), ("argmax", A), ("sum", N))
    )  # fmt: skip
    np.testing.assert_array_equal(computed(largest), A.max(axis=1, keepdims=True))
    np.testing.assert_array_equal(computed(place), A.argmax(axis=1)[:, None])
    np.testing.assert_array_equal(computed(sums), N.sum(axis=1, keepdims=True))
    assert (largest.dtype, place.dtype, sums.dtype) == (dtype, np.int64, dtype)


@given(rows=ROWS[0], length=ROWS[1], seed=st.integers(0, 99))
def test_a_sum_is_near_the_exact_one_and_the_same_for_any_rows_beside(rows, length, seed):
    A = np.random.default_rng(seed).standard_normal((rows, length)).astype("float32")
    found = computed(reduction("sum", on_device(A)))
    bound = np.abs(A).astype(float).sum(axis=1) * (length / 32 + 34) * np.finfo("float32").eps
    assert np.all(np.abs(found[:, 0] - A.astype(float).sum(axis=1)) <= bound)
    np.testing.assert_array_equal(computed(reduction("sum", on_device(A[-1:]))), found[-1:])


@given(lead=st.sampled_from([(4,), (2, 3), ()]), length=ROWS[1])
def test_reductions_one_after_the_other_with_rows_columns_and_numbers(lead, length):
    rng = np.random.default_rng(length)
    A, c = rng.standard_normal((*lead, length)), rng.standard_normal((*lead, 1))
    v, s = rng.standard_normal(length), rng.standard_normal(1)
    a = called("multiply", called("add", on_device(A), on_device(v)), on_device(c))
    centred = called("subtract", a, called("divide", reduction("sum", a), float(length)))
    squares = reduction("sum", called("square", centred))
    scaled = called("divide", centred, called("sqrt", called("add", squares, on_device(s**2))))
    expected = (A + v) * c
    expected = expected - expected.mean(axis=-1, keepdims=True)
    norm = np.sqrt((expected**2).sum(axis=-1, keepdims=True) + s**2)
    np.testing.assert_allclose(computed(scaled), expected / norm, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(computed(squares), norm**2 - s**2, rtol=1e-9, atol=1e-12)
    both = computed(scaled, squares)  # a matrix and a column of one kernel
    np.testing.assert_array_equal(both[0], computed(scaled))
    np.testing.assert_array_equal(both[1], computed(squares))


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 5000])
def test_a_figure_of_all_numbers(n):
    values, weights, Sigma = np.arange(n) % 5.0, np.arange(n) % 3.0, np.array([4.0])
    both = called("multiply", on_device(values[:, None]), on_device(weights[:, None]))
    figure = called("add", called("divide", total(both), on_device(Sigma)), total(on_device(values[:, None])))
    assert figure.shape == (1,)
    np.testing.assert_allclose(computed(figure), values @ weights / 4 + values.sum())


def test_a_long_row_and_a_figure_have_a_block_of_threads(sources):
    short, long = (on_device(np.ones((2, n))) for n in (1024, 1025))
    for each in (reduction("sum", short), reduction("sum", long), total(short)):
        computed(each)
    assert ["row = i / 256," in source.body for source in sources] == [False, True, True]


def test_what_is_the_same_for_a_row_is_computed_once_for_it(sources):
    A = on_device(np.ones((3, 40)))
    computed(called("divide", A, called("sqrt", reduction("sum", A))))
    last = sources[0].body.split("__syncthreads();")[-1]
    assert last.index("sqrt(") < last.index("for (ptrdiff_t j")


@pytest.mark.parametrize(("R", "k", "columns"), [(70000, 3, (3,)), (300000, 1, (1,)), (4000, 64, (1, 64)), (9, 5, ())])
def test_sums_of_columns_in_parts(R, k, columns):
    A, c = np.arange(R * k).reshape(R, k) % 7.0, np.arange(R)[:, None] % 3.0
    v = np.arange(1.0, 1 + int(np.prod(columns))).reshape(columns)
    expression = called("multiply", called("add", on_device(A), on_device(v)), on_device(c))
    found = generated.column_sums(expression).get()
    assert found.shape == (generated.part_count(R, k), k)
    np.testing.assert_array_equal(found.sum(axis=0), ((A + v) * c).sum(axis=0))


def test_sums_of_columns_of_what_depends_on_the_column():
    A = np.arange(200000.0).reshape(50000, 4) % 7
    weighted = called("multiply", on_device(A), expressions.arange(1, 2, 4, "float64"))
    found = generated.column_sums(weighted).get()
    np.testing.assert_array_equal(found.sum(axis=0), A.sum(axis=0) * [1, 3, 5, 7])
