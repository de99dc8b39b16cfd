"""Conv1D: values against the texts' sums, gradients, and that it is the convolution of an image of one column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import geometries
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.conv1d import Conv1D
from mathdl.layers.conv2d import Conv2D
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


def layer_for(geometry, channels, **options):
    (f,), (s,), (sides,), (d,) = geometry[1:]
    return Conv1D(channels, f, s, sides, d, **options)


def parameters(layer, input):
    return {name: normal(*shape, seed=7) for name, shape in layer.shapes(input)[1].items()}


@given(
    geometry=geometries(axes=1),
    B=st.integers(1, 2),
    groups=st.integers(1, 3),
    k=st.integers(1, 2),
    n=st.integers(1, 2),
    bias=st.booleans(),
)
def test_values_and_gradients(backend, geometry, B, groups, k, n, bias):
    layer = layer_for(geometry, groups * n, groups=groups, bias=bias)
    X = normal(B, *geometry.input, groups * k)
    params = parameters(layer, X.shape[1:])
    A, _, _ = run_layer(layer, params, X, backend)
    b = params["b"].tolist() if bias else None
    (s,), (sides,), (d,) = geometry[2:]
    assert_close(A, definitions.conv1d(X.tolist(), params["W"].tolist(), b, s, sides, d, groups))
    assert A.shape[1:] == layer.shapes(X.shape[1:])[0]
    check_layer_gradient(layer, params, X, backend)


@pytest.mark.parametrize("padding", ["valid", "same", 1, (2, 0)])
def test_is_the_convolution_of_an_image_of_one_column(backend, padding):
    layer, X = Conv1D(4, 3, 2, padding), normal(2, 8, 3)
    sides = padding if isinstance(padding, str) else ((1, 1) if padding == 1 else padding, (0, 0))
    image = Conv2D(4, (3, 1), (2, 1), sides)
    params = parameters(layer, X.shape[1:])
    dZ = normal(2, *layer.shapes(X.shape[1:])[0])
    A, dX, grads = run_layer(layer, params, X, backend, dA=dZ)
    as_image = {"W": params["W"][:, None], "b": params["b"]}
    Z, dI, same = run_layer(image, as_image, X[:, :, None], backend, dA=dZ[:, :, None])
    assert_close(A, Z[:, :, 0])
    assert_close(dX, dI[:, :, 0])
    assert_close(grads["W"], same["W"][:, 0])
    assert_close(grads["b"], same["b"])


def test_several_channel_axes_are_contracted_together(backend):
    layer, X = Conv1D(3, 2, padding="same"), normal(2, 5, 2, 2)
    params = parameters(layer, X.shape[1:])
    assert layer.shapes(X.shape[1:]) == ((5, 3), {"W": (2, 2, 2, 3), "b": (3,)})
    joined = {"W": params["W"].reshape(2, 4, 3), "b": params["b"]}
    A, _, _ = run_layer(layer, params, X, backend)
    assert_close(A, run_layer(layer, joined, X.reshape(2, 5, 4), backend)[0])
    check_layer_gradient(layer, params, X, backend)


def test_shapes_fans_and_work():
    layer = Conv1D(6, 3, 2, "same", groups=2)
    assert layer.shapes((7, 4)) == ((4, 6), {"W": (3, 2, 6), "b": (6,)})
    assert Conv1D(6, 3, dilation=2, bias=False).shapes((7, 4)) == ((3, 6), {"W": (3, 4, 6)})
    assert layer.fans((7, 4)) == {"W": (3 * 2, 3 * 3)}
    assert layer.multiply_adds((7, 4)) == 4 * 6 * (3 * 2)


def test_errors_name_the_layer():
    with pytest.raises(UsageError, match=r"Conv1D: kernel must be an int ≥ 1, got \(3, 3\)"):
        Conv1D(4, (3, 3))
    with pytest.raises(UsageError, match="Conv1D: groups must divide channels"):
        Conv1D(4, 3, groups=3)
    with pytest.raises(ShapeError, match=r"Conv1D: A\[l-1\] must be a sequence .* \(28,\)"):
        Conv1D(4, 3).shapes((28,))
    with pytest.raises(ShapeError, match=r"Conv1D: the window .* = \(5,\) · padded .* = \(4,\)"):
        Conv1D(4, 5).shapes((4, 1))
    with pytest.raises(ShapeError, match=r"Conv1D: groups needs a single channel axis"):
        Conv1D(4, 2, groups=2).shapes((4, 2, 2))
