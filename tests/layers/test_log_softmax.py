"""LogSoftmax: values, the shift, extreme logits, masked labels, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from activations import check_cache, check_shapes_and_dtype
from mathdl.errors import ShapeError
from mathdl.layers.log_softmax import LogSoftmax
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


@given(B=st.integers(1, 4), l=st.integers(1, 7))
def test_values_and_gradients(backend, B, l):
    Z = 2 * normal(B, l)
    A, _, _ = run_layer(LogSoftmax(), {}, Z, backend)
    assert_close(A, [definitions.log_softmax(row) for row in Z.tolist()], rtol=1e-13, atol=1e-15)
    check_layer_gradient(LogSoftmax(), {}, Z, backend)


def test_backward_is_the_product_with_the_jacobian(backend):
    Z, R = normal(3, 5), normal(3, 5, seed=1)
    _, dZ, _ = run_layer(LogSoftmax(), {}, Z, backend, dA=R)
    J = np.array([definitions.log_softmax_jacobian(row) for row in Z.tolist()])
    assert_close(dZ, np.einsum("ijk,ij->ik", J, R), rtol=1e-13, atol=1e-15)


def test_images_are_normalized_along_the_channels(backend):
    Z = normal(2, 3, 4, 5)
    A, _, _ = run_layer(LogSoftmax(), {}, Z, backend)
    assert_close(A, special.log_softmax(Z, axis=-1), rtol=1e-13, atol=1e-15)
    check_layer_gradient(LogSoftmax(), {}, Z, backend)


@given(c=st.integers(-1000, 1000))
def test_a_shift_changes_nothing(backend, c):
    Z = np.round(normal(2, 5) * 1024) / 1024  # so that Z + c is exact
    A, _, _ = run_layer(LogSoftmax(), {}, Z, backend)
    shifted, _, _ = run_layer(LogSoftmax(), {}, Z + c, backend)
    np.testing.assert_array_equal(shifted, A)


def test_extreme_logits_are_finite(backend):
    Z = np.array([[1e4, 0.0, -1e4]])
    A, dZ, _ = run_layer(LogSoftmax(), {}, Z, backend, dA=np.array([[0.0, 0.0, -1.0]]))
    assert_close(A, [[0, -1e4, -2e4]])
    assert_close(dZ, [[1, 0, -1]])


def test_a_masked_label_is_minus_infinity(backend):
    Z = np.array([[0.0, -np.inf, 0.0]])
    A, dZ, _ = run_layer(LogSoftmax(), {}, Z, backend, dA=np.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(A, [[-np.log(2), -np.inf, -np.log(2)]], rtol=1e-15)
    assert_close(dZ, [[0.5, 0, -0.5]])


def test_rows_with_nan_or_infinity_are_nan_and_no_others(backend):
    Z = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [-np.inf] * 3, [0, 0, 0]])
    A, _, _ = run_layer(LogSoftmax(), {}, Z, backend)
    np.testing.assert_array_equal(np.isnan(A).any(axis=1), [True, True, True, False])


def test_dtype_and_cache(backend):
    check_shapes_and_dtype(LogSoftmax(), backend)
    check_cache(LogSoftmax(), backend, keeps="A")


def test_an_instance_needs_an_axis():
    with pytest.raises(ShapeError, match=r"LogSoftmax: .*Reshape.*\(…, k\) = \(\)"):
        LogSoftmax().shapes(())
