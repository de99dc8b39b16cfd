"""The array API functions of dual arrays: NumPy's for the values, and what each does to the tangents."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from mathdl.errors import UsageError
from mathdl.primitive import PRIMITIVES
from mathdl_backends.dual.array import CONSTANT, HANDLE, RULES, DualArray, Operand, apply, dual, parts, times
from mathdl_backends.dual.branches import decide

# -- creation ----------------------------------------------------------------------------------------------------------


def _created(create: Callable[..., Any]) -> Callable[..., DualArray]:
    """NumPy's function, for arrays that are constants."""

    def f(*args: Any, device: Any = None, **keywords: Any) -> DualArray:
        if device not in (None, HANDLE):
            raise ValueError(f"arrays of the dual backend live on {HANDLE!r}, not on {device!r}")
        return dual(create(*args, **keywords))

    return f


def _created_like(create: Callable[..., Any]) -> Callable[..., DualArray]:
    like = _created(lambda x, *args, **keywords: create(x.value, *args, **keywords))
    return lambda x, /, *args, **keywords: like(x, *args, **keywords)


def asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> DualArray:
    if isinstance(x, DualArray):
        return astype(x, x.dtype if dtype is None else dtype, copy=bool(copy))
    return _created(np.array)(x, dtype=dtype, device=device)


def astype(x: DualArray, dtype: Any, /, *, copy: bool = True, device: Any = None) -> DualArray:
    if not copy and x.dtype == dtype:
        return x
    value = x.value.astype(dtype)
    return dual(value, None if x.tangent is None else x.tangent.copy())


# -- linear in the entries: the tangents go the same way ---------------------------------------------------------------


def _linear(function: Callable[..., Any]) -> Callable[..., DualArray]:
    """NumPy's function, on the values and on the tangents alike."""
    return lambda x, /, *args, **keywords: x.moved(lambda A: function(A, *args, **keywords))


def _joined(function: Callable[..., Any]) -> Callable[..., DualArray]:
    """NumPy's function of several arrays, on the values and on the tangents alike."""

    def f(arrays: Any, /, **keywords: Any) -> DualArray:
        pairs = [parts(x) for x in arrays]
        tangents = [np.broadcast_to(tangent, np.shape(value)) for value, tangent in pairs]
        return dual(function([value for value, _ in pairs], **keywords), function(tangents, **keywords))

    return f


def take(x: DualArray, indices: DualArray, /, *, axis: int | None = None) -> DualArray:
    return x.moved(lambda A: np.take(A, parts(indices)[0], axis))


def where(condition: DualArray, x: Operand, y: Operand, /) -> DualArray:
    (x, t), (y, s), (c, _) = parts(x), parts(y), parts(condition)
    return dual(np.where(c, x, y), np.where(c, t, s))


def matmul(x: DualArray, y: DualArray, /) -> DualArray:
    """(X + ε T)(Y + ε S) = X Y + ε (T Y + X S); a factor that is a constant costs nothing more."""
    (x, t), (y, s) = parts(x), parts(y)
    tangent: Any = 0.0
    if np.any(t):
        tangent = tangent + np.matmul(t, y)
    if np.any(s):
        tangent = tangent + np.matmul(x, s)
    return dual(np.matmul(x, y), tangent)


