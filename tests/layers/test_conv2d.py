"""Conv2D: values against the texts' sums over drawn geometries, gradients, exact adjoints, and its special cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import geometries
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.conv2d import Conv2D, Conv2DCache
from mathdl.layers.dense import Dense
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, context_for, normal, run_layer


def layer_for(geometry, channels, **options):
    return Conv2D(channels, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, **options)


def parameters(layer, input):
    return {name: normal(*shape, seed=7) for name, shape in layer.shapes(input)[1].items()}


def expected(layer, geometry, X, params):
    b = params["b"].tolist() if "b" in params else None
    return definitions.conv2d(
        X.tolist(), params["W"].tolist(), b, geometry.stride, geometry.padding, geometry.dilation, layer.groups
    )


@given(
    geometry=geometries(),
    B=st.integers(1, 2),
    groups=st.integers(1, 3),
    k=st.integers(1, 2),
    n=st.integers(1, 2),
    bias=st.booleans(),
)
def test_values_are_the_sums_of_the_texts(backend, geometry, B, groups, k, n, bias):
    layer = layer_for(geometry, groups * n, groups=groups, bias=bias)
    X = normal(B, *geometry.input, groups * k)
    params = parameters(layer, X.shape[1:])
    A, _, _ = run_layer(layer, params, X, backend)
    assert_close(A, expected(layer, geometry, X, params))
    assert A.shape[1:] == layer.shapes(X.shape[1:])[0]


@given(geometry=geometries(largest=5), groups=st.integers(1, 2), k=st.integers(1, 2), n=st.integers(1, 2))
def test_gradients(backend, geometry, groups, k, n):
    layer = layer_for(geometry, groups * n, groups=groups)
    X = normal(2, *geometry.input, groups * k)
    check_layer_gradient(layer, parameters(layer, X.shape[1:]), X, backend)


@given(geometry=geometries(), groups=st.integers(1, 3), k=st.integers(1, 2), n=st.integers(1, 2))
def test_adjoint_identities_are_exact_in_integers(backend, geometry, groups, k, n):
    rng = np.random.default_rng(0)
    layer = layer_for(geometry, groups * n, groups=groups, bias=False)
    X = rng.integers(-9, 10, (2, *geometry.input, groups * k)).astype("float64")
    W = rng.integers(-9, 10, layer.shapes(X.shape[1:])[1]["W"]).astype("float64")
    Z, _, _ = run_layer(layer, {"W": W}, X, backend)
    dZ = rng.integers(-9, 10, Z.shape).astype("float64")
    _, dX, grads = run_layer(layer, {"W": W}, X, backend, dA=dZ)
    assert np.sum(Z * dZ) == np.sum(X * dX) == np.sum(W * grads["W"])
    assert set(grads) == {"W"}


@pytest.mark.parametrize("groups", [1, 2])
def test_one_by_one_is_a_dense_layer_per_pixel(backend, groups):
    layer, X = Conv2D(6, 1, groups=groups), normal(2, 3, 5, 4)
    params, dZ = parameters(layer, X.shape[1:]), normal(2, 3, 5, 6, seed=3)
    A, dX, grads = run_layer(layer, params, X, backend, dA=dZ)
    assert layer.constants(X.shape[1:]) == {}
    for g in range(groups):
        k, n = slice(g * 4 // groups, (g + 1) * 4 // groups), slice(g * 6 // groups, (g + 1) * 6 // groups)
        own = {"W": params["W"][0, 0, :, n], "b": params["b"][n]}
        rows, d = X[..., k].reshape(30, -1), dZ[..., n].reshape(30, -1)
        dense = run_layer(Dense(6 // groups), own, rows, backend, dA=d)
        assert_close(A[..., n].reshape(30, -1), dense[0])
        assert_close(dX[..., k].reshape(30, -1), dense[1])
        assert_close(grads["W"][0, 0, :, n], dense[2]["W"])
        assert_close(grads["b"][n], dense[2]["b"])


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_is_a_convolution_of_each_channel(backend, multiplier, stride):
    layer = Conv2D(4 * multiplier, (3, 2), stride, "same", groups=4)
    X = normal(2, 5, 4, 4)
    params = parameters(layer, X.shape[1:])
    dZ = normal(2, *layer.shapes(X.shape[1:])[0], seed=3)
    A, dX, grads = run_layer(layer, params, X, backend, dA=dZ)
    one = Conv2D(multiplier, (3, 2), stride, "same")
    for c in range(4):
        n = slice(c * multiplier, (c + 1) * multiplier)
        own = {"W": params["W"][..., n], "b": params["b"][n]}
        single = run_layer(one, own, X[..., c : c + 1], backend, dA=dZ[..., n])
        assert_close(A[..., n], single[0])
        assert_close(dX[..., c : c + 1], single[1])
        assert_close(grads["W"][..., n], single[2]["W"])
    check_layer_gradient(layer, params, X, backend)


@pytest.mark.parametrize("kernel", [1, (2, 3)])
def test_several_channel_axes_are_contracted_together(backend, kernel):
    layer, X = Conv2D(3, kernel, padding="same"), normal(2, 4, 5, 2, 3)
    output, shapes = layer.shapes(X.shape[1:])
    params = parameters(layer, X.shape[1:])
    assert output == (4, 5, 3)
    assert shapes["W"][2:] == (2, 3, 3)
    joined = {"W": params["W"].reshape(*params["W"].shape[:2], 6, 3), "b": params["b"]}
    A, _, _ = run_layer(layer, params, X, backend)
    assert_close(A, run_layer(layer, joined, X.reshape(2, 4, 5, 6), backend)[0])
    check_layer_gradient(layer, params, X, backend)


def test_a_kernel_written_out(backend):
    X = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    W = np.array([[1.0, 0.0], [0.0, -10.0]]).reshape(2, 2, 1, 1)
    A, _, _ = run_layer(Conv2D(1, 2, bias=False), {"W": W}, X, backend)
    assert_close(A[0, :, :, 0], [[1 - 50, 2 - 60], [4 - 80, 5 - 90]])


@given(shift=st.integers(1, 3))
def test_shifting_the_image_shifts_the_result(backend, shift):
    layer, X = Conv2D(2, 3), normal(1, 7, 9, 2)
    params = parameters(layer, X.shape[1:])
    A, _, _ = run_layer(layer, params, X, backend)
    shifted, _, _ = run_layer(layer, params, X[:, :, shift:], backend)
    assert_close(shifted, A[:, :, shift:])


def test_float32_stays_float32(backend):
    for groups in (1, 2, 4):
        for stride in (1, 2):
            layer, X = Conv2D(4, 3, stride, 1, groups=groups), normal(2, 5, 5, 4, dtype="float32")
            params = {name: value.astype("float32") for name, value in parameters(layer, X.shape[1:]).items()}
            dZ = normal(2, *layer.shapes(X.shape[1:])[0], dtype="float32")
            A, dX, grads = run_layer(layer, params, X, backend, dA=dZ)
            assert {A.dtype, dX.dtype, grads["W"].dtype, grads["b"].dtype} == {np.dtype("float32")}


def test_shapes_fans_and_work():
    layer = Conv2D(6, (3, 2), (2, 1), "same", groups=2)
    assert layer.shapes((7, 5, 4)) == ((4, 5, 6), {"W": (3, 2, 2, 6), "b": (6,)})
    assert Conv2D(6, 3, bias=False).shapes((7, 5, 4)) == ((5, 3, 6), {"W": (3, 3, 4, 6)})
    assert layer.fans((7, 5, 4)) == {"W": (3 * 2 * 2, 3 * 2 * 3)}
    assert Conv2D(6, 3).fans((7, 5, 4, 2)) == {"W": (9 * 8, 9 * 6)}
    assert layer.multiply_adds((7, 5, 4)) == 4 * 5 * 6 * (3 * 2 * 2)


def test_constants_are_the_tables_that_are_needed():
    assert set(Conv2D(4, 3).constants((5, 5, 2))) == {"forward", "adjoint"}
    assert set(Conv2D(4, 3, stride=2).constants((5, 5, 2))) == {"forward"}
    assert Conv2D(4, 3, groups=4).constants((5, 5, 4)) == {}


def test_cache_is_the_input_not_what_the_window_sees(backend):
    layer, X = Conv2D(4, 3), normal(2, 5, 5, 2)
    A = backend.put(X)
    params = {name: backend.put(value) for name, value in parameters(layer, X.shape[1:]).items()}
    _, cache = layer.forward(params, A, context_for(layer, X.shape[1:], backend))
    assert isinstance(cache, Conv2DCache)
    assert cache.A is A
    assert cache.W is params["W"]


def test_forward_keeps_its_input_and_backward_repeats(backend):
    layer, X = Conv2D(2, 2, padding=1), normal(2, 3, 3, 2)
    params, before = parameters(layer, X.shape[1:]), X.copy()
    dZ = normal(2, *layer.shapes(X.shape[1:])[0])
    first, second = (run_layer(layer, params, X, backend, dA=dZ) for _ in range(2))
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(first[1], second[1])


def test_what_fits_no_input():
    with pytest.raises(UsageError, match="Conv2D: channels must be an int ≥ 1, got 0"):
        Conv2D(0, 3)
    with pytest.raises(UsageError, match="Conv2D: groups must divide channels, got channels = 4, groups = 3"):
        Conv2D(4, 3, groups=3)
    with pytest.raises(UsageError, match=r"Conv2D: kernel must be an int ≥ 1 or a tuple .* got \(3, 0\)"):
        Conv2D(4, (3, 0))


def test_what_does_not_fit_this_input():
    with pytest.raises(ShapeError, match=r"Conv2D: A\[l-1\] must be an image .* \(28, 28\)"):
        Conv2D(4, 3).shapes((28, 28))
    with pytest.raises(ShapeError, match=r"Conv2D: groups must divide the channels .* groups = 2, k = 3"):
        Conv2D(4, 3, groups=2).shapes((5, 5, 3))
    with pytest.raises(ShapeError, match=r"Conv2D: groups needs a single channel axis.*\(2, 2\)"):
        Conv2D(4, 3, groups=2).shapes((5, 5, 2, 2))
    with pytest.raises(ShapeError, match="Conv2D: the window must not be larger than the padded input"):
        Conv2D(4, 6).shapes((5, 5, 1))
