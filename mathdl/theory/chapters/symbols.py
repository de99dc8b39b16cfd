"""The letters that the chapters share, each of the kind that its hypotheses give it."""

from __future__ import annotations

from typing import Any

import sympy as sp

from mathdl.theory.matrices import ones

n, m, l, h = sp.symbols("n m l h", integer=True, positive=True)
"""Generic dimensions: instances, features, labels (outputs), nodes of a hidden layer."""
X, W, G = (sp.MatrixSymbol(*words) for words in (("X", n, m), ("W", m, l), ("G", n, l)))
b = sp.MatrixSymbol("b", 1, l)
Z, P, Y = (sp.MatrixSymbol(name, n, l) for name in "ZPY")
one, ONES = ones("1_n", n)

i, j = sp.symbols("i j", integer=True, positive=True)
r = sp.Symbol("r", integer=True, nonnegative=True)
"""With l = j + r SymPy knows that 1 ≤ j ≤ l."""
z = sp.Symbol("z", real=True)
positive = sp.Symbol("z", positive=True)
negative = sp.Symbol("z", negative=True)
phi = sp.Function("varphi")
SLOPE = sp.Lambda(z, phi(z).diff(z))
"""φ′ of a function φ of which nothing else is known."""


def entrywise(name: str, Z: sp.MatrixExpr, function: Any) -> tuple[sp.MatrixSymbol, sp.MatrixExpr]:
    """(a symbol that prints as `name`, function(Z) entry by entry): an entry of `Derivation.where`."""
    return sp.MatrixSymbol(f"{{{name}}}", *Z.shape), Z.applyfunc(function)
