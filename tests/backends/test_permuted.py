"""The permuted backend: correct in another order, incorrect where it is told to be, and nowhere else."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mathdl as md
from mathdl import arrays
from mathdl.errors import UnknownNameError
from mathdl.parity.ulp import reference, ulp_errors
from mathdl.primitive import PRIMITIVES
from mathdl.sums import sum_rows
from mathdl_backends import permuted, rounding
from support import host, normal

PERMUTED, ROUNDING = arrays.device("permuted"), arrays.device("rounding")
xp = permuted.namespace

# -- correct, in another way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "keywords"),
    [("sum", {"axis": 1}), ("sum", {"axis": (0, 2), "keepdims": True}), ("sum", {}), ("mean", {"axis": -1})],
)
def test_sums_in_another_order(dtype, name, keywords):
    x = normal(17, 90, 5, dtype=dtype)
    found = getattr(xp, name)(PERMUTED.put(x), **keywords)
    numpys = getattr(np, name)(x, **keywords)
    assert host(found).dtype == dtype
    assert found.shape == np.shape(numpys)
    bound = getattr(rounding.namespace, name)(ROUNDING.put(x), **keywords)
    assert np.all(np.abs(host(found) - bound.value) <= bound.error)
    assert np.any(host(found) != numpys)


@pytest.mark.parametrize("n", [1, 3, 31, 32, 33, 500])
def test_products_in_another_order(n):
    A, B = normal(20, n, dtype="float32"), normal(n, 30, seed=1, dtype="float32")
    found = host(xp.matmul(PERMUTED.put(A), PERMUTED.put(B)))
    bound = rounding.namespace.matmul(ROUNDING.put(A), ROUNDING.put(B))
    assert np.all(np.abs(found - bound.value) <= bound.error)
    assert found.dtype == np.float32
    assert np.any(found != A @ B) or n == 1


def test_empty_sums_and_products():
    assert host(xp.sum(PERMUTED.put(np.zeros((3, 0))), axis=1)).tolist() == [0, 0, 0]
    assert host(xp.matmul(PERMUTED.put(np.zeros((2, 0))), PERMUTED.put(np.zeros((0, 2))))).tolist() == [[0, 0], [0, 0]]
    assert host(xp.sum(PERMUTED.put(np.array([2, 3, 2**60])))) == 2**60 + 5  # integers stay exact
    assert host(xp.sum(PERMUTED.put(np.float32(7.0)))) == 7.0


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh"])
def test_functions_are_rounded_once(name):
    x = np.abs(normal(20000, dtype="float32")) * 5
    errors = ulp_errors(host(getattr(xp, name)(PERMUTED.put(x))), reference(name, x))
    assert 0.45 < np.max(errors) <= 0.5
    assert host(getattr(xp, name)(PERMUTED.put(x.astype(np.float64)))).dtype == np.float64


def test_the_same_order_at_every_call_unless_another_is_asked_for():
    x = PERMUTED.put(normal(50, 400, dtype="float32"))
    first = host(xp.sum(x, axis=1))
    np.testing.assert_array_equal(host(xp.sum(x, axis=1)), first)
    with permuted.reordered(1):
        other = host(xp.sum(x, axis=1))
        assert np.any(other != first)
        np.testing.assert_array_equal(host(xp.sum(x, axis=1)), other)
        with permuted.reordered(0):
            np.testing.assert_array_equal(host(xp.sum(x, axis=1)), first)
    np.testing.assert_array_equal(host(xp.sum(x, axis=1)), first)


def test_training_is_that_of_the_cpu_up_to_rounding():
    X, Y = normal(200, 6, dtype="float32"), np.random.default_rng(0).integers(0, 3, 200)

    def trained(device):
        trainer = md.Trainer(md.Network([md.Dense(8), md.Tanh(), md.Dense(3), md.Softmax()]), seed=1, device=device)
        trainer.fit(X, Y, epochs=3)
        return host(trainer.params.vector), trainer.predict(X)

    (theta, P), (theirs, their_P) = trained("cpu"), trained("permuted")
    assert np.any(theta != theirs)
    np.testing.assert_allclose(theirs, theta, atol=1e-5)
    np.testing.assert_allclose(their_P, P, atol=1e-5)


def test_its_arrays_go_with_their_like_only():
    A = PERMUTED.put(normal(3))
    for other in (normal(3), np.float32(2.0), ROUNDING.put(normal(3))):
        with pytest.raises(TypeError):
            A + other
        with pytest.raises(TypeError):
            other * A
        with pytest.raises(TypeError):
            xp.maximum(A, other)
    with pytest.raises(TypeError):
        A[...] = normal(3)


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_faulty_function():
    A = PERMUTED.put(normal(4, 4, dtype="float32"))
    before = host(xp.exp(A))
    with permuted.faulty(exp=lambda exp, x: exp(x) * 2.0):
        np.testing.assert_array_equal(host(xp.exp(A)), 2 * before)
        assert xp.exp(A).device == "permuted"
        np.testing.assert_array_equal(host(xp.tanh(A)), np.tanh(host(A).astype(np.float64)).astype(np.float32))
    np.testing.assert_array_equal(host(xp.exp(A)), before)


def test_a_fault_may_return_numpy_arrays_and_other_dtypes():
    A = PERMUTED.put(normal(4, 4, dtype="float32"))
    with permuted.faulty(matmul=lambda matmul, A, B: host(A).astype(np.float64) @ host(B)):
        found = xp.matmul(A, A)
    assert found.dtype == np.float64
    assert arrays.backend_of(found) is PERMUTED.backend


def test_faults_reach_operators():
    A = PERMUTED.put(np.float32([1e-30, 2.0]))
    with permuted.faulty(multiply=lambda multiply, a, b: xp.where(xp.abs(p := multiply(a, b)) < 2.0**-126, 0.0, p)):
        assert host(A * 1e-10).tolist() == [0.0, float(np.float32(2e-10))]
        B = A
        B *= 1e-10
    assert B is A
    assert host(A)[0] == 0.0
    assert host(PERMUTED.put(np.float32([1e-30])) * 1e-10)[0] > 0


def test_faults_reach_primitives():
    D = PERMUTED.put(normal(5, 3))
    with permuted.faulty(sum_rows=lambda healthy, D, into=None: healthy(D, into) * 0.5):
        np.testing.assert_allclose(host(sum_rows(D)), host(D).sum(axis=0) / 2)
        assert sum_rows.explain(D) == "permuted kernel"
    np.testing.assert_allclose(host(sum_rows(D)), host(D).sum(axis=0))
    assert sum_rows.explain(D) == "reference: permuted declined, it has no fault"
    assert set(permuted.kernels()) == set(PRIMITIVES)


def test_what_a_fault_calls_is_healthy():
    """A replacement of exp that calls exp, here through the namespace, is not called again."""
    A = PERMUTED.put(normal(3))
    with permuted.faulty(exp=lambda exp, x: xp.exp(x) + 1.0):
        np.testing.assert_allclose(host(xp.exp(A)), np.exp(host(A)) + 1.0)


def test_faults_are_nested_and_end_with_errors():
    A = PERMUTED.put(np.array([4.0]))
    with permuted.faulty(sqrt=lambda sqrt, x: sqrt(x) + 1.0):
        with permuted.faulty(sqrt=lambda sqrt, x: sqrt(x) + 2.0, log=lambda log, x: x):
            assert (host(xp.sqrt(A))[0], host(xp.log(A))[0]) == (4.0, 4.0)
        assert (host(xp.sqrt(A))[0], host(xp.log(A))[0]) == (3.0, math.log(4.0))
    with pytest.raises(ZeroDivisionError), permuted.faulty(sqrt=lambda sqrt, x: 1 / 0):
        xp.sqrt(A)
    assert host(xp.sqrt(A))[0] == 2.0


def test_faults_stay_in_their_context():
    A = PERMUTED.put(np.array([4.0]))
    with ThreadPoolExecutor(1) as pool, permuted.faulty(sqrt=lambda sqrt, x: x):
        assert host(xp.sqrt(A))[0] == 4.0
        assert pool.submit(lambda: host(xp.sqrt(A))[0]).result() == 2.0


def test_a_faulty_training_step():
    X, Y = normal(32, 6, dtype="float32"), np.random.default_rng(0).integers(0, 3, 32)

    def theta():
        trainer = md.Trainer(md.Network([md.Dense(3), md.Softmax()]), batch_size=32, device="permuted")
        trainer.fit(X, Y, epochs=1)
        return host(trainer.params.vector)

    healthy = theta()
    np.testing.assert_array_equal(theta(), healthy)
    with permuted.faulty(matmul=lambda matmul, A, B: matmul(A, B) * 1.5):
        assert np.any(theta() != healthy)
    np.testing.assert_array_equal(theta(), healthy)


@pytest.mark.parametrize("name", ["matmull", "no_such_function"])
def test_a_fault_in_nothing(name):
    with pytest.raises(UnknownNameError, match=name), permuted.faulty(**{name: lambda healthy: None}):
        pass
