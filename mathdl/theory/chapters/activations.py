"""Activations: functions of one number, applied entry by entry."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import sympy as sp

from mathdl.layers import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from mathdl.layers.layer import Layer
from mathdl.theory.chapters.symbols import negative, positive, z
from mathdl.theory.check import Check
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.domains import REAL, SIGNED, Domain
from mathdl.theory.evidence import at_points, code_gradients, code_values, dual_gradients
from mathdl.theory.exact import number_values
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import of_layer


def entry_by_entry(layer: Layer, name: str, *arguments: Any, domain: Domain = SIGNED) -> tuple[Check, ...]:
    """The evidence of an activation: the code's value is the definition `name`, and its gradient the derivative."""

    def definition(d: Any, x: Any) -> Any:
        return [[getattr(d, name)(entry, *arguments) for entry in row] for row in x["A"]]

    small = of_layer(layer, (2,), definition, B=1, domain=domain)
    return (
        code_values(f"{layer!r} is its definition, on symbols", small),
        code_gradients(f"{layer!r} on symbols", small),
        dual_gradients(f"{layer!r} at real sizes", of_layer(layer, (64,), definition, B=32)),
    )


def slope(title: str, where: dict[Any, Any], *lines: tuple[Any, str]) -> Derivation:
    """A derivation of a derivative: (expression, why) line by line."""
    return Derivation(tuple(Step(expression, why) for expression, why in lines), title, where)


REALS = Hypothesis(r"$z \in \mathbb R$", "infinities: the edge checks; a NaN stays a NaN")
KASLIWAL = Source("Kasliwal", "section 3.1, equations (1) and (2), derived in 3.1.1", "stated")
E = sp.exp(-z)
sigma = sp.Function("sigma")(z)
SIGMA = {sigma: 1 / (1 + E)}

SIGMOID_DERIVATIVE = Proposition(
    id="sigmoid-derivative",
    title="The sigmoid and its derivative",
    statement=r"\frac{\mathrm d\sigma}{\mathrm dz} = \sigma(1 - \sigma), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}",
    roles=("forward", "gradient"),
    sources=(KASLIWAL,),
    hypotheses=(REALS,),
    derivations=(
        slope(
            "Kasliwal 3.1.1, line by line",
            SIGMA,
            (sp.Derivative(sigma, z), ""),
            (sp.Derivative((1 + E) ** -1, z), "by definition"),
            (-((1 + E) ** -2) * sp.Derivative(1 + E, z), "the chain rule"),
            (sp.Mul(-((1 + E) ** -2), -E, evaluate=False), "the derivative of the exponential"),
            (sigma**2 * E, "the definition of σ"),
            (
                sp.Mul(sigma**2, sp.Mul(1 - sigma, 1 / sigma, evaluate=False), evaluate=False),
                "e^(−z) = (1 − σ)/σ; σ > 0",
            ),
            (sigma * (1 - sigma), "σ cancels"),
        ),
        slope(
            "the side lemma of 3.1.1", SIGMA, (E, ""), (1 / sigma - 1, "the definition of σ"), ((1 - sigma) / sigma, "")
        ),
    ),
    evidence=entry_by_entry(Sigmoid(), "sigmoid"),
)

SIGMOID_SYMMETRY = Proposition(
    id="sigmoid-symmetry",
    title="The symmetry of the sigmoid, and its stable form",
    statement=r"\sigma(-z) = 1 - \sigma(z), \qquad "
    r"\sigma(z) = \frac{1}{1 + e^{-|z|}} \text{ for } z \ge 0, \quad \frac{e^{-|z|}}{1 + e^{-|z|}} \text{ for } z < 0",
    roles=("other",),
    sources=(Source("mathdl", "stable evaluation is common knowledge", "ours"),),
    hypotheses=(REALS,),
    derivations=(
        Derivation(
            (
                Step(1 / (1 + sp.exp(z))),
                Step(sp.Mul(E, 1 / (1 + E), evaluate=False), "multiply above and below by e^(−z)"),
                Step(1 - sigma, "(1 + e^(−z) − 1)/(1 + e^(−z))"),
            ),
            "symmetry",
            SIGMA,
            "other",
        ),
        Derivation(
            (
                Step(1 / (1 + sp.exp(-negative))),
                Step(sp.exp(-sp.Abs(negative)) / (1 + sp.exp(-sp.Abs(negative))), "for z < 0, |z| = −z"),
            ),
            "the stable form",
            shows="other",
        ),
    ),
    evidence=(
        at_points(
            "no power overflows, and the tails are exact",
            Sigmoid(),
            (0.0, 0.5, 0.25),
            (1000.0, 1.0, 0.0),
            (-1000.0, 0.0, 0.0),
            (inf, 1.0, 0.0),
            (-inf, 0.0, 0.0),
            (nan, nan, nan),
        ),
    ),
)

