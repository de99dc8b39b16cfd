"""The array of this backend: float64 values, and a bound on the error of each; slices of it are views of both."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from mathdl_backends.rounding import bounds, results
from mathdl_backends.rounding.bounds import Ball, Context
from mathdl_backends.rounding.machine import FORMATS, decide, machine

HANDLE = "rounding"
"""The one pretended device."""

Operand = Any
"""A `RoundedArray`, or a Python number, which takes the dtype of the array beside it."""


class RoundedArray(NDArrayOperatorsMixin):
    """Numbers of `dtype` that a machine holds within `error` of `value`.

    Of float32 and float64, `value` and `error` are float64 arrays of one shape. Of booleans and integers `value` has
    the dtype itself and `error` is None, or float64: how far a machine may be off that took a decision otherwise.
    """

    __slots__ = ("dtype", "error", "value")

    def __init__(self, value: Any, error: Any, dtype: Any) -> None:
        self.value = value
        self.error = error
        self.dtype = np.dtype(dtype)

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        return int(self.value.ndim)

    @property
    def size(self) -> int:
        return int(self.value.size)

    @property
    def device(self) -> str:
        return HANDLE

    @property
    def T(self) -> RoundedArray:
        return self.moved(np.transpose)

    @property
    def is_float(self) -> bool:
        """Whether these are real numbers, which are rounded."""
        return self.dtype.name in FORMATS

    @property
    def ball(self) -> Ball:
        """Value and error; the error of what is exact is 0."""
        return Ball(self.value, np.zeros(()) if self.error is None else self.error)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        from mathdl_backends.rounding import namespace

        return namespace

    def __repr__(self) -> str:
        return f"RoundedArray({self.value!r} ± {self.error!r}, {self.dtype})"

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return operator.index(self.value.item() if self.dtype.kind in "iu" else self.value)

    # -- parts --------------------------------------------------------------------------------------------------------

    def moved(self, move: Callable[[Any], Any]) -> RoundedArray:
        """The array whose values are `move` of these, and whose errors are too: views, copies, gathers."""
        return RoundedArray(move(self.value), None if self.error is None else move(self.error), self.dtype)

    def __getitem__(self, key: Any) -> RoundedArray:
        where = _index(key)
        return self.moved(lambda x: x[where])

    def __setitem__(self, key: Any, value: Operand) -> None:
        where, other = _index(key), as_dtype(value, self.dtype)
        self.value[where] = other.value
        if self.error is not None:
            self.error[where] = other.ball.error
        elif other.error is not None:
            raise TypeError(f"an array of {self.dtype} that was made exact cannot take decisions that are doubtful")

    # -- operators ----------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Operand, out: Any = None) -> Any:
        """The operators, by the names of NumPy's functions; `A += B` comes with `out`."""
        if method != "__call__":
            return NotImplemented
        result = apply(ufunc.__name__, *operands)
        if out is None:
            return result
        if result.dtype != out[0].dtype:
            raise TypeError(f"an array of {out[0].dtype} cannot be changed in place to {result.dtype}")
        out[0][...] = result
        return out[0]


def apply(name: str, *operands: Operand) -> RoundedArray:
    """An operator, by the name of NumPy's function for it."""
    arrays = together(*operands)
    first = arrays[0]
    if name == "power":
        if operands[1] != 2:
            raise TypeError(f"the rounding backend bounds squares alone: A**2, not A**{operands[1]!r}")
        return apply("multiply", first, first)
    if name in _COMPARISONS and (first.is_float or any(x.error is not None for x in arrays)):
        return _compared(getattr(np, name), *arrays)
    if first.is_float and name == "negative":
        return RoundedArray(-first.value, first.ball.error.copy(), first.dtype)
    if first.is_float:
        if name not in _RULES:
            raise TypeError(f"the rounding backend has no bound for the operator {name!r} of {first.dtype}")
        return elementwise(_RULES[name], *arrays)
    return _on_integers(getattr(np, name), *arrays)


_RULES = {"add": bounds.add, "subtract": bounds.subtract, "multiply": bounds.multiply, "divide": bounds.divide}
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


