"""Two arrays, entry by entry: the ratio of their difference to a bound, and the differences that no rounding makes.

Values are compared in float64, which holds every float32: the comparison itself adds an error far below the bound, for
which bounds are inflated by `INFLATION`.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl.parity.rows import Comparison, Entry

INFLATION = 1.0 + 1e-6
"""For bounds that are themselves computed in float64."""

Floats = NDArray[np.float64]


class Bounds(NamedTuple):
    """How far each side may lie from the exact value, entry by entry."""

    a: Any
    b: Any
    probable: Any = None
    """What |a − b| stays below with rounding errors that are independent; None: not known."""


class Reference(NamedTuple):
    """What both sides are held against by themselves."""

    value: Any
    bound: Any
    """How far `value` may lie from the exact one."""
    kind: str
    where: tuple[tuple[int, ...], ...] | None = None
    """The entries that are known; None: all. `value` and `bound` then hold one number for each."""


EXACT = Bounds(0.0, 0.0)
"""Nothing is rounded."""
ANYTHING = Bounds(inf, inf)
"""Nothing is said."""


def compare(
    a: NDArray[Any],
    b: NDArray[Any],
    bounds: Bounds = EXACT,
    reference: Reference | None = None,
    same_dtype: bool = True,
) -> Comparison:
    """Compare what two sides put out. `same_dtype` says whether they were asked for the same dtype."""
    a, b = np.asarray(a), np.asarray(b)
    patterns = _form(a, b, same_dtype)
    if a.shape != b.shape:
        return failed(*patterns, shape=tuple(a.shape))
    found, remarks = _values(a, b)
    x, y = _wide(a), _wide(b)
    bound_a, bound_b = (np.broadcast_to(_inflated(bound), a.shape) for bound in bounds[:2])
    bound = bound_a + bound_b
    ratios = quotient(_distance(x, y), bound)
    centre = _wide(reference.value) if reference is not None and reference.where is None else x

    def entry(index: tuple[int, ...], own: float | None = None, width: float = 0.0) -> Entry:
        return Entry(
            index, float(x[index]), float(y[index]), float(bound_a[index]), float(bound_b[index]), own, float(width)
        )

    worst = _largest(ratios)
    counts = np.isfinite(centre) & (centre != 0)  # of 0 and ∞ no part can be told
    relative = np.where(bound == 0, 0.0, quotient(bound, np.where(counts, np.abs(centre), 0.0)))
    middle = _median(relative, counts if np.any(counts) else np.ones(a.shape, dtype=bool))
    probable = None if bounds.probable is None else np.broadcast_to(_inflated(bounds.probable), a.shape)
    sides = _against(x, y, bound_a, bound_b, reference)
    return Comparison(
        shape=tuple(a.shape),
        entries=a.size,
        equal=int(np.sum(_bits(a) == _bits(b))) if a.dtype == b.dtype else int(np.sum(_distance(x, y) == 0)),
        ratio=0.0 if worst is None else float(ratios[worst]),
        worst=None if worst is None else entry(worst),
        probable_ratio=None if probable is None else float(np.max(quotient(_distance(x, y), probable), initial=0.0)),
        resolves=0.0 if middle is None else float(relative[middle]),
        median=None if middle is None else entry(middle, float(centre[middle])),
        reference="" if reference is None else reference.kind,
        a_ratio=None if sides is None else sides[0].ratio,
        worst_a=None if sides is None or sides[0].index is None else entry(*sides[0][1:]),
        b_ratio=None if sides is None else sides[1].ratio,
        worst_b=None if sides is None or sides[1].index is None else entry(*sides[1][1:]),
        patterns=patterns + found,
        remarks=remarks,
    )


def quotient(difference: Floats, bound: Floats) -> Floats:
    """difference / bound, with 0/0 = 0 and d/0 = ∞ for d > 0; NaN counts as ∞."""
    with np.errstate(all="ignore"):
        ratios = np.where(bound > 0, difference / np.where(bound > 0, bound, 1.0), np.where(difference > 0, inf, 0.0))
    return np.where(np.isnan(ratios), inf, ratios)


class _Side(NamedTuple):
    ratio: float
    index: Any
    reference: float | None
    width: float


def _against(x: Floats, y: Floats, bound_a: Floats, bound_b: Floats, reference: Reference | None) -> list[_Side] | None:
    """Each side against the reference: the worst ratio, and where it is."""
    if reference is None:
        return None
    where = None if reference.where is None else tuple(np.array(reference.where, dtype=np.intp).reshape(-1, x.ndim).T)
    value, width = _wide(reference.value), np.broadcast_to(_inflated(reference.bound), np.shape(reference.value))
    sides = []
    for own, bound in ((x, bound_a), (y, bound_b)):
        picked, allowed = (own, bound) if where is None else (own[where], bound[where])
        ratios = quotient(_distance(picked, value), allowed + width)
        worst = _largest(ratios)
        if worst is None:
            sides.append(_Side(0.0, None, None, 0.0))
            continue
        index = worst if reference.where is None else reference.where[worst[0]]
        sides.append(_Side(float(ratios[worst]), index, float(value[worst]), float(width[worst])))
    return sides


def _form(a: NDArray[Any], b: NDArray[Any], same_dtype: bool) -> tuple[str, ...]:
    found = []
    if a.shape != b.shape:
        found.append(f"shape {a.shape} on a, {b.shape} on b")
    if same_dtype and a.dtype != b.dtype:
        found.append(f"dtype {a.dtype} on a, {b.dtype} on b")
    return tuple(found)


def _values(a: NDArray[Any], b: NDArray[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(patterns of NaN and infinity that differ, remarks on the signs of zeros)."""
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        return (), ()
    found = []
    for what, of in (("NaN", np.isnan), ("+∞", np.isposinf), ("−∞", np.isneginf)):
        for side, only in (("a", of(a) & ~of(b)), ("b", of(b) & ~of(a))):
            if np.any(only):
                first = tuple(int(i) for i in np.argwhere(only)[0])
                found.append(f"{what} on {side} alone: {int(np.sum(only))} of {a.size}, first at {first}")
    signs = int(np.sum((a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))))
    return tuple(found), ((f"{signs} zeros of another sign",) if signs else ())


