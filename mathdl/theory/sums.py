"""Sums over an index of generic length: a normal form, in which equal sums are the same expression.

    Σ (a + b) = Σ a + Σ b        Σ_k c f(k) = c Σ_k f(k)        Σ_k [k = j] f(k) = f(j)  for 1 ≤ j ≤ l
    Σ_k [k + e = j] f(k) = f(j − e) if 1 ≤ j − e ≤ l, else 0

A bound l = j + r with r ≥ 0 lets SymPy see that 1 ≤ j ≤ l. Bound indices are dummies: SymPy would take a bound name for
a free one.
"""

from __future__ import annotations

from typing import Any

import sympy as sp


def normal_form(expression: Any) -> Any:
    """The expression with its derivatives taken and its sums in normal form."""
    expression = expression.replace(sp.Derivative, lambda inside, *variables: sp.diff(inside, *variables))
    return _in_normal_form(sp.sympify(expression))


def total(term: Any, l: Any, name: str = "k") -> sp.Sum:
    """Σ_{k=1}^{l} term(k). A sum inside another one needs another `name`, or both indices print as one."""
    index = sp.Dummy(name, integer=True, positive=True)
    return sp.Sum(term(index), (index, 1, l))


def _in_normal_form(expression: Any) -> Any:
    if not expression.has(sp.Sum):
        return expression
    if isinstance(expression, sp.Sum):
        return _sum(expression)
    return expression.func(*map(_in_normal_form, expression.args))


def _sum(expression: sp.Sum) -> Any:
    *inner, (index, low, high) = expression.limits
    body = sp.Sum(expression.function, *inner) if inner else expression.function
    terms = sp.Add.make_args(sp.expand(_in_normal_form(body)))
    return sp.Add(*(_sum_of_product(term, index, low, high) for term in terms))


def _sum_of_product(term: Any, index: Any, low: Any, high: Any) -> Any:
    outside, inside = term.as_independent(index, as_Add=False)
    for delta in inside.atoms(sp.KroneckerDelta):
        place = _place(delta, index)
        if place is not None:
            at_place = (inside / delta).subs(index, place)
            if (place - low).is_nonnegative and (high - place).is_nonnegative:
                return outside * at_place
            return outside * sp.Piecewise((at_place, (place >= low) & (place <= high)), (0, True))
    if inside == 1:
        return outside * (high - low + 1)
    if high == low:
        return outside * inside.subs(index, low)
    name = sp.Symbol(f"k{len(inside.atoms(sp.Sum))}", integer=True, positive=True)  # larger than that of any sum inside
    return outside * sp.Sum(inside.subs(index, name), (name, low, high))


def _place(delta: sp.KroneckerDelta, index: Any) -> Any:
    """The k with [k + e = f] = 1, or None where the delta holds the index in another way, or not at all."""
    difference = sp.expand(delta.args[0] - delta.args[1])
    coefficient = difference.coeff(index)
    rest = sp.expand(difference - coefficient * index)
    return -rest / coefficient if coefficient in (1, -1) and not rest.has(index) else None
