"""Arrays of dual numbers x + ε t: a value, and its tangent, the derivative along a direction that the caller chose.

    (x + ε t) + (y + ε s) = (x + y) + ε (t + s)        (x + ε t)(y + ε s) = x y + ε (t y + x s)

ε is an infinitesimal > 0, so dual numbers are ordered: by value, and by tangent where the values are equal. Then every
comparison goes the way that the code takes a small step ahead along the direction, and what comes out at a kink is the
derivative on that side of it (ReLU at 0 has the tangent max(t, 0), whatever a layer's convention is).
A tangent that is 0 stays 0, also where the derivative is infinite: a constant does not move.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from mathdl.errors import UsageError
from mathdl_backends.dual.branches import decide

HANDLE = "dual"

Operand = Any
"""A `DualArray`, or a constant: a Python number, or a NumPy array."""

_NO_NUMPY = (
    "a NumPy function would lose the tangents of a dual array; take that of namespace(A) in its place (xp.sum, "
    "not np.sum)"
)


class DualArray(NDArrayOperatorsMixin):
    """Two NumPy arrays of one shape and dtype, `value` and `tangent`; integers and booleans have no tangent (None)."""

    __slots__ = ("tangent", "value")

    def __init__(self, value: Any, tangent: Any = None) -> None:
        self.value = value
        self.tangent = np.zeros_like(value) if tangent is None and value.dtype.kind == "f" else tangent

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
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def device(self) -> str:
        return HANDLE

    @property
    def T(self) -> DualArray:
        return self.moved(np.transpose)

    @property
    def mT(self) -> DualArray:
        return self.moved(lambda x: np.swapaxes(x, -1, -2))

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        from mathdl_backends.dual import namespace

        return namespace

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(_NO_NUMPY)

    def __repr__(self) -> str:
        return f"DualArray({self.value!r} + ε {self.tangent!r})"

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self._constant())

    def __int__(self) -> int:
        return int(self._constant())

    def __float__(self) -> float:
        return float(self._constant())

    def __index__(self) -> int:
        return operator.index(self.value)

    def _constant(self) -> Any:
        if self.tangent is not None and np.any(self.tangent):
            raise TypeError("a Python number of a dual number would lose its tangent: keep it as an array")
        return self.value

    # -- parts --------------------------------------------------------------------------------------------------------

    def moved(self, move: Callable[[Any], Any]) -> DualArray:
        """The array whose value is `move` of this one's, and whose tangent is too: what is linear in the entries."""
        return dual(move(self.value), None if self.tangent is None else move(self.tangent))

    def __getitem__(self, key: Any) -> DualArray:
        where = _index(key)
        return self.moved(lambda x: x[where])

    def __setitem__(self, key: Any, other: Operand) -> None:
        where = _index(key)
        value, tangent = parts(other)
        self.value[where] = value
        if self.tangent is not None:
            self.tangent[where] = tangent

    # -- operators ----------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Operand, out: Any = None, **keywords: Any) -> Any:
        """The operators, and NumPy's functions entry by entry; `A += B` comes with `out`."""
        if method != "__call__" or keywords:
            raise TypeError(_NO_NUMPY)
        result = apply(ufunc, *operands)
        if out is None:
            return result
        target = out[0]
        if not isinstance(target, DualArray):
            raise TypeError("a NumPy array cannot take dual numbers: it has no room for their tangents")
        np.copyto(target.value, result.value, casting="same_kind")
        if target.tangent is not None:
            target.tangent[...] = 0.0 if result.tangent is None else result.tangent
        return target


def dual(value: Any, tangent: Any = None) -> DualArray:
    """The dual array of a NumPy value and a tangent that broadcasts to it (None: 0)."""
    value = np.asarray(value)
    if value.dtype.kind != "f" or tangent is None:
        return DualArray(value)
    tangent = np.asarray(tangent, dtype=value.dtype)
    return DualArray(value, tangent if tangent.shape == value.shape else np.broadcast_to(tangent, value.shape).copy())


def parts(x: Operand) -> tuple[Any, Any]:
    """(value, tangent); a constant's tangent is 0. Raises `TypeError` for arrays of another backend."""
    if isinstance(x, DualArray):
        return x.value, 0.0 if x.tangent is None else x.tangent
    if isinstance(x, bool | int | float | np.ndarray | np.generic):
        return x, 0.0
    raise TypeError(f"an array of the dual backend goes with its like and with constants, not with {type(x)!r}")


def apply(ufunc: Any, *operands: Operand) -> DualArray:
    """A function entry by entry, by NumPy's for its value and by the rule of the same name for its tangent."""
    pairs = [parts(x) for x in operands]
    name = ufunc.__name__
    if name in COMPARISONS:
        return _compared(name, *pairs)
    with np.errstate(all="ignore"):
        value = np.asarray(ufunc(*(value for value, _ in pairs)))
        if value.dtype.kind != "f" or name in CONSTANT:
            return DualArray(value)
        if name not in RULES:
            raise UsageError(f"the dual backend does not differentiate {name}; it differentiates {', '.join(RULES)}")
        return dual(value, RULES[name](value, *pairs))