def var(x: DualArray, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> DualArray:
    difference = x - mean(x, axis=axis, keepdims=True)
    total = add_up(difference * difference, axis=axis, keepdims=keepdims)
    return apply(np.divide, total, x.size / max(total.size, 1) - correction)


def std(x: DualArray, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> DualArray:
    return apply(np.sqrt, var(x, axis=axis, correction=correction, keepdims=keepdims))


mean = _linear(np.mean)
add_up = _linear(np.sum)

# -- order -------------------------------------------------------------------------------------------------------------


def greatest(x: DualArray, /, *, axis: Any = None, keepdims: bool = False) -> DualArray:
    """The maximum; of equal values the one with the largest tangent. A NaN is its maximum."""
    whole = np.max(x.value, axis=axis, keepdims=True)
    value = np.max(x.value, axis=axis, keepdims=keepdims)
    if x.tangent is None:
        return dual(value)
    candidates = np.where(x.value == whole, x.tangent, -np.inf)
    decide(*_winners(candidates, axis))
    return dual(value, np.max(candidates, axis=axis, keepdims=keepdims))


def least(x: DualArray, /, *, axis: Any = None, keepdims: bool = False) -> DualArray:
    return apply(np.negative, greatest(apply(np.negative, x), axis=axis, keepdims=keepdims))


def argmax(x: DualArray, /, *, axis: int | None = None, keepdims: bool = False) -> DualArray:
    """The index of the maximum: of equal values the one with the largest tangent, of equal tangents the first."""
    if x.tangent is None:
        return dual(np.argmax(x.value, axis=axis, keepdims=keepdims))
    candidates = np.where(x.value == np.max(x.value, axis=axis, keepdims=True), x.tangent, -np.inf)
    decide(*_winners(candidates, axis))
    nan = np.isnan(x.value)
    return dual(np.argmax(np.where(nan, np.inf, candidates) if nan.any() else candidates, axis=axis, keepdims=keepdims))


def argmin(x: DualArray, /, *, axis: int | None = None, keepdims: bool = False) -> DualArray:
    return argmax(apply(np.negative, x), axis=axis, keepdims=keepdims)


def _winners(candidates: Any, axis: Any) -> tuple[Any, Any]:
    """(which entries are the maximum, which of those with that value are not, for their tangents)."""
    won = candidates == np.max(candidates, axis=axis, keepdims=True)
    return won, ~won & (candidates > -np.inf)


def sign(x: DualArray, /) -> DualArray:
    """The sign, of the tangent where the value is 0; flat, so its own tangent is 0."""
    value = np.sign(x.value)
    if x.tangent is not None:
        decide(np.stack([value > 0, value < 0]), (value == 0) & (x.tangent != 0))
        value = np.where(value == 0, np.sign(x.tangent), value)
    return dual(value)


def clip(x: DualArray, /, min: Operand = None, max: Operand = None) -> DualArray:
    x = x if min is None else apply(np.maximum, x, min)
    return x if max is None else apply(np.minimum, x, max)


# -- of the values alone -----------------------------------------------------------------------------------------------


def _of_values(function: Callable[..., Any]) -> Callable[..., DualArray]:
    """NumPy's function: its result is no real number."""
    return lambda *arrays, **keywords: dual(function(*(parts(x)[0] for x in arrays), **keywords))


# -- entry by entry ----------------------------------------------------------------------------------------------------


def erf(x: DualArray) -> DualArray:
    """erf, whose derivative is 2/√π e^(−x²): the approximation that ships has a derivative of its own."""
    value, tangent = parts(x)
    with np.errstate(all="ignore"):
        return dual(PRIMITIVES["erf"](value), times(tangent, 2.0 / np.sqrt(np.pi) * np.exp(-value * value)))


def _entrywise(ufunc: Any) -> Callable[..., DualArray]:
    return lambda *operands: apply(ufunc, *operands)


_OTHER_NAMES = {
    **{"abs": "absolute", "pow": "power", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift"},
    **{"bitwise_right_shift": "right_shift", "atan": "arctan", "round": "rint"},
}
"""What the standard calls otherwise than NumPy."""
_ENTRYWISE = (
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", *RULES, *CONSTANT, *_OTHER_NAMES),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder"),
)
_LINEAR = (
    *("reshape", "permute_dims", "flip", "roll", "tile", "repeat", "expand_dims", "squeeze", "broadcast_to"),
    *("moveaxis", "matrix_transpose", "cumulative_sum"),
)
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"),
    *("isdtype", "finfo", "iinfo", "inf", "nan", "pi", "e", "newaxis"),
)


class _Namespace(ModuleType):
    """A module that says of a function it lacks what that means."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UndifferentiatedError(name)


class UndifferentiatedError(UsageError, AttributeError):
    """A function that has no rule for tangents was asked of the namespace."""

    def __init__(self, function: str) -> None:
        super().__init__(f"the dual backend does not differentiate xp.{function}")
        self.function = function


namespace = _Namespace("mathdl_backends.dual.namespace.namespace", "The array API functions for dual arrays.")
namespace.__dict__.update(
    {name: _entrywise(getattr(np, _OTHER_NAMES.get(name, name))) for name in _ENTRYWISE},
    **{name: _linear(getattr(np, name)) for name in _LINEAR},
    **{name: getattr(np, name) for name in _DTYPES},
    **{name: _created(getattr(np, name)) for name in ("arange", "empty", "eye", "full", "linspace", "ones", "zeros")},
    **{name: _created_like(getattr(np, name)) for name in ("empty_like", "full_like", "ones_like", "zeros_like")},
    **{name: _joined(getattr(np, name)) for name in ("concat", "stack")},
    **{name: _of_values(getattr(np, name)) for name in ("all", "any", "isfinite", "isinf", "isnan", "count_nonzero")},
    **{name: _of_values(getattr(np, name)) for name in ("logical_and", "logical_or", "logical_xor", "logical_not")},
    **{f.__name__: f for f in (asarray, astype, argmax, argmin, clip, erf, matmul, sign, std, take, var, where)},
    max=greatest,
    min=least,
    sum=add_up,
    mean=mean,
)
