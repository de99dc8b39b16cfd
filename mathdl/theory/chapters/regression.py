"""Losses of regression: what a difference costs, and how fast the cost grows with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from math import inf
from typing import Any

import numpy as np
import sympy as sp

from mathdl.arrays import Device, Shape
from mathdl.losses import Huber, Loss, MeanAbsoluteError, MeanSquaredError, Poisson
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.domains import NON_NEGATIVE, POSITIVE, REAL, SIGNED, Domain, each, symbol
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.exact import exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_loss
from mathdl.theory.sums import total

REGRESSION = Source("Jiang", "section 1, regression is named", "ours")

j = sp.Symbol("j", integer=True, positive=True)
l = j + sp.Symbol("r", integer=True, nonnegative=True)
y, P = sp.IndexedBase("Y", real=True), sp.IndexedBase("P", real=True)
SHAPES = Hypothesis(r"$P, Y$ of one shape $(B, d)$", "raises ShapeError (tests/losses)")


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
    "Losses of regression",
    "Each is the mean over the d outputs of an instance.",
    (SQUARED, ABSOLUTE, HUBER, COUNTED),
)
