"""Perceptron and dense layers."""

from __future__ import annotations

from itertools import product
from typing import Any

import sympy as sp

from mathdl.layers import Dense, Perceptron, ReLU, Sigmoid
from mathdl.theory.chapters.symbols import ONES, G, W, X, b, h, j, l, m, one, phi, r, z
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import POSITIVE
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.matrices import Gradient, inner
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer, of_network
from mathdl.theory.sums import total


def perceptron(activation: Any, name: str, B: int, m: int, **fields: Any) -> Subject:
    """A perceptron with this activation, whose function of one number is called `name` in the definitions."""

    def definition(d: Any, x: Any) -> Any:
        return [[d.perceptron(y, x["W"][0], x["b"][0], getattr(d, name))] for y in x["A"]]

    return of_layer(Perceptron(activation), (m,), definition, B, **fields)


def dense(B: int, m: int, l: int) -> Subject:
    """Dense(l) on B instances of m features."""
    return of_layer(Dense(l), (m,), lambda d, x: d.dense(x["A"], x["W"], x["b"]), B)


def _augmented(d: Any, x: Any) -> Any:
    rows = [[*row, 1] for row in x["A"]]
    return d.matrix_product(rows, [*x["W"], x["b"]])


def _columns(d: Any, x: Any) -> Any:
    """Kasliwal's form: instances are columns."""
    products = d.matrix_product(d.transpose(x["W"]), d.transpose(x["A"]))
    columns = [[total + x["b"][j] for total in row] for j, row in enumerate(products)]
    return d.transpose(columns)


def _network(d: Any, x: Any) -> Any:
    hidden = [[d.relu(z) for z in row] for row in d.dense(x["A"], x["W[1]"], x["b[1]"])]
    return d.dense(hidden, x["W[3]"], x["b[3]"])


def _collapsed(d: Any, x: Any) -> Any:
    W = d.matrix_product(x["W[1]"], x["W[2]"])
    b = d.dense([x["b[1]"]], x["W[2]"], x["b[2]"])[0]
    return d.dense(x["A"], W, b)


KNOWN_SIGN: dict[str, Any] = {"domain": POSITIVE, "domains": {"W": POSITIVE, "b": POSITIVE}}
"""Sigmoid asks for the sign of z. With Z of either sign see the activations."""
SMALL = list(product((1, 2, 3), repeat=3))
SHAPES = Hypothesis(
    r"$X \in M_{n,m}$, $W \in M_{m,l}$, $b \in M_{1,l}$", "raises ShapeError (tests/layers/test_dense.py)"
)
JIANG = Source("Jiang", "section 2, Definition 2 (the product); section 4 (k layers)", "headed")
KASLIWAL = Source("Kasliwal", "section 5", "headed")

y, w = sp.IndexedBase("y", real=True), sp.IndexedBase("W", real=True)
beta = sp.Symbol("b", real=True)
NODE = total(lambda k: w[k] * y[k], m) + beta
SLOPE_AT_NODE = sp.Symbol(r"{\varphi'(z)}")
NODE_WORDS = {SLOPE_AT_NODE: phi(z).diff(z).subs(z, NODE), m: j + r}

PERCEPTRON = Proposition(
    id="perceptron",
    title="The simple perceptron",
    statement=r"f(y) = \varphi(z), \quad z = y W^\top + b; \qquad "
    r"\nabla_W f = \varphi'(z)\, y, \quad \nabla_b f = \varphi'(z), \quad \nabla_y f = \varphi'(z)\, W",
    roles=("forward", "gradient"),
    sources=(Source("Jiang", "section 3, Definition 4 (y and W; the formula is not in the text)", "headed"),),
    hypotheses=(
        Hypothesis(
            r"$y, W \in M_{1,m}$: the product is $y W^\top$", "raises ShapeError (tests/layers/test_perceptron.py)"
        ),
        Hypothesis(
            r"$\varphi$ has a derivative at $z$; for the step function it is 0 almost everywhere, so that cannot be "
            "trained by gradients",
            "layers with kinks state a convention",
        ),
    ),
    derivations=tuple(
        Derivation(
            (Step(sp.Derivative(phi(NODE), variable)), Step(SLOPE_AT_NODE * claim, why)), f"by {name}", NODE_WORDS
        )
        for name, variable, claim, why in (
            ("W", w[j], y[j], "the chain rule; of the sum only the term j depends on W_j"),
            ("b", beta, 1, "the chain rule"),
            ("y", y[j], w[j], "the chain rule; of the sum only the term j depends on y_j"),
        )
    ),
    evidence=(
        code_values("with Sigmoid", perceptron(Sigmoid(), "sigmoid", 1, 2, **KNOWN_SIGN)),
        integer_values("with ReLU", [perceptron(ReLU(), "relu", B, m) for B, m in product((1, 2, 3), repeat=2)]),
        code_gradients("with Sigmoid", perceptron(Sigmoid(), "sigmoid", 2, 2, **KNOWN_SIGN)),
        dual_gradients("with Sigmoid, at real sizes", perceptron(Sigmoid(), "sigmoid", 32, 64)),
    ),
)

Z = X * W + one * b

DENSE_FORWARD = Proposition(
    id="dense-forward",
    title="The dense layer",
    statement=r"Z = XW + 1_n b, \qquad Z_{ij} = \sum_k X_{ik} W_{kj} + b_j",
    roles=("forward",),
    sources=(JIANG, KASLIWAL),
    hypotheses=(SHAPES,),
    evidence=(
        code_values("Z equals the sums, on symbols", dense(2, 3, 2)),
        integer_values("Z equals the sums", [dense(*shape) for shape in SMALL]),
    ),
)

