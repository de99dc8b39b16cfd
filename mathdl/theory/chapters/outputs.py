"""Output layers: softmax and log-softmax, for any number l of labels."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import sympy as sp

from mathdl.layers import LogSoftmax, Softmax
from mathdl.theory.chapters.symbols import i, j, l, r
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import ORDERED
from mathdl.theory.evidence import at_points, code_gradients, code_values, dual_gradients
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer
from mathdl.theory.sums import total

z, p, g, v = (sp.IndexedBase(name, real=True) for name in "zpgv")
c = sp.Symbol("c", real=True)
S = total(lambda k: sp.exp(z[k]), l)
delta = sp.KroneckerDelta(i, j)


def probability(q: Any) -> sp.Expr:
    """e^(z_q) / Σ_k e^(z_k)."""
    return sp.exp(z[q]) / S


def softmax(shape: tuple[int, ...], B: int = 1) -> Subject:
    """Softmax of rows in every order."""
    return of_layer(Softmax(), shape, lambda d, x: [d.softmax(row) for row in x["A"]], B, ORDERED)


def log_softmax(shape: tuple[int, ...], B: int = 1) -> Subject:
    """Log-softmax of rows in every order."""
    return of_layer(LogSoftmax(), shape, lambda d, x: [d.log_softmax(row) for row in x["A"]], B, ORDERED)


def _shifted(d: Any, x: Any) -> Any:
    shift = sp.Rational(7, 3)
    return [d.softmax([entry + shift for entry in row]) for row in x["A"]]


SOURCES = (
    Source("Jiang", "section 1 (softmax named; the formula is ours)", "headed"),
    Source("Kasliwal", "section 4, output layers", "headed"),
)
FINITE = Hypothesis(r"$z \in M_{1,l}$ finite, $l \ge 1$", "infinities: the edge checks")
IS_SOFTMAX = {p[i]: probability(i), p[j]: probability(j), l: j + r}
SUM_IS_ONE = {total(lambda k: p[k], l): sp.Integer(1)}

SIMPLEX = Proposition(
    id="softmax-simplex",
    title="Softmax puts out probabilities",
    statement=r"p_j = \frac{e^{z_j}}{\sum_k e^{z_k}}, \qquad p_j > 0, \qquad \sum_j p_j = 1",
    roles=("forward",),
    sources=SOURCES,
    hypotheses=(FINITE,),
    derivations=(
        Derivation(
            (
                Step(total(probability, l)),
                Step(total(lambda k: sp.exp(z[k]), l) / S, "the denominator does not depend on the index"),
                Step(sp.Integer(1)),
            ),
            "the sum, for every l",
            shows="forward",
        ),
    ),
    prose=(Prose("p_j > 0: the quotient of two positive numbers."),),
    evidence=(
        code_values("softmax is its definition, every order of 3 logits", softmax((3,))),
        at_points("a logit of −∞ has p = 0", Softmax(), (0.0, 0.5, 0.0), (0.0, 0.5, 0.0), (-inf, 0.0, 0.0)),
        at_points("a logit of ∞ gives NaN", Softmax(), (0.0, nan, nan), (inf, nan, nan)),
    ),
)

SHIFT = Proposition(
    id="softmax-shift",
    title="Softmax does not see a shift",
    statement=r"\mathrm{softmax}(z + c\,1) = \mathrm{softmax}(z) \quad \text{for every } c",
    roles=("other",),
    sources=(Source("mathdl", "as in any textbook", "ours"),),
    hypotheses=(Hypothesis(r"$c \in \mathbb R$", "c = max z, which is finite with z"),),
    derivations=(
        Derivation(
            (
                Step(sp.exp(z[i] + c) / total(lambda k: sp.exp(z[k] + c), l)),
                Step(sp.exp(c) * sp.exp(z[i]) / (sp.exp(c) * S), "e^c is a factor of every term"),
                Step(probability(i), "and cancels"),
            ),
            "for every l",
            shows="other",
        ),
    ),
    prose=(Prose("So max z may be taken off, and needs no derivative although the maximum has kinks."),),
    evidence=(
        code_values(
            "the code equals the definition at shifted logits", of_layer(Softmax(), (3,), _shifted, 1, ORDERED)
        ),
        at_points("logits of ±10⁴", Softmax(), (1e4, 1.0, 0.0), (0.0, 0.0, 0.0), (-1e4, 0.0, 0.0)),
    ),
)

JACOBIAN = Proposition(
    id="softmax-jacobian",
    title="The Jacobian of softmax",
    statement=r"\frac{\partial p_i}{\partial z_j} = p_i\,(\delta_{ij} - p_j), \qquad "
    r"J = \mathrm{diag}(p) - p^\top p \text{ symmetric}, \quad J 1 = 0, \quad v J v^\top = "
    r"\tfrac12 \sum_{kq} p_k p_q (v_k - v_q)^2 \ge 0",
    roles=("gradient",),
    sources=SOURCES,
    hypotheses=(FINITE,),
    derivations=(
        Derivation(
            (
                Step(sp.Derivative(probability(i), z[j])),
                Step(
                    delta * sp.exp(z[i]) / S - sp.exp(z[i]) * sp.exp(z[j]) / S**2,
                    "the quotient rule; of the sum only the term j depends on z_j",
                ),
                Step(p[i] * delta - p[i] * p[j], "the definition of p"),
                Step(p[i] * (delta - p[j]), "factor p_i"),
            ),
            "entry i, j, for every l",
            IS_SOFTMAX,
        ),
        Derivation(
            (
                Step(total(lambda k: p[i] * (sp.KroneckerDelta(i, k) - p[k]), l)),
                Step(p[i] * (1 - total(lambda k: p[k], l)), "of δ only the term i is left"),
                Step(sp.Integer(0), "softmax-simplex", given=SUM_IS_ONE),
            ),
            "a row of J sums to 0",
            {l: i + r},
        ),
        Derivation(
            (
                Step(total(lambda k: total(lambda q: p[k] * p[q] * (v[k] - v[q]) ** 2, l, "q"), l) / 2),
                Step(
                    total(lambda k: p[k], l) * total(lambda k: p[k] * v[k] ** 2, l)
                    - total(lambda k: p[k] * v[k], l) ** 2,
                    "expand the square",
                ),
                Step(
                    total(lambda k: p[k] * v[k] ** 2, l) - total(lambda k: p[k] * v[k], l) ** 2,
                    "softmax-simplex; this is v J vᵀ",
                    given=SUM_IS_ONE,
                ),
            ),
            "J is positive semidefinite: a sum of squares",
        ),
    ),
    evidence=(
        code_gradients("softmax, every order of 3 logits", softmax((3,))),
        dual_gradients("softmax at real sizes", softmax((100,), 16)),
    ),
)

VJP = Proposition(
    id="softmax-vjp",
    title="The gradient through softmax",
    statement=r"\nabla_z J = p \circ \bigl(g - \langle g, p \rangle 1\bigr), \qquad g = \nabla_p J",
    roles=("gradient",),
    sources=SOURCES,
    hypotheses=(FINITE,),
    derivations=(
        Derivation(
            (
                Step(total(lambda k: g[k] * p[k] * (sp.KroneckerDelta(k, j) - p[j]), l)),
                Step(g[j] * p[j] - p[j] * total(lambda k: g[k] * p[k], l), "of δ only the term j is left"),
                Step(p[j] * (g[j] - total(lambda k: g[k] * p[k], l)), "factor p_j"),
            ),
            "entry j of g J, by softmax-jacobian, for every l",
            {l: j + r},
        ),
    ),
    evidence=(
        code_gradients("softmax on two rows of 2, every order", softmax((2,), 2)),
        dual_gradients("softmax at real sizes", softmax((10,), 64)),
    ),
)

LOGSUMEXP = Proposition(
    id="logsumexp",
    title="Log-sum-exp and log-softmax",
    statement=r"\nabla \log\sum_k e^{z_k} = \mathrm{softmax}(z), \qquad \log p_j = z_j - \log\sum_k e^{z_k}, \qquad "
    r"\nabla_z J = g - \langle g, 1 \rangle\, p, \quad g = \nabla_{\log p} J",
    roles=("forward", "gradient"),
    sources=SOURCES,
    hypotheses=(FINITE,),
    derivations=(
        Derivation(
            (
                Step(sp.Derivative(sp.log(S), z[j])),
                Step(p[j], "the chain rule; of the sum only the term j depends on z_j"),
            ),
            "log-sum-exp, for every l",
            IS_SOFTMAX,
        ),
        Derivation(
            (
                Step(sp.Derivative(total(lambda k: g[k] * (z[k] - sp.log(S)), l), z[j])),
                Step(g[j] - total(lambda k: g[k], l) * p[j], "log-sum-exp does not depend on the index of the sum"),
            ),
            "the gradient through log-softmax, for every l",
            IS_SOFTMAX,
        ),
    ),
    prose=(Prose("max z ≤ log Σ e^z ≤ max z + ln l, as the sum lies between its largest term and l times that."),),
    evidence=(
        code_values("log-softmax is its definition, every order of 3 logits", log_softmax((3,))),
        code_gradients("log-softmax, every order of 3 logits", log_softmax((3,))),
        dual_gradients("log-softmax at real sizes", log_softmax((100,), 16)),
        at_points("logits of ±10⁴", LogSoftmax(), (1e4, 0.0, -1.0), (-1e4, -2e4, 1.0)),
    ),
)

CHAPTER = Chapter(
    "Output layers",
    "A row z of l logits, row by row. l is any number: sums over labels are never written out. Where SymPy must know "
    "that 1 ≤ j ≤ l, l stands for j + r with r ≥ 0.",
    (SIMPLEX, SHIFT, JACOBIAN, VJP, LOGSUMEXP),
)
