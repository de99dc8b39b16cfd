"""The NumPy namespace: what is taken unwrapped means the same, and large products are cut as their shape alone says."""

from __future__ import annotations

import sys

import array_api_compat.numpy as compat
import numpy as np
import pytest

from mathdl_backends.numpy.namespace import namespace
from support import normal

module = sys.modules["mathdl_backends.numpy.namespace"]  # the package has its array API namespace under this name
DTYPES = ["float32", "float64"]
ARRAYS = [
    normal(3, 4, 2),
    normal(3, 4, 2, dtype="float32"),
    np.array([[1.0, np.nan, 3.0], [np.inf, -1.0, 2.0]]),
    normal(1, 1),
]
INTEGERS = [np.arange(6, dtype=dtype).reshape(2, 3) for dtype in ("int8", "uint8", "int32", "int64", "uint32")]


def same(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["sum", "max", "mean", "argmax"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), ()])
def test_reductions(name, axis, keepdims):
    if name == "argmax" and isinstance(axis, tuple):
        return
    with np.errstate(all="ignore"):
        for x in ARRAYS + (INTEGERS if name != "mean" else []):
            found = getattr(namespace, name)(x, axis=axis, keepdims=keepdims)
            same(found, getattr(compat, name)(x, axis=axis, keepdims=keepdims))


def test_sum_of_bools_and_with_a_dtype():
    same(namespace.sum(normal(3, 4) > 0, axis=0), compat.sum(normal(3, 4) > 0, axis=0))
    x = normal(3, 4, dtype="float32")
    same(namespace.sum(x, dtype=np.float64), compat.sum(x, dtype=np.float64))


def test_empty_arrays():
    same(namespace.sum(np.zeros((0, 3)), axis=0), np.zeros(3))
    same(namespace.mean(np.zeros((3, 0)), axis=0), np.zeros(0))
    with np.errstate(all="ignore"):
        same(namespace.mean(np.zeros((0, 3)), axis=0), np.full(3, np.nan))
    with pytest.raises(ValueError, match="zero-size"):
        namespace.max(np.zeros((0, 3)), axis=0)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take(axis):
    x = normal(3, 4)
    for indices in (
        np.array([2, 0, 0]),
        np.array([1], dtype=np.int32),
        np.array([], dtype=np.int64),
        np.array([-1, -3]),
    ):
        same(namespace.take(x, indices, axis=axis), compat.take(x, indices, axis=axis))
    with pytest.raises(IndexError):
        namespace.take(x, np.array([4]), axis=axis)


@pytest.mark.parametrize("copy", [None, True, False])
def test_reshape(copy):
    x = normal(2, 6)
    found = namespace.reshape(x, (3, -1), copy=copy)
    same(found, x.reshape(3, 4))
    assert np.shares_memory(found, x) is (copy is not True)


def test_reshape_that_would_have_to_copy():
    x = normal(2, 6).T
    same(namespace.reshape(x, (12,)), np.reshape(x, (12,)))
    with pytest.raises(ValueError, match="copy"):
        namespace.reshape(x, (12,), copy=False)


def test_astype():
    x = normal(3)
    same(namespace.astype(x, np.float32), x.astype(np.float32))
    assert namespace.astype(x, x.dtype, copy=False) is x
    assert not np.shares_memory(namespace.astype(x, x.dtype), x)


@pytest.mark.parametrize("name", ["abs", "exp", "expm1", "log1p", "sign", "sqrt", "tanh"])
def test_elementwise_functions(name):
    with np.errstate(all="ignore"):
        for x in ARRAYS:
            same(getattr(namespace, name)(x), getattr(compat, name)(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_creation(dtype):
    place = {"dtype": dtype, "device": "cpu"}
    same(namespace.zeros((2, 3), **place), compat.zeros((2, 3), **place))
    same(namespace.ones((2, 3), **place), compat.ones((2, 3), **place))
    same(namespace.full((2, 3), 7, **place), compat.full((2, 3), 7, **place))
    same(namespace.arange(2, 9, 3, **place), compat.arange(2, 9, 3, **place))
    assert namespace.empty((2, 3), **place).shape == (2, 3)
    for name, args in (
        ("zeros", ((2,),)),
        ("empty", ((2,),)),
        ("full", ((2,), 1)),
        ("arange", (3,)),
        ("ones", ((2,),)),
    ):
        with pytest.raises(ValueError, match=r"[Dd]evice"):
            getattr(namespace, name)(*args, dtype=dtype, device="cuda")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack(axis):
    for arrays in (
        [normal(3, 4, seed=seed) for seed in range(3)],
        (normal(5), np.arange(5)),
        [normal(2, 3, dtype="float32"), normal(2, 3)],
        [np.array([1, 2]), np.array([True, False])],
        [normal(4)],
    ):
        if axis <= arrays[0].ndim:
            same(namespace.stack(arrays, axis=axis), compat.stack(arrays, axis=axis))
    with pytest.raises(ValueError, match="same shape"):
        namespace.stack([normal(3), normal(1)], axis=axis)


def test_tile():
    for x, repetitions in ((normal(3), (2,)), (normal(3), (1,)), (normal(2, 3), (2,)), (normal(3), (2, 2))):
        same(namespace.tile(x, repetitions), compat.tile(x, repetitions))


def test_everything_else_is_array_api_compats():
    for name in ("concat", "where", "permute_dims", "isdtype", "float32", "uint64", "bool"):
        assert getattr(namespace, name) is getattr(compat, name)
    assert not hasattr(namespace, "relu")
