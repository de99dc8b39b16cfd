"""AveragePool: values against the texts' sums, padding counted or not; gradients; the exact adjoint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import geometries, pools
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.average_pool import AveragePool1D, AveragePool2D
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


@given(geometry=pools(), k=st.integers(1, 3), count_padding=st.booleans())
def test_values_over_images(backend, geometry, k, count_padding):
    window = geometry.kernel, geometry.stride, geometry.padding
    X = normal(2, *geometry.input, k)
    A, _, _ = run_layer(AveragePool2D(*window, count_padding=count_padding), {}, X, backend)
    assert_close(A, definitions.average_pool2d(X.tolist(), *window, count_padding))


@given(geometry=pools(axes=1), k=st.integers(1, 3), count_padding=st.booleans())
def test_values_over_sequences(backend, geometry, k, count_padding):
    window = [entry for (entry,) in geometry[1:4]]
    X = normal(2, *geometry.input, k)
    A, _, _ = run_layer(AveragePool1D(*window, count_padding=count_padding), {}, X, backend)
    assert_close(A, definitions.average_pool1d(X.tolist(), *window, count_padding))


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_gradients(backend, stride, count_padding):
    check_layer_gradient(AveragePool2D(2, stride, "same", count_padding), {}, normal(2, 5, 4, 2), backend)
    check_layer_gradient(AveragePool1D(3, stride, 1, count_padding), {}, normal(2, 5, 2), backend)


@given(geometry=geometries(dilated=False))
def test_adjoint_identity_is_exact_where_padding_counts(backend, geometry):
    f, g = geometry.kernel
    layer = AveragePool2D((f, g), geometry.stride, geometry.padding, count_padding=True)
    rng = np.random.default_rng(0)
    X = f * g * rng.integers(-9, 10, (2, *geometry.input, 2)).astype("float64")
    output = layer.shapes(X.shape[1:])[0]
    dA = f * g * rng.integers(-9, 10, (2, *output)).astype("float64")
    A, dX, _ = run_layer(layer, {}, X, backend, dA=dA)
    assert np.sum(A * dA) == np.sum(X * dX)


def test_whether_padding_counts_on_a_corner(backend):
    X = np.ones((1, 2, 2, 1))
    counted, _, _ = run_layer(AveragePool2D(2, padding=1, count_padding=True), {}, X, backend)
    alone, _, _ = run_layer(AveragePool2D(2, padding=1), {}, X, backend)
    assert_close(counted, np.full((1, 2, 2, 1), 0.25))
    assert_close(alone, np.ones((1, 2, 2, 1)))


def test_several_channel_axes_pool_by_themselves(backend):
    X, dA = normal(2, 4, 5, 2, 3), normal(2, 2, 3, 2, 3)
    layer = AveragePool2D(2, padding="same")
    A, dX, _ = run_layer(layer, {}, X, backend, dA=dA)
    joined = run_layer(layer, {}, X.reshape(2, 4, 5, 6), backend, dA=dA.reshape(2, 2, 3, 6))
    assert_close(A.reshape(2, 2, 3, 6), joined[0])
    assert_close(dX.reshape(2, 4, 5, 6), joined[1])


def test_float32_stays_float32(backend):
    X, dA = normal(2, 5, 5, 3, dtype="float32"), normal(2, 3, 3, 3, dtype="float32")
    A, dX, _ = run_layer(AveragePool2D(2, padding="same"), {}, X, backend, dA=dA)
    assert {A.dtype, dX.dtype} == {np.dtype("float32")}


def test_forward_keeps_its_input(backend):
    X = normal(2, 4, 4, 1)
    before = X.copy()
    for layer in (AveragePool2D(1), AveragePool2D(1, 2), AveragePool2D(2)):
        run_layer(layer, {}, X, backend, dA=normal(2, *layer.shapes((4, 4, 1))[0]))
    np.testing.assert_array_equal(X, before)


def test_shapes():
    assert AveragePool2D(2, 1).shapes((5, 4, 3)) == ((4, 3, 3), {})
    assert AveragePool1D(2).shapes((5, 4)) == ((2, 4), {})
    assert AveragePool2D(2).constants((4, 4, 1)) == {}


def test_errors():
    with pytest.raises(UsageError, match="AveragePool2D: size must be"):
        AveragePool2D((0, 2))
    with pytest.raises(UsageError, match="AveragePool1D: padding must be"):
        AveragePool1D(2, padding=-1)
    with pytest.raises(ShapeError, match="AveragePool2D: a window lies wholly in the padding"):
        AveragePool2D(2, padding=2).shapes((4, 4, 1))
    with pytest.raises(ShapeError, match=r"AveragePool1D: A\[l-1\] must be a sequence"):
        AveragePool1D(2).shapes((4,))
    assert AveragePool2D(2, padding=2, count_padding=True).shapes((4, 4, 1)) == ((4, 4, 1), {})