TANH = Proposition(
    id="tanh",
    title="The hyperbolic tangent",
    statement=r"\tanh' = 1 - \tanh^2, \qquad \tanh z = 2\sigma(2z) - 1",
    roles=("forward", "gradient"),
    sources=(Source("mathdl", "as in any textbook", "ours"),),
    hypotheses=(REALS,),
    derivations=(
        slope(
            "derivative",
            {},
            (sp.Derivative(sp.tanh(z), z), ""),
            (sp.Derivative(sp.sinh(z) / sp.cosh(z), z), "by definition"),
            (1 - sp.sinh(z) ** 2 / sp.cosh(z) ** 2, "the quotient rule"),
            (1 - sp.tanh(z) ** 2, "by definition"),
        ),
        Derivation(
            (Step(sp.tanh(z)), Step((1 - sp.exp(-2 * z)) / (1 + sp.exp(-2 * z))), Step(2 / (1 + sp.exp(-2 * z)) - 1)),
            "by the sigmoid",
            shows="forward",
        ),
    ),
    evidence=(
        *entry_by_entry(Tanh(), "tanh", domain=REAL),
        at_points("its limits", Tanh(), (0.0, 0.0, 1.0), (inf, 1.0, 0.0), (-inf, -1.0, 0.0), (nan, nan, nan)),
    ),
)

RELU = Proposition(
    id="relu",
    title="The rectified linear unit",
    statement=r"\mathrm{ReLU}(z) = \max(z, 0), \qquad \mathrm{ReLU}'(z) = [z > 0] \text{ for } z \ne 0, "
    r"\qquad \partial\,\mathrm{ReLU}(0) = [0, 1]",
    roles=("forward", "gradient"),
    sources=(Source("Jiang", "section 1 (named; the formula is ours)", "headed"),),
    hypotheses=(Hypothesis(r"$z \ne 0$ for the derivative", "the convention, which the edge check owns"),),
    derivations=(
        slope("z > 0", {}, (sp.Derivative(sp.Max(positive, 0), positive), ""), (sp.Integer(1), "max(z, 0) = z")),
        slope("z < 0", {}, (sp.Derivative(sp.Max(negative, 0), negative), ""), (sp.Integer(0), "max(z, 0) = 0")),
    ),
    smooth=False,
    convention="ReLU′(0) = 0, for 0 and −0",
    evidence=(
        *entry_by_entry(ReLU(), "relu"),
        at_points(
            "ReLU′(0) = 0; NaN stays NaN in the value",
            ReLU(),
            (0.0, 0.0, 0.0),
            (-0.0, 0.0, 0.0),
            (5e-324, 5e-324, 1.0),
            (-5e-324, 0.0, 0.0),
            (inf, inf, 1.0),
            (-inf, 0.0, 0.0),
            (nan, nan, 0.0),
        ),
    ),
)

alpha = sp.Symbol("alpha", positive=True)

