"""Global pooling: values against the texts' sums, gradients, ties, NaN."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl.errors import ShapeError
from mathdl.layers.global_pool import GlobalAveragePool1D, GlobalAveragePool2D, GlobalMaxPool1D, GlobalMaxPool2D
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer

LAYERS = {
    GlobalAveragePool1D: ((5, 3), definitions.global_average_pool1d),
    GlobalAveragePool2D: ((4, 5, 3), definitions.global_average_pool2d),
    GlobalMaxPool1D: ((5, 3), definitions.global_max_pool1d),
    GlobalMaxPool2D: ((4, 5, 3), definitions.global_max_pool2d),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_values_and_gradients(backend, kind):
    shape, definition = LAYERS[kind]
    X = normal(2, *shape)
    A, _, _ = run_layer(kind(), {}, X, backend)
    assert_close(A, definition(X.tolist()))
    check_layer_gradient(kind(), {}, X, backend)


@pytest.mark.parametrize("kind", LAYERS)
def test_several_channel_axes_pool_by_themselves(backend, kind):
    shape, _ = LAYERS[kind]
    X, dA = normal(2, *shape, 2), normal(2, 3, 2)
    A, dX, _ = run_layer(kind(), {}, X, backend, dA=dA)
    joined = run_layer(kind(), {}, X.reshape(2, *shape[:-1], 6), backend, dA=dA.reshape(2, 6))
    assert kind().shapes((*shape, 2)) == ((3, 2), {})
    assert_close(A.reshape(2, 6), joined[0])
    assert_close(dX.reshape(joined[1].shape), joined[1])


@pytest.mark.parametrize("kind", LAYERS)
def test_float32_stays_float32(backend, kind):
    shape, _ = LAYERS[kind]
    A, dX, _ = run_layer(kind(), {}, normal(2, *shape, dtype="float32"), backend, dA=normal(2, 3, dtype="float32"))
    assert {A.dtype, dX.dtype} == {np.dtype("float32")}


def test_the_first_largest_element_takes_it_all(backend):
    X = np.array([[0.0, 1.0], [1.0, 1.0]]).reshape(1, 2, 2, 1)
    _, dX, _ = run_layer(GlobalMaxPool2D(), {}, X, backend, dA=np.full((1, 1), 5.0))
    assert dX[0, :, :, 0].tolist() == [[0, 5], [0, 0]]


def test_nan_is_the_maximum(backend):
    X = normal(1, 3, 2)
    X[0, 1, 0] = np.nan
    A, _, _ = run_layer(GlobalMaxPool1D(), {}, X, backend)
    assert np.isnan(A).ravel().tolist() == [True, False]


@pytest.mark.parametrize("kind", LAYERS)
def test_channels_are_not_optional(kind):
    shape, _ = LAYERS[kind]
    with pytest.raises(ShapeError, match=rf"{kind.__name__}: A\[l-1\] must be .* with an axis of channels"):
        kind().shapes(shape[:-1])
