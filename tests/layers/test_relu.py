"""ReLU: values, ReLU'(0) = 0 for both zeros, NaN, infinities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from activations import at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.layers.relu import ReLU
from mathdl.theory import definitions
from support import check_layer_gradient, normal


def test_values(backend):
    check_values(ReLU(), backend, definitions.relu, definitions.relu_derivative)


@given(B=st.integers(1, 4), n=st.integers(1, 6))
def test_gradients(backend, B, n):
    check_layer_gradient(ReLU(), {}, normal(B, n), backend)


def test_the_derivative_at_zero_is_zero(backend):
    assert at(ReLU(), backend, 0.0, -0.0) == ([0, 0], [0, 0])


def test_infinities_and_nan(backend):
    assert at(ReLU(), backend, -np.inf, np.inf) == ([0, np.inf], [0, 1])
    check_nan(ReLU(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(ReLU(), backend)
    check_cache(ReLU(), backend, keeps="A")