LEAKY_RELU = Proposition(
    id="leaky-relu",
    title="The leaky rectified linear unit",
    statement=r"\varphi(z) = \max(z, 0) + \alpha \min(z, 0), \qquad \varphi'(z) = [z > 0] + \alpha [z < 0] "
    r"\text{ for } z \ne 0, \qquad \partial\varphi(0) = [\alpha, 1] \text{ for } \alpha \le 1",
    roles=("forward", "gradient"),
    sources=(Source("Maas, Hannun and Ng (2013)", "the function; the proof is ours", "ours"),),
    hypotheses=(
        Hypothesis(r"$\alpha \ge 0$", "raises UsageError (tests/layers/test_leaky_relu.py)"),
        Hypothesis(r"$z \ne 0$ for the derivative", "the convention, which the edge check owns"),
    ),
    derivations=tuple(
        slope(
            f"z {sign} 0",
            {},
            (sp.Derivative(sp.Max(z, 0) + alpha * sp.Min(z, 0), z), ""),
            (derivative, f"of the two terms only the {which} is not 0"),
        )
        for sign, z, derivative, which in ((">", positive, sp.Integer(1), "first"), ("<", negative, alpha, "second"))
    ),
    smooth=False,
    convention="φ′(0) = α, so that α = 0 is ReLU",
    evidence=(
        *entry_by_entry(LeakyReLU(0.25), "leaky_relu", sp.Rational(1, 4)),
        at_points(
            "φ′(0) = α",
            LeakyReLU(0.25),
            (0.0, 0.0, 0.25),
            (-0.0, 0.0, 0.25),
            (inf, inf, 1.0),
            (-inf, -inf, 0.25),
            (nan, nan, 0.25),
        ),
        at_points("α = 0 is ReLU, at −∞ too", LeakyReLU(0.0), (0.0, 0.0, 0.0), (-inf, 0.0, 0.0), (inf, inf, 1.0)),
    ),
)

ELU_PROPOSITION = Proposition(
    id="elu",
    title="The exponential linear unit",
    statement=r"\varphi(z) = z \text{ for } z > 0, \ \alpha(e^z - 1) \text{ for } z \le 0, \qquad "
    r"\varphi'(z) = 1 \text{ for } z > 0, \ \alpha e^z = \varphi(z) + \alpha \text{ for } z < 0; \qquad "
    r"\varphi'(0) \text{ exists} \iff \alpha = 1",
    roles=("forward", "gradient"),
    sources=(Source("Clevert, Unterthiner and Hochreiter (2016)", "the function; the proof is ours", "ours"),),
    hypotheses=(
        Hypothesis(r"$\alpha > 0$", "raises UsageError (tests/layers/test_elu.py)"),
        Hypothesis(r"$z \ne 0$ for the derivative, unless $\alpha = 1$", "the convention, which the edge check owns"),
    ),
    derivations=(
        slope("z > 0", {}, (sp.Derivative(positive, positive), ""), (sp.Integer(1), "")),
        slope(
            "z < 0",
            {},
            (sp.Derivative(alpha * (sp.exp(negative) - 1), negative), ""),
            (alpha * sp.exp(negative), "the derivative of the exponential"),
            (alpha * (sp.exp(negative) - 1) + alpha, "which is φ(z) + α"),
        ),
        slope(
            "the slopes at 0, from below and from above, differ by α − 1",
            {},
            (sp.Limit(alpha * sp.exp(z), z, 0, "-") - 1, ""),
            (alpha - 1, "e^0 = 1"),
        ),
    ),
    smooth=False,
    convention="φ′(0) = α, the slope from below",
    evidence=(
        *entry_by_entry(ELU(), "elu", 1),
        *entry_by_entry(ELU(0.5), "elu", sp.Rational(1, 2)),
        at_points(
            "φ′(0) = α",
            ELU(0.5),
            (0.0, 0.0, 0.5),
            (-0.0, 0.0, 0.5),
            (inf, inf, 1.0),
            (-inf, -0.5, 0.0),
            (nan, nan, nan),
        ),
    ),
)

