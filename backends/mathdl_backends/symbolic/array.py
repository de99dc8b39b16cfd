"""Arrays of expressions: a NumPy array of SymPy's, and the dtype that the code believes it has.

A real array holds expressions; nothing is rounded, and float32 and float64 are names that follow the rules of
promotion. Arrays of integers and of booleans are NumPy's own: gather tables, labels, masks, random words. So every
comparison must be decided when it is made, from the assumptions on the symbols, or raises `UndecidedError`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.lib.mixins import NDArrayOperatorsMixin

from mathdl.errors import UsageError
from mathdl_backends.symbolic.numbers import compared, equal, expression

HANDLE = "symbolic"

Operand = Any
"""A `SymbolicArray`, or a constant: a Python number, an expression, or a NumPy array."""

_NO_NUMPY = "an array of symbols is no NumPy array: take the function of namespace(A), or A.entries"


class SymbolicArray(NDArrayOperatorsMixin):
    """`entries`, of the dtype `dtype`: expressions if that is real, NumPy's numbers else."""

    __slots__ = ("dtype", "entries")

    def __init__(self, entries: Any, dtype: Any) -> None:
        self.entries = entries
        self.dtype = np.dtype(dtype)

    @property
    def is_real(self) -> bool:
        return bool(self.dtype.kind == "f")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.entries.shape)

    @property
    def ndim(self) -> int:
        return int(self.entries.ndim)

    @property
    def size(self) -> int:
        return int(self.entries.size)

    @property
    def device(self) -> str:
        return HANDLE

    @property
    def T(self) -> SymbolicArray:
        return self.moved(np.transpose)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        from mathdl_backends.symbolic import namespace

        return namespace

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(_NO_NUMPY)

    def __repr__(self) -> str:
        return f"SymbolicArray({self.entries.tolist()!r}, {self.dtype})"

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return bool(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __index__(self) -> int:
        return operator.index(self.entries)

    def _number(self) -> Any:
        entry = self.entries[()] if self.ndim == 0 else self.entries.item()
        if self.is_real and not entry.is_number:
            raise TypeError(f"{entry} is no number: the code asks for a Python number where the array holds symbols")
        return entry

    # -- parts --------------------------------------------------------------------------------------------------------

    def moved(self, move: Callable[[Any], Any]) -> SymbolicArray:
        """The array whose entries are `move` of these: views, copies, gathers."""
        return SymbolicArray(_array(move(self.entries)), self.dtype)

    def __getitem__(self, key: Any) -> SymbolicArray:
        where = _index(key)
        return self.moved(lambda entries: entries[where])

    def __setitem__(self, key: Any, value: Operand) -> None:
        other = as_symbolic(value, self.dtype)
        self.entries[_index(key)] = as_dtype(other, self.dtype).entries

    # -- operators ----------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Operand, out: Any = None, **keywords: Any) -> Any:
        """The operators, by the names of NumPy's functions; `A += B` comes with `out`."""
        if method != "__call__" or keywords:
            raise TypeError(_NO_NUMPY)
        result = apply(ufunc, *operands)
        if out is None:
            return result
        if not np.can_cast(result.dtype, out[0].dtype, casting="same_kind"):
            raise TypeError(f"an array of {out[0].dtype} cannot be changed in place to {result.dtype}")
        out[0][...] = result
        return out[0]


def as_symbolic(x: Operand, dtype: Any = np.float64) -> SymbolicArray:
    """An operand as an array; an expression is one of `dtype`, and so is a Python number if that is real."""
    if isinstance(x, SymbolicArray):
        return x
    if isinstance(x, sp.Basic):
        return SymbolicArray(_array(expression(x)), dtype)
    if isinstance(x, bool | int | float | np.ndarray | np.generic):
        kind = dtype if isinstance(x, float) or (isinstance(x, int) and not isinstance(x, bool)) else None
        return of_numpy(np.asarray(x, dtype=None if isinstance(x, np.generic) else kind))
    raise TypeError(f"an array of the symbolic backend goes with its like and with constants, not with {type(x)!r}")


def of_numpy(A: Any) -> SymbolicArray:
    """A NumPy array (of numbers, or of expressions), copied."""
    if A.dtype.kind in "biu":
        return SymbolicArray(A.copy(), A.dtype)
    return SymbolicArray(mapped(expression, A), np.float64 if A.dtype.kind == "O" else A.dtype)


def as_dtype(x: SymbolicArray, dtype: Any) -> SymbolicArray:
    """x in another dtype; x itself if it has it."""
    dtype = np.dtype(dtype)
    if x.dtype == dtype:
        return x
    if dtype.kind == "f":
        return SymbolicArray(x.entries if x.is_real else mapped(expression, x.entries), dtype)
    if x.is_real and dtype.kind == "b":
        return apply(np.not_equal, x, 0)
    if x.is_real:
        return SymbolicArray(mapped(int, x.entries).astype(dtype), dtype)
    return SymbolicArray(x.entries.astype(dtype), dtype)


def together(*operands: Operand) -> tuple[SymbolicArray, ...]:
    """Operands in their common dtype; constants of Python and expressions take that of the arrays."""
    arrays = [x for x in operands if isinstance(x, SymbolicArray | np.ndarray | np.generic)]
    real = any(isinstance(x, float | sp.Basic) and not isinstance(x, np.generic) for x in operands)
    dtype = np.result_type(*(x.dtype for x in arrays), *([1.0] if real else []))
    weak = [x for x in operands if isinstance(x, int) and not isinstance(x, bool)]
    dtype = np.result_type(dtype, *weak) if dtype.kind in "iufb" and weak else dtype
    return tuple(as_dtype(as_symbolic(x, dtype), dtype) for x in operands)


def apply(ufunc: Any, *operands: Operand) -> SymbolicArray:
    """An operator or a function entry by entry, by NumPy's name for it."""
    arrays = together(*operands)
    name, entries = ufunc.__name__, [x.entries for x in arrays]
    if not arrays[0].is_real and not (name == "divide" or name in FUNCTIONS):
        found = np.asarray(ufunc(*entries))
        return SymbolicArray(found, found.dtype)
    if name in COMPARISONS:
        return SymbolicArray(mapped(COMPARISONS[name], *entries).astype(bool), bool)
    if name not in RULES:
        raise UsageError(f"the symbolic backend has no rule for {name}; it has {', '.join([*RULES, *COMPARISONS])}")
    arrays = tuple(x if x.is_real else as_dtype(x, np.float64) for x in arrays)
    return SymbolicArray(mapped(RULES[name], *(x.entries for x in arrays)), arrays[0].dtype)


def mapped(function: Callable[..., Any], *entries: Any) -> Any:
    """`function` entry by entry, of NumPy arrays that broadcast: an array of what it returns."""
    return _array(np.frompyfunc(function, len(entries), 1)(*entries))


def _array(entries: Any) -> Any:
    """What NumPy returned, as an array: of one entry it may return the entry itself."""
    if isinstance(entries, np.ndarray):
        return entries
    if isinstance(entries, np.generic):
        return np.asarray(entries)
    array = np.empty((), dtype=object)
    array[()] = entries
    return array


def _comparison(holds: Callable[[int], bool]) -> Callable[[Any, Any], bool]:
    return lambda x, y: x is not sp.nan and y is not sp.nan and holds(compared(x, y))


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "greater": _comparison(lambda sign: sign > 0),
    "greater_equal": _comparison(lambda sign: sign >= 0),
    "less": _comparison(lambda sign: sign < 0),
    "less_equal": _comparison(lambda sign: sign <= 0),
    "equal": equal,
    "not_equal": lambda x, y: not equal(x, y),
}


