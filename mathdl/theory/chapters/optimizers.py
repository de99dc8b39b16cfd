"""Optimizers: how θ follows its gradient. Each is the recursion of its source, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from mathdl.arrays import Device, namespace
from mathdl.layers import Dense
from mathdl.network import Network
from mathdl.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from mathdl.theory import definitions
from mathdl.theory.check import Check
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import POSITIVE
from mathdl.theory.evidence import code_values
from mathdl.theory.exact import closely, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject
from mathdl.training.trainer import Trainer

JIANG = Source("Jiang", "section 1, the optimizer is named", "headed")
POLYAK = Source("Polyak, Some methods of speeding up the convergence of iteration methods (1964)", "", "ours")
NESTEROV_SOURCE = Source("Sutskever and others, On the importance of initialization and momentum (2013)", "", "ours")
KINGMA = Source("Kingma and Ba, Adam (2015)", "algorithm 1, section 3", "ours")
LOSHCHILOV = Source("Loshchilov and Hutter, Decoupled weight decay regularization (2019)", "algorithm 2", "ours")
HINTON = Source("Tieleman and Hinton, Lecture 6.5, RMSprop (2012)", "", "ours")
PASCANU = Source(
    "Pascanu, Mikolov and Bengio, On the difficulty of training recurrent networks (2013)", "algorithm 1", "ours"
)

i = sp.Dummy("i", integer=True, positive=True)
t = sp.Symbol("t", integer=True, positive=True)
g, w = sp.IndexedBase("g", real=True), sp.IndexedBase("w", real=True)
eta, mu, lam, epsilon = sp.symbols("eta mu lambda epsilon", positive=True)
beta, beta1, beta2 = sp.symbols("beta beta_1 beta_2", positive=True)
theta, G, M, V = sp.symbols("theta G M V", real=True)

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
