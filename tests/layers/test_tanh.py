"""Tanh: values and derivative, tanh z = 2 σ(2z) − 1, NaN, infinities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from activations import at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.layers.tanh import Tanh
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


def test_values(backend):
    check_values(Tanh(), backend, definitions.tanh, definitions.tanh_derivative, atol=1e-15)


def test_is_a_stretched_sigmoid(backend):
    Z = normal(3, 5)
    A, _, _ = run_layer(Tanh(), {}, Z, backend)
    assert_close(A, 2 * np.vectorize(definitions.sigmoid)(2 * Z) - 1, rtol=0, atol=1e-15)


@given(B=st.integers(1, 4), n=st.integers(1, 6))
def test_gradients(backend, B, n):
    check_layer_gradient(Tanh(), {}, normal(B, n), backend)


def test_at_zero_infinities_and_nan(backend):
    assert at(Tanh(), backend, 0.0, -np.inf, np.inf) == ([0, -1, 1], [1, 0, 0])
    check_nan(Tanh(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(Tanh(), backend)
    check_cache(Tanh(), backend, keeps="A")
