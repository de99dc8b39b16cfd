"""Matrices of symbolic dimensions: the gradient of a trace, and the same expression at numbers.

SymPy's matrix calculus is reliable for the derivative of *one* trace tr(Gᵀ M) and not beyond (that of a sum of traces
is silently 0 in SymPy 1.14), so `Gradient` takes one trace; and everything it says is compared with derivatives taken
entry by entry at small dimensions.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import reduce
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.printing.pretty.stringpict import prettyForm


class Gradient(sp.MatrixExpr):  # type: ignore[misc]
    """∇_X tr(M), not evaluated until `doit`: the matrix of the derivatives of a trace by the entries of X."""

    def __new__(cls, trace: sp.Trace, variable: sp.MatrixSymbol) -> Gradient:
        if not isinstance(trace, sp.Trace):
            raise TypeError(f"the gradient of one trace, not of {type(trace).__name__}")
        node: Gradient = sp.MatrixExpr.__new__(cls, trace, variable)
        return node

    @property
    def shape(self) -> Any:
        return self.args[1].shape

    def doit(self, **hints: Any) -> Any:
        trace, variable = self.args
        return trace.diff(variable).doit()

    def _latex(self, printer: Any) -> str:
        trace, variable = self.args
        return rf"\nabla_{{{printer.doprint(variable)}}} \operatorname{{tr}}\left({printer.doprint(trace.arg)}\right)"

    def _pretty(self, printer: Any) -> Any:
        trace, variable = self.args
        shown = printer._print(trace)
        return prettyForm(*shown.left(f"∇_{variable} "))


def ones(name: str, n: Any) -> tuple[sp.MatrixSymbol, sp.OneMatrix]:
    """(a symbol that prints as `name`, the column of n ones that it stands for): an entry of `Derivation.where`."""
    return sp.MatrixSymbol(name, n, 1), sp.OneMatrix(n, 1)


def inner(G: Any, M: Any) -> sp.Trace:
    """⟨G, M⟩ = tr(Gᵀ M) = Σ_ij G_ij M_ij."""
    return sp.Trace(G.T * M)


def normal_form(expression: Any) -> Any:
    """A matrix expression with its gradients taken, its products multiplied out, and its transposes moved inward."""
    for _ in range(2):  # what the one brings about, the other takes up
        expression = expression.replace(lambda e: isinstance(e, Gradient), lambda e: e.doit()).doit().expand().doit()
        expression = expression.replace(_is_transposed_function, _transposed_inside)
    return expression.replace(sp.Lambda, _with_one_name).replace(sp.Trace, _rotated)


def _rotated(inside: Any) -> Any:
    """A trace in one of its forms: tr(ABC) = tr(BCA) = tr(CᵀBᵀAᵀ), the one whose text comes first."""
    terms = []
    for term in sp.Add.make_args(inside):
        scalar, factors = term.as_coeff_matrices() if isinstance(term, sp.MatMul) else (1, [term])
        both = [list(factors), [factor.T.doit() for factor in reversed(factors)]]
        rotations = [sp.MatMul(*each[turn:], *each[:turn]) for each in both for turn in range(len(each))]
        terms.append(scalar * sp.Trace(min(rotations, key=str)))
    return sp.Add(*terms)


def _is_transposed_function(expression: Any) -> bool:
    return isinstance(expression, sp.Transpose) and isinstance(expression.arg, ElementwiseApplyFunction)


def _transposed_inside(transposed: Any) -> Any:
    return transposed.arg.expr.T.doit().applyfunc(transposed.arg.function)


_ENTRY = sp.Symbol("entry")


def _with_one_name(variables: Any, body: Any) -> sp.Lambda:
    (variable,) = variables
    return sp.Lambda(_ENTRY, body.subs(variable, _ENTRY))


def at_numbers(expression: Any, draw: random.Random) -> np.ndarray:
    """The expression at small dimensions, with random entries and known functions for unknown ones, to 30 digits.

    It is evaluated here, not by SymPy's rules for matrices: gradients are central differences, entry by entry.
    """
    dimensions = sorted((symbol for symbol in expression.atoms(sp.Symbol) if symbol.is_integer), key=str)
    expression = expression.subs({symbol: 2 + number % 3 for number, symbol in enumerate(dimensions)})
    matrices = sorted(expression.atoms(sp.MatrixSymbol), key=str)
    values = {symbol: _random_matrix(symbol.shape, draw) for symbol in matrices}
    values |= {scalar: _random(draw) for scalar in sorted(expression.atoms(sp.Symbol), key=str)}
    functions = sorted({applied.func for applied in expression.atoms(AppliedUndef)}, key=str)
    with mpmath.workdps(_DIGITS):
        return np.asarray(_evaluate(expression, values, dict(zip(functions, (sp.sin, sp.exp, sp.cos), strict=False))))


_DIGITS = 70
_STEP = mpmath.mpf(10) ** -20  # central differences then have an error of 10⁻⁴⁰


def _random(draw: random.Random) -> Any:
    return mpmath.mpf(draw.randint(-99, 99)) / draw.randint(50, 99)


def _random_matrix(shape: Any, draw: random.Random) -> np.ndarray:
    return np.array([[_random(draw) for _ in range(int(shape[1]))] for _ in range(int(shape[0]))], dtype=object)


def _evaluate(node: Any, values: Mapping[Any, Any], known: Mapping[Any, Any]) -> Any:
    """The value of a matrix expression, or of a scalar in it."""
    match node:
        case sp.MatrixSymbol() | sp.Symbol():
            return values[node]
        case sp.MatAdd() | sp.Add():
            return reduce(np.add, (_evaluate(term, values, known) for term in node.args))
        case sp.MatMul():
            scalar, matrices = node.as_coeff_matrices()
            return _evaluate(scalar, values, known) * reduce(np.matmul, (_evaluate(m, values, known) for m in matrices))
        case sp.HadamardProduct() | sp.Mul():
            return reduce(np.multiply, (_evaluate(factor, values, known) for factor in node.args))
        case sp.Pow():
            return _evaluate(node.base, values, known) ** int(node.exp)
        case sp.Transpose():
            return _evaluate(node.arg, values, known).T
        case sp.Trace():
            return np.trace(_evaluate(node.arg, values, known))
        case sp.OneMatrix() | sp.ZeroMatrix():
            return np.full([int(size) for size in node.shape], mpmath.mpf(int(isinstance(node, sp.OneMatrix))))
        case ElementwiseApplyFunction():
            return np.vectorize(_numeric(node.function, known), otypes=[object])(_evaluate(node.expr, values, known))
        case Gradient():
            return _entry_by_entry(node, values, known)
        case sp.Number():
            return mpmath.mpf(int(node.p)) / int(node.q)
    raise TypeError(f"no rule to evaluate {type(node).__name__}: add one beside the others")


def _numeric(function: sp.Lambda, known: Mapping[Any, Any]) -> Any:
    (variable,), body = function.args
    for unknown, stand_in in known.items():
        body = body.replace(unknown, stand_in)
    return sp.lambdify(variable, body.doit(), "mpmath")


def _entry_by_entry(gradient: Gradient, values: Mapping[Any, Any], known: Mapping[Any, Any]) -> np.ndarray:
    trace, variable = gradient.args
    slopes = np.empty(values[variable].shape, dtype=object)
    for place in np.ndindex(*slopes.shape):
        ends = []
        for step in (_STEP, -_STEP):
            moved = values[variable].copy()
            moved[place] += step
            ends.append(_evaluate(trace, {**values, variable: moved}, known))
        slopes[place] = (ends[0] - ends[1]) / (2 * _STEP)
    return slopes
