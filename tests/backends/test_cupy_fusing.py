"""Pointwise bodies as one kernel each, and functions of CuPy's arrays that take lazy ones."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import mathdl  # noqa: F401 - defines all primitives
from host_cupy import COMPILER, ndarray
from mathdl.primitive import PRIMITIVES
from mathdl_backends.cupy import sums
from mathdl_backends.cupy.fusing import expressed, forced, kernel, partial_column_sums, pointwise
from mathdl_backends.cupy.lazy import Lazy

pytestmark = [pytest.mark.skipif(COMPILER is None, reason="no C compiler"), pytest.mark.usefixtures("xp", "launches")]
POINTWISE = {name: each for name, each in PRIMITIVES.items() if each.pointwise and each.__module__.startswith("mathdl")}


def raw(A):
    return ndarray(A)


def shared(A):
    return Lazy(ndarray(A), shared=True)


def own(A):
    return Lazy(ndarray(A))


def waiting(A):
    return own(A) + 0.0


def value(A):
    return (A.array if isinstance(A, Lazy) else A).get()


# -- pointwise bodies --------------------------------------------------------------------------------------------------


def arguments(name, dtype="float32"):
    parameters = list(inspect.signature(POINTWISE[name].__wrapped__).parameters.values())[1:]
    assert all(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)
    inside = (0.1 + 0.8 * np.random.default_rng(0).random((len(parameters), 3, 4))).astype(dtype)
    return [0.25 if each.annotation == "float" else A for each, A in zip(parameters, inside, strict=True)]


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("put", [raw, shared, own, waiting])
def test_a_body_is_one_kernel(xp, launches, name, put):
    args = arguments(name)
    expected_args = [A.copy() if isinstance(A, np.ndarray) else A for A in args]
    expected = POINTWISE[name].__wrapped__(np, *expected_args)
    given = [put(A) if isinstance(A, np.ndarray) else A for A in args]
    kernel = pointwise(POINTWISE[name].__wrapped__, xp)
    assert kernel.supports(*given) is None
    found = kernel.run(*given)
    assert len(launches) <= (put in (raw, shared))
    assert (found is None) is (expected is None)
    pairs = [(A, a) for A, a in zip(given, expected_args, strict=True) if not isinstance(A, float)]
    if expected is not None:
        pairs.append((found, expected))
        assert type(found) is (ndarray if put is raw else Lazy)
    close = {"rtol": 1e-6, "atol": 1e-6} if put is waiting else {"rtol": 1e-6, "atol": 1e-7}
    for A, a in pairs:
        np.testing.assert_allclose(value(A), a, **close)
        assert value(A).dtype == a.dtype
    if put is raw:
        assert len(launches) == 1


def test_there_are_bodies_of_every_kind():
    assert {"relu_backward", "momentum_step", "adam_step", "dropout_forward", "rmsprop_direction"} <= set(POINTWISE)


@pytest.mark.parametrize("name", ["relu_backward", "dropout_backward"])
@pytest.mark.parametrize("put", [raw, shared, own])
def test_what_is_updated_in_place_comes_back_itself(xp, name, put):
    given = [put(A) if isinstance(A, np.ndarray) else A for A in arguments(name)]
    assert pointwise(POINTWISE[name].__wrapped__, xp).run(*given) is given[0]


@pytest.mark.parametrize("put", [raw, shared])
def test_what_is_made_of_what_is_overwritten_is_made_with_it(xp, launches, put):
    """G / (√S + ε) with the new S, and S in its place: one kernel, or the old S would be gone."""
    G, S, rho, epsilon = arguments("rmsprop_direction")
    new = rho * S + (1 - rho) * G * G
    kept = put(S)
    found = pointwise(POINTWISE["rmsprop_direction"].__wrapped__, xp).run(put(G), kept, rho, epsilon)
    assert len(launches) == 1
    np.testing.assert_allclose(value(kept), new, rtol=1e-6)
    np.testing.assert_allclose(value(found), G / (np.sqrt(new) + epsilon), rtol=1e-6)


@pytest.mark.parametrize("put", [raw, shared])
def test_updates_of_several_shapes_and_of_one_memory(xp, put):
    def body(xp, a, b, c):
        a += b
        b += 1.0
        c += a[:1]

    memory = np.arange(6.0)
    whole = raw(memory.copy())
    a, b = (A if put is raw else Lazy(A, shared=True) for A in (whole[:4], whole[2:]))
    c = put(np.zeros(1))
    pointwise(body, xp).run(a, b, c)
    expected_a = memory[:4] + memory[2:]
    np.testing.assert_array_equal(value(c), expected_a[:1])
    np.testing.assert_array_equal(value(b), memory[2:] + 1)  # the later of two that overlap


def test_updates_of_one_memory_are_of_the_values_before(xp):
    def body(xp, a, b):
        a += b
        b += 1.0

    memory = np.arange(6.0)
    whole = raw(memory.copy())
    pointwise(body, xp).run(whole[:4], whole[2:])
    np.testing.assert_array_equal(value(whole), [*(memory[:2] + memory[2:4]), *(memory[2:] + 1)])


def test_what_waits_is_computed_before_a_body_writes(xp):
    A = shared(np.ones((3, 4), "float32"))
    before = A * 3.0
    pointwise(POINTWISE["relu_backward"].__wrapped__, xp).run(A, shared(np.zeros((3, 4), "float32")))
    assert (value(A) == 0).all()
    assert (value(before) == 3).all()


def test_arguments_come_by_position(xp):
    kernel = pointwise(lambda xp, A, by=2.0: A * by, xp)
    assert "by position" in kernel.supports(raw(np.ones(2)), by=3.0)
    np.testing.assert_array_equal(value(kernel.run(raw(np.ones(2)), 3.0)), [3, 3])


def test_a_body_of_other_functions_is_right_too(xp):
    kernel = pointwise(lambda xp, A: xp.clip(A, 0.0, 1.0) + xp.floor(A), xp)
    np.testing.assert_array_equal(value(kernel.run(raw(np.array([-0.5, 0.5, 2.5])))), [-1, 0.5, 3])


# -- functions of CuPy's arrays ----------------------------------------------------------------------------------------


def test_a_function_gets_arrays_and_its_results_are_lazy():
    def function(A, more, *, scale):
        assert all(isinstance(each, ndarray) for each in (A, *more["arrays"], scale))
        return A + scale, more["arrays"][0], 5

    first, second = forced(function)(waiting(np.ones(2)), {"arrays": [shared(np.zeros(2))]}, scale=own(np.ones(1)))[:2]
    np.testing.assert_array_equal(value(first), [2, 2])
    assert isinstance(first, Lazy)
    assert not first.shared
    assert second.shared
    plain = forced(lambda A: A * 2.0)(raw(np.ones(2)))
    assert isinstance(plain, ndarray)


def test_what_a_function_was_given_comes_back_itself_and_views_are_shared():
    A = own(np.ones((2, 3)))
    assert forced(lambda A: A)(A) is A
    view = forced(lambda A: A.reshape(3, 2))(A)
    assert view.shared
    assert A.shared
    view *= 2.0
    assert value(A).tolist() == [[2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize("keyword", [False, True])
def test_what_waits_is_computed_before_a_function_writes(keyword):
    def fill(A, into):
        into[...] = A
        return into

    A, into = shared(np.zeros(2)), shared(np.ones(2))
    before = into * 3.0
    function = forced(fill, writes=(1, "into"))
    assert (function(A, into=into) if keyword else function(A, into)) is into
    assert (value(into).tolist(), value(before).tolist()) == ([0, 0], [3, 3])


def test_a_kernel_asks_of_arrays_whether_it_takes_them():
    found = kernel(lambda A: A * 2.0, lambda A: None if isinstance(A, ndarray) and A.ndim == 1 else "no vector")
    assert found.supports(waiting(np.ones(2))) is None
    assert found.supports(waiting(np.ones((2, 2)))) == "no vector"
    assert kernel(lambda A: A).supports is None


def test_a_function_of_lazy_arrays_takes_others():
    function = expressed(lambda A, by: (A * by, A))
    found, same = function(raw(np.ones(2)), 2.0)
    assert isinstance(found, ndarray)
    assert isinstance(same, ndarray)
    assert isinstance(function(own(np.ones(2)), 2.0)[0], Lazy)


# -- sums over rows ----------------------------------------------------------------------------------------------------


def test_a_large_sum_over_rows_does_not_compute_what_waits(launches):
    A = np.arange(300000.0).reshape(100000, 3) % 5
    D, into = shared(A) * shared(A), shared(np.zeros(3))
    found = sums.KERNELS["sum_rows"].run(D)
    assert launches == ["mathdl_multiply_columns", "ones", "product"]
    np.testing.assert_array_equal(value(found), (A * A).sum(axis=0))
    assert sums.KERNELS["sum_rows"].run(D, into) is into
    np.testing.assert_array_equal(value(into), (A * A).sum(axis=0))
    assert D.waits


@pytest.mark.parametrize("of", [
    lambda: shared(np.ones((300000, 1))),
    lambda: shared(np.ones((300, 3))) * 2.0,
    lambda: Lazy(expression=(shared(np.ones((300000, 1))).own_namespace.sum(
        shared(np.ones((300000, 2))), axis=1, keepdims=True)).expression),
])  # fmt: skip
def test_a_small_one_and_what_is_no_expression_of_columns_is_computed_before(of):
    D = of()
    assert partial_column_sums(D) is D
    np.testing.assert_array_equal(value(sums.KERNELS["sum_rows"].run(D)), value(D).sum(axis=0))
