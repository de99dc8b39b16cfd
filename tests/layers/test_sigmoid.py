"""Sigmoid: values and derivative against the definition and SciPy, symmetry, both tails, NaN, infinities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from activations import POINTS, at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.layers.sigmoid import Sigmoid
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


def test_values(backend):
    check_values(Sigmoid(), backend, definitions.sigmoid, definitions.sigmoid_derivative, atol=4e-16)


def test_the_tail_is_exact(backend):
    Z = np.linspace(-700, 40, 200).reshape(1, -1)
    assert_close(run_layer(Sigmoid(), {}, Z, backend)[0], expit(Z), rtol=1e-15, atol=0)


def test_symmetry(backend):
    A, _, _ = run_layer(Sigmoid(), {}, POINTS, backend)
    B, _, _ = run_layer(Sigmoid(), {}, -POINTS, backend)
    assert_close(A, 1 - B, rtol=0, atol=4e-16)


@given(B=st.integers(1, 4), n=st.integers(1, 6))
def test_gradients(backend, B, n):
    check_layer_gradient(Sigmoid(), {}, 3 * normal(B, n), backend)


def test_at_zero_infinities_and_nan(backend):
    assert at(Sigmoid(), backend, 0.0, -0.0, -np.inf, np.inf) == ([0.5, 0.5, 0, 1], [0.25, 0.25, 0, 0])
    check_nan(Sigmoid(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(Sigmoid(), backend)
    check_cache(Sigmoid(), backend, keeps="A")
