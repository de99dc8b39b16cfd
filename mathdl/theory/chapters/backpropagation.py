"""Back-propagation: the recursion by its step, and what becomes of it at kinks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from mathdl.layers import Dense, Tanh
from mathdl.layers.relu import relu_backward, relu_forward
from mathdl.theory.chapters.symbols import ONES, SLOPE, G, W, X, b, entrywise, h, l, n, one, phi
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.evidence import code_gradients, dual_gradients
from mathdl.theory.exact import exactly
from mathdl.theory.matrices import Gradient, inner
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import of_network

Z, D = sp.MatrixSymbol("Z", n, l), sp.MatrixSymbol("Delta", n, h)
V, c = sp.MatrixSymbol("V", l, h), sp.MatrixSymbol("c", 1, h)
VALUE, VALUE_IS = entrywise(r"\varphi(Z)", Z, phi)
SLOPES, SLOPES_ARE = entrywise(r"\varphi'(Z)", Z, SLOPE)
INSIDE = X * W + one * b
VALUE_1, VALUE_1_IS = entrywise(r"\varphi(XW + 1_n b)", INSIDE, phi)
SLOPES_1, SLOPES_1_ARE = entrywise(r"\varphi'(XW + 1_n b)", INSIDE, SLOPE)
WORDS = {VALUE: VALUE_IS, SLOPES: SLOPES_ARE, VALUE_1: VALUE_1_IS, SLOPES_1: SLOPES_1_ARE, one: ONES}


def by(title: str, what: Any, variable: sp.MatrixSymbol, claim: Any, why: str, delta: sp.MatrixSymbol) -> Derivation:
    """∇ ⟨delta, what⟩ by the variable is the claim."""
    return Derivation((Step(Gradient(inner(delta, what), variable)), Step(claim, why)), title, WORDS)


BACKPROP = Proposition(
    id="backprop",
    title="Back-propagation",
    statement=r"\Delta^{(k)} = \nabla_{Z^{(k)}} J, \qquad "
    r"\Delta^{(r)} = \bigl(\Delta^{(r+1)} W^{(r+1)\top}\bigr) \circ \varphi_r'\bigl(Z^{(r)}\bigr), \qquad "
    r"\nabla_{W^{(r)}} J = A^{(r-1)\top} \Delta^{(r)}, \qquad \nabla_{b^{(r)}} J = 1_n^\top \Delta^{(r)}",
    roles=("gradient",),
    sources=(Source("Jiang", "section 4 (k layers; the recursion is not in the text)", "headed"),),
    hypotheses=(
        Hypothesis(r"$\varphi_r$ has a derivative at every entry of $Z^{(r)}$", "layers with kinks state a convention"),
    ),
    derivations=(
        by(
            "the step from Δ of a layer to Δ of the layer before, any φ and any sizes",
            VALUE * V + one * c,
            Z,
            sp.HadamardProduct(D * V.T, SLOPES),
            "dense-backward, then elementwise-differential",
            D,
        ),
        by("the weights of a layer", INSIDE, W, X.T * G, "dense-backward", G),
        by("the bias of a layer", INSIDE, b, one.T * G, "dense-backward", G),
        by(
            "two layers in one go: the weights of the first, any φ and any sizes",
            VALUE_1 * V,
            W,
            X.T * sp.HadamardProduct(D * V.T, SLOPES_1),
            "by the step, with Z = XW + 1 b",
            D,
        ),
    ),
    prose=(
        Prose("For k layers: by induction over r, from k down to 1. Checked is the step, and two layers in one go."),
    ),
    evidence=(
        code_gradients(
            "Dense, Tanh, Dense by the recursion that ships", of_network([Dense(2), Tanh(), Dense(2)], (2,))
        ),
        dual_gradients(
            "four dense layers at real sizes",
            of_network([Dense(64), Tanh(), Dense(48), Tanh(), Dense(32), Tanh(), Dense(10)], (50,), B=32),
        ),
    ),
)


def _identity_by_two_kinks(x: float, slope: float) -> Iterator[tuple[str, Any, Any]]:
    """relu(x) − relu(−x) = x, and what backward makes of its slope."""
    A = np.array([[x]])
    up, down = relu_forward(A), relu_forward(-A)
    yield "value", up - down, A
    yield "slope", relu_backward(np.ones((1, 1)), up) + relu_backward(np.ones((1, 1)), down), np.array([[slope]])


KINK_CAVEAT = Proposition(
    id="kink-caveat",
    title="At kinks, back-propagation need not give a subgradient",
    statement=r"\mathrm{ReLU}(x) - \mathrm{ReLU}(-x) = x \text{ has the slope } 1 \text{ everywhere; "
    r"with } \mathrm{ReLU}'(0) = 0 \text{ the chain rule gives } 0 \text{ at } x = 0, \text{ and } 1 \text{ elsewhere}",
    roles=("other",),
    sources=(Source("Bolte and Pauwels (2020)", "conservative fields", "ours"),),
    hypotheses=(Hypothesis("what back-propagation gives is the gradient off a set of measure 0", "prose"),),
    prose=(Prose("The set of inputs where some activation stands at a kink has measure 0 (Bolte and Pauwels)."),),
    evidence=tuple(
        exactly("E", "other", f"at x = {x:g} the slope comes out as {slope:g}", ["value", "slope"], pairs)
        for x, slope in ((0.0, 0.0), (1.5, 1.0), (-1.5, 1.0))
        for pairs in (partial(_identity_by_two_kinks, x, slope),)
    ),
)

CHAPTER = Chapter(
    "Back-propagation",
    "A network is differentiated from its last layer to its first. Δ is the gradient by what the activation of a layer "
    "is applied to. Every layer does its own step; the recursion hands Δ on.",
    (BACKPROP, KINK_CAVEAT),
)
