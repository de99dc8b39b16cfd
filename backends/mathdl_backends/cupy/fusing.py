"""How functions of CuPy's arrays take lazy ones, and pointwise bodies become one kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

from mathdl.primitive import Kernel
from mathdl_backends.cupy import expressions, generated
from mathdl_backends.cupy.expressions import Expression
from mathdl_backends.cupy.lazy import Lazy, before_writing, is_array, new, overlap, plain, store_all

_LEAST_ROWS = 4
"""Rows of a part of a sum over rows, at least: with fewer, what waits may as well be computed before."""


def forced(function: Callable[..., Any], writes: Sequence[int | str] = ()) -> Callable[..., Any]:
    """A function of CuPy's arrays that takes lazy ones, too: computed before, and what it makes is lazy again.

    `writes`: the arguments that it writes to, by position or by name. Whatever else it makes is new, or a view.
    """

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        given = [A for A in _leaves((args, keywords)) if isinstance(A, Lazy) or is_array(A)]
        if not any(isinstance(A, Lazy) for A in given):
            return function(*args, **keywords)
        plain(given)  # all of it is computed before anything is overwritten
        for which in writes:
            written = args[which] if isinstance(which, int) and which < len(args) else keywords.get(str(which))
            if isinstance(written, Lazy):
                before_writing(written.array)
        return _lazily(function(*plain(args), **plain(keywords)), given)

    return call


def _lazily(result: Any, given: Sequence[Any]) -> Any:
    """What a function has made, as lazy arrays; what it was given comes back as it was."""
    if isinstance(result, tuple):
        parts = [_lazily(part, given) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if not is_array(result):
        return result
    known = [A for A in given if overlap(plain(A), result)]
    for A in known:
        if isinstance(A, Lazy) and A.array is result:
            return A
    for A in known:
        if isinstance(A, Lazy):
            A.shared = True
    return Lazy(result, shared=bool(known))


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    return _leaves(list(tree.values())) if isinstance(tree, dict) else [tree]


def kernel(
    run: Callable[..., Any], supports: Callable[..., str | None] | None = None, writes: Sequence[int | str] = ()
) -> Kernel:
    """A kernel on CuPy's arrays, that takes lazy ones, too; see `forced`."""
    if supports is None:
        return Kernel(forced(run, writes))
    return Kernel(forced(run, writes), lambda *args, **keywords: supports(*plain(args), **plain(keywords)))


def expressed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of lazy arrays, that takes CuPy's, too, and then makes such."""

    @wraps(function)
    def call(*args: Any) -> Any:
        if any(isinstance(A, Lazy) for A in args):
            return function(*args)
        return plain(function(*(Lazy(A, shared=True) if is_array(A) else A for A in args)))

    return call


def pointwise(body: Callable[..., Any], names: ModuleType) -> Kernel:
    """A pointwise body, `names` being the namespace of lazy arrays.

    All that it writes to arrays that others know is one kernel; and so is what it makes of CuPy's arrays. Of lazy ones,
    that waits.
    """

    def run(*args: Any) -> Any:
        own = [_twin(A) for A in args]
        result = body(names, *own)
        pairs: list[tuple[Expression, Any]] = []
        for A, twin in zip(args, own, strict=True):
            if not isinstance(twin, Lazy) or not _has_changed(A, twin):
                continue
            twin.forget()
            if isinstance(A, Lazy) and not A.shared:
                A.update(twin.expression)
            else:
                pairs.append((twin.expression, plain(A)))
        mine = next((A for A, twin in zip(args, own, strict=True) if twin is result), None)
        if mine is not None or result is None:
            store_all(pairs)
            return mine
        lazily = any(isinstance(A, Lazy) for A in args)
        reads = expressions.arrays_of(result.expression)
        if lazily and not any(overlap(A, into) for A in reads for _, into in pairs):
            store_all(pairs)
            return result
        result.forget()
        made = new(result.expression)
        store_all([(result.expression, made), *pairs])
        return Lazy(made) if lazily else made

    return Kernel(run, lambda *args, **keywords: "its arguments come by position" if keywords else None)


def _twin(A: Any) -> Any:
    """An array of the value of A, that nobody else knows."""
    if isinstance(A, Lazy):
        return Lazy(expression=A.expression) if A.waits else Lazy(A.array)
    return Lazy(A) if is_array(A) else A


def _has_changed(A: Any, twin: Lazy) -> bool:
    """Whether the twin of A has another value by now."""
    if isinstance(A, Lazy) and A.waits:
        return not twin.waits or twin.expression is not A.expression
    return twin.waits or twin.array is not plain(A)


def partial_column_sums(D: Lazy) -> Lazy:
    """An array whose rows add up to the sum of D's: sums of parts of D, if D waits and is large, else D itself."""
    expression = D.expression
    if not D.waits or D.ndim != 2 or expression.reduced is not None:
        return D
    R, k = D.shape
    if _LEAST_ROWS * generated.part_count(R, k) > R:
        return D
    return Lazy(generated.column_sums(expression))