def _distance(x: Floats, y: Floats) -> Floats:
    """|x − y|; 0 where both are the same infinity, or both NaN; ∞ where one of them is one."""
    with np.errstate(all="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        return np.where(same, 0.0, np.where(np.isfinite(x) & np.isfinite(y), np.abs(x - y), inf))


def _wide(A: Any) -> Floats:
    return np.asarray(A, dtype=np.float64)


def _inflated(bound: Any) -> Floats:
    return np.asarray(bound, dtype=np.float64) * INFLATION


def _bits(A: NDArray[Any]) -> NDArray[Any]:
    """A as integers: `==` then compares bits, and a NaN equals itself."""
    return np.ascontiguousarray(A).view(f"u{A.dtype.itemsize}") if A.dtype.kind == "f" else A


def _largest(ratios: Floats) -> tuple[int, ...] | None:
    return None if ratios.size == 0 else tuple(map(int, np.unravel_index(int(np.argmax(ratios)), ratios.shape)))


def _median(values: Floats, counts: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """The index of the (lower) median of the values that count."""
    if values.size == 0:
        return None
    order = np.argsort(np.where(counts, values, inf), axis=None, kind="stable")
    return tuple(map(int, np.unravel_index(int(order[(int(np.sum(counts)) - 1) // 2]), values.shape)))


def failed(*patterns: str, shape: tuple[int, ...] = ()) -> Comparison:
    """What stands for a comparison that could not be made."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("worst", "probable_ratio", "median", "a_ratio", "worst_a", "b_ratio", "worst_b")
    )
    return Comparison(
        shape=shape,
        entries=0,
        equal=0,
        ratio=inf,
        resolves=inf,
        reference="",
        patterns=patterns,
        remarks=(),
        **nothing,
    )
