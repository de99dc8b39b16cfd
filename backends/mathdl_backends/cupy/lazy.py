"""Arrays of a step whose elementwise work waits until something else needs the result, and then is one kernel.

On a GPU each call of a namespace is a kernel that reads and writes memory. A `Lazy` array of a step takes elementwise
calls, and reductions along the last axis, down as an expression instead. A product, a write to an array that others
know: these ask for the memory, and only then the expression is computed, all of it at once. So Z = A W, Z + b and its
ReLU are a product and one kernel, whatever layers they come from. What nobody asks for is never computed.

It has the same values as the calls in their order. An array that others know (the step's own arrays, views, what has
views) is written at once; before that, whatever waits and would read what is overwritten is computed. What only its own
`Lazy` knows is not written at all: an update in place makes it another expression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from threading import local
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from mathdl_backends.cupy import expressions, generated
from mathdl_backends.cupy.expressions import Expression

_MANY = 1 << 18
"""Numbers of a result from which on a quotient or a root of far fewer is computed before it, and not for each."""


class _Waiting(local):
    """What this thread has not computed yet, by identity."""

    def __init__(self) -> None:
        self.arrays: WeakValueDictionary[int, Lazy] = WeakValueDictionary()


_waiting = _Waiting()


class _Common:
    """What arrays of one value in several forms have in common: its memory, once one of them has been computed."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: Any = None


