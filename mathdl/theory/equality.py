"""When two expressions count as equal: two engines must agree.

SymPy must reduce the difference to 0 by its own rules, and exact (or 30-digit) evaluation at random points must find no
difference either. Neither engine decides by itself: SymPy's rules have had faults, and points prove nothing.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from mathdl.theory import matrices, sums
from mathdl.theory.check import Refused

POINTS = 3
"""How many random points the second engine looks at."""
DIGITS = 30
SMALL = sp.Float(10) ** -20


def require_equal(found: Any, expected: Any, claim: str) -> None:
    """Raise `Refused` unless both engines find the two expressions equal."""
    found, expected = sp.sympify(found), sp.sympify(expected)
    of_matrices = found.has(sp.MatrixExpr) or expected.has(sp.MatrixExpr)
    if not (_same_matrix(found, expected) if of_matrices else is_zero(found - expected)):
        raise Refused(claim, expected, found)


def plus_one(expression: Any) -> Any:
    """The expression with 1 added to it, or to every entry of a matrix: a spoilt claim."""
    if _is_matrix(expression):
        return expression + sp.OneMatrix(*expression.shape)
    return expression + 1


def _is_matrix(expression: Any) -> bool:
    return bool(getattr(expression, "is_Matrix", False))


def is_zero(difference: Any) -> bool:
    """Whether both engines find a scalar expression to be 0."""
    reduced = sums.normal_form(difference)
    reduced = reduced.xreplace({each: sp.Dummy(real=True) for each in reduced.atoms(sp.Sum)})
    for simplify in (sp.expand, _numerator, sp.simplify, lambda e: sp.simplify(e.rewrite(sp.exp))):  # the cheap first
        reduced = simplify(reduced)
        if reduced == 0:
            return _vanishes_at_points(difference)
    return False


def _numerator(expression: Any) -> Any:
    """The numerator over a common denominator, with e^(ks) as the k-th power of a symbol for e^s."""
    bases: dict[Any, Any] = {}

    def power(exponent: Any) -> Any:
        coefficient, rest = exponent.as_coeff_Mul()
        if not coefficient.is_Integer:
            return sp.exp(exponent, evaluate=False)
        return bases.setdefault(rest, sp.Dummy(positive=True)) ** coefficient

    rational = expression.replace(sp.exp, power)
    numerator = sp.fraction(sp.together(rational))[0].expand()
    return numerator.subs({base: sp.exp(exponent) for exponent, base in bases.items()})


def _vanishes_at_points(difference: Any) -> bool:
    """Whether the difference is 0, to 30 digits, at random rational points: the same ones at every call."""
    draw = random.Random(0)
    return all(abs(sp.N(_at_random_point(difference, draw), DIGITS)) < SMALL for _ in range(POINTS))


def _at_random_point(expression: Any, draw: random.Random) -> Any:
    """Symbols and entries of arrays become random rationals, integers small ones, φ a known function."""
    integers = {
        symbol: draw.randint(1, 3) if symbol.is_positive else 3
        for symbol in sorted(expression.free_symbols, key=str)
        if symbol.is_integer
    }
    functions = sorted({applied.func for applied in expression.atoms(AppliedUndef)}, key=str, reverse=True)
    for function, known in zip(functions, (sp.sin, sp.exp, sp.cos), strict=False):
        expression = expression.replace(function, known).doit()
    expression = expression.subs(integers).doit()
    entries = sorted(expression.atoms(sp.Indexed), key=str)
    expression = expression.subs({entry: _rational(draw, None) for entry in entries})
    symbols = [s for s in sorted(expression.free_symbols, key=str) if isinstance(s, sp.Symbol)]
    return expression.subs({symbol: _rational(draw, symbol) for symbol in symbols}).doit()


def _rational(draw: random.Random, symbol: Any) -> Any:
    size = sp.Rational(draw.randint(1, 99), draw.randint(10, 99))
    if symbol is not None and symbol.is_nonnegative:
        return size
    if symbol is not None and symbol.is_nonpositive:
        return -size
    return draw.choice((1, -1)) * size


def _same_matrix(found: Any, expected: Any) -> bool:
    """Whether both engines find two expressions of matrices equal: matrices of one shape, or two traces."""
    if getattr(found, "shape", ()) != getattr(expected, "shape", ()):
        return False
    if matrices.normal_form(found) != matrices.normal_form(expected):
        return False
    draw = random.Random(0)
    return all(np.max(abs(matrices.at_numbers(found - expected, draw))) < SMALL for _ in range(POINTS))
