"""Losses: what an output costs, and how fast the cost grows with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from math import inf, log
from typing import Any

import numpy as np
import sympy as sp

from mathdl.arrays import Device, Shape
from mathdl.losses import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
)
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import FRACTION, NON_NEGATIVE, ORDERED, POSITIVE, REAL, SIGNED, SIMPLEX, Domain, each, symbol
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.exact import closely, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_loss
from mathdl.theory.sums import total

NAMED = Source("Jiang", "section 1, the loss is named; section 4, one-hot labels", "headed")
REGRESSION = Source("Jiang", "section 1, regression is named", "ours")
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


def regression(loss: Loss, name: str, d: int, B: int = 1, domain: Domain = REAL, targets: Domain = REAL) -> Subject:
    """A loss of regression."""

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        return getattr(definitions, name)(x["P"], x["Y"])

    return of_loss(loss, d, definition, B, domain, targets)


def off_target(loss: Loss, name: str, domain: Domain, **options: Any) -> Subject:
    """A loss as a function of D = P − Y, whose size is known: inputs "D" and "Y"."""

    def forward(place: Device, x: Mapping[str, Any]) -> Any:
        return loss.forward(x["Y"] + x["D"], x["Y"])

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        P = [[d + y for d, y in zip(*rows, strict=True)] for rows in zip(x["D"], x["Y"], strict=True)]
        return getattr(definitions, name)(P, x["Y"], **options)

    def backward(dJ: Any, cache: Any) -> dict[str, Any]:
        return {"D": loss.backward(cache)}

    return Subject(f"{loss!r}", dict.fromkeys("DY", (1, 2)), forward, backward, definition, {"D": domain}, is_cost=True)


def around(delta: sp.Rational) -> Domain:
    """Numbers in ±(0, δ) and beyond ±δ, every pattern."""

    def symbols(name: str, shape: Shape) -> Iterator[np.ndarray]:
        def entry(place: tuple[int, ...], kind: int) -> sp.Expr:
            t = symbol(name, place, positive=True)
            return (1 if kind % 2 else -1) * (delta + t if kind < 2 else delta / (1 + t))

        def chosen(kinds: Mapping[tuple[int, ...], int], place: tuple[int, ...]) -> sp.Expr:
            return entry(place, kinds[place])

        for kinds in product(range(4), repeat=int(np.prod(shape))):
            pattern = dict(zip(np.ndindex(*shape), kinds, strict=True))
            yield each(shape, partial(chosen, pattern))

    return Domain("numbers within and beyond ±δ", symbols, lambda rng, shape: 3 * rng.standard_normal(shape))


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
FUSED = Derivation(
    (
        Step(
            sp.Derivative(total(lambda k: y[k], l) * sp.log(S) - total(lambda k: y[k] * z[k], l), z[j]),
            "ℓ = (Σ Y) log Σ e^z − Σ Y z, by logsumexp",
        ),
        Step(total(lambda k: y[k], l) * sp.exp(z[j]) / S - y[j], "the derivative of log-sum-exp is softmax"),
    ),
    title="∇z of one instance, for every l and every Y",
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
    hypotheses=(SHAPES, Hypothesis("$Z$ finite, or −∞ where $Y = 0$", "infinite logits: checked below")),
    convention="A class with the logit −∞ and Y = 0 costs nothing and gets no gradient.",
    derivations=(FUSED,),
    evidence=(
        code_values("J, every order of logits", categorical_of_logits(2), categorical_of_logits(3)),
        code_gradients("dZ, every order of logits, any sum of Y", categorical_of_logits(2), categorical_of_logits(3)),
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
        code_gradients("dP", binary(2)),
        code_values("J of logits, either sign", binary(2, logits=True)),
        code_gradients("dZ, either sign", binary(2, logits=True)),
        dual_gradients("dP and dZ at real sizes", binary(5, 32), binary(5, 32, logits=True)),
        exactly("E", "forward", "certain outputs, large logits", ["right", "wrong", "large", "large slopes"], sure),
    ),
)

# ---------------------------------------------------------------------------------------------------------- regression

d = sp.Symbol("d", positive=True)
SQUARES = Derivation(
    (
        Step(sp.Derivative(total(lambda k: (P[k] - y[k]) ** 2, l) / d, P[j]), "the mean of d squares"),
        Step(2 * (P[j] - y[j]) / d, "no factor ½: the 2 stays"),
    ),
    title="∇P of one instance, for every d",
)
SQUARED = Proposition(
    id="mse",
    title="Mean squared error",
    statement=r"\ell(i) = \frac1d \sum_j (P_{ij} - Y_{ij})^2, \qquad \nabla_P \ell(i) = \frac2d (P - Y)",
    roles=("forward", "gradient"),
    sources=(REGRESSION,),
    hypotheses=(SHAPES,),
    convention="The mean is over instances and outputs, without a factor ½.",
    derivations=(SQUARES,),
    evidence=(
        code_values("J", regression(MeanSquaredError(), "mean_squared_error", 3, 2)),
        code_gradients("dP", regression(MeanSquaredError(), "mean_squared_error", 3, 2)),
        dual_gradients("dP at real sizes", regression(MeanSquaredError(), "mean_squared_error", 7, 32)),
        integer_values("J, exactly", [regression(MeanSquaredError(), "mean_squared_error", d, 2) for d in (1, 2, 4)]),
        integer_gradients("dP, exactly", [regression(MeanSquaredError(), "mean_squared_error", d, 2) for d in (1, 2)]),
    ),
)


def at_zero() -> Iterator[tuple[str, Any, Any]]:
    loss = MeanAbsoluteError()
    J, cache = loss.forward(np.array([[2.0, 3.0]]), np.array([[2.0, 5.0]]))
    yield "J", J, 1.0
    yield "dP", loss.backward(cache), [[0.0, -0.5]]


ABSOLUTE = Proposition(
    id="mae",
    title="Mean absolute error",
    statement=r"\ell(i) = \frac1d \sum_j |P_{ij} - Y_{ij}|, \qquad \nabla_P \ell(i) = \frac1d "
    r"\operatorname{sign}(P - Y)",
    roles=("forward", "gradient"),
    sources=(REGRESSION,),
    hypotheses=(SHAPES, Hypothesis(r"the gradient: $P_{ij} \ne Y_{ij}$", "prose; at 0 there is a convention")),
    without_generic="|·| has no derivative without a sign; every sign of every entry is tried on symbols instead",
    smooth=False,
    convention="The slope at P = Y is 0.",
    evidence=(
        code_values("J, every sign of P − Y", off_target(MeanAbsoluteError(), "mean_absolute_error", SIGNED)),
        code_gradients("dP, every sign of P − Y", off_target(MeanAbsoluteError(), "mean_absolute_error", SIGNED)),
        dual_gradients("dP at real sizes", regression(MeanAbsoluteError(), "mean_absolute_error", 7, 32)),
        integer_values("J, exactly", [regression(MeanAbsoluteError(), "mean_absolute_error", d, 2) for d in (1, 2)]),
        exactly("E", "gradient", "a difference of 0", ["J", "dP"], at_zero),
    ),
)

DELTA = sp.Rational(3, 2)


def corners() -> Iterator[tuple[str, Any, Any]]:
    """At ±δ both branches give the same value and the same slope."""
    loss = Huber(1.5)
    J, cache = loss.forward(np.array([[1.5, -1.5, 0.0, 4.0]]), np.zeros((1, 4)))
    yield "J", J, (1.125 + 1.125 + 0.0 + 1.5 * (4.0 - 0.75)) / 4
    yield "dP", loss.backward(cache), np.array([[1.5, -1.5, 0.0, 1.5]]) / 4


HUBER = Proposition(
    id="huber",
    title="Huber's loss",
    statement=r"\ell(i) = \frac1d \sum_j h(P_{ij} - Y_{ij}),\quad h(r) = \begin{cases} r^2/2 & |r| \le \delta \\ "
    r"\delta(|r| - \delta/2) & |r| > \delta \end{cases}, \qquad h'(r) = \min(\max(r, -\delta), \delta)",
    roles=("forward", "gradient"),
    sources=(Source("Huber, Robust estimation of a location parameter (1964)", "", "ours"),),
    hypotheses=(SHAPES, Hypothesis(r"$\delta > 0$", "raises UsageError (tests/losses/test_huber.py)")),
    without_generic="h is given by cases; every case of every entry is tried on symbols instead",
    convention="h is once continuously differentiable: at ±δ both cases agree.",
    evidence=(
        code_values("J, every case", off_target(Huber(1.5), "huber", around(DELTA), delta=DELTA)),
        code_gradients("dP, every case", off_target(Huber(1.5), "huber", around(DELTA), delta=DELTA)),
        dual_gradients("dP at real sizes", off_target(Huber(1.5), "huber", around(DELTA), delta=DELTA)),
        exactly("E", "gradient", "at 0 and ±δ", ["J", "dP"], corners),
    ),
)

rate = sp.Symbol("P", positive=True)
COUNTS = Derivation(
    (
        Step(sp.Derivative(rate - sp.Symbol("Y") * sp.log(rate), rate), "minus the log-likelihood of a count Y"),
        Step(1 - sp.Symbol("Y") / rate, "it is 0 where the rate is the count"),
    ),
    title="∇P of one output",
)


def no_counts() -> Iterator[tuple[str, Any, Any]]:
    loss = Poisson()
    J, cache = loss.forward(np.array([[0.0, 2.0]]), np.array([[0.0, 0.0]]))
    yield "J", J, 1.0
    yield "dP", loss.backward(cache), [[0.5, 0.5]]
    with np.errstate(all="ignore"):
        yield "J", loss.forward(np.array([[0.0]]), np.array([[1.0]]))[0], inf


COUNTED = Proposition(
    id="poisson",
    title="Poisson loss",
    statement=r"\ell(i) = \frac1d \sum_j (P_{ij} - Y_{ij} \log P_{ij}), \qquad \nabla_P \ell(i) = "
    r"\frac1d (1 - Y \oslash P)",
    roles=("forward", "gradient"),
    sources=(REGRESSION,),
    hypotheses=(SHAPES, Hypothesis(r"$P > 0$ where $Y > 0$", "else ℓ = ∞, as checked below")),
    convention="0 · log 0 = 0; P = 0 where Y > 0 costs ∞.",
    derivations=(COUNTS,),
    evidence=(
        code_values("J, every pattern of zeros in Y", regression(Poisson(), "poisson", 2, 1, POSITIVE, NON_NEGATIVE)),
        code_gradients("dP, every pattern of zeros", regression(Poisson(), "poisson", 2, 1, POSITIVE, NON_NEGATIVE)),
        dual_gradients("dP at real sizes", regression(Poisson(), "poisson", 7, 32, POSITIVE, NON_NEGATIVE)),
        exactly("E", "forward", "counts of 0, and a rate of 0", ["J", "dP"], no_counts),
    ),
)

CHAPTER = Chapter(
    "Losses",
    "ℓ(i) is the loss of one instance; J is the mean of them, weighted (batch-linearity).",
    (CATEGORICAL, BOUNDS, SOFTMAX_CCE, BINARY, SQUARED, ABSOLUTE, HUBER, COUNTED),
)
