"""LayerNorm: values and gradients, rows by themselves, float32 far from 0, the cache, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import ShapeError, UsageError
from mathdl.layers.layer_norm import LayerNorm, LayerNormCache, layer_norm_forward
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


def parameters(k):
    return {"gamma": 1 + 0.3 * normal(k, seed=1), "beta": normal(k, seed=2)}


@given(B=st.integers(1, 4), shape=st.sampled_from([(3,), (5,), (2, 3), (2, 3, 4)]))
def test_values_and_gradients(backend, B, shape):
    X, params = 3 + 2 * normal(B, *shape), parameters(shape[-1])
    A, _, _ = run_layer(LayerNorm(), params, X, backend)
    assert_close(A, definitions.layer_norm(X.tolist(), params["gamma"].tolist(), params["beta"].tolist(), 1e-5))
    check_layer_gradient(LayerNorm(epsilon=0.01), params, X, backend)


def test_rows_do_not_touch_one_another(backend):
    X = normal(3, 4)
    whole, _, _ = run_layer(LayerNorm(), parameters(4), X, backend)
    X[0] = np.nan
    A, _, _ = run_layer(LayerNorm(), parameters(4), X, backend)
    assert np.isnan(A[0]).all()
    np.testing.assert_array_equal(A[1:], whole[1:])


def test_one_channel_is_beta(backend):
    A, dX, _ = run_layer(LayerNorm(), parameters(1), normal(2, 1), backend, dA=normal(2, 1, seed=1))
    assert_close(A, np.full((2, 1), parameters(1)["beta"][0]))
    assert_close(dX, np.zeros((2, 1)))


def test_float32_stays_float32_and_keeps_its_variance_far_from_zero(backend):
    X = (1e4 + normal(2, 64)).astype("float32")
    params = {name: value.astype("float32") for name, value in parameters(64).items()}
    A, dX, grads = run_layer(LayerNorm(), params, X, backend, dA=normal(2, 64, dtype="float32"))
    assert {A.dtype, dX.dtype, grads["gamma"].dtype, grads["beta"].dtype} == {np.dtype("float32")}
    exact = X.astype("float64")
    N = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    assert_close(A, params["gamma"] * N + params["beta"], rtol=0, atol=5e-3)  # the mean is exact to about 1e-3


def test_cache(backend):
    X, params = normal(4, 2, 3), parameters(3)
    _, cache = layer_norm_forward(X, params["gamma"], params["beta"], 1e-5)
    assert isinstance(cache, LayerNormCache)
    assert LayerNormCache._fields == ("N", "gamma", "scale")
    assert (cache.N.shape, cache.scale.shape) == ((4, 2, 3), (4, 2, 1))
    assert cache.gamma is params["gamma"]


def test_shapes_and_initial_values():
    layer = LayerNorm()
    assert not layer.couples_instances
    assert layer.shapes((4, 3)) == ((4, 3), {"gamma": (3,), "beta": (3,)})
    initial = {name: make((3,), (3, 3), (0, 0)).tolist() for name, make in layer.initializers().items()}
    assert initial == {"gamma": [1, 1, 1], "beta": [0, 0, 0]}


def test_an_instance_needs_an_axis():
    with pytest.raises(ShapeError, match=r"LayerNorm: .*Reshape.*\(…, k\) = \(\)"):
        LayerNorm().shapes(())


@pytest.mark.parametrize("epsilon", [0, -1e-5, np.inf, np.nan, "1", True])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(UsageError, match="LayerNorm: epsilon must be a finite number > 0"):
        LayerNorm(epsilon)
