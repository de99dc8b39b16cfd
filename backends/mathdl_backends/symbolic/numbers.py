"""The number that a float of the code stands for, and decisions on symbols.

The code says 0.01, sqrt(0.5), 1.0 / 3.0, 1.0 - 0.999; the mathematics says 1/100, 1/√2, 1/3, 1/1000. On symbols nothing
is rounded, so a float stands for the simple number that it is, but for the rounding of an operation or two: a decimal
of few digits, a fraction, √q, or such a number times or over π; and where it is none of these, for itself, as the exact
fraction that it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

import sympy as sp

from mathdl.errors import UsageError

MOST_DIGITS = 12
"""A decimal that is written with more digits than this is the rounding of something else …"""
FEW_DIGITS = 6
"""… perhaps of one with no more than these."""
MOST_DENOMINATOR = 10_000
"""A fraction with a larger denominator is no simple one."""


class UndecidedError(UsageError):
    """A comparison that the assumptions on the symbols do not decide."""


@lru_cache(maxsize=4096)
def exact(x: float) -> Any:
    """The number that the float x stands for."""
    if math.isnan(x):
        return sp.nan
    if math.isinf(x):
        return sp.oo if x > 0 else -sp.oo
    if x < 0:
        return -exact(-x)
    digits = repr(x).partition("e")[0].replace(".", "").strip("0")
    if len(digits) <= MOST_DIGITS:
        return sp.Rational(repr(x))
    if not 1e-9 < x < 1e9:
        return _rational(Fraction(x))
    few = Fraction(f"{x:.{FEW_DIGITS}g}")
    if _is_near(float(few), x):
        return _rational(few)
    for approximate, evaluate, closed in _FORMS:
        q = Fraction(approximate(x)).limit_denominator(MOST_DENOMINATOR)
        if q and _is_near(evaluate(float(q)), x):
            return closed(_rational(q))
    return _rational(Fraction(x))


def _is_near(y: float, x: float) -> bool:
    """Whether x may be y: off by two roundings of numbers as large as x, or as 1 (from which it was subtracted)."""
    return abs(y - x) <= 2.0**-52 * max(1.0, 2 * x) and abs(y - x) <= 2.0**-36 * x


def _rational(q: Fraction) -> Any:
    return sp.Rational(q.numerator, q.denominator)


def expression(x: Any) -> Any:
    """x, a number of Python or NumPy or an expression, as an expression without floats."""
    if isinstance(x, sp.Basic):
        return x if not x.has(sp.Float) else x.replace(lambda e: e.is_Float, lambda e: exact(float(e)))
    x = x.item() if hasattr(x, "dtype") else x
    return exact(x) if isinstance(x, float) else sp.Integer(x)


_Forms: TypeAlias = tuple[tuple[Callable[[float], float], Callable[[float], float], Callable[[Any], Any]], ...]
_FORMS: _Forms = (
    (lambda x: x, lambda q: q, lambda q: q),
    (lambda x: x * x, lambda q: math.sqrt(q), lambda q: sp.sqrt(q)),
    (lambda x: x * x / math.pi, lambda q: math.sqrt(q * math.pi), lambda q: sp.sqrt(q * sp.pi)),
    (lambda x: x * x * math.pi, lambda q: math.sqrt(q / math.pi), lambda q: sp.sqrt(q / sp.pi)),
    (lambda x: x / math.pi, lambda q: q * math.pi, lambda q: q * sp.pi),
    (lambda x: x * math.pi, lambda q: q / math.pi, lambda q: q / sp.pi),
)
"""What simple numbers look like: q from the float (roughly), the float of q, and the number itself."""


# -- decisions ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def compared(x: Any, y: Any) -> int:
    """The sign of x − y: −1, 0 or 1; NaN compares as nothing, and is not asked here.

    Raises `UndecidedError` unless the assumptions on the symbols decide it.
    """
    if x == y:
        return 0
    for sign in _signs(x, y):
        if sign is not None:
            return sign
    raise UndecidedError(
        f"whether {_short(x)} is less than, equal to or greater than {_short(y)} does not follow from what is assumed "
        "of the symbols. Give them signs (symbolic.signed) or an order (symbolic.ordered), and run the code on each of "
        "the cases"
    )


def _short(x: Any) -> str:
    text = str(x)
    return text if len(text) <= 80 else f"{text[:77]}…"


def equal(x: Any, y: Any) -> bool:
    """Whether x = y: also decided for numbers that are only known to be different."""
    if sp.nan in (x, y):
        return False
    difference = x - y
    if difference.is_zero is not None:
        return bool(difference.is_zero)
    return compared(x, y) == 0


def _signs(x: Any, y: Any) -> Iterator[int | None]:
    """Ways to find the sign of x − y, the cheapest first."""
    difference = x - y
    yield _sign(difference)
    expanded = sp.expand(difference)
    yield _sign(expanded)
    yield _sign(sp.factor_terms(expanded))
    positive = sp.Add(*(term for term in sp.Add.make_args(expanded) if term.is_positive))
    negative = -(expanded - positive)
    yield _sign_by_logarithms(positive, negative)


def _sign_by_logarithms(x: Any, y: Any) -> int | None:
    """The sign of x − y for positive x and y, where log x − log y has a sign that can be seen: log is monotone."""
    if not (x.is_positive and y.is_positive):
        return None
    return _sign(sp.expand(sp.expand_log(sp.log(x)) - sp.expand_log(sp.log(y))))


def _sign(x: Any) -> int | None:
    if x.is_zero:
        return 0
    if x.is_positive or x == sp.oo:
        return 1
    if x.is_negative or x == -sp.oo:
        return -1
    return None
