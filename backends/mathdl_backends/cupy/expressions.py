"""Elementwise work and reductions as expressions: what is to be computed, with dtypes and shapes, and no memory.

An expression is a tree of calls of ufuncs on arrays and numbers, each with the dtype and shape that CuPy would give
it, and of reductions: of each row (along the last axis, which stays, of length 1), or of all numbers. What can be one
kernel may be one expression (`generated` writes the kernel): its reductions are all of rows of one length, or all of
as many numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

C_TYPES = {
    "float32": "float", "float64": "double", "bool": "bool", "int64": "long long", "int32": "int", "int16": "short",
    "int8": "signed char", "uint64": "unsigned long long", "uint32": "unsigned int", "uint16": "unsigned short",
    "uint8": "unsigned char",
}  # fmt: skip
"""What an expression may hold: dtype by name → its C type."""

BY_UFUNC = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "negative": "-{0}",
    "maximum": "{0} >= {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} <= {1} || {0} != {0} ? {0} : {1}",
    "less": "{0} < {1}", "less_equal": "{0} <= {1}", "greater": "{0} > {1}", "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}", "not_equal": "{0} != {1}",
    "logical_and": "{0} && {1}", "logical_or": "{0} || {1}", "logical_not": "!{0}",
    "bitwise_and": "{0} & {1}", "bitwise_or": "{0} | {1}", "bitwise_xor": "{0} ^ {1}",
    "left_shift": "{0} << {1}", "right_shift": "{0} >> {1}",
    "exp": "exp({0})", "expm1": "expm1({0})", "log": "log({0})", "log1p": "log1p({0})", "sqrt": "sqrt({0})",
    "tanh": "tanh({0})", "square": "{0} * {0}",
    "isnan": "{0} != {0}", "isfinite": "{0} - {0} == 0",
}  # fmt: skip
OF_FLOATS = {"abs": "fabs({0})", "sign": "{0} != {0} ? {0} : ({0} > 0) - ({0} < 0)", "power": "pow({0}, {1})"}
"""Of whole numbers these stay calls of CuPy."""
_UFUNCS: dict[str, Any] = {name: getattr(np, name) for name in (*BY_UFUNC, *OF_FLOATS)}

_SLOW = {"divide", "exp", "expm1", "log", "log1p", "power", "sqrt", "tanh"}

NAMES = frozenset(_UFUNCS) | {"where"}
"""The functions that may stand in an expression."""

MOST_CALLS, MOST_ARRAYS, MOST_CONSTANTS, MOST_REDUCTIONS = 400, 16, 100, 8
"""Of one kernel, whose arguments may take 4096 bytes: a larger expression is computed in parts."""

LONGEST_ROW = 1 << 15
"""A row is reduced by one block of threads; CuPy shares a longer one out among several."""
MOST_NUMBERS = 1 << 17
"""Likewise where all numbers are reduced to one."""

REDUCTIONS = ("sum", "max", "argmax")


class Reduced(NamedTuple):
    """What the reductions in an expression are of: rows of so many numbers, in an array with these axes before; or all
    of so many numbers (`lead` None)."""

    lead: tuple[int, ...] | None
    length: int


class Expression:
    """`name` of `args`.

    An array is "array" of itself, a number "number"; first + step · j for the j-th of the last axis is "arange" of
    both. A reduction is of one expression: of rows, unless its shape is ().
    """

    __slots__ = ("args", "dtype", "name", "reduced", "shape")

    def __init__(
        self, name: str, args: tuple[Any, ...], dtype: Any, shape: tuple[int, ...], reduced: Reduced | None = None
    ) -> None:
        self.name, self.args, self.dtype, self.shape = name, args, dtype, shape
        self.reduced = reduced
        if reduced is None and name not in LEAVES:
            self.reduced = next((part.reduced for part in args if part.reduced is not None), None)


LEAVES = ("array", "number", "arange")


def array(A: Any) -> Expression:
    """An array of the device."""
    return Expression("array", (A,), np.dtype(A.dtype), tuple(A.shape))


def arange(first: int, step: int, length: int, dtype: Any) -> Expression:
    """first + step · j, along the last axis."""
    dtype = np.dtype(dtype)
    return Expression("arange", (dtype.type(first), dtype.type(step)), dtype, (length,))


def cast(expression: Expression, dtype: Any) -> Expression:
    """The expression in a dtype."""
    dtype = np.dtype(dtype)
    return expression if expression.dtype == dtype else Expression("cast", (expression,), dtype, expression.shape)


def called(name: str, *args: Any) -> Expression | None:
    """The call of a ufunc, or `where`, on expressions and Python's numbers; None: it has to be left to CuPy."""
    if not any(isinstance(A, Expression) for A in args):
        return None
    kinds = tuple(A.dtype if isinstance(A, Expression) else type(A) for A in args)
    found = _dtypes(name, kinds)
    if found is None:
        return None
    *taken, result = found
    try:
        shape = np.broadcast_shapes(*(A.shape for A in args if isinstance(A, Expression)))
        operands = tuple(
            cast(A, dtype) if isinstance(A, Expression) else Expression("number", (dtype.type(A),), dtype, ())
            for A, dtype in zip(args, taken, strict=True)
        )
    except (ValueError, OverflowError):  # CuPy says what is wrong
        return None
    return Expression(name, operands, result, shape)


