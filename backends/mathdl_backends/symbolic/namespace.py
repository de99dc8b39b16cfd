"""The array API functions of symbolic arrays."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import sympy as sp

from mathdl_backends.symbolic.array import (
    COMPARISONS,
    HANDLE,
    RULES,
    Operand,
    SymbolicArray,
    apply,
    as_dtype,
    as_symbolic,
    mapped,
    of_numpy,
    together,
)
from mathdl_backends.symbolic.numbers import compared

# -- creation ----------------------------------------------------------------------------------------------------------


def _created(create: Callable[..., Any]) -> Callable[..., SymbolicArray]:
    """NumPy's function, for arrays of constants."""

    def f(*args: Any, device: Any = None, **keywords: Any) -> SymbolicArray:
        if device not in (None, HANDLE):
            raise ValueError(f"arrays of the symbolic backend live on {HANDLE!r}, not on {device!r}")
        return of_numpy(np.asarray(create(*args, **keywords)))

    return f


zeros, ones, arange = _created(np.zeros), _created(np.ones), _created(np.arange)


def full(shape: Any, value: Any, *, dtype: Any = None, device: Any = None) -> SymbolicArray:
    constant = as_symbolic(value, np.float64 if dtype is None else dtype)
    filled = zeros(shape, dtype=constant.dtype if dtype is None else dtype, device=device)
    filled[...] = constant
    return filled


def zeros_like(x: SymbolicArray, /, *, dtype: Any = None, device: Any = None) -> SymbolicArray:
    return zeros(x.shape, dtype=x.dtype if dtype is None else dtype, device=device)


def ones_like(x: SymbolicArray, /, *, dtype: Any = None, device: Any = None) -> SymbolicArray:
    return ones(x.shape, dtype=x.dtype if dtype is None else dtype, device=device)


def asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> SymbolicArray:
    made = x if isinstance(x, SymbolicArray) else of_numpy(np.asarray(x))
    return astype(made, made.dtype if dtype is None else dtype, copy=bool(copy))


def astype(x: SymbolicArray, dtype: Any, /, *, copy: bool = True, device: Any = None) -> SymbolicArray:
    if not copy and x.dtype == dtype:
        return x
    return as_dtype(x, dtype).moved(np.copy)


# -- entries that move -------------------------------------------------------------------------------------------------


def _moving(function: Callable[..., Any]) -> Callable[..., SymbolicArray]:
    return lambda x, /, *args, **keywords: x.moved(lambda entries: function(entries, *args, **keywords))


def _joined(function: Callable[..., Any]) -> Callable[..., SymbolicArray]:
    def f(arrays: Any, /, **keywords: Any) -> SymbolicArray:
        parts = together(*arrays)
        return SymbolicArray(function([x.entries for x in parts], **keywords), parts[0].dtype)

    return f


def take(x: SymbolicArray, indices: SymbolicArray, /, *, axis: int | None = None) -> SymbolicArray:
    return x.moved(lambda entries: np.take(entries, indices.entries, axis))


def where(condition: SymbolicArray, x: Operand, y: Operand, /) -> SymbolicArray:
    first, second = together(x, y)
    return SymbolicArray(np.where(condition.entries, first.entries, second.entries), first.dtype)


# -- sums --------------------------------------------------------------------------------------------------------------


