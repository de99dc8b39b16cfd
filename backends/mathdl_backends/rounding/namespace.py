"""The array API functions of this backend: NumPy's for the values, the rules of `bounds` for the errors."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from mathdl.primitive import PRIMITIVES
from mathdl_backends.rounding import bounds, results
from mathdl_backends.rounding.array import (
    HANDLE,
    Operand,
    RoundedArray,
    apply,
    as_dtype,
    context,
    elementwise,
    exact,
    together,
)
from mathdl_backends.rounding.bounds import Ball, Context
from mathdl_backends.rounding.constants import ulps
from mathdl_backends.rounding.machine import decide

# -- creation --------------------------------------------------------------------------------------------------------


def _created(A: Any, device: Any) -> RoundedArray:
    if device not in (None, HANDLE):
        raise ValueError(f"arrays of the rounding backend live on {HANDLE!r}, not on {device!r}")
    return exact(A)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> RoundedArray:
    return _created(np.zeros(shape, dtype), device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> RoundedArray:
    return _created(np.ones(shape, dtype), device)


def full(shape: Any, value: Any, *, dtype: Any = None, device: Any = None) -> RoundedArray:
    return _created(np.full(shape, value, dtype), device)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> RoundedArray:
    first, end = (0, start) if stop is None else (start, stop)
    return _created(np.arange(first, end, step, dtype=dtype), device)


def astype(x: RoundedArray, dtype: Any, /, *, copy: bool = True, device: Any = None) -> RoundedArray:
    converted = as_dtype(x, dtype)
    return converted.moved(np.copy) if copy and converted is x else converted


# -- entries that move -----------------------------------------------------------------------------------------------


def reshape(x: RoundedArray, /, shape: Any, *, copy: bool | None = None) -> RoundedArray:
    return x.moved(lambda A: np.reshape(A, shape, copy=copy))


def permute_dims(x: RoundedArray, /, axes: Any) -> RoundedArray:
    return x.moved(lambda A: np.transpose(A, axes))


def flip(x: RoundedArray, /, *, axis: Any = None) -> RoundedArray:
    return x.moved(lambda A: np.flip(A, axis))


def tile(x: RoundedArray, repetitions: Any, /) -> RoundedArray:
    return x.moved(lambda A: np.tile(A, repetitions))


def expand_dims(x: RoundedArray, /, *, axis: Any = 0) -> RoundedArray:
    return x.moved(lambda A: np.expand_dims(A, axis))


def squeeze(x: RoundedArray, /, axis: Any) -> RoundedArray:
    return x.moved(lambda A: np.squeeze(A, axis))


def take(x: RoundedArray, indices: RoundedArray, /, *, axis: Any = None) -> RoundedArray:
    if np.any(indices.ball.error):
        raise TypeError("take: the indices come from a decision that machines may take otherwise; no ball holds that")
    return x.moved(lambda A: np.take(A, indices.value, axis))


def concat(arrays: Any, /, *, axis: Any = 0) -> RoundedArray:
    return _joined(np.concatenate, arrays, axis)


def stack(arrays: Any, /, *, axis: Any = 0) -> RoundedArray:
    return _joined(np.stack, arrays, axis)


def _joined(join: Callable[..., Any], arrays: Any, axis: Any) -> RoundedArray:
    parts = together(*arrays)
    value = join([x.value for x in parts], axis=axis)
    if all(x.error is None for x in parts):
        return RoundedArray(value, None, parts[0].dtype)
    return RoundedArray(value, join([np.broadcast_to(*_error(x)) for x in parts], axis=axis), parts[0].dtype)


def _error(x: RoundedArray) -> tuple[Any, tuple[int, ...]]:
    return x.ball.error, x.shape


# -- entry by entry --------------------------------------------------------------------------------------------------


def absolute(x: RoundedArray, /) -> RoundedArray:
    copy = x.moved(np.copy)
    return copy if x.dtype.kind in "bu" else RoundedArray(np.abs(x.value), copy.error, x.dtype)


def sign(x: RoundedArray, /) -> RoundedArray:
    value, error = bounds.sign(x.ball)
    decide(error > 0)
    return RoundedArray(value, error, x.dtype)


def maximum(x: Operand, y: Operand, /) -> RoundedArray:
    return elementwise(lambda a, b, at: bounds.maximum(a, b), *together(x, y))


def minimum(x: Operand, y: Operand, /) -> RoundedArray:
    return apply("negative", maximum(*(apply("negative", each) for each in together(x, y))))


def where(condition: RoundedArray, x: Operand, y: Operand, /) -> RoundedArray:
    x, y = together(x, y)
    value, error = bounds.where(condition.ball, x.ball, y.ball)
    return RoundedArray(value, error if x.is_float or np.any(error) else None, x.dtype)


def sqrt(x: RoundedArray, /) -> RoundedArray:
    return elementwise(bounds.square_root, x)


def isfinite(x: RoundedArray, /) -> RoundedArray:
    return exact(np.isfinite(x.value))


def _function(name: str, evaluate: Callable[[Any], Any], spread: Callable[[Ball], Any]) -> Callable[..., RoundedArray]:
    """f with the constants of H3, from how to evaluate it and how far it takes a ball."""

    def rule(x: Ball, at: Context) -> Ball:
        return bounds.function(evaluate(x.value), spread(x), ulps(name, at.format.name), ulps(name, "float64"), at)

    def f(x: RoundedArray, /) -> RoundedArray:
        return elementwise(rule, x)

    f.__name__ = f.__qualname__ = name
    return f


exp = _function("exp", np.exp, bounds.spread_of_exp)
expm1 = _function("expm1", np.expm1, bounds.spread_of_exp)
log = _function("log", np.log, lambda x: bounds.spread_of_log(x.value, x.error))
log1p = _function("log1p", np.log1p, lambda x: bounds.spread_of_log(1.0 + x.value, x.error))
tanh = _function("tanh", np.tanh, bounds.spread_of_tanh)
erf = _function("erf", lambda x: PRIMITIVES["erf"](x), bounds.spread_of_erf)

# -- reductions ------------------------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def _reduced(rule: Callable[..., Ball], x: RoundedArray, axis: Any, keepdims: bool) -> RoundedArray:
    at = context(x)
    ball = bounds.seen(x.ball, at)
    result = results.settled(rule(ball, axis, keepdims, at), at, lambda: results.uncertain_sums(ball, axis, keepdims))
    return RoundedArray(*result, x.dtype)


def add_up(x: RoundedArray, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> RoundedArray:
    x = x if dtype is None else as_dtype(x, dtype)
    if not x.is_float and x.error is None:
        return exact(np.asarray(np.sum(x.value, axis=axis, keepdims=keepdims)))
    return _reduced(bounds.add_up, x, axis, keepdims)


def mean(x: RoundedArray, /, *, axis: Any = None, keepdims: bool = False) -> RoundedArray:
    return _reduced(bounds.mean, x, axis, keepdims)


def greatest(x: RoundedArray, /, *, axis: Any = None, keepdims: bool = False) -> RoundedArray:
    return _reduced(lambda ball, axis, keepdims, at: bounds.greatest(ball, axis, keepdims), x, axis, keepdims)


def argmax(x: RoundedArray, /, *, axis: int | None = None, keepdims: bool = False) -> RoundedArray:
    if x.error is None:
        return exact(np.asarray(np.argmax(x.value, axis=axis, keepdims=keepdims)))
    value, error = bounds.argmax(x.ball, axis, keepdims)
    decide(error > 0)
    return RoundedArray(np.asarray(value), error, np.int64)


def argmin(x: RoundedArray, /, *, axis: int | None = None, keepdims: bool = False) -> RoundedArray:
    if x.error is None:
        return exact(np.asarray(np.argmin(x.value, axis=axis, keepdims=keepdims)))
    return argmax(apply("negative", x), axis=axis, keepdims=keepdims)


def every(x: RoundedArray, /, *, axis: Any = None, keepdims: bool = False) -> RoundedArray:
    return exact(np.asarray(np.all(x.value, axis=axis, keepdims=keepdims)))


@np.errstate(all="ignore")
def matmul(x: RoundedArray, y: RoundedArray, /) -> RoundedArray:
    x, y = together(x, y)
    at = context(x)
    a, b = bounds.seen(x.ball, at), bounds.seen(y.ball, at)
    result = results.settled(bounds.matmul(a, b, at), at, lambda: results.uncertain_products(a, b))
    return RoundedArray(*result, x.dtype)


namespace = ModuleType("mathdl_backends.rounding.namespace.namespace", "The array API functions for balls.")
namespace.__dict__.update(
    {name: getattr(np, name) for name in ("bool", "int8", "int16", "int32", "int64", "float32", "float64", "isdtype")},
    **{name: getattr(np, name) for name in ("uint8", "uint16", "uint32", "uint64", "newaxis", "inf", "nan", "pi", "e")},
    **{f.__name__: f for f in (zeros, ones, full, arange, astype, argmax, argmin, matmul, mean)},
    **{f.__name__: f for f in (reshape, permute_dims, flip, tile, expand_dims, squeeze, take, concat, stack)},
    **{f.__name__: f for f in (sign, maximum, minimum, where, isfinite, sqrt, exp, expm1, log, log1p, tanh)},
    empty=zeros,  # what memory happens to hold has no bound
    abs=absolute,
    all=every,
    sum=add_up,
    max=greatest,
)
