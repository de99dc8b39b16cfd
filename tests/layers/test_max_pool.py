"""MaxPool: values and gradients against the texts' sums, with ties; the exact adjoint; −∞ around; NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import pools
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.max_pool import MaxLineCache, MaxPool1D, MaxPool2D
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, context_for, host, normal, run_layer


def ties(*shape):
    """Integers from a few, so that most windows have several largest elements."""
    return np.random.default_rng([5, *shape]).integers(-1, 2, shape).astype("float64")


@given(geometry=pools(), B=st.integers(1, 2), k=st.integers(1, 3))
def test_values_and_ties_over_images(backend, geometry, B, k):
    layer = MaxPool2D(geometry.kernel, geometry.stride, geometry.padding)
    X = ties(B, *geometry.input, k)
    window = geometry.kernel, geometry.stride, geometry.padding
    dA = ties(B, *layer.shapes(X.shape[1:])[0])
    A, dX, _ = run_layer(layer, {}, X, backend, dA=dA)
    assert_close(A, definitions.max_pool2d(X.tolist(), *window), rtol=0, atol=0)
    assert_close(dX, definitions.max_pool2d_backward(X.tolist(), dA.tolist(), *window), rtol=0, atol=0)


@given(geometry=pools(axes=1), B=st.integers(1, 2), k=st.integers(1, 3))
def test_values_and_ties_over_sequences(backend, geometry, B, k):
    window = [entry for (entry,) in geometry[1:4]]
    layer, X = MaxPool1D(*window), ties(B, *geometry.input, k)
    dA = ties(B, *layer.shapes(X.shape[1:])[0])
    A, dX, _ = run_layer(layer, {}, X, backend, dA=dA)
    assert_close(A, definitions.max_pool1d(X.tolist(), *window), rtol=0, atol=0)
    assert_close(dX, definitions.max_pool1d_backward(X.tolist(), dA.tolist(), *window), rtol=0, atol=0)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_gradients(backend, stride):
    check_layer_gradient(MaxPool2D(2, stride, "same"), {}, normal(2, 5, 4, 2), backend)
    check_layer_gradient(MaxPool1D(3, stride, 1), {}, normal(2, 5, 2), backend)


def test_the_first_largest_element_takes_it_all(backend):
    _, dX, _ = run_layer(MaxPool2D((2, 3)), {}, np.ones((1, 2, 3, 1)), backend, dA=np.full((1, 1, 1, 1), 5.0))
    assert dX[0, :, :, 0].tolist() == [[5, 0, 0], [0, 0, 0]]
    X = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]]).reshape(1, 2, 3, 1)
    _, dX, _ = run_layer(MaxPool2D((2, 3)), {}, X, backend, dA=np.full((1, 1, 1, 1), 5.0))
    assert dX[0, :, :, 0].tolist() == [[0, 0, 5], [0, 0, 0]]


def test_gradients_add_where_windows_overlap(backend):
    X = np.array([0.0, 9.0, 0.0]).reshape(1, 3, 1)
    _, dX, _ = run_layer(MaxPool1D(2, 1), {}, X, backend, dA=np.array([2.0, 3.0]).reshape(1, 2, 1))
    assert dX.ravel().tolist() == [0, 5, 0]


def test_padding_is_less_than_everything(backend):
    A, _, _ = run_layer(MaxPool2D(3, 1, 1), {}, np.full((1, 2, 2, 1), -7.0), backend)
    assert_close(A, np.full((1, 2, 2, 1), -7.0))


def test_nan_is_the_maximum(backend):
    X = np.arange(8.0).reshape(1, 2, 4, 1)
    X[0, 0, 1, 0] = np.nan
    A, _, _ = run_layer(MaxPool2D(2), {}, X, backend)
    assert np.isnan(A).ravel().tolist() == [True, False]


def test_several_channel_axes_pool_by_themselves(backend):
    X = normal(2, 4, 6, 2, 3)
    A, dX, _ = run_layer(MaxPool2D(2), {}, X, backend, dA=normal(2, 2, 3, 2, 3))
    joined = run_layer(MaxPool2D(2), {}, X.reshape(2, 4, 6, 6), backend, dA=normal(2, 2, 3, 2, 3).reshape(2, 2, 3, 6))
    assert_close(A.reshape(2, 2, 3, 6), joined[0])
    assert_close(dX.reshape(2, 4, 6, 6), joined[1])


def test_float32_stays_float32(backend):
    X, dA = normal(2, 5, 5, 3, dtype="float32"), normal(2, 3, 3, 3, dtype="float32")
    A, dX, _ = run_layer(MaxPool2D(2, padding="same"), {}, X, backend, dA=dA)
    assert {A.dtype, dX.dtype} == {np.dtype("float32")}


def test_shapes():
    assert MaxPool2D(2).shapes((5, 4, 3)) == ((2, 2, 3), {})
    assert MaxPool2D(2, padding="same").shapes((5, 4, 3, 2)) == ((3, 2, 3, 2), {})
    assert MaxPool2D((3, 2), (1, 2)).shapes((5, 4, 3)) == ((3, 2, 3), {})
    assert MaxPool1D(3, 2).shapes((7, 4)) == ((3, 4), {})


def test_cache_is_a_mask_for_each_tap_but_the_first(backend):
    layer, X = MaxPool2D((3, 2)), normal(2, 6, 4, 3)
    _, caches = layer.forward({}, backend.put(X), context_for(layer, X.shape[1:], backend))
    assert all(isinstance(cache, MaxLineCache) for cache in caches)
    assert [len(cache.beats) for cache in caches] == [1, 2]
    assert {host(mask).dtype for cache in caches for mask in cache.beats} == {np.dtype("bool")}


def test_errors():
    with pytest.raises(UsageError, match="MaxPool2D: size must be an int ≥ 1 or a tuple"):
        MaxPool2D(0)
    with pytest.raises(UsageError, match=r"MaxPool1D: stride must be an int ≥ 1, got \(2, 2\)"):
        MaxPool1D(2, (2, 2))
    with pytest.raises(ShapeError, match="MaxPool2D: a window lies wholly in the padding"):
        MaxPool2D(2, padding=2).shapes((4, 4, 1))
    with pytest.raises(ShapeError, match="MaxPool1D: a window lies wholly in the padding"):
        MaxPool1D(1, padding=1).shapes((4, 1))
    with pytest.raises(ShapeError, match=r"MaxPool2D: A\[l-1\] must be an image"):
        MaxPool2D(2).shapes((4, 4))
    with pytest.raises(ShapeError, match=r"MaxPool1D: the window must not be larger"):
        MaxPool1D(5).shapes((4, 1))
