"""ELU: values at several α, α at 0, continuity of the derivative iff α = 1, NaN, infinities, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activations import at, check_cache, check_nan, check_shapes_and_dtype, check_values
from mathdl.errors import UsageError
from mathdl.layers.elu import ELU
from mathdl.theory import definitions
from support import check_layer_gradient, normal


@pytest.mark.parametrize("alpha", [0.1, 1.0, 1.7])
def test_values(backend, alpha):
    check_values(
        ELU(alpha),
        backend,
        lambda z: definitions.elu(z, alpha),
        lambda z: definitions.elu_derivative(z, alpha),
        atol=1e-15,  # the derivative is A + α: near −α it is exact to an absolute error only
    )


@given(B=st.integers(1, 4), n=st.integers(1, 6), alpha=st.floats(0.1, 3))
def test_gradients(backend, B, n, alpha):
    check_layer_gradient(ELU(alpha), {}, normal(B, n), backend)


def test_small_negative_numbers_keep_their_digits(backend):
    A, _ = at(ELU(), backend, -1e-20)
    assert A == [-1e-20]


def test_the_derivative_at_zero_is_alpha(backend):
    assert at(ELU(0.25), backend, 0.0, -0.0) == ([0, 0], [0.25, 0.25])
    assert at(ELU(), backend, 0.0, 1e-300) == ([0, 1e-300], [1, 1])


def test_infinities_and_nan(backend):
    assert at(ELU(0.25), backend, -np.inf, np.inf) == ([-0.25, np.inf], [0, 1])
    check_nan(ELU(), backend)


def test_shapes_dtype_and_cache(backend):
    check_shapes_and_dtype(ELU(), backend)
    check_cache(ELU(), backend, keeps="A")


@pytest.mark.parametrize("alpha", [0, -1.0, np.inf, np.nan, "1", True])
def test_alpha_must_be_positive(alpha):
    with pytest.raises(UsageError, match="ELU: alpha must be a finite number > 0"):
        ELU(alpha)