DENSE_BACKWARD = Proposition(
    id="dense-backward",
    title="The gradients of a dense layer",
    statement=r"\nabla_W J = X^\top G, \quad \nabla_b J = 1_n^\top G, \quad \nabla_X J = G W^\top, "
    r"\qquad G = \nabla_Z J",
    roles=("gradient",),
    sources=(Source("Jiang", "section 4", "ours"), KASLIWAL),
    hypotheses=(SHAPES,),
    derivations=tuple(
        Derivation((Step(Gradient(inner(G, Z), variable)), Step(claim, why)), f"by {variable.name}", {one: ONES})
        for variable, claim, why in (
            (W, X.T * G, "trace-adjoint; 1 b does not depend on W"),
            (b, one.T * G, "broadcast-adjoint; XW does not depend on b"),
            (X, G * W.T, "trace-adjoint; 1 b does not depend on X"),
        )
    ),
    evidence=(
        code_gradients("on symbols", dense(2, 3, 2)),
        integer_gradients("equal those of the sums", [dense(*shape) for shape in SMALL]),
        dual_gradients("at real sizes", dense(64, 128, 32)),
    ),
)

BIAS_AUGMENTATION = Proposition(
    id="bias-augmentation",
    title="The bias as one more row of weights",
    statement=r"\begin{bmatrix} X & 1_n \end{bmatrix} \begin{bmatrix} W \\ b \end{bmatrix} = XW + 1_n b",
    roles=("other",),
    sources=(Source("mathdl", "as in any textbook", "ours"),),
    hypotheses=(SHAPES,),
    evidence=(
        integer_values(
            "the layer equals the product with the augmented matrices",
            [of_layer(Dense(l), (m,), _augmented, B) for B, m, l in SMALL],
        ),
    ),
)

ROW_COLUMN = Proposition(
    id="row-column",
    title="Rows and columns: the two texts say the same",
    statement=r"(XW + 1_n b)^\top = W^\top X^\top + b^\top 1_n^\top: \quad "
    r"a^{[l]} = W^{[l]} a^{[l-1]} + b^{[l]} \text{ for columns } a \text{, with } W^\top "
    r"\text{ in the place of } W^{[l]}",
    roles=("other",),
    sources=(
        Source("Jiang", "section 2, Convention 1 (a vector is a row)", "stated"),
        Source("Kasliwal", "section 5", "headed"),
    ),
    derivations=(
        Derivation(
            (Step(sp.Transpose(Z)), Step(W.T * X.T + b.T * one.T, "matmul-rows")), where={one: ONES}, shows="other"
        ),
    ),
    evidence=(
        integer_values(
            "the layer equals the column form, transposed", [of_layer(Dense(l), (m,), _columns, B) for B, m, l in SMALL]
        ),
    ),
)

K_LAYERS = Proposition(
    id="k-layer-forward",
    title="A network of k layers",
    statement=r"A^{(0)} = X, \quad Z^{(r)} = A^{(r-1)} W^{(r)} + 1_n b^{(r)}, "
    r"\quad A^{(r)} = \varphi_r\bigl(Z^{(r)}\bigr), \qquad r = 1 \dots k",
    roles=("forward",),
    sources=(
        Source("Jiang", "section 4, Definition 2 (k layers)", "headed"),
        Source("Kasliwal", "section 2 (L, n^[l], A^[l])", "stated"),
    ),
    hypotheses=(
        Hypothesis(
            r"$W^{(r)} \in M_{d_{r-1}, d_r}$ with $d_0 = m$", "raises ShapeError with the layer (tests/test_network.py)"
        ),
    ),
    prose=(Prose("For k layers: by induction over r. Checked is a network of three layers."),),
    evidence=(
        integer_values(
            "Dense, ReLU, Dense by the recursion of the network equals the loops",
            [of_network([Dense(h), ReLU(), Dense(l)], (m,), _network, B) for B, m, h, l in product((1, 2), repeat=4)],
        ),
    ),
)

W2, b2 = sp.MatrixSymbol("W_2", l, h), sp.MatrixSymbol("b_2", 1, h)

AFFINE_COLLAPSE = Proposition(
    id="affine-collapse",
    title="Without activations, two dense layers are one",
    statement=r"(X W_1 + 1_n b_1) W_2 + 1_n b_2 = X\,(W_1 W_2) + 1_n (b_1 W_2 + b_2)",
    roles=("other",),
    sources=(Source("mathdl", "as in any textbook", "ours"),),
    hypotheses=(SHAPES,),
    derivations=(
        Derivation(
            (
                Step(sp.MatMul(Z, W2) + one * b2),
                Step(X * W * W2 + one * b * W2 + one * b2, "the product is distributive"),
                Step(sp.MatMul(X, W * W2) + sp.MatMul(one, b * W2 + b2), "and associative"),
            ),
            shows="other",
            where={one: ONES},
        ),
    ),
    prose=(Prose("For k layers: by induction over k."),),
    evidence=(
        integer_values(
            "Dense, Dense equals one dense layer of these weights",
            [of_network([Dense(h), Dense(l)], (m,), _collapsed, B) for B, m, h, l in product((1, 2), repeat=4)],
        ),
    ),
)

CHAPTER = Chapter(
    "Perceptron and dense layers",
    "A sample is a row (Jiang, Convention 1): X has n rows of m features. G is the gradient by what a layer puts out; "
    "the layer after it hands it back.",
    (PERCEPTRON, DENSE_FORWARD, DENSE_BACKWARD, BIAS_AUGMENTATION, ROW_COLUMN, K_LAYERS, AFFINE_COLLAPSE),
)