def is_one_kernel(expression: Expression) -> bool:
    """Whether its reductions can be made in one kernel, with all that is around them."""
    found = expression.reduced
    if found is None:
        return True
    if any(part.reduced not in (None, found) for part in expression.args):
        return False
    if found.lead is None:
        return prod(expression.shape) == 1
    rows = (*found.lead, found.length), (*found.lead, 1)
    return expression.shape in rows and is_readable(expression)


def is_readable(expression: Expression) -> bool:
    """Whether a kernel of rows finds the numbers of its arrays: of a row, of all rows alike, one a row, or one."""
    found = expression.reduced
    if found is None or found.lead is None:
        return True
    shapes = {(*found.lead, found.length), (*found.lead, 1)}
    return all(
        A.size == 1 or A.shape in shapes or (A.size == found.length == A.shape[-1]) for A in arrays_of(expression)
    )


def reduction(name: str, of: Expression) -> Expression | None:
    """sum, max or argmax of each row; None: it has to be left to CuPy."""
    if not of.shape or not 0 < of.shape[-1] <= LONGEST_ROW or of.dtype.kind != "f":
        return None
    reduced = Reduced(of.shape[:-1], of.shape[-1])
    if of.reduced not in (None, reduced):
        return None
    dtype = np.dtype("int64") if name == "argmax" else of.dtype
    found = Expression(name, (of,), dtype, (*of.shape[:-1], 1), reduced)
    return found if is_readable(found) else None


def total(of: Expression) -> Expression | None:
    """The sum of all numbers, of shape (); None: it has to be left to CuPy."""
    size = prod(of.shape)
    if not 0 < size <= MOST_NUMBERS or of.dtype.kind != "f" or of.reduced is not None:
        return None
    if any(prod(each.shape) not in (1, size) for each in ordered([of]) if each.name in LEAVES):
        return None
    return Expression("sum", (of,), of.dtype, (), Reduced(None, size))


@cache
def _dtypes(name: str, kinds: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The dtypes that the arguments are cast to, then that of the result."""
    if name not in NAMES:
        return None
    try:
        if name == "where":
            common = _UFUNCS["maximum"].resolve_dtypes((*kinds[1:], None))[-1]
            found = (np.dtype(bool), common, common, common)
        else:
            found = _UFUNCS[name].resolve_dtypes((*kinds, None))
    except TypeError:
        return None
    if any(dtype.name not in C_TYPES for dtype in found):
        return None
    if name in OF_FLOATS and found[0].kind != "f":
        return None
    return None if found[0].kind == "b" and name in ("add", "multiply") else found


def arrays_of(*expressions: Expression) -> list[Any]:
    """The arrays that expressions read, each once."""
    return list({id(each.args[0]): each.args[0] for each in ordered(expressions) if each.name == "array"}.values())


def is_large(expression: Expression) -> bool:
    """Whether it had better be computed in parts."""
    names = [each.name for each in ordered([expression])]
    arrays, constants = names.count("array"), names.count("number")
    reductions = sum(map(names.count, REDUCTIONS))
    few = arrays <= MOST_ARRAYS and constants <= MOST_CONSTANTS and reductions <= MOST_REDUCTIONS
    return not few or len(names) - arrays - constants > MOST_CALLS


def is_slow(expression: Expression) -> bool:
    """Whether a number of it takes much longer than to read it from memory."""
    return any(each.name in _SLOW and each.dtype.kind == "f" for each in ordered([expression]))


def ordered(expressions: Sequence[Expression], without: Collection[int] = ()) -> list[Expression]:
    """All parts of expressions, each once and after those that it is made of; not those `without` (by identity)."""
    found: dict[int, Expression] = {}
    stack = [(each, False) for each in reversed(expressions)]
    while stack:
        each, complete = stack.pop()
        if id(each) in found or id(each) in without:
            continue
        if complete or each.name in LEAVES:
            found[id(each)] = each
        else:
            stack.append((each, True))
            stack.extend((part, False) for part in reversed(each.args))
    return list(found.values())
