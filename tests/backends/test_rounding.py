"""The rounding backend: its arrays, what is modelled in a context, and its constants."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mathdl as md
from mathdl import arrays
from mathdl.errors import UnknownNameError, UsageError
from mathdl.parity.ulp import FUNCTIONS, bound_of
from mathdl_backends import rounding
from mathdl_backends.rounding import constants
from mathdl_backends.rounding.machine import U64, Machine
from support import host, normal

ROUNDING = arrays.device("rounding")
xp = rounding.namespace

# -- arrays ----------------------------------------------------------------------------------------------------------


def test_what_comes_from_the_host_is_exact():
    for dtype in ("float32", "float64"):
        A = ROUNDING.put(normal(3, 4), dtype)
        assert A.dtype == dtype
        assert A.value.dtype == A.error.dtype == np.float64
        assert not np.any(A.error)
        np.testing.assert_array_equal(A.value, normal(3, 4).astype(dtype))
        np.testing.assert_array_equal(host(A), normal(3, 4).astype(dtype))
    assert ROUNDING.put(np.arange(3)).error is None
    assert ROUNDING.put(np.array([True])).error is None


def test_a_ball_of_value_and_error():
    A = rounding.array([1.0, 0.1], [0.5, 0.0], "float32")
    np.testing.assert_array_equal(A.value, np.float32([1.0, 0.1]))
    np.testing.assert_array_equal(A.error, [0.5, 0.0])
    assert arrays.device_of(A) == ROUNDING
    assert "0.5" in repr(A)
    assert rounding.array(np.ones((2, 3)), 0.25).error.shape == (2, 3)
    assert rounding.array(np.arange(3)).error is None


@pytest.mark.parametrize(("value", "error"), [([1.0], [-0.1]), ([1.0], [np.nan]), ([1], [0.5])])
def test_an_error_that_makes_no_sense(value, error):
    with pytest.raises(UsageError):
        rounding.array(np.asarray(value), error)


def test_views_share_value_and_error():
    flat = rounding.array(np.zeros(6), 0.0, "float32")
    view = xp.reshape(flat[2:6], (2, 2), copy=False)
    view[0, :] = rounding.array(np.ones(2), 0.5, "float32")
    view *= 2.0
    view.T[1, 1] = 7.0
    np.testing.assert_array_equal(flat.value, [0, 0, 2, 2, 0, 7])
    np.testing.assert_allclose(flat.error, [0, 0, 1, 1, 0, 0], rtol=1e-8)
    copy = xp.astype(flat, flat.dtype, copy=True)
    copy += 1.0
    assert flat.value[0] == 0


@pytest.mark.parametrize("function", [xp.abs, xp.sign, lambda x: -x, lambda x: xp.maximum(x, 0.0), lambda x: x + 0.0])
def test_results_share_nothing_with_operands(function):
    x = rounding.array([1.0, -2.0], 0.5, "float32")
    y = function(x)
    y *= 4.0
    y[...] = 0.0
    np.testing.assert_array_equal(x.value, [1, -2])
    np.testing.assert_array_equal(x.error, [0.5, 0.5])


def test_conversions():
    wide = rounding.array([1.0, 0.1, 2.0**-149 / 3], 0.0, "float64")
    narrow = xp.astype(wide, xp.float32)
    assert narrow.error[0] == 0.0
    assert np.all(np.abs(np.float32(wide.value) - narrow.value) <= narrow.error)
    assert np.all(narrow.error[1:] > 0)
    back = xp.astype(narrow, xp.float64)
    np.testing.assert_array_equal(back.error, narrow.error)
    mask = rounding.array([0.1], 0.2, "float32") > 0
    assert xp.astype(mask, xp.float32).error == 1.0
    assert xp.astype(xp.astype(mask, xp.int64), xp.float32).error > 0
    assert (~mask).error == 1.0
    assert (mask & (ROUNDING.put(np.array([True])))).error == 1.0


def test_it_goes_with_its_like_only():
    A = ROUNDING.put(normal(3))
    for other in (normal(3), np.float32(2.0)):
        with pytest.raises(TypeError, match="goes with its like"):
            A + other
        with pytest.raises(TypeError, match="goes with its like"):
            other - A
    with pytest.raises(TypeError, match="squares alone"):
        A**3
    with pytest.raises(TypeError, match="no bound"):
        A % 2.0
    single = ROUNDING.put(normal(3), "float32")
    with pytest.raises(TypeError, match="in place"):
        single += A
    with pytest.raises(IndexError):
        A[A > 0]
    with pytest.raises(ValueError, match="rounding"):
        xp.zeros((2,), device="cpu")


def test_indices_that_are_doubtful_are_refused():
    where = xp.argmax(rounding.array([[1.0, 1.1]], 0.2, "float32"), axis=1)
    with pytest.raises(TypeError, match="decision"):
        xp.take(ROUNDING.put(normal(3)), where, axis=0)
    flags = ROUNDING.put(np.zeros(1, dtype=bool))
    with pytest.raises(TypeError, match="doubtful"):
        flags[...] = rounding.array([0.1], 0.2) > 0


def test_host_scalars():
    assert float(rounding.array(2.5, 0.1)) == 2.5
    assert int(ROUNDING.put(np.array(3))) == 3
    assert [10, 11, 12][ROUNDING.put(np.array(1))] == 11
    assert bool(ROUNDING.put(np.array(True)))
    assert len(ROUNDING.put(normal(4, 2))) == 4


# -- the machine -----------------------------------------------------------------------------------------------------


def test_decisions_are_counted_where_asked():
    x = rounding.array([0.1, 0.3, -0.1], 0.2, "float32")
    assert (x > 0).error.tolist() == [1, 0, 1]
    with rounding.analysis() as outer:
        _ = x > 0
        with rounding.analysis() as inner:
            _ = x > 0
            _ = xp.sign(x)
        _ = ROUNDING.put(np.arange(5)) > 2  # exact integers take no decision that matters
    assert (outer.taken, outer.ambiguous) == (3, 2)
    assert (inner.taken, inner.ambiguous) == (6, 4)


def test_a_context_ends_with_an_error_and_stays_in_its_thread():
    A, B = ROUNDING.put(normal(5, 300), "float32"), ROUNDING.put(normal(300, 5), "float32")
    sure = xp.matmul(A, B).error
    with ThreadPoolExecutor(1) as pool, rounding.analysis(products="bf16"):
        assert np.all(xp.matmul(A, B).error > 2 * sure)
        np.testing.assert_array_equal(pool.submit(lambda: xp.matmul(A, B).error).result(), sure)
    with pytest.raises(ZeroDivisionError), rounding.analysis(sigmas=1.0):
        _ = 1 / 0
    np.testing.assert_array_equal(xp.matmul(A, B).error, sure)


def test_a_machine_that_makes_no_sense():
    with pytest.raises(UnknownNameError, match="tf32"), rounding.analysis(products="tf23"):
        pass
    with pytest.raises(UsageError, match="sigmas"), rounding.analysis(sigmas=0.0):
        pass


def test_gamma():
    u = 2.0**-24
    assert Machine().gamma(1000, u) == pytest.approx(1000 * u, rel=1e-3)
    assert Machine().gamma(1000, u) > 1000 * u
    assert Machine().gamma(2**24, u) == np.inf
    assert Machine(sigmas=2.0).gamma(10000, u) == pytest.approx(200 * u, rel=1e-3)
    assert Machine(sigmas=1e9).gamma(10000, u) == Machine().gamma(10000, u)


def test_a_network_forward_and_backward():
    net = md.Network([md.Dense(12), md.ReLU(), md.Dense(3), md.Softmax()])
    params = net.initialize((8,), device="rounding")
    X, dA = normal(20, 8, dtype="float32"), normal(20, 3, seed=1, dtype="float32")
    with rounding.analysis() as decisions:
        A, tape = net.forward(params, X)
        dX, grads = net.backward(dA, tape)
    theirs, their_tape = net.forward(net.initialize((8,)), X)
    their_dX, their_grads = net.backward(dA, their_tape)
    assert decisions.taken == 20 * 12
    for found, machine in [(A, theirs), (dX, their_dX), *((grads[name], their_grads[name]) for name in grads)]:
        assert np.all(np.abs(machine - found.value) <= found.error)
        assert 0 < np.linalg.norm(found.error) < 1e-3 * np.linalg.norm(found.value)
    assert isinstance(host(A), np.ndarray)


def test_a_fault_as_small_as_tf32_is_seen():
    """What the bounds are for: products of rounded operands lie outside."""
    A, B = normal(16, 64, dtype="float32"), normal(64, 16, seed=1, dtype="float32")

    def tf32(x):
        return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    found = xp.matmul(ROUNDING.put(A), ROUNDING.put(B))
    assert np.all(np.abs(A @ B - found.value) <= found.error)
    assert np.max(np.abs(tf32(A) @ tf32(B) - found.value) / found.error) > 20


# -- constants -------------------------------------------------------------------------------------------------------


def test_every_constant_rests_on_its_record():
    table = constants.table()
    assert set(table) == set(FUNCTIONS)
    for name, record in table.items():
        assert set(record) == {"float32", "float64"}
        for dtype, each in record.items():
            assert each["measured"], name
            assert each["documented"], name
            assert each["bound"] == bound_of(each) == constants.ulps(name, dtype) >= 0.5
            for entry in each["measured"] + each["documented"]:
                assert entry["ulp"] <= each["bound"]
        assert any(entry["inputs"] == 2**32 for entry in record["float32"]["measured"]), f"{name}: not all numbers"


def test_functions_take_their_constants_from_the_file():
    x = ROUNDING.put(np.float32([1.5]))
    for name in ("exp", "log", "tanh"):
        found = getattr(xp, name)(x)
        assert found.error[0] == pytest.approx(2 * constants.ulps(name, "float32") * 2.0**-24 * abs(found.value[0]))
    wide = xp.exp(ROUNDING.put(np.array([1.5])))
    assert wide.error[0] == pytest.approx(4 * constants.ulps("exp", "float64") * U64 * wide.value[0])