def _maximum(x: Any, y: Any) -> Any:
    return sp.nan if sp.nan in (x, y) else x if compared(x, y) > 0 else y


def _minimum(x: Any, y: Any) -> Any:
    return sp.nan if sp.nan in (x, y) else x if compared(x, y) < 0 else y


def _absolute(x: Any) -> Any:
    return x if x is sp.nan or compared(x, sp.S.Zero) >= 0 else -x


def _sign(x: Any) -> Any:
    return x if x is sp.nan else sp.Integer(compared(x, sp.S.Zero))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": sp.sqrt,
    "exp": sp.exp,
    "expm1": lambda x: sp.exp(x) - 1,
    "log": sp.log,
    "log1p": lambda x: sp.log(1 + x),
    "tanh": sp.tanh,
    "sinh": sp.sinh,
    "cosh": sp.cosh,
    "sin": sp.sin,
    "cos": sp.cos,
    "tan": sp.tan,
    "arctan": sp.atan,
}
RULES: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "negative": operator.neg,
    "positive": operator.pos,
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x * x,
    "absolute": _absolute,
    "sign": _sign,
    "maximum": _maximum,
    "minimum": _minimum,
    **FUNCTIONS,
}
"""NumPy's name of a function → what it does to expressions. Nothing is simplified but what SymPy always does."""


def _index(key: Any) -> tuple[Any, ...]:
    """A key with an ellipsis, so that even a single element is a view; integer arrays index as in NumPy."""
    keys = [_plain(part) for part in (key if isinstance(key, tuple) else (key,))]
    return tuple(keys) if any(part is Ellipsis for part in keys) else (*keys, ...)


def _plain(part: Any) -> Any:
    if not isinstance(part, SymbolicArray):
        return part
    if part.dtype.kind not in "iu":
        raise IndexError(f"slices, integers and integer arrays index an array of symbols, not {part.dtype}")
    return part.entries
