"""Softmax: rows on the simplex, the shift, the Jacobian, extreme logits, masked labels, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from activations import check_cache, check_shapes_and_dtype
from mathdl.errors import ShapeError
from mathdl.layers.softmax import Softmax
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


@given(B=st.integers(1, 4), l=st.integers(1, 7))
def test_values_and_gradients(backend, B, l):
    Z = 2 * normal(B, l)
    P, _, _ = run_layer(Softmax(), {}, Z, backend)
    assert_close(P, [definitions.softmax(row) for row in Z.tolist()], rtol=1e-14)
    assert_close(P.sum(axis=1), np.ones(B), rtol=1e-15)
    check_layer_gradient(Softmax(), {}, Z, backend)


def test_backward_is_the_product_with_the_jacobian(backend):
    Z, R = normal(3, 5), normal(3, 5, seed=1)
    _, dZ, _ = run_layer(Softmax(), {}, Z, backend, dA=R)
    J = np.array([definitions.softmax_jacobian(row) for row in Z.tolist()])
    assert_close(dZ, np.einsum("ijk,ij->ik", J, R), rtol=1e-13, atol=1e-15)


def test_images_are_normalized_along_the_channels(backend):
    Z = normal(2, 3, 4, 5)
    assert_close(run_layer(Softmax(), {}, Z, backend)[0], special.softmax(Z, axis=-1), rtol=1e-14)
    check_layer_gradient(Softmax(), {}, Z, backend)


@given(c=st.integers(-1000, 1000))
def test_a_shift_changes_nothing(backend, c):
    Z = np.round(normal(2, 5) * 1024) / 1024  # so that Z + c is exact
    P, _, _ = run_layer(Softmax(), {}, Z, backend)
    shifted, _, _ = run_layer(Softmax(), {}, Z + c, backend)
    np.testing.assert_array_equal(shifted, P)


def test_extreme_logits(backend):
    Z = np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4 - np.log(2)]])
    P, dZ, _ = run_layer(Softmax(), {}, Z, backend, dA=np.ones_like(Z))
    assert_close(P, [[1, 0, 0], [0.4, 0.4, 0.2]], rtol=1e-12)
    assert_close(dZ, np.zeros((2, 3)), atol=1e-15)


def test_a_masked_label_has_probability_zero(backend):
    Z = np.array([[0.0, -np.inf, 0.0]])
    P, dZ, _ = run_layer(Softmax(), {}, Z, backend, dA=np.array([[1.0, 5.0, 0.0]]))
    assert_close(P, [[0.5, 0, 0.5]])
    assert_close(dZ, [[0.25, 0, -0.25]])


def test_rows_with_nan_or_infinity_are_nan_and_no_others(backend):
    Z = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [-np.inf] * 3, [0, 0, 0]])
    P, _, _ = run_layer(Softmax(), {}, Z, backend)
    np.testing.assert_array_equal(np.isnan(P).any(axis=1), [True, True, True, False])
    assert np.isnan(P[[0, 2]]).all()


def test_dtype_and_cache(backend):
    check_shapes_and_dtype(Softmax(), backend)
    check_cache(Softmax(), backend, keeps="A")


def test_an_instance_needs_an_axis():
    with pytest.raises(ShapeError, match=r"Softmax: .*Reshape.*\(…, k\) = \(\)"):
        Softmax().shapes(())
