"""The array API functions for lazy arrays: what can wait does, all else is CuPy's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from mathdl_backends.cupy import expressions
from mathdl_backends.cupy.expressions import Expression
from mathdl_backends.cupy.fusing import forced
from mathdl_backends.cupy.lazy import Lazy, call, is_array


def namespace(of_arrays: ModuleType) -> ModuleType:
    """The functions of CuPy's namespace, of lazy arrays."""
    found = ModuleType(f"{__name__}.namespace", "The array API functions for lazy arrays of CuPy.")
    for name, value in vars(of_arrays).items():
        if not callable(value) or isinstance(value, type):
            setattr(found, name, value)
        elif name in expressions.NAMES:
            setattr(found, name, _elementwise(name, value))
        elif name in expressions.REDUCTIONS:
            setattr(found, name, _reduction(name, value))
        else:
            setattr(found, name, _by_cupy(value))
    own = {"mean": _mean(found.sum, of_arrays.mean), "arange": _arange(of_arrays.arange)}
    for name, function in (own | {"reshape": _reshape(of_arrays.reshape), "astype": _as_type}).items():
        setattr(found, name, function)
    return found


def _by_cupy(function: Callable[..., Any]) -> Callable[..., Any]:
    on_arrays = forced(function)

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        found = on_arrays(*args, **keywords)
        return Lazy(found) if is_array(found) else found  # made of nothing but numbers, as by `zeros`

    return call


def _elementwise(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return wraps(function)(lambda *args: call(name, function, *args))


def _reduction(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`sum`, `max`, `argmax`: of rows, or (sum) of all numbers, taken down; else CuPy's `function`."""
    by_cupy = forced(function)

    @wraps(function)
    def reduce(A: Lazy, *, axis: Any = None, keepdims: bool = False, **keywords: Any) -> Any:
        whole = axis is None and name == "sum" and not keepdims
        if keywords or A.ndim == 0 or not (whole or axis in (-1, A.ndim - 1)):
            return by_cupy(A, axis=axis, keepdims=keepdims, **keywords)
        take_down = expressions.total if whole else lambda expression: expressions.reduction(name, expression)
        found = take_down(A.expression)
        if found is None and A.waits:
            found = take_down(expressions.array(A.array))  # of what has been computed
        if found is None:
            return by_cupy(A, axis=axis, keepdims=keepdims)
        result = Lazy(expression=found)
        return result if keepdims or whole else result.view(lambda array: array.reshape(found.shape[:-1]))

    return reduce


def _mean(sum: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    by_cupy = forced(function)

    @wraps(function)
    def mean(A: Lazy, *, axis: Any = None, keepdims: bool = False) -> Any:
        if A.ndim and axis in (-1, A.ndim - 1) and A.dtype.kind == "f":
            return sum(A, axis=axis, keepdims=keepdims) / A.shape[-1]
        return by_cupy(A, axis=axis, keepdims=keepdims)

    return mean


def _arange(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def arange(start: int, stop: int | None = None, step: int = 1, *, dtype: Any = None, device: Any = None) -> Any:
        first, end = (0, start) if stop is None else (start, stop)
        length = len(range(first, end, step)) if all(isinstance(n, int) for n in (first, end, step)) else 0
        if length and dtype is not None and np.dtype(dtype).name in expressions.C_TYPES:
            return Lazy(expression=expressions.arange(first, step, length, dtype))
        return Lazy(function(first, end, step, dtype=dtype, device=device))

    return arange


def _as_type(A: Lazy, dtype: Any, *, copy: bool = True) -> Lazy:
    dtype = np.dtype(dtype)
    if A.dtype == dtype and not copy:
        return A
    if dtype.name not in expressions.C_TYPES or A.dtype.name not in expressions.C_TYPES:
        return Lazy(A.array.astype(dtype))
    return Lazy(expression=Expression("cast", (A.expression,), dtype, A.shape))


def _reshape(function: Callable[..., Any]) -> Callable[..., Any]:
    """What waits goes on waiting where only axes before the last are joined or parted; what nobody else knows has its
    value in another form, and is no view: it may be updated without being written."""

    @wraps(function)
    def reshape(A: Lazy, shape: Sequence[int], *, copy: bool | None = None) -> Lazy:
        if tuple(shape) == A.shape and not copy:
            return A
        if A.waits and copy is None:
            found = _reshaped(A.expression, tuple(shape))
            if found is not None:
                return A.in_another_form(found)
        if copy is None and not A.shared:
            return Lazy(expression=expressions.array(function(A.array, tuple(map(int, shape)))))
        return A.view(lambda array: function(array, tuple(map(int, shape)), copy=copy))

    return reshape


def _reshaped(expression: Expression, shape: tuple[int, ...]) -> Expression | None:
    before = expression.shape
    if not before or not shape or before[-1] != shape[-1] or -1 in shape or prod(before) != prod(shape):
        return None
    if expression.reduced is not None:
        return None
    made: dict[int, Expression] = {}
    for each in expressions.ordered([expression]):
        if each.name == "array":
            A = _reshaped_array(each.args[0], before, shape)
            if A is None:
                return None
            made[id(each)] = expressions.array(A)
        elif each.name in expressions.LEAVES:
            made[id(each)] = each
        else:
            args = tuple(made[id(part)] for part in each.args)
            broad = np.broadcast_shapes(*(part.shape for part in args))
            made[id(each)] = Expression(each.name, args, each.dtype, broad)
    found = made[id(expression)]
    return found if found.shape == shape else None


def _reshaped_array(A: Any, before: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """A, a part of an expression that has got another shape: all of it, the same for each row, or one number."""
    if A.shape == before and A.flags.c_contiguous:
        return A.reshape(shape)
    if A.size == 1:
        return A.reshape(())
    return A.reshape(A.shape[-1:]) if A.size == A.shape[-1] else None
