"""Losses of classification: what a probability costs, and how fast the cost grows with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, log
from typing import Any

import numpy as np
import sympy as sp

from mathdl.losses import BinaryCrossEntropy, CategoricalCrossEntropy
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import FRACTION, NON_NEGATIVE, ORDERED, POSITIVE, SIGNED, SIMPLEX, Domain
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients
from mathdl.theory.exact import closely, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_loss
from mathdl.theory.sums import total

NAMED = Source("Jiang", "section 1, the loss is named; section 4, one-hot labels", "headed")
OUTPUT = Source("Kasliwal", "section 4, output layers", "ours")

j = sp.Symbol("j", integer=True, positive=True)
l = j + sp.Symbol("r", integer=True, nonnegative=True)
y, z, P = (sp.IndexedBase(name, real=True) for name in ("Y", "z", "P"))
SHAPES = Hypothesis(r"$P, Y$ of one shape $(B, l)$", "raises ShapeError (tests/losses)")


# ------------------------------------------------------------------------------------ losses beside their definitions


def categorical(l: int, B: int = 1, domain: Domain = POSITIVE, targets: Domain = NON_NEGATIVE) -> Subject:
    """Categorical cross-entropy of probabilities."""

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        return definitions.categorical_cross_entropy(x["P"], x["Y"], x["w"])

    return of_loss(CategoricalCrossEntropy(), l, definition, B, domain, targets, weighted=True)


def categorical_of_logits(l: int, B: int = 1, targets: Domain = NON_NEGATIVE) -> Subject:
    """Categorical cross-entropy of logits."""

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        return definitions.categorical_cross_entropy_logits(x["P"], x["Y"], x["w"])

    return of_loss(CategoricalCrossEntropy(logits=True), l, definition, B, ORDERED, targets, weighted=True)


def binary(l: int, B: int = 1, logits: bool = False) -> Subject:
    """Binary cross-entropy of probabilities, or of logits of either sign; Y strictly between 0 and 1."""

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        entropy = definitions.binary_cross_entropy_logits if logits else definitions.binary_cross_entropy
        return entropy(x["P"], x["Y"], x["w"])

    domain = SIGNED if logits else FRACTION
    return of_loss(BinaryCrossEntropy(logits=logits), l, definition, B, domain, FRACTION, weighted=True)


# --------------------------------------------------------------------------------------------------- cross-entropies

CROSS_ENTROPY_GRADIENT = Derivation(
    (
        Step(sp.Derivative(total(lambda k: -y[k] * sp.log(P[k]), l), P[j]), "ℓ = −Σ Y log P"),
        Step(-y[j] / P[j], "of the sum only the term j depends on P_j"),
    ),
    title="∇P of one instance, for every l",
)


def certainties() -> Iterator[tuple[str, Any, Any]]:
    loss = CategoricalCrossEntropy()
    with np.errstate(all="ignore"):
        yield "0 log 0", loss.forward(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))[0], 0.0
        yield "log 0", loss.forward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))[0], inf
        yield "small", loss.forward(np.array([[1.0, 1e-300]]), np.array([[0.0, 1.0]]))[0], -float(np.log(1e-300))


CATEGORICAL = Proposition(
    id="cce",
    title="Categorical cross-entropy",
    statement=r"\ell(i) = -\sum_j Y_{ij} \log P_{ij}, \qquad J = \frac{\sum_i w_i\, \ell(i)}{\sum_i w_i}, \qquad "
    r"\nabla_P J = -\frac{w_i}{\sum w}\, Y \oslash P",
    roles=("forward", "gradient"),
    sources=(NAMED,),
    hypotheses=(SHAPES, Hypothesis(r"$P_{ij} > 0$ wherever $Y_{ij} > 0$", "else ℓ = ∞, as checked below")),
    convention="0 · log 0 = 0, and no P is clipped: P = 0 where Y > 0 costs ∞.",
    derivations=(CROSS_ENTROPY_GRADIENT,),
    evidence=(
        code_values("J, every pattern of zeros in Y", categorical(2, 2), categorical(3)),
        code_gradients("dP, every pattern of zeros in Y", categorical(2, 2), categorical(3)),
        dual_gradients("dP at real sizes", categorical(10, 64, SIMPLEX, SIMPLEX)),
        exactly("E", "forward", "0 · log 0, and log 0", ["0 log 0", "log 0", "small"], certainties),
    ),
)


BOUNDS_STEPS = Derivation(
    (
        Step(total(lambda k: -y[k] * sp.log(1 / sp.Symbol("l", positive=True)), l), "ℓ where every P_j is 1 / l"),
        Step(sp.log(sp.Symbol("l", positive=True)) * total(lambda k: y[k], l), "log l, as Y sums to 1"),
    ),
    title="a network that knows nothing",
    shows="other",
)


def bounds() -> Iterator[tuple[str, Any, Any]]:
    rng = np.random.default_rng(0)
    for l in (2, 3, 10):
        Y = np.eye(l)
        loss = CategoricalCrossEntropy()
        yield "uniform", loss.forward(np.full((l, l), 1 / l), Y)[0], log(l)
        yield "right", loss.forward(Y, Y)[0] + 0.0, 0.0
        P = rng.random((l, l)) + 0.01
        yield "positive", float(loss.forward(P / P.sum(axis=1, keepdims=True), Y)[0] > 0), 1.0


BOUNDS = Proposition(
    id="cce-bounds",
    title="What cross-entropy starts from",
    statement=r"\ell \ge 0, \quad \ell = 0 \iff P = Y \text{ one-hot}, \quad P_j = \tfrac1l \Rightarrow \ell = \ln l",
    roles=("other",),
    sources=(NAMED,),
    hypotheses=(Hypothesis("rows of Y and P on the simplex", "raises DataError for Y (tests/losses/test_targets.py)"),),
    derivations=(BOUNDS_STEPS,),
    prose=(Prose("Each term −Y log P is ≥ 0, as P ≤ 1; it is 0 only where Y = 0 or P = 1."),),
    evidence=(closely("N", "other", "uniform, right and other P", ["uniform", "right", "positive"], bounds),),
)

S = total(lambda k: sp.exp(z[k]), l)
Y_SUM = total(lambda k: y[k], l)
FUSED = Derivation(
    (
        Step(
            sp.Derivative(Y_SUM * sp.log(S) - total(lambda k: y[k] * z[k], l), z[j]),
            "ℓ = (Σ Y) log Σ e^z − Σ Y z, by logsumexp",
        ),
        Step(Y_SUM * sp.exp(z[j]) / S - y[j], "the derivative of log-sum-exp is softmax"),
        Step(sp.exp(z[j]) / S - y[j], "p − y, where the row sums to one and only there", given={Y_SUM: sp.Integer(1)}),
    ),
    title="∇z of one instance, for every l and every Y; and p − y under the hypothesis",
)
ONLY_IF = Derivation(
    (
        Step((Y_SUM * sp.exp(z[j]) / S - y[j]) - (sp.exp(z[j]) / S - y[j]), "the gradient, less p − y"),
        Step((Y_SUM - 1) * sp.exp(z[j]) / S, "a multiple of p_j > 0: 0 if and only if Σ y = 1"),
    ),
    title="how far p − y is off for any other row",
)


def labels() -> Iterator[tuple[str, Any, Any]]:
    """Integer labels cost what their one-hot rows cost, to rounding."""
    Z = np.random.default_rng(0).standard_normal((5, 4))
    y, w = np.array([3, 0, 2, 2, 1]), np.array([1.0, 2.0, 0.5, 4.0, 0.5])
    for loss, outputs in ((CategoricalCrossEntropy(logits=True), Z), (CategoricalCrossEntropy(), np.exp(Z))):
        (J, cache), (expected, rows) = (loss.forward(outputs, Y, w) for Y in (y, np.eye(4)[y]))
        yield "J", J, expected
        yield "dP", loss.backward(cache), loss.backward(rows)


def extremes() -> Iterator[tuple[str, Any, Any]]:
    """Logits whose powers overflow, and a class that is masked."""
    loss = CategoricalCrossEntropy(logits=True)
    with np.errstate(all="ignore"):  # as in a step
        for Z, Y, expected, slopes in (
            ([1e4, 0.0, -1e4], [0.0, 0.0, 1.0], 2e4, [1.0, 0.0, -1.0]),
            ([0.0, -inf], [1.0, 0.0], 0.0, [0.0, 0.0]),
        ):
            J, cache = loss.forward(np.array([Z]), np.array([Y]))
            yield "J", J, expected
            yield "dZ", loss.backward(cache), [slopes]


SOFTMAX_CCE = Proposition(
    id="softmax-cce",
    title="Softmax and cross-entropy in one",
    statement=r"P = \mathrm{softmax}(Z):\quad \nabla_Z J = \frac{w_i}{\sum w} \bigl(\mathrm{diag}(Y 1) P - Y\bigr), "
    r"\quad = \frac{w_i}{\sum w} (P - Y) \text{ iff every row of } Y \text{ sums to 1}",
    roles=("forward", "gradient"),
    sources=(NAMED,),
    hypotheses=(
        SHAPES,
        Hypothesis("$Z$ finite, or −∞ where $Y = 0$", "infinite logits: checked below"),
        Hypothesis(
            r"for $P - Y$: every row of $Y$ sums to 1",
            "raises DataError where data enter (tests/losses/test_targets.py); the code computes the general form",
        ),
    ),
    convention="A class with the logit −∞ and Y = 0 costs nothing and gets no gradient.",
    derivations=(FUSED, ONLY_IF),
    evidence=(
        code_values("J, every order of logits", categorical_of_logits(2, 2), categorical_of_logits(3)),
        code_gradients(
            "dZ, every order of logits, any sum of Y", categorical_of_logits(2, 2), categorical_of_logits(3)
        ),
        dual_gradients("dZ at real sizes", categorical_of_logits(10, 64, SIMPLEX)),
        closely("N", "gradient", "labels and one-hot rows", ["J", "dP"], labels),
        exactly("E", "gradient", "logits of ±10⁴, and −∞", ["J", "dZ"], extremes),
    ),
)

sigma = 1 / (1 + sp.exp(-sp.Symbol("z", real=True)))
LOGISTIC = Derivation(
    (
        Step(
            sp.Derivative(
                -sp.Symbol("y") * sp.log(sigma) - (1 - sp.Symbol("y")) * sp.log(1 - sigma), sp.Symbol("z", real=True)
            ),
            "ℓ of one output, with P = σ(z)",
        ),
        Step(sigma - sp.Symbol("y"), "σ' = σ (1 − σ) cancels both denominators"),
    ),
    title="∇z of one output",
)


def sure() -> Iterator[tuple[str, Any, Any]]:
    """Logits that are sure, right and wrong; probabilities 0 and 1."""
    for loss, one, zero in ((BinaryCrossEntropy(logits=True), inf, -inf), (BinaryCrossEntropy(), 1.0, 0.0)):
        with np.errstate(all="ignore"):
            yield "right", loss.forward(np.array([[one, zero]]), np.array([[1.0, 0.0]]))[0], 0.0
            yield "wrong", loss.forward(np.array([[zero]]), np.array([[1.0]]))[0], inf
    J, cache = BinaryCrossEntropy(logits=True).forward(np.array([[1e3, -1e3]]), np.array([[0.0, 0.0]]))
    yield "large", J, 500.0
    yield "large slopes", BinaryCrossEntropy(logits=True).backward(cache), [[0.5, 0.0]]


BINARY = Proposition(
    id="bce",
    title="Binary cross-entropy",
    statement=r"\ell(i) = -\frac1l \sum_j \bigl(Y_{ij} \log P_{ij} + (1 - Y_{ij}) \log(1 - P_{ij})\bigr), \qquad P = "
    r"\sigma(Z) \Rightarrow \nabla_Z \ell(i) = \frac1l (P - Y)",
    roles=("forward", "gradient"),
    sources=(OUTPUT,),
    hypotheses=(SHAPES, Hypothesis(r"$0 \le Y \le 1$, $0 < P < 1$", "P of 0 and 1: checked below")),
    convention="0 · log 0 = 0; an output that is certain and wrong costs ∞.",
    derivations=(LOGISTIC,),
    evidence=(
        code_values("J of probabilities", binary(2)),
        code_gradients("dP", binary(2), binary(1, 2)),
        code_values("J of logits, either sign", binary(2, logits=True)),
        code_gradients("dZ, either sign", binary(2, logits=True), binary(1, 2, logits=True)),
        dual_gradients("dP and dZ at real sizes", binary(5, 32), binary(5, 32, logits=True)),
        exactly("E", "forward", "certain outputs, large logits", ["right", "wrong", "large", "large slopes"], sure),
    ),
)

CHAPTER = Chapter(
    "Losses of classification",
    "ℓ(i) is the loss of one instance; J is the mean of them, weighted (batch-linearity).",
    (CATEGORICAL, BOUNDS, SOFTMAX_CCE, BINARY),
)