def times(tangent: Any, slope: Any) -> Any:
    """tangent · slope, and 0 where the tangent is: also if the slope is infinite."""
    return np.where(np.equal(tangent, 0.0), 0.0, tangent * slope)


def greater(x: Any, t: Any, y: Any, s: Any) -> Any:
    """x + ε t > y + ε s: by value, then by tangent."""
    return (x > y) | ((x == y) & (t > s))


def _compared(name: str, first: Any, second: Any) -> DualArray:
    """A comparison of dual numbers. Those of real numbers are decisions that are recorded."""
    (x, t), (y, s) = first, second
    if np.result_type(x, y).kind != "f":
        return DualArray(np.asarray(getattr(np, name)(x, y)))
    same = np.equal(x, y) & np.equal(t, s)
    outcome = {
        "greater": lambda: greater(x, t, y, s),
        "less": lambda: greater(y, s, x, t),
        "greater_equal": lambda: greater(x, t, y, s) | same,
        "less_equal": lambda: greater(y, s, x, t) | same,
        "equal": lambda: same,
        "not_equal": lambda: ~same,
    }[name]()
    decide(outcome, np.equal(x, y) & ~same)
    return DualArray(np.asarray(outcome))


COMPARISONS = ("greater", "less", "greater_equal", "less_equal", "equal", "not_equal")
CONSTANT = ("floor", "ceil", "trunc", "rint")
"""Functions of reals that are flat wherever they have a derivative."""


def _chosen(first: Any, second: Any, larger: bool) -> Any:
    """The tangent of max(x, y) (or of min): that of the operand that is it."""
    (x, t), (y, s) = first, second
    takes_x = greater(x, t, y, s) if larger else greater(y, s, x, t)
    decide(takes_x, np.equal(x, y) & np.not_equal(t, s))
    return np.where(takes_x, t, s)


def _absolute(value: Any, pair: Any) -> Any:
    x, t = pair
    below = (x < 0) | ((x == 0) & np.less(t, 0))
    decide(below, np.equal(x, 0) & np.not_equal(t, 0))
    return np.where(below, -t, t)


def _power(value: Any, base: Any, exponent: Any) -> Any:
    (x, t), (n, s) = base, exponent
    if np.any(s):
        raise UsageError("the dual backend differentiates x**n for constants n alone; write xp.exp(n * xp.log(x))")
    return times(t, n * np.power(x, np.subtract(n, 1.0)))


RULES: dict[str, Callable[..., Any]] = {
    "add": lambda z, x, y: x[1] + y[1],
    "subtract": lambda z, x, y: x[1] - y[1],
    "multiply": lambda z, x, y: times(x[1], y[0]) + times(y[1], x[0]),
    "divide": lambda z, x, y: times(x[1], 1.0 / np.asarray(y[0])) - times(y[1], z / y[0]),
    "power": _power,
    "negative": lambda z, x: -x[1],
    "positive": lambda z, x: +np.asarray(x[1]),
    "absolute": _absolute,
    "fabs": _absolute,
    "maximum": lambda z, x, y: _chosen(x, y, larger=True),
    "minimum": lambda z, x, y: _chosen(x, y, larger=False),
    "square": lambda z, x: 2.0 * x[0] * x[1],
    "sqrt": lambda z, x: times(x[1], 0.5 / z),
    "reciprocal": lambda z, x: times(x[1], -z * z),
    "exp": lambda z, x: times(x[1], z),
    "expm1": lambda z, x: times(x[1], z + 1.0),
    "log": lambda z, x: times(x[1], 1.0 / x[0]),
    "log1p": lambda z, x: times(x[1], 1.0 / (1.0 + x[0])),
    "log2": lambda z, x: times(x[1], 1.0 / (np.log(2.0) * x[0])),
    "log10": lambda z, x: times(x[1], 1.0 / (np.log(10.0) * x[0])),
    "logaddexp": lambda z, x, y: times(x[1], np.exp(x[0] - z)) + times(y[1], np.exp(y[0] - z)),
    "sin": lambda z, x: times(x[1], np.cos(x[0])),
    "cos": lambda z, x: times(x[1], -np.sin(x[0])),
    "tan": lambda z, x: times(x[1], 1.0 + z * z),
    "arctan": lambda z, x: times(x[1], 1.0 / (1.0 + x[0] * x[0])),
    "sinh": lambda z, x: times(x[1], np.cosh(x[0])),
    "cosh": lambda z, x: times(x[1], np.sinh(x[0])),
    "tanh": lambda z, x: times(x[1], 1.0 - z * z),
}
"""NumPy's name of a function → the tangent of its value z, from (value, tangent) of each operand."""


def _index(key: Any) -> tuple[Any, ...]:
    """A key with an ellipsis, so that even a single element is a view; integer arrays index as in NumPy."""
    keys = [_plain(part) for part in (key if isinstance(key, tuple) else (key,))]
    return tuple(keys) if any(part is Ellipsis for part in keys) else (*keys, ...)


def _plain(part: Any) -> Any:
    if not isinstance(part, DualArray):
        return part
    if part.dtype.kind not in "iu":
        raise IndexError(f"slices, integers and integer arrays index an array of the dual backend, not {part.dtype}")
    return part.value
