"""What the tests of activation layers share: each is one function φ, applied entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mathdl.arrays import Device
from support import assert_close, host, normal, run_layer

POINTS = np.array([[-1e4, -800.0, -40.0, -5.0, -1.5, -0.3, -1e-9], [1e4, 800.0, 40.0, 5.0, 1.5, 0.3, 1e-9]])
"""Both tails, beyond where e^z overflows, and both sides of 0; not 0 itself, whose convention each test states."""


def check_values(
    layer: Any,
    backend: Device,
    value: Callable[[float], float],
    derivative: Callable[[float], float],
    rtol: float = 1e-14,
    atol: float = 0.0,
) -> None:
    """A and dA at `POINTS` against the definition and its derivative; dA is twice the derivative for dA[l] = 2."""
    A, dX, grads = run_layer(layer, {}, POINTS, backend, dA=np.full_like(POINTS, 2.0))
    assert_close(A, np.vectorize(value, otypes=[float])(POINTS), rtol=rtol, atol=atol)
    assert_close(dX, 2 * np.vectorize(derivative, otypes=[float])(POINTS), rtol=rtol, atol=atol)
    assert grads == {}


def at(layer: Any, backend: Device, *points: float) -> tuple[list[float], list[float]]:
    """(φ, φ') at the points, as the layer computes them."""
    Z = np.array([points])
    A, dX, _ = run_layer(layer, {}, Z, backend, dA=np.ones_like(Z))
    return A[0].tolist(), dX[0].tolist()


def check_shapes_and_dtype(layer: Any, backend: Device) -> None:
    """Any shape in is the shape out; float32 stays float32, close to float64; the input is left alone."""
    assert layer.shapes((4, 3, 2)) == ((4, 3, 2), {})
    X, R = normal(5, 4, 3, 2), normal(5, 4, 3, 2, seed=1)
    A, dX, _ = run_layer(layer, {}, X, backend, dA=R)
    X32, R32 = X.astype("float32"), R.astype("float32")
    A32, dX32, _ = run_layer(layer, {}, X32, backend, dA=R32)
    assert A32.dtype == dX32.dtype == np.float32
    np.testing.assert_allclose(A32, A, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dX32, dX, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(X32, X.astype("float32"))


def check_cache(layer: Any, backend: Device, keeps: str) -> None:
    """The cache is one array: the layer's output ("A") or its input ("Z")."""
    Z = backend.put(normal(3, 4))
    before = host(Z).copy()
    A, cache = layer.forward({}, Z, None)
    assert cache is {"A": A, "Z": Z}[keeps]
    np.testing.assert_array_equal(host(Z), before)


def check_nan(layer: Any, backend: Device) -> None:
    """A NaN in Z is a NaN in A, and its neighbours are untouched."""
    A, _, _ = run_layer(layer, {}, np.array([[np.nan, 1.0, -1.0]]), backend)
    assert np.isnan(A[0, 0])
    assert np.isfinite(A[0, 1:]).all()