@np.errstate(all="ignore")
def elementwise(rule: Callable[..., Ball], *operands: RoundedArray) -> RoundedArray:
    """`rule(*balls, at)` of real numbers of one dtype."""
    at = context(operands[0])
    balls = [bounds.seen(x.ball, at) for x in operands]
    result = results.settled(rule(*balls, at), at, lambda: results.uncertain_entries(*balls))
    return RoundedArray(*result, operands[0].dtype)


@np.errstate(invalid="ignore")
def _compared(compare: Any, x: RoundedArray, y: RoundedArray) -> RoundedArray:
    """A decision; those of real numbers are counted, not what follows from them."""
    if x.dtype.kind == "b":
        return _on_integers(compare, x, y)
    doubtful = np.asarray(bounds.may_be_equal(x.ball, y.ball))
    if x.is_float:
        decide(doubtful)
    return RoundedArray(np.asarray(compare(x.value, y.value)), doubtful.astype(np.float64), np.bool_)


def _on_integers(operation: Any, *operands: RoundedArray) -> RoundedArray:
    """Integers and booleans: exact, unless they come from a decision; then off by anything, or the other boolean."""
    value = np.asarray(operation(*(x.value for x in operands)))
    if all(x.error is None for x in operands):
        return exact(value)
    doubtful = np.broadcast_to(sum(x.ball.error for x in operands) > 0, value.shape)
    return RoundedArray(value, np.where(doubtful, 1.0 if value.dtype.kind == "b" else np.inf, 0.0), value.dtype)


def together(*operands: Operand) -> tuple[RoundedArray, ...]:
    """Operands in their common dtype; Python numbers take that of the arrays.

    A machine may round such a number to float32, or keep it in a wider format: its ball holds both.
    """
    for x in operands:
        if not isinstance(x, RoundedArray | bool | int | float) or isinstance(x, np.generic):
            raise TypeError(f"an array of the rounding backend goes with its like and Python numbers, not {type(x)!r}")
    dtype = np.result_type(*(x.dtype if isinstance(x, RoundedArray) else x for x in operands))
    return tuple(_number(x, dtype) if isinstance(x, float) else as_dtype(x, dtype) for x in operands)


@np.errstate(over="ignore")
def _number(x: float, dtype: Any) -> RoundedArray:
    rounded = float(dtype.type(x))
    return RoundedArray(np.asarray(x), np.asarray(abs(x - rounded) if abs(x) < np.inf else 0.0), dtype)


def as_dtype(x: Operand, dtype: Any) -> RoundedArray:
    """x in another dtype, rounded where that is narrower; x itself if it has it. A Python number is stored: rounded."""
    dtype = np.dtype(dtype)
    if not isinstance(x, RoundedArray):
        return exact(np.asarray(x, dtype=dtype))
    if x.dtype == dtype:
        return x
    if dtype.name not in FORMATS:
        return RoundedArray(x.value.astype(dtype), x.error, dtype)
    value = x.value.astype(np.float64)
    error = np.broadcast_to(x.ball.error, value.shape)
    if dtype == np.float32 and x.dtype.kind != "b":
        at = Context(FORMATS["float32"], machine())
        error = bounds.rounded(value, error, at, at.tiny, (error == 0) & at.is_number(value)).error
    return RoundedArray(value, np.array(error, dtype=np.float64), dtype)


def exact(A: Any) -> RoundedArray:
    """A NumPy array as it is: every machine holds the same bits."""
    if A.dtype.name in FORMATS:
        return RoundedArray(A.astype(np.float64), np.zeros(A.shape), A.dtype)
    return RoundedArray(A, None, A.dtype)


def context(x: RoundedArray) -> Context:
    """The format of x, on the machine that is modelled."""
    return Context(FORMATS[x.dtype.name], machine())


def _index(key: Any) -> tuple[Any, ...]:
    """A key of basic indexing, with an ellipsis, so that even a single element is a view."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if isinstance(part, bool) or not (part is None or part is Ellipsis or isinstance(part, slice | int)):
            raise IndexError(f"slices, integers, None and … index an array of the rounding backend, not {part!r}")
    return parts if any(part is Ellipsis for part in parts) else (*parts, ...)
