"""SiLU: values and derivative, NaN, infinities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from activations import at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.layers.silu import SiLU
from mathdl.theory import definitions
from support import check_layer_gradient, normal, run_layer


def test_values(backend):
    check_values(SiLU(), backend, definitions.silu, definitions.silu_derivative, atol=1e-15)


@given(B=st.integers(1, 4), n=st.integers(1, 6))
def test_gradients(backend, B, n):
    check_layer_gradient(SiLU(), {}, 2 * normal(B, n), backend)


def test_at_zero_infinities_and_nan(backend):
    assert at(SiLU(), backend, 0.0) == ([0], [0.5])
    A, _, _ = run_layer(SiLU(), {}, np.array([[np.inf, -np.inf]]), backend)
    np.testing.assert_array_equal(A, [[np.inf, np.nan]])
    check_nan(SiLU(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(SiLU(), backend)
    check_cache(SiLU(), backend, keeps="Z")
