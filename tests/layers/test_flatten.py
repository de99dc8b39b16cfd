"""Flatten: row-major order, the adjoint, the cache."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mathdl.layers.flatten import Flatten
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


@given(B=st.integers(1, 3), shape=st.lists(st.integers(1, 4), max_size=4).map(tuple))
def test_values_and_gradients(backend, B, shape):
    X = normal(B, *shape)
    A, _, _ = run_layer(Flatten(), {}, X, backend)
    assert_close(A, [definitions.flatten(x) if shape else [x] for x in X.tolist()], rtol=0, atol=0)
    assert Flatten().shapes(shape) == ((A.shape[1],), {})
    check_layer_gradient(Flatten(), {}, X, backend)


def test_backward_is_the_inverse(backend):
    X = normal(2, 3, 4, 5, dtype="float32")
    A, _, _ = run_layer(Flatten(), {}, X, backend)
    _, dX, grads = run_layer(Flatten(), {}, X, backend, dA=A)
    assert_close(dX, X, rtol=0, atol=0)
    assert dX.dtype == X.dtype
    assert grads == {}


def test_cache_is_the_shape(backend):
    _, cache = Flatten().forward({}, backend.put(normal(2, 3, 4, 5)), None)
    assert cache == (2, 3, 4, 5)
