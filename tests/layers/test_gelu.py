"""GELU: values and derivative of the exact form, NaN, infinities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from activations import at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.layers.gelu import GELU
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


def test_values(backend):
    check_values(GELU(), backend, definitions.gelu, definitions.gelu_derivative, atol=1e-15)


def test_is_exact_and_not_the_tanh_form(backend):
    Z = np.linspace(-5, 5, 101).reshape(1, -1)
    A, dX, _ = run_layer(GELU(), {}, Z, backend, dA=np.ones_like(Z))
    assert_close(A, Z * norm.cdf(Z), rtol=0, atol=1e-15)
    assert_close(dX, norm.cdf(Z) + Z * norm.pdf(Z), rtol=0, atol=1e-15)


@given(B=st.integers(1, 4), n=st.integers(1, 6))
def test_gradients(backend, B, n):
    check_layer_gradient(GELU(), {}, normal(B, n), backend)


def test_at_zero_infinities_and_nan(backend):
    assert at(GELU(), backend, 0.0) == ([0], [0.5])
    A, _, _ = run_layer(GELU(), {}, np.array([[np.inf, -np.inf]]), backend)
    np.testing.assert_array_equal(A, [[np.inf, np.nan]])
    check_nan(GELU(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(GELU(), backend)
    check_cache(GELU(), backend, keeps="Z")
