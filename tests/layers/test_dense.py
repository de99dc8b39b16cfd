"""Dense: values against the texts' sums, gradients against differences, the cache, the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import ShapeError, UsageError
from mathdl.layers.dense import Dense, DenseCache, dense_forward
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


@given(B=st.integers(1, 5), n_in=st.integers(1, 7), n_out=st.integers(1, 6), bias=st.booleans())
def test_values_and_gradients(backend, B, n_in, n_out, bias):
    layer = Dense(n_out, bias=bias)
    X, params = normal(B, n_in), {"W": normal(n_in, n_out, seed=1)} | ({"b": normal(n_out, seed=2)} if bias else {})
    A, _, _ = run_layer(layer, params, X, backend)
    b = params.get("b", np.zeros(n_out))
    assert_close(A, definitions.dense(X.tolist(), params["W"].tolist(), b.tolist()))
    check_layer_gradient(layer, params, X, backend)


def test_shapes():
    assert Dense(3).shapes((5,)) == ((3,), {"W": (5, 3), "b": (3,)})
    assert Dense(3, bias=False).shapes((5,)) == ((3,), {"W": (5, 3)})
    assert Dense(3).multiply_adds((5,)) == 15


def test_float32_stays_float32(backend):
    params = {"W": normal(4, 3, dtype="float32"), "b": normal(3, dtype="float32")}
    A, dX, grads = run_layer(Dense(3), params, normal(2, 4, dtype="float32"), backend, dA=normal(2, 3, dtype="float32"))
    assert {A.dtype, dX.dtype, grads["W"].dtype, grads["b"].dtype} == {np.dtype("float32")}


def test_cache_is_the_input_and_the_weights():
    A, W = normal(2, 3), normal(3, 4)
    _, cache = dense_forward(A, W, None)
    assert isinstance(cache, DenseCache)
    assert cache.A is A
    assert cache.W is W


def test_images_need_flatten():
    with pytest.raises(ShapeError, match=r"Dense: .*Flatten.*\(n\[l-1\],\) = \(28, 28, 1\)"):
        Dense(10).shapes((28, 28, 1))


@pytest.mark.parametrize("width", [0, -1, 2.5, True, "10"])
def test_width_must_be_a_positive_int(width):
    with pytest.raises(UsageError, match="width must be an int ≥ 1"):
        Dense(width)
