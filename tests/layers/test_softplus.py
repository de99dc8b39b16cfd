"""Softplus: values and derivative to the last digits in both tails, NaN, infinities."""

from __future__ import annotations

from math import log

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_expit

from activations import at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.layers.softplus import Softplus
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


def test_values(backend):
    check_values(Softplus(), backend, definitions.softplus, definitions.softplus_derivative)


def test_tails_are_exact(backend):
    Z = np.linspace(-700, 700, 301).reshape(1, -1)
    A, dX, _ = run_layer(Softplus(), {}, Z, backend, dA=np.ones_like(Z))
    assert_close(A, -log_expit(-Z), rtol=1e-15, atol=0)
    assert_close(dX, expit(Z), rtol=1e-15, atol=0)


@given(B=st.integers(1, 4), n=st.integers(1, 6))
def test_gradients(backend, B, n):
    check_layer_gradient(Softplus(), {}, 3 * normal(B, n), backend)


def test_at_zero_infinities_and_nan(backend):
    assert at(Softplus(), backend, 0.0, -np.inf, np.inf) == ([log(2), 0, np.inf], [0.5, 0, 1])
    check_nan(Softplus(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(Softplus(), backend)
    check_cache(Softplus(), backend, keeps="A")