def _along(x: Any, axis: Any, keepdims: bool, function: Callable[[list[Any]], Any], dtype: Any = object) -> Any:
    """`function` of the list of entries along the axes (None: all), for each place on the others."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(k % x.ndim for k in axes)
    others = tuple(k for k in range(x.ndim) if k not in axes)
    rows = x.transpose(*others, *axes).reshape(*(x.shape[k] for k in others), -1)
    found = np.empty(rows.shape[:-1], dtype=dtype)
    for place in np.ndindex(*found.shape):
        found[place] = function(list(rows[place]))
    return np.expand_dims(found, axes) if keepdims else found


def _sum_of(x: SymbolicArray, axis: Any, keepdims: bool) -> SymbolicArray:
    return SymbolicArray(_along(x.entries, axis, keepdims, lambda terms: sp.Add(*terms)), x.dtype)


def add_up(x: SymbolicArray, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> SymbolicArray:
    x = x if dtype is None else as_dtype(x, dtype)
    if x.is_real:
        return _sum_of(x, axis, keepdims)
    return of_numpy(np.asarray(np.sum(x.entries, axis=axis, keepdims=keepdims)))


def mean(x: SymbolicArray, /, *, axis: Any = None, keepdims: bool = False) -> SymbolicArray:
    total = _sum_of(x if x.is_real else as_dtype(x, np.float64), axis, keepdims)
    return apply(np.divide, total, x.size // max(total.size, 1))


def matmul(x: SymbolicArray, y: SymbolicArray, /) -> SymbolicArray:
    """X Y for 2-D operands."""
    x, y = together(x, y)
    if not x.is_real:
        return of_numpy(np.matmul(x.entries, y.entries))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0]:
        raise ValueError(f"matmul of symbols takes (n, m) and (m, l), got {x.shape} and {y.shape}")
    product = np.empty((x.shape[0], y.shape[1]), dtype=object)
    for i, k in np.ndindex(*product.shape):
        product[i, k] = sp.Add(*(a * b for a, b in zip(x.entries[i, :], y.entries[:, k], strict=True)))
    return SymbolicArray(product, x.dtype)


# -- order -------------------------------------------------------------------------------------------------------------


def _first_greatest(terms: list[Any]) -> int:
    """The index of the first of the greatest entries; a NaN is greater than all."""
    best = 0
    for k, term in enumerate(terms):
        if terms[best] is not sp.nan and (term is sp.nan or compared(term, terms[best]) > 0):
            best = k
    return best


def greatest(x: SymbolicArray, /, *, axis: Any = None, keepdims: bool = False) -> SymbolicArray:
    if not x.is_real:
        return of_numpy(np.asarray(np.max(x.entries, axis=axis, keepdims=keepdims)))
    return SymbolicArray(_along(x.entries, axis, keepdims, lambda terms: terms[_first_greatest(terms)]), x.dtype)


def least(x: SymbolicArray, /, *, axis: Any = None, keepdims: bool = False) -> SymbolicArray:
    return apply(np.negative, greatest(apply(np.negative, x), axis=axis, keepdims=keepdims))


def argmax(x: SymbolicArray, /, *, axis: int | None = None, keepdims: bool = False) -> SymbolicArray:
    if not x.is_real:
        return of_numpy(np.asarray(np.argmax(x.entries, axis=axis, keepdims=keepdims)))
    return SymbolicArray(_along(x.entries, axis, keepdims, _first_greatest, np.int64), np.int64)


def argmin(x: SymbolicArray, /, *, axis: int | None = None, keepdims: bool = False) -> SymbolicArray:
    return argmax(apply(np.negative, x), axis=axis, keepdims=keepdims)


def isfinite(x: SymbolicArray, /) -> SymbolicArray:
    """False for ∞ and NaN; a symbol is finite."""
    if not x.is_real:
        return of_numpy(np.isfinite(x.entries))
    infinite = (sp.nan, sp.oo, -sp.oo, sp.zoo)
    return SymbolicArray(mapped(lambda e: e not in infinite, x.entries).astype(bool), bool)


def every(x: SymbolicArray, /, *, axis: Any = None, keepdims: bool = False) -> SymbolicArray:
    return of_numpy(np.asarray(np.all(as_dtype(x, bool).entries, axis=axis, keepdims=keepdims)))


def some(x: SymbolicArray, /, *, axis: Any = None, keepdims: bool = False) -> SymbolicArray:
    return of_numpy(np.asarray(np.any(as_dtype(x, bool).entries, axis=axis, keepdims=keepdims)))


# -- entry by entry ----------------------------------------------------------------------------------------------------


def erf(x: SymbolicArray) -> SymbolicArray:
    """erf itself: the body of the primitive is an approximation of it."""
    return x.moved(lambda entries: mapped(sp.erf, entries))


def _entrywise(ufunc: Any) -> Callable[..., SymbolicArray]:
    return lambda *operands: apply(ufunc, *operands)


_OTHER_NAMES = {"abs": "absolute", "pow": "power", "bitwise_invert": "invert", "atan": "arctan"}
_ENTRYWISE = (*COMPARISONS, *RULES, *_OTHER_NAMES, "bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide")
_MOVING = (
    *("reshape", "permute_dims", "flip", "roll", "tile", "repeat", "expand_dims", "squeeze", "broadcast_to"),
    *("moveaxis", "matrix_transpose"),
)
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"),
    *("isdtype", "inf", "nan", "pi", "e", "newaxis"),
)

namespace = ModuleType("mathdl_backends.symbolic.namespace.namespace", "The array API functions for symbolic arrays.")
namespace.__dict__.update(
    {name: _entrywise(getattr(np, _OTHER_NAMES.get(name, name))) for name in _ENTRYWISE},
    **{name: _moving(getattr(np, name)) for name in _MOVING},
    **{name: getattr(np, name) for name in _DTYPES},
    **{name: _joined(getattr(np, name)) for name in ("concat", "stack")},
    **{f.__name__: f for f in (asarray, astype, full, zeros_like, ones_like, take, where, mean, matmul)},
    **{f.__name__: f for f in (argmax, argmin, isfinite, erf)},
    arange=arange,
    zeros=zeros,
    ones=ones,
    empty=zeros,  # what memory happens to hold is no expression
    sum=add_up,
    max=greatest,
    min=least,
    all=every,
    any=some,
)