class Lazy:
    """An array of CuPy, or an expression that waits.

    `shared`: others may know its memory, so that an update in place has to be made there.
    """

    __slots__ = ("__weakref__", "_array", "_common", "_expression", "shared")
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy and CuPy leave operators to this class
    own_namespace: ClassVar[Any]
    """The functions of the standard, for these arrays."""

    def __init__(self, array: Any = None, expression: Expression | None = None, shared: bool = False) -> None:
        self._array, self._expression, self.shared = array, expression, shared
        self._common: _Common | None = None
        if expression is not None:
            _waiting.arrays[id(self)] = self

    def __repr__(self) -> str:
        return f"Lazy({'waits' if self.waits else 'memory'}, {self.shape}, {self.dtype})"

    # -- what is known of it -------------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether it has not been computed yet."""
        return self._expression is not None

    @property
    def expression(self) -> Expression:
        """What it is: an expression that waits, or just its array."""
        return expressions.array(self._array) if self._expression is None else self._expression

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._array.shape) if self._expression is None else self._expression.shape

    @property
    def dtype(self) -> Any:
        return self._array.dtype if self._expression is None else self._expression.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def device(self) -> Any:
        arrays = expressions.arrays_of(self.expression)
        return arrays[0].device if arrays else _cupy().cuda.Device()

    def __len__(self) -> int:
        return self.shape[0]

    # -- memory --------------------------------------------------------------------------------------------------------

    @property
    def array(self) -> Any:
        """The array of CuPy, computed by now."""
        if self._expression is not None:
            self.hold(self._computed(self._expression))
        return self._array

    def _computed(self, expression: Expression) -> Any:
        if expression.name == "array":
            return expression.args[0]
        if self._common is not None and self._common.array is not None:
            return self._common.array.reshape(expression.shape)
        found = new(expression)
        _write(expression, found)
        if self._common is not None:
            self._common.array = found
        return found

    def hold(self, array: Any) -> None:
        """Be this array from now on: nobody else knows it."""
        self._array, self._expression, self._common = array, None, None
        self.forget()

    def become(self, expression: Expression) -> None:
        """Be this expression from now on."""
        self._array, self._expression, self._common = None, expression, None
        _waiting.arrays[id(self)] = self

    def in_another_form(self, expression: Expression) -> Lazy:
        """This value, which waits, as another expression of as many numbers: computed once for both."""
        found = Lazy(expression=expression)
        self._common = found._common = self._common or _Common()
        return found

    def keep_from(self, into: Any) -> None:
        """`into` is about to be overwritten: compute what waits and would read it."""
        if self._common is not None and self._common.array is not None and overlap(self._common.array, into):
            self.hold(self._common.array.reshape(self.shape).copy())
        elif any(overlap(A, into) for A in expressions.arrays_of(self.expression)):
            self.array  # noqa: B018 - computes it

    def forget(self) -> None:
        """Nobody will ask for it any more: it need not be computed when what it reads is overwritten."""
        _waiting.arrays.pop(id(self), None)

    def update(self, expression: Expression) -> None:
        """This array ← the expression, of its shape, cast to its dtype."""
        expression = expressions.cast(expression, self.dtype)
        if expression.shape != self.shape:
            raise ValueError(f"an update in place of {self.shape} by an expression of {expression.shape}")
        if self.shared:
            store(expression, self.array)
        else:
            self.become(expression)

    def view(self, of: Callable[[Any], Any]) -> Lazy:
        """What `of` makes of the array: memory that both know."""
        found = of(self.array)
        self.shared = True
        return Lazy(found, shared=True)

    @property
    def T(self) -> Lazy:
        return self.view(lambda A: A.T)

    @property
    def __cuda_array_interface__(self) -> Any:  # CuPy's own functions take it by this
        return self.array.__cuda_array_interface__

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an array of a step stays on its device: no array of NumPy is made of it")

    def __getitem__(self, key: Any) -> Lazy:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, Lazy) for part in parts):
            return Lazy(self.array[tuple(map(plain, parts))])
        return self.view(lambda A: A[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        parts = tuple(plain(part) for part in (key if isinstance(key, tuple) else (key,)))
        into = self.array[parts if any(part is ... for part in parts) else (*parts, ...)]
        if not isinstance(value, Lazy):
            before_writing(into)
            into[...] = value
        elif value.waits or not _same_view(value.array, into):  # A[key] += … has been made on the view already
            store(value.expression, into)

    def astype(self, dtype: Any, copy: bool = True) -> Lazy:
        return self.own_namespace.astype(self, dtype, copy=copy)  # type: ignore[no-any-return]

    def reshape(self, shape: Sequence[int]) -> Lazy:
        return self.own_namespace.reshape(self, shape)  # type: ignore[no-any-return]

    # -- numbers of the host -------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __index__(self) -> int:
        return self.array.__index__()  # type: ignore[no-any-return]


def is_array(A: Any) -> bool:
    """Whether A is an array of CuPy's."""
    return hasattr(A, "strides")


def plain(tree: Any) -> Any:
    """Arrays of CuPy instead of lazy ones, in tuples, lists and dictionaries, too."""
    if isinstance(tree, Lazy):
        return tree.array
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*map(plain, tree))
    if isinstance(tree, tuple | list):
        return type(tree)(map(plain, tree))
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree


def call(name: str, function: Callable[..., Any], *args: Any) -> Lazy:
    """An elementwise function, taken down; by CuPy's `function` where it cannot be."""
    for A in args:
        if isinstance(A, Lazy) and A.waits and expressions.is_large(A.expression):
            A.array  # noqa: B018 - computes it
    found = expressions.called(name, *map(expression_of, args))
    if found is not None:
        early = [A for A in args if isinstance(A, Lazy) and A.waits and _comes_before(A.expression, found)]
        for A in early:
            A.array  # noqa: B018
        found = expressions.called(name, *map(expression_of, args)) if early else found
    return Lazy(function(*plain(args))) if found is None else Lazy(expression=found)


def expression_of(A: Any) -> Any:
    """An array as an expression; numbers as they are."""
    return A.expression if isinstance(A, Lazy) else expressions.array(A) if is_array(A) else A


def _comes_before(part: Expression, whole: Expression) -> bool:
    """Whether a part of an expression is computed before the whole: it has to be, or that takes less time."""
    if part.reduced is not None and not expressions.is_one_kernel(whole):
        return True
    size = prod(whole.shape)
    return part.reduced is None and size >= _MANY and 8 * prod(part.shape) <= size and expressions.is_slow(part)


# -- writing -----------------------------------------------------------------------------------------------------------


def _cupy() -> Any:
    import cupy

    return cupy


def new(expression: Expression) -> Any:
    """Memory for its value."""
    return _cupy().empty(expression.shape, dtype=expression.dtype)


def store(expression: Expression, into: Any) -> None:
    """into ← the expression, which may have fewer axes, now."""
    before_writing(into)
    elsewhere = any(overlap(A, into) and not _same_view(A, into) for A in expressions.arrays_of(expression))
    if elsewhere or not _fits(expression, into):
        value = new(expression)
        _write(expression, value)
        into[...] = value
    else:
        _write(expression, into)


def _fits(expression: Expression, into: Any) -> bool:
    """Whether a kernel can write it there as it is."""
    if expression.reduced is not None:
        return expression.shape == tuple(into.shape) or prod(expression.shape) == into.size == 1
    return np.broadcast_shapes(expression.shape, into.shape) == tuple(into.shape)


def store_all(pairs: Sequence[tuple[Expression, Any]]) -> None:
    """Arrays ← expressions of the values before, in one kernel if they have one shape."""
    pairs = [(expression, into) for expression, into in pairs if into.size]
    for _, into in pairs:
        before_writing(into)
    clean = all(
        not overlap(A, into) or _same_view(A, into)
        for expression, _ in pairs
        for A in expressions.arrays_of(expression)
        for _, into in pairs
    )
    if clean and len({into.shape for _, into in pairs}) == 1:
        generated.compute([expression for expression, _ in pairs], [into for _, into in pairs])
        return
    values = [new(expression) for expression, _ in pairs]
    for (expression, _), value in zip(pairs, values, strict=True):
        _write(expression, value)
    for (_, into), value in zip(pairs, values, strict=True):
        into[...] = value


def before_writing(into: Any) -> None:
    """Compute what waits and would read what is about to be overwritten."""
    for each in list(_waiting.arrays.values()):
        each.keep_from(into)


def _write(expression: Expression, into: Any) -> None:
    if into.size:
        generated.compute([expression], [into])


def overlap(A: Any, B: Any) -> bool:
    """Whether two arrays may share memory: the ranges of their addresses meet."""
    (a, end_a), (b, end_b) = _span(A), _span(B)
    return a < end_b and b < end_a


def _span(A: Any) -> tuple[int, int]:
    """The addresses of an array: from the first byte to behind the last."""
    start = end = A.data.ptr
    if A.size == 0:
        return start, start
    for length, stride in zip(A.shape, A.strides, strict=True):
        if stride < 0:
            start += (length - 1) * stride
        else:
            end += (length - 1) * stride
    return start, end + A.itemsize


def _same_view(A: Any, B: Any) -> bool:
    """Whether an entry of A lies where the entry of B with the same indices does."""
    return (A.data.ptr, A.shape, A.strides, A.dtype) == (B.data.ptr, B.shape, B.strides, B.dtype)


# -- operators ---------------------------------------------------------------------------------------------------------

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
    "floordiv": "floor_divide", "mod": "remainder",
}  # fmt: skip
_COMPARISONS = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
_OF_ONE = {"neg": "negative", "abs": "abs", "invert": "invert"}


def _function(name: str) -> Callable[..., Any]:
    return lambda *args: getattr(_cupy(), name)(*args)


def _method(name: str) -> Callable[..., Lazy]:
    return lambda self, *other: call(name, _function(name), self, *other)


def _swapped(name: str) -> Callable[..., Lazy]:
    return lambda self, other: call(name, _function(name), other, self)


def _in_place(name: str) -> Callable[[Lazy, Any], Lazy]:
    def method(self: Lazy, other: Any) -> Lazy:
        found = call(name, _function(name), self, other)
        if not found.waits and not self.shared and (found.shape, found.dtype) == (self.shape, self.dtype):
            self.hold(found.array)
        else:
            found.forget()
            self.update(found.expression)
        return self

    return method


for _short, _name in _OPERATORS.items():
    setattr(Lazy, f"__{_short}__", _method(_name))
    setattr(Lazy, f"__r{_short}__", _swapped(_name))
    setattr(Lazy, f"__i{_short}__", _in_place(_name))
for _short, _name in (_COMPARISONS | _OF_ONE).items():
    setattr(Lazy, f"__{_short}__", _method(_name))
