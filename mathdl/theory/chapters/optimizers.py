"""Optimizers: how θ follows its gradient. Each is the recursion of its source, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from mathdl.arrays import Device, namespace
from mathdl.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from mathdl.theory import definitions
from mathdl.theory.check import Check, Refused
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import POSITIVE
from mathdl.theory.evidence import code_values
from mathdl.theory.exact import closely
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject

JIANG = Source("Jiang", "section 1, the optimizer is named", "headed")
POLYAK = Source("Polyak, Some methods of speeding up the convergence of iteration methods (1964)", "", "ours")
NESTEROV_SOURCE = Source("Sutskever and others, On the importance of initialization and momentum (2013)", "", "ours")
KINGMA = Source("Kingma and Ba, Adam (2015)", "algorithm 1, section 3", "ours")
LOSHCHILOV = Source("Loshchilov and Hutter, Decoupled weight decay regularization (2019)", "algorithm 2", "ours")
HINTON = Source("Tieleman and Hinton, Lecture 6.5, RMSprop (2012)", "", "ours")

i = sp.Dummy("i", integer=True, positive=True)
t = sp.Symbol("t", integer=True, positive=True)
g, M = sp.IndexedBase("g", real=True), sp.Symbol("M", real=True)
eta, mu, beta, epsilon = sp.symbols("eta mu beta epsilon", positive=True)

HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
Rule = Callable[[Any, Mapping[str, Any]], tuple[Any, ...]]
"""(the module `definitions`, the inputs) → θ, and the slots after it, as lists."""


def step(optimizer: Optimizer, coefficients: int, rule: Rule) -> Subject:
    """One update of two weights: inputs θ, G, the slots, and the coefficients c. Its value: θ, then the slots."""

    def forward(place: Device, inputs: Mapping[str, Any]) -> tuple[Any, None]:
        xp = namespace(inputs["theta"])
        own = {name: xp.astype(inputs[name], inputs[name].dtype, copy=True) for name in ("theta", *optimizer.slots)}
        theta = own.pop("theta")
        optimizer.update(theta, inputs["G"], own, inputs["c"], True)
        return xp.concat([theta, *own.values()]), None

    def definition(definitions: Any, x: Mapping[str, Any]) -> list[Any]:
        return [entry for vector in rule(definitions, x)[: 1 + len(optimizer.slots)] for entry in vector]

    shapes = dict.fromkeys(("theta", "G", *optimizer.slots), (2,)) | {"c": (coefficients,)}
    domains = dict.fromkeys(("V", "S", "c"), POSITIVE)
    return Subject(repr(optimizer), shapes, forward, lambda dA, cache: {}, definition, domains)


def sgd(momentum: Fraction = Fraction(0), nesterov: bool = False, decay: Fraction = Fraction(0)) -> Subject:
    """SGD beside its definition."""

    def rule(definitions: Any, x: Mapping[str, Any]) -> tuple[Any, ...]:
        v = x.get("V", [0, 0])
        found: tuple[Any, ...] = definitions.sgd_step(x["theta"], x["G"], v, x["c"][0], momentum, nesterov, decay)
        return found

    return step(SGD(momentum=float(momentum), nesterov=nesterov, weight_decay=float(decay)), 1, rule)


def adam(decoupled: bool = False, decay: Fraction = Fraction(0)) -> Subject:
    """One step of Adam or AdamW, with the corrections a = η / (1 − β₁ᵗ) and b = 1 / √(1 − β₂ᵗ) left open."""

    def rule(definitions: Any, x: Mapping[str, Any]) -> tuple[Any, ...]:
        rate, a, b = x["c"]
        after = []
        for j in range(2):
            gradient = x["G"][j] + (0 if decoupled else decay * x["theta"][j])
            m, v = HALF * x["M"][j] + HALF * gradient, 3 * QUARTER * x["V"][j] + QUARTER * gradient**2
            shrunk = x["theta"][j] - (rate * decay * x["theta"][j] if decoupled else 0)
            after.append((shrunk - a * m / (b * definitions.math.sqrt(v) + HALF), m, v))
        return tuple(zip(*after, strict=True))

    kind = AdamW if decoupled else Adam
    return step(kind(beta1=0.5, beta2=0.75, epsilon=0.5, weight_decay=float(decay)), 3, rule)


def rmsprop(momentum: Fraction = Fraction(0), decay: Fraction = Fraction(0)) -> Subject:
    """RMSprop beside its definition."""

    def rule(definitions: Any, x: Mapping[str, Any]) -> tuple[Any, ...]:
        v = x.get("V", [0, 0])
        numbers = x["c"][0], 3 * QUARTER, momentum, HALF, decay
        found: tuple[Any, ...] = definitions.rmsprop_step(x["theta"], x["G"], x["S"], v, *numbers)
        return found

    return step(RMSprop(rho=0.75, momentum=float(momentum), epsilon=0.5, weight_decay=float(decay)), 1, rule)


def follows(says: str, optimizer: Optimizer, rule: Callable[..., tuple[Any, ...]]) -> Check:
    """N: ten steps on numbers, with the coefficients of each step, are those of the definition."""

    def steps() -> Iterator[tuple[str, Any, Any]]:
        rng = np.random.default_rng(0)
        theta = rng.standard_normal(5)
        slots = {name: np.zeros(5) for name in optimizer.slots}
        expected, state = theta.tolist(), [np.zeros(5).tolist() for _ in optimizer.slots]
        for number in range(1, 11):
            G, rate = rng.standard_normal(5), 0.1 / number
            optimizer.update(theta, G, slots, np.array(optimizer.coefficients(number, rate)), True)
            expected, *state = rule(expected, G.tolist(), state, number, rate)
            yield "θ", theta, expected

    return closely("N", "other", says, ["θ"], steps)


# ------------------------------------------------------------------------------------------ gradient descent, momentum


def sgd_rule(momentum: float, nesterov: bool = False) -> Callable[..., tuple[Any, ...]]:
    def rule(theta: Any, G: Any, state: Any, number: int, rate: float) -> tuple[Any, ...]:
        v = state[0] if state else [0.0] * len(theta)
        found: tuple[Any, ...] = definitions.sgd_step(theta, G, v, rate, momentum, nesterov)
        return found[: 1 + len(state)]

    return rule


SGD_STEP = Proposition(
    id="sgd",
    title="Stochastic gradient descent",
    statement=r"\theta \leftarrow \theta - \eta\, G",
    roles=("forward",),
    sources=(JIANG,),
    hypotheses=(Hypothesis(r"$\eta \ge 0$", "raises UsageError (tests/test_schedules.py)"),),
    evidence=(
        code_values("one step", sgd()),
        follows("ten steps", SGD(), sgd_rule(0.0)),
    ),
)


def descends(says: str, smoothness: float) -> Check:
    """N: the bound on a least-squares cost after one shipped step; `smoothness` is L as a part of the right one.

    The cost is ½ ‖Xθ − y‖² / n, whose gradient is Lipschitz with the largest eigenvalue of XᵀX / n, and no less.
    """

    def bound(part: float) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            X, y, n = rng.standard_normal((8, 3)), rng.standard_normal(8), 8
            eigenvalues, directions = np.linalg.eigh(X.T @ X / n)
            L = part * float(eigenvalues[-1])
            best = np.linalg.lstsq(X, y, rcond=None)[0]
            for start in (rng.standard_normal(3), best + directions[:, -1]):
                for rate in (0.1 / eigenvalues[-1], 1 / eigenvalues[-1], 1.9 / eigenvalues[-1]):
                    G = X.T @ (X @ start - y) / n
                    theta, before = start.copy(), float(np.sum((X @ start - y) ** 2)) / (2 * n)
                    SGD().update(theta, G, {}, np.array([rate]), False)
                    after = float(np.sum((X @ theta - y) ** 2)) / (2 * n)
                    allowed = before - rate * (1 - L * rate / 2) * float(G @ G)
                    if after > allowed + 1e-12 * (1 + abs(before)):
                        raise Refused(says, f"at most {allowed}", after)

    return Check("N", "other", says, lambda: bound(smoothness), lambda: bound(0.9 * smoothness))


x, L, q = sp.symbols("x L q", real=True)
ALONG = Derivation(
    (
        Step(
            -eta * q + sp.Integral(L * x * eta**2 * q, (x, 0, 1)),
            "an upper bound of f(θ − η∇f) − f(θ), by the step in prose",
        ),
        Step(-eta * (1 - L * eta / 2) * q, "the integral of x from 0 to 1 is ½"),
    ),
    title="the largest change along the segment, with q = ‖∇f‖²",
    shows="other",
)
DESCENT = Proposition(
    id="descent-lemma",
    title="The descent lemma",
    statement=r"f(\theta - \eta \nabla f) \le f(\theta) - \eta \Bigl(1 - \tfrac{L\eta}{2}\Bigr) \|\nabla f\|^2",
    roles=("other",),
    sources=(Source("Nesterov, Introductory lectures on convex optimization (2004)", "section 1.2.3", "ours"),),
    hypotheses=(
        Hypothesis(r"$\nabla f$ is Lipschitz with $L$ on the segment; a network with ReLU has no such $L$", "prose"),
        Hypothesis(r"$\eta > 0$", "prose"),
    ),
    derivations=(ALONG,),
    prose=(
        Prose(
            r"$f(\theta - \eta\nabla f) - f(\theta)$ is the integral of "
            r"$-\eta \langle \nabla f(\theta - x\eta\nabla f), \nabla f \rangle$ over $x$ from 0 to 1, "
            r"and that gradient is at most $L x \eta \|\nabla f\|$ from $\nabla f$."
        ),
    ),
    evidence=(descends("a step of SGD on least squares goes down as far as that, and no further", 1.0),),
)

MOMENTUM_SUM = Derivation(
    (
        Step(mu * sp.Sum(mu ** (t - 1 - i) * g[i], (i, 1, t - 1)) + g[t], "V ← μ V + G, of the sum up to t − 1"),
        Step(sp.Sum(mu ** (t - i) * g[i], (i, 1, t - 1)) + g[t], "the sum up to t, its last term by itself"),
    ),
    title="V is a sum of all gradients, the older the less",
    shows="other",
)
MOMENTUM = Proposition(
    id="momentum",
    title="Momentum",
    statement=r"V \leftarrow \mu V + G, \quad \theta \leftarrow \theta - \eta V, \qquad V_t = \sum_{i=1}^{t} \mu^{t-i} "
    r"G_i \text{ from } V_0 = 0",
    roles=("forward",),
    sources=(POLYAK,),
    hypotheses=(Hypothesis(r"$0 \le \mu < 1$", "raises UsageError (tests/test_optimizers.py)"),),
    derivations=(MOMENTUM_SUM,),
    prose=(Prose(r"By induction over $t$: $V_1 = G_1$, and the step is shown above."),),
    evidence=(
        code_values("one step", sgd(HALF)),
        follows("ten steps", SGD(momentum=0.9), sgd_rule(0.9)),
    ),
)

NESTEROV = Proposition(
    id="nesterov",
    title="Nesterov's momentum",
    statement=r"V \leftarrow \mu V + G, \quad \theta \leftarrow \theta - \eta\,(G + \mu V)",
    roles=("forward",),
    sources=(NESTEROV_SOURCE,),
    hypotheses=(Hypothesis(r"$0 < \mu < 1$", "raises UsageError (tests/test_optimizers.py)"),),
    evidence=(
        code_values("one step", sgd(HALF, nesterov=True)),
        follows("ten steps", SGD(momentum=0.9, nesterov=True), sgd_rule(0.9, True)),
    ),
)


# ------------------------------------------------------------------------------------------------- Adam and RMSprop

STATIONARY = Hypothesis(r"for the corrections: all $G_i$ have the same mean, and all $G_i^2$", "prose")
WEIGHTS = Derivation(
    (
        Step(beta * (1 - beta ** (t - 1)) + (1 - beta), "the weights of a running mean, from those of step t − 1"),
        Step(1 - beta**t, "so their sum is 1 − βᵗ and not 1: the mean starts at 0"),
    ),
    title="the sum of the weights (1 − β) βᵗ⁻ⁱ",
    shows="other",
)
c1, c2 = sp.symbols("c_1 c_2", positive=True)
square = sp.Symbol("V", nonnegative=True)
CORRECTED = Derivation(
    (
        Step(eta * (M / c1) / (sp.sqrt(square / c2) + epsilon), "both means over the sums of their weights"),
        Step((eta / c1) * M / (sp.sqrt(square) / sp.sqrt(c2) + epsilon), "as the code has it: a M / (b √V + ε)"),
    ),
    title="two numbers correct both means, c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ",
    shows="other",
)


def adam_rule(definition: Any, decay: float) -> Callable[..., tuple[Any, ...]]:
    def rule(theta: Any, G: Any, state: Any, number: int, rate: float) -> tuple[Any, ...]:
        found: tuple[Any, ...] = definition(theta, G, *state, number, rate, 0.9, 0.99, 1e-8, decay)
        return found

    return rule


def coefficients() -> Iterator[tuple[str, Any, Any]]:
    """η / (1 − β₁ᵗ) and 1 / √(1 − β₂ᵗ), from thirty digits."""
    for kind in (Adam, AdamW):
        for number in (1, 2, 3, 10, 1000):
            exact = [1 - sp.Rational(0.75) ** number, 1 - sp.Rational(0.5) ** number]
            expected = [0.5, float(sp.N(0.5 / exact[0], 30)), float(sp.N(1 / sp.sqrt(exact[1]), 30))]
            yield "η, a, b", kind(beta1=0.75, beta2=0.5).coefficients(number, 0.5), expected


ADAM = Proposition(
    id="adam",
    title="Adam",
    statement=r"M \leftarrow \beta_1 M + (1 - \beta_1) G, \quad V \leftarrow \beta_2 V + (1 - \beta_2) G^2, \quad "
    r"\theta \leftarrow \theta - \eta\, \frac{M / (1 - \beta_1^t)}{\sqrt{V / (1 - \beta_2^t)} + \varepsilon}",
    roles=("forward",),
    sources=(KINGMA,),
    hypotheses=(
        Hypothesis(r"$0 \le \beta_1, \beta_2 < 1$, $\varepsilon > 0$", "raises UsageError (tests/test_optimizers.py)"),
        STATIONARY,
    ),
    derivations=(WEIGHTS, CORRECTED),
    prose=(
        Prose(r"By induction over $t$, from $\mathbb E M_0 = 0$: $\mathbb E M_t = (1 - \beta_1^t)\, \mathbb E G$."),
    ),
    evidence=(
        code_values("one step", adam()),
        closely("N", "other", "the coefficients of a step", ["η, a, b"], coefficients),
        follows("ten steps", Adam(beta2=0.99), adam_rule(definitions.adam_step, 0.0)),
    ),
)

ADAMW = Proposition(
    id="adamw",
    title="AdamW",
    statement=r"\theta \leftarrow \theta - \eta \lambda \theta - \eta\, \frac{M / (1 - \beta_1^t)}{\sqrt{V / (1 - "
    r"\beta_2^t)} + \varepsilon}, \quad M, V \text{ as in Adam, of } G \text{ without } \lambda\theta",
    roles=("forward",),
    sources=(LOSHCHILOV,),
    hypotheses=(Hypothesis(r"$\lambda \ge 0$", "raises UsageError (tests/test_optimizers.py)"), STATIONARY),
    derivations=(WEIGHTS, CORRECTED),
    evidence=(
        code_values("one step", adam(decoupled=True, decay=QUARTER)),
        follows("ten steps", AdamW(beta2=0.99, weight_decay=0.1), adam_rule(definitions.adamw_step, 0.1)),
    ),
)


def rmsprop_rule(theta: Any, G: Any, state: Any, number: int, rate: float) -> tuple[Any, ...]:
    s, v = state
    found: tuple[Any, ...] = definitions.rmsprop_step(theta, G, s, v, rate, 0.9, 0.5, 1e-7)
    return found


RMSPROP = Proposition(
    id="rmsprop",
    title="RMSprop",
    statement=r"S \leftarrow \rho S + (1 - \rho) G^2, \quad V \leftarrow \mu V + \frac{G}{\sqrt S + \varepsilon}, "
    r"\quad \theta \leftarrow \theta - \eta V",
    roles=("forward",),
    sources=(HINTON,),
    hypotheses=(
        Hypothesis(r"$0 \le \rho, \mu < 1$, $\varepsilon > 0$", "raises UsageError (tests/test_optimizers.py)"),
    ),
    evidence=(
        code_values("one step", rmsprop()),
        code_values("one step with momentum", rmsprop(HALF)),
        follows("ten steps", RMSprop(momentum=0.5), rmsprop_rule),
    ),
)

CHAPTER = Chapter(
    "Optimizers",
    "θ is one flat vector; an update is the same for every entry, so it may be cut anywhere.",
    (SGD_STEP, DESCENT, MOMENTUM, NESTEROV, ADAM, ADAMW, RMSPROP),
)
