"""Algebra and calculus: what every gradient of the library is made of."""

from __future__ import annotations

from itertools import product

import sympy as sp

from mathdl.layers import Dense, Sigmoid, Tanh
from mathdl.theory.chapters.symbols import ONES, SLOPE, G, W, X, Z, b, entrywise, n, one, phi, z
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.evidence import code_gradients, dual_gradients, integer_gradients, integer_values
from mathdl.theory.matrices import Gradient, inner
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import of_layer, of_network

e_i = sp.MatrixSymbol("e_i", 1, n)
psi, x = sp.Function("psi"), sp.Symbol("x", real=True)
VALUE, VALUE_IS = entrywise(r"\varphi(Z)", Z, phi)
SLOPES, SLOPES_ARE = entrywise(r"\varphi'(Z)", Z, SLOPE)
SHAPES = "raises ShapeError (tests/layers/test_dense.py)"

TEXTBOOK = (Source("mathdl", "as in any textbook", "ours"),)
SMALL = list(product((1, 2, 3), repeat=3))
PRODUCTS = [of_layer(Dense(l, bias=False), (m,), lambda d, x: d.matrix_product(x["A"], x["W"]), B) for B, m, l in SMALL]
BIASED = [of_layer(Dense(l), (m,), lambda d, x: d.dense(x["A"], x["W"], x["b"]), B) for B, m, l in SMALL]

MATMUL_ROWS = Proposition(
    id="matmul-rows",
    title="Rows and transpose of a product",
    statement=r"[AB]_{i,:} = [A]_{i,:} B, \qquad (AB)^\top = B^\top A^\top",
    roles=("other",),
    sources=(Source("Jiang", "section 2, Definition 2 and Notation 1 (the product and the transpose)", "ours"),),
    hypotheses=(Hypothesis(r"$A \in M_{n,m}$, $B \in M_{m,l}$", SHAPES),),
    derivations=(
        Derivation(
            (Step(sp.MatMul(e_i, X * W)), Step(sp.MatMul(e_i * X, W), "the product is associative")),
            "row i, with e_i the i-th unit row",
            shows="other",
        ),
        Derivation((Step(sp.Transpose(X * W)), Step(W.T * X.T, "entry by entry")), "transpose", shows="other"),
    ),
    evidence=(integer_values("the product that ships equals the sums of Definition 2", PRODUCTS),),
)

TRACE_ADJOINT = Proposition(
    id="trace-adjoint",
    title="The adjoints of a product",
    statement=r"\langle G, XW \rangle = \langle X^\top G, W \rangle = \langle G W^\top, X \rangle, "
    r"\qquad \langle A, B \rangle = \operatorname{tr}(A^\top B) = \sum_{ij} A_{ij} B_{ij}",
    roles=("other",),
    sources=TEXTBOOK,
    hypotheses=(
        Hypothesis(
            r"$G \in M_{n,l}$, $X \in M_{n,m}$, $W \in M_{m,l}$", "raises ShapeError (tests/layers/test_dense.py)"
        ),
    ),
    derivations=(
        Derivation(
            (
                Step(inner(G, X * W)),
                Step(inner(X.T * G, W), "(Xᵀ G)ᵀ = Gᵀ X"),
                Step(inner(G * W.T, X), "the trace of a product does not change when its factors are rotated"),
            ),
            shows="other",
        ),
    ),
    evidence=(integer_gradients("the gradients that ship are these adjoints", PRODUCTS),),
)

ELEMENTWISE_DIFFERENTIAL = Proposition(
    id="elementwise-differential",
    title="The gradient through a function applied entry by entry",
    statement=r"\nabla_Z \langle G, \varphi(Z) \rangle = G \circ \varphi'(Z)",
    roles=("gradient",),
    sources=TEXTBOOK,
    hypotheses=(
        Hypothesis(
            r"$\varphi$ has a derivative at every $Z_{ij}$", "the layers with kinks state a convention, see there"
        ),
    ),
    derivations=(
        Derivation(
            (
                Step(Gradient(inner(G, VALUE), Z)),
                Step(sp.HadamardProduct(G, SLOPES), "of all φ(Z)_ij only φ(Z_ij) depends on Z_ij"),
            ),
            where={VALUE: VALUE_IS, SLOPES: SLOPES_ARE},
        ),
    ),
    evidence=(
        code_gradients("Tanh on symbols", of_layer(Tanh(), (2,))),
        dual_gradients(
            "Tanh and Sigmoid on dual numbers", of_layer(Tanh(), (64,), B=32), of_layer(Sigmoid(), (64,), B=32)
        ),
    ),
)

CHAIN_RULE = Proposition(
    id="chain-rule-vjp",
    title="The chain rule for gradients",
    statement=r"\nabla_x\,(f \circ g)(x; G) = \nabla_x\, g\,\bigl(x; \nabla_y f(y; G)\bigr), \qquad y = g(x)",
    roles=("gradient",),
    sources=TEXTBOOK,
    hypotheses=(
        Hypothesis(r"$g$ has a derivative at $x$ and $f$ at $g(x)$", "the layers with kinks state a convention"),
    ),
    derivations=(
        Derivation(
            (
                Step(sp.Derivative(phi(psi(z)), z)),
                Step(phi(x).diff(x).subs(x, psi(z)) * sp.Derivative(psi(z), z), "the chain rule"),
            ),
            "for one number",
        ),
    ),
    evidence=(
        code_gradients("a network by its recursion", of_network([Dense(2), Tanh(), Dense(1)], (2,), B=1)),
        dual_gradients("a network at real sizes", of_network([Dense(64), Tanh(), Dense(10), Sigmoid()], (32,), B=16)),
    ),
)

BROADCAST_ADJOINT = Proposition(
    id="broadcast-adjoint",
    title="The adjoint of adding one row to every row",
    statement=r"\nabla_b \langle G, 1_n b \rangle = 1_n^\top G, \qquad [1_n^\top G]_j = \sum_i G_{ij}",
    roles=("gradient",),
    sources=TEXTBOOK,
    hypotheses=(Hypothesis(r"$b \in M_{1,l}$, $1_n$ the column of $n$ ones", SHAPES),),
    derivations=(
        Derivation(
            (Step(Gradient(inner(G, one * b), b)), Step(one.T * G, "trace-adjoint, with 1_n in the place of X")),
            where={one: ONES},
        ),
    ),
    evidence=(
        integer_gradients("db sums the instances", BIASED),
        dual_gradients("db at real sizes", of_layer(Dense(10), (32,), B=64)),
    ),
)

CHAPTER = Chapter(
    "Algebra and calculus",
    "The inner product of two matrices is ⟨A, B⟩ = tr(Aᵀ B). The gradient ∇_X J of a number J is the matrix with "
    "dJ = ⟨∇_X J, dX⟩: it has the shape of X, always.",
    (MATMUL_ROWS, TRACE_ADJOINT, ELEMENTWISE_DIFFERENTIAL, CHAIN_RULE, BROADCAST_ADJOINT),
)
