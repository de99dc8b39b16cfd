"""Perceptron: values against Jiang's Definition 4, gradients through every activation, the cache, the errors."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import ShapeError, UsageError
from mathdl.layers.batch_norm import BatchNorm
from mathdl.layers.dense import Dense
from mathdl.layers.dropout import Dropout
from mathdl.layers.elu import ELU
from mathdl.layers.gelu import GELU
from mathdl.layers.layer import Context
from mathdl.layers.perceptron import Perceptron, PerceptronCache, perceptron_forward
from mathdl.layers.relu import ReLU
from mathdl.layers.reshape import Reshape
from mathdl.layers.sigmoid import Sigmoid
from mathdl.layers.tanh import Tanh
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer

ACTIVATIONS = {
    Sigmoid(): definitions.sigmoid,
    Tanh(): definitions.tanh,
    ReLU(): definitions.relu,
    ELU(0.5): partial(definitions.elu, alpha=0.5),
    GELU(): definitions.gelu,
}


def parameters(m):
    return {"W": normal(1, m, seed=1), "b": normal(1, seed=2)}


@given(B=st.integers(1, 4), m=st.integers(1, 6), activation=st.sampled_from(list(ACTIVATIONS)))
def test_values_and_gradients(backend, B, m, activation):
    X, params = normal(B, m), parameters(m)
    A, _, _ = run_layer(Perceptron(activation), params, X, backend)
    w, b, phi = params["W"][0].tolist(), float(params["b"][0]), ACTIVATIONS[activation]
    assert_close(A, [[definitions.perceptron(y, w, b, phi)] for y in X.tolist()])
    check_layer_gradient(Perceptron(activation), params, X, backend)


def test_is_a_dense_layer_of_width_one_with_the_weights_transposed(backend):
    X, params = normal(4, 3), parameters(3)
    Z, _, _ = run_layer(Dense(1), {"W": params["W"].T.copy(), "b": params["b"]}, X, backend)
    A, _, _ = run_layer(Perceptron(Sigmoid()), params, X, backend)
    assert_close(A, run_layer(Sigmoid(), {}, Z, backend)[0], rtol=1e-14)


def test_float32_stays_float32(backend):
    params = {name: value.astype("float32") for name, value in parameters(3).items()}
    X, R = normal(2, 3, dtype="float32"), normal(2, 1, dtype="float32")
    A, dX, grads = run_layer(Perceptron(Tanh()), params, X, backend, dA=R)
    assert {A.dtype, dX.dtype, grads["W"].dtype, grads["b"].dtype} == {np.dtype("float32")}


def test_shapes_and_fans():
    layer = Perceptron(Sigmoid())
    assert layer.shapes((5,)) == ((1,), {"W": (1, 5), "b": (1,)})
    assert layer.fans((5,)) == {"W": (5, 1)}
    assert layer.multiply_adds((5,)) == 5
    assert layer.initializers()["W"] is None
    assert layer.initializers()["b"]((1,), (1, 1), (0, 0)).tolist() == [0]


def test_cache():
    y, params = normal(2, 3), parameters(3)
    A, cache = perceptron_forward(y, params["W"], params["b"], Sigmoid(), Context())
    assert isinstance(cache, PerceptronCache)
    assert PerceptronCache._fields == ("y", "W", "activation")
    assert cache.y is y
    assert cache.W is params["W"]
    assert cache.activation is A


def test_images_need_flatten():
    with pytest.raises(ShapeError, match=r"Perceptron: .*Flatten.*\(m,\) = \(28, 28, 1\)"):
        Perceptron(Sigmoid()).shapes((28, 28, 1))


@pytest.mark.parametrize("activation", [Dense(1), BatchNorm(), Dropout(0.5), Reshape((1, 1))])
def test_the_activation_has_no_parameters_and_acts_entry_by_entry(activation):
    with pytest.raises(UsageError, match="Perceptron: activation must have no parameters"):
        Perceptron(activation)


@pytest.mark.parametrize("activation", ["sigmoid", Sigmoid, None])
def test_the_activation_is_a_layer(activation):
    with pytest.raises(UsageError, match="Perceptron: activation must be a layer such as Sigmoid"):
        Perceptron(activation)