SOFTPLUS = Proposition(
    id="softplus",
    title="Softplus",
    statement=r"\frac{\mathrm d}{\mathrm dz} \log(1 + e^z) = \sigma(z) = 1 - e^{-\mathrm{softplus}(z)}, \qquad "
    r"\log(1 + e^z) = \max(z, 0) + \log\bigl(1 + e^{-|z|}\bigr)",
    roles=("forward", "gradient"),
    sources=(Source("Dugas and others (2000)", "the function; the proof is ours", "ours"),),
    hypotheses=(REALS,),
    derivations=(
        slope(
            "derivative",
            SIGMA,
            (sp.Derivative(sp.log(1 + sp.exp(z)), z), ""),
            (sp.exp(z) / (1 + sp.exp(z)), "the chain rule"),
            (sigma, "multiply above and below by e^(−z)"),
            (1 - sp.exp(-sp.log(1 + sp.exp(z))), "which is what backward computes from the value"),
        ),
        Derivation(
            (
                Step(sp.exp(sp.Max(positive, 0)) * (1 + sp.exp(-sp.Abs(positive)))),
                Step(1 + sp.exp(positive), "e^z (1 + e^(−z))"),
            ),
            "the stable form, under the logarithm, z > 0",
            shows="forward",
        ),
        Derivation(
            (
                Step(sp.exp(sp.Max(negative, 0)) * (1 + sp.exp(-sp.Abs(negative)))),
                Step(1 + sp.exp(negative), "e^0 (1 + e^z)"),
            ),
            "the stable form, under the logarithm, z < 0",
            shows="forward",
        ),
    ),
    evidence=(
        *entry_by_entry(Softplus(), "softplus"),
        at_points(
            "no power overflows",
            Softplus(),
            (1000.0, 1000.0, 1.0),
            (-1000.0, 0.0, 0.0),
            (inf, inf, 1.0),
            (-inf, 0.0, 0.0),
            (nan, nan, nan),
        ),
    ),
)

SWISH = Proposition(
    id="swish",
    title="The sigmoid linear unit (swish)",
    statement=r"(z\sigma)' = \sigma + z\,\sigma(1 - \sigma) = \sigma\,(1 + z(1 - \sigma))",
    roles=("forward", "gradient"),
    sources=(Source("Elfwing, Uchibe and Doya (2018)", "the function; the proof is ours", "ours"),),
    hypotheses=(REALS,),
    derivations=(
        slope(
            "derivative",
            SIGMA,
            (sp.Derivative(z * sigma, z), ""),
            (sigma + z * sp.Derivative(sigma, z), "the product rule"),
            (sigma + z * sigma * (1 - sigma), "sigmoid-derivative"),
            (sigma * (1 + z * (1 - sigma)), "factor σ"),
        ),
    ),
    evidence=(
        *entry_by_entry(SiLU(), "silu"),
        at_points(
            "at 0 and the infinities", SiLU(), (0.0, 0.0, 0.5), (inf, inf, nan), (-inf, nan, nan), (nan, nan, nan)
        ),
    ),
)

Phi, density = sp.Function("Phi")(z), sp.Symbol(r"{\phi(z)}")
NORMAL = {Phi: (1 + sp.erf(z / sp.sqrt(2))) / 2, density: sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)}

ERF = of_layer(GELU(), (500,), lambda d, x: [[d.gelu(z) for z in row] for row in x["A"]])
"""GELU at many numbers: here erf is the library's rational approximation."""

GELU_PROPOSITION = Proposition(
    id="gelu",
    title="The Gaussian error linear unit, exact",
    statement=r"(z\Phi)' = \Phi + z\phi, \qquad \Phi(z) = \tfrac12\bigl(1 + \mathrm{erf}(z/\sqrt2)\bigr), "
    r"\quad \phi(z) = e^{-z^2/2}/\sqrt{2\pi}",
    roles=("forward", "gradient"),
    sources=(Source("Hendrycks and Gimpel (2016)", "the function; the proof is ours", "ours"),),
    hypotheses=(
        REALS,
        Hypothesis(
            "erf is erf: on symbols the library's rational approximation is replaced by erf itself",
            "tests/test_functions.py bounds the approximation by 2 units in the last place",
        ),
    ),
    derivations=(
        slope(
            "derivative",
            NORMAL,
            (sp.Derivative(z * Phi, z), ""),
            (Phi + z * sp.Derivative(Phi, z), "the product rule"),
            (Phi + z * density, "erf′(x) = 2/√π e^(−x²), with x = z/√2"),
        ),
    ),
    evidence=(
        *entry_by_entry(GELU(), "gelu", domain=REAL),
        number_values("GELU() is its definition, with the library's erf", ERF),
    ),
)

CHAPTER = Chapter(
    "Activations",
    "Functions of one number, applied to every entry of Z; so the gradient is G ∘ φ′(Z) (elementwise-differential). "
    "Where a function has no derivative, the convention says which number is taken, and an edge check owns it.",
    (SIGMOID_DERIVATIVE, SIGMOID_SYMMETRY, TANH, RELU, LEAKY_RELU, ELU_PROPOSITION, SOFTPLUS, SWISH, GELU_PROPOSITION),
)
