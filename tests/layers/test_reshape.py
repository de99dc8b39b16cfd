"""Reshape: row-major order, the adjoint, the cache, errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import ShapeError, UsageError
from mathdl.layers.reshape import Reshape
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, normal, run_layer


@given(B=st.integers(1, 3), shape=st.permutations([2, 3, 4]).map(tuple), flat=st.booleans())
def test_values_and_gradients(backend, B, shape, flat):
    X, layer = normal(B, 24) if flat else normal(B, 4, 6), Reshape(shape)
    A, _, _ = run_layer(layer, {}, X, backend)
    assert A.shape == (B, *shape)
    assert [definitions.flatten(a) for a in A.tolist()] == [definitions.flatten(x) for x in X.tolist()]
    assert layer.shapes(X.shape[1:]) == (shape, {})
    check_layer_gradient(layer, {}, X, backend)


def test_backward_is_the_inverse(backend):
    X = normal(2, 12, dtype="float32")
    A, _, _ = run_layer(Reshape((2, 3, 2)), {}, X, backend)
    _, dX, grads = run_layer(Reshape((2, 3, 2)), {}, X, backend, dA=A)
    assert_close(dX, X, rtol=0, atol=0)
    assert dX.dtype == X.dtype
    assert grads == {}


def test_cache_is_the_shape(backend):
    _, cache = Reshape((6,)).forward({}, backend.put(normal(4, 2, 3)), None)
    assert cache == (4, 2, 3)


def test_a_list_is_a_shape():
    assert Reshape([2, 3]) == Reshape((2, 3))
    assert hash(Reshape([2, 3])) == hash(Reshape((2, 3)))


def test_the_number_of_entries_must_stay():
    with pytest.raises(ShapeError, match=r"Reshape: 12 .* 10 · A\[l-1\] .* = \(3, 4\) · A\[l\] shape = \(2, 5\)"):
        Reshape((2, 5)).shapes((3, 4))


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_sizes_must_be_positive_ints(size):
    with pytest.raises(UsageError, match=r"Reshape: shape\[1\] must be an int ≥ 1"):
        Reshape((2, size))


def test_a_shape_is_a_tuple():
    with pytest.raises(UsageError, match=r"Reshape: shape must be a tuple of ints ≥ 1 such as \(28, 28, 1\), got 3"):
        Reshape(3)
