"""LeakyReLU: values at several slopes, the slope at 0, slope 0 is ReLU, NaN, infinities, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activations import POINTS, at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.errors import UsageError
from mathdl.layers.leaky_relu import LeakyReLU
from mathdl.layers.relu import ReLU
from mathdl.theory import definitions
from support import check_layer_gradient, normal, run_layer


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0, 2.5])
def test_values(backend, slope):
    check_values(
        LeakyReLU(slope),
        backend,
        lambda z: definitions.leaky_relu(z, slope),
        lambda z: definitions.leaky_relu_derivative(z, slope),
    )


@given(B=st.integers(1, 4), n=st.integers(1, 6), slope=st.floats(0, 3))
def test_gradients(backend, B, n, slope):
    check_layer_gradient(LeakyReLU(slope), {}, normal(B, n), backend)


def test_the_derivative_at_zero_is_the_slope(backend):
    assert at(LeakyReLU(0.25), backend, 0.0, -0.0) == ([0, 0], [0.25, 0.25])


def test_slope_zero_is_relu(backend):
    Z = np.append(POINTS, [[0.0], [-np.inf]], axis=1)
    for ours, relu in zip(
        run_layer(LeakyReLU(0), {}, Z, backend, dA=np.ones_like(Z))[:2],
        run_layer(ReLU(), {}, Z, backend, dA=np.ones_like(Z))[:2],
        strict=True,
    ):
        np.testing.assert_array_equal(ours, relu)


def test_infinities_and_nan(backend):
    assert at(LeakyReLU(0.25), backend, -np.inf, np.inf) == ([-np.inf, np.inf], [0.25, 1])
    check_nan(LeakyReLU(), backend)
    check_nan(LeakyReLU(0), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(LeakyReLU(), backend)
    check_cache(LeakyReLU(), backend, keeps="A")


@pytest.mark.parametrize("slope", [-0.1, np.inf, np.nan, "0.1", True])
def test_the_slope_must_not_be_negative(slope):
    with pytest.raises(UsageError, match=r"LeakyReLU: slope must lie in \[0, inf\)"):
        LeakyReLU(slope)
