"""Activations: functions of one number, applied entry by entry."""

from __future__ import annotations

import sympy as sp

from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source

z = sp.Symbol("z", real=True)
E = sp.exp(-z)
sigma = sp.Function("sigma")(z)

KASLIWAL_SIGMOID = Derivation(
    (
        Step(sp.Derivative(sigma, z)),
        Step(sp.Derivative((1 + E) ** -1, z), "by definition"),
        Step(-((1 + E) ** -2) * sp.Derivative(1 + E, z), "the chain rule"),
        Step(sp.Mul(-((1 + E) ** -2), -E, evaluate=False), "the derivative of the exponential"),
        Step(sigma**2 * E, "the definition of σ"),
        Step(sigma**2 * sp.Mul(1 - sigma, 1 / sigma, evaluate=False), "e^(−z) = 1/σ − 1, which divides by σ > 0"),
        Step(sigma * (1 - sigma), "σ cancels"),
    ),
    title="Kasliwal, 3.1.1",
    where={sigma: 1 / (1 + E)},
)

SIGMOID_DERIVATIVE = Proposition(
    id="sigmoid-derivative",
    title="Derivative of the sigmoid",
    statement=r"\frac{\mathrm d\sigma}{\mathrm dz} = \sigma(1 - \sigma), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}",
    roles=("gradient",),
    sources=(Source("Kasliwal", "section 3.1, equations (1) and (2), derived in 3.1.1", "stated"),),
    hypotheses=(Hypothesis(r"$z \in \mathbb R$", "infinite z: tests/layers/test_sigmoid.py"),),
    derivations=(KASLIWAL_SIGMOID,),
)

CHAPTER = Chapter(
    "Activations",
    "Functions of one number, applied to every entry of Z. The Jacobian of such a function is diagonal "
    "(elementwise-differential), so its gradient is an entry by entry product.",
    (SIGMOID_DERIVATIVE,),
)
