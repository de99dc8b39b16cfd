"""Initializers: the variance of the weights, from what it does to the variance of the signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy as sp

from mathdl import layers, random
from mathdl.initializers import INITIALIZERS, orthogonal
from mathdl.theory import definitions
from mathdl.theory.check import Check
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.exact import closely, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source

GLOROT = Source(
    "Glorot and Bengio, Understanding the difficulty of training deep networks (2010)", "equations 12, 16", "ours"
)
HE = Source("He, Zhang, Ren and Sun, Delving deep into rectifiers (2015)", "section 2.2, equation 10", "ours")
LECUN = Source("LeCun, Bottou, Orr and Müller, Efficient BackProp (1998)", "section 4.6", "ours")
SAXE = Source("Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics (2014)", "section 3", "ours")

KEY = random.fold(0, "weights", 1)
FANS = ((3, 5), (64, 10), (27, 288))

# ----------------------------------------------------------------------------------------------- variances of products

z, w = sp.symbols("z w", real=True)
s, limit, n_in, n_out, V, weight, other = sp.symbols("s a n_in n_out V v v'", positive=True)

HALF_PLANE = Derivation(
    (
        Step(
            sp.Integral(z**2 * sp.exp(-(z**2) / (2 * s**2)) / (sp.sqrt(2 * sp.pi) * s), (z, 0, sp.oo)),
            "E ReLU(z)² for z normal with mean 0 and variance s²",
        ),
        Step(s**2 / 2, "half of E z²: ReLU keeps half of the line"),
    ),
    title="what ReLU leaves of the variance",
    shows="other",
)
KEEPS = Derivation(
    (
        Step(n_in * weight * (V / 2), "Var Σ w a = n_in · Var w · E a², and E a² = V / 2"),
        Step(V, "with v = 2 / n_in the variance is that of the layer before"),
    ),
    title="Var w = v = 2 / n_in",
    where={weight: 2 / n_in},
    shows="other",
)
UNIFORM = Derivation(
    (
        Step(sp.Integral(w**2 / (2 * limit), (w, -limit, limit)), "Var w for w uniform on (−a, a)"),
        Step(limit**2 / 3, "so a = √(3 Var w)"),
    ),
    title="a uniform distribution of that variance",
    shows="other",
)
BOTH_WAYS = Derivation(
    (
        Step(2 / (1 / weight + 1 / other), "between what forward asks for, v = 1 / n_in, and backward, v' = 1 / n_out"),
        Step(2 / (n_in + n_out), "their harmonic mean: 1 over the mean of the fans"),
    ),
    title="Var w = 2 / (n_in + n_out)",
    where={weight: 1 / n_in, other: 1 / n_out},
    shows="other",
)


def scaled(names: tuple[str, str], deviation: Callable[..., float], most: Callable[..., float]) -> Check:
    """The weights are the standard normal and uniform numbers of the key, times what the definition says."""
    normal, uniform = (INITIALIZERS[name]() for name in names)

    def pairs() -> Iterator[tuple[str, Any, Any]]:
        for fans in FANS:
            shape = (fans[0], 11)
            yield "normal", normal(shape, fans, KEY).ravel(), deviation(*fans) * random.normal(KEY, 11 * fans[0])
            stretched = 2 * random.uniform(KEY, 11 * fans[0]) - 1
            yield "uniform", uniform(shape, fans, KEY).ravel(), most(*fans) * stretched

    return exactly(
        "X", "other", f"{' and '.join(names)} have the deviation and the limit", ["normal", "uniform"], pairs
    )


def sampled(names: tuple[str, str], variance: Callable[[int, int], float]) -> Check:
    """N: mean 0 and the variance, of 10⁵ weights: within 5 deviations of either."""

    def pairs() -> Iterator[tuple[str, Any, Any]]:
        for name in names:
            for fans in FANS:
                W, expected = INITIALIZERS[name]()((100, 1000), fans, KEY), variance(*fans)
                yield "mean", float(abs(W.mean()) <= 5 * (expected / W.size) ** 0.5), 1.0
                yield "variance", float(abs(W.var() / expected - 1) <= 5 * (2 / W.size) ** 0.5), 1.0

    return exactly("N", "other", "mean and variance of a sample", ["mean", "variance"], pairs)


def fans() -> Iterator[tuple[str, Any, Any]]:
    """n_in: how many terms a sum of the layer has, counted on ones; n_out: how many sums an entry is in."""
    for layer, input, place in (
        (layers.Conv2D(6, (3, 2)), (5, 5, 4), (2, 2)),
        (layers.Conv2D(6, 3, groups=2), (5, 5, 4), (2, 2)),
        (layers.Conv2D(4, 3, groups=4), (5, 5, 4), (2, 2)),
        (layers.Conv1D(6, 3, groups=2), (5, 4), (2,)),
    ):
        W = np.ones(layer.shapes(input)[1]["W"])
        conv: Any = definitions.conv2d if len(input) == 3 else definitions.conv1d
        sees = np.array(conv(np.ones((1, *input)).tolist(), W.tolist(), groups=layer.groups))
        point = np.zeros((1, *input))
        point[(0, *place, 0)] = 1.0
        reaches = np.array(conv(point.tolist(), W.tolist(), groups=layer.groups))
        yield "fans", layer.fans(input)["W"], (sees.flat[0], reaches.sum())


VARIANCE = Hypothesis(
    "weights are independent of each other and of the activations, with mean 0; biases are 0", "prose"
)
HE_VARIANCE = Proposition(
    id="he-variance",
    title="He's initialization",
    statement=r"a = \mathrm{ReLU}(z),\ \operatorname{Var} w = \frac{2}{n_{in}} \;\Rightarrow\; \operatorname{Var} "
    r"\sum_{j=1}^{n_{in}} w_j a_j = \operatorname{Var} z",
    roles=("other",),
    sources=(HE,),
    hypotheses=(VARIANCE, Hypothesis(r"$z$ is symmetric about 0 (below: normal)", "prose")),
    derivations=(HALF_PLANE, KEEPS, UNIFORM),
    evidence=(
        scaled(
            ("he_normal", "he_uniform"),
            lambda fan_in, _: definitions.he_normal_deviation(fan_in),
            lambda fan_in, _: definitions.he_uniform_limit(fan_in),
        ),
        sampled(("he_normal", "he_uniform"), lambda fan_in, _: 2 / fan_in),
        exactly("X", "other", "the fans of a convolution, counted", ["fans"], fans),
    ),
)
GLOROT_VARIANCE = Proposition(
    id="glorot-variance",
    title="Glorot's initialization",
    statement=r"\operatorname{Var} w = \frac{2}{n_{in} + n_{out}}: \quad n_{in} \operatorname{Var} w = 1 "
    r"\text{ keeps the variance forward}, \; n_{out} \operatorname{Var} w = 1 \text{ backward}",
    roles=("other",),
    sources=(GLOROT,),
    hypotheses=(VARIANCE, Hypothesis("the activation is the identity near 0, with slope 1", "prose")),
    derivations=(BOTH_WAYS, UNIFORM),
    evidence=(
        scaled(
            ("glorot_normal", "glorot_uniform"),
            definitions.glorot_normal_deviation,
            definitions.glorot_uniform_limit,
        ),
        sampled(("glorot_normal", "glorot_uniform"), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    ),
)
LECUN_VARIANCE = Proposition(
    id="lecun-variance",
    title="LeCun's initialization",
    statement=r"\operatorname{Var} w = \frac{1}{n_{in}} \;\Rightarrow\; \operatorname{Var} \sum_{j=1}^{n_{in}} w_j a_j "
    r"= \operatorname{Var} a",
    roles=("other",),
    sources=(LECUN,),
    hypotheses=(VARIANCE,),
    derivations=(UNIFORM,),
    evidence=(
        scaled(
            ("lecun_normal", "lecun_uniform"),
            lambda fan_in, _: definitions.lecun_normal_deviation(fan_in),
            lambda fan_in, _: definitions.lecun_uniform_limit(fan_in),
        ),
        sampled(("lecun_normal", "lecun_uniform"), lambda fan_in, _: 1 / fan_in),
    ),
)


def products() -> Iterator[tuple[str, Any, Any]]:
    for shape in ((6, 4), (4, 6), (3, 3, 2, 5), (1, 7)):
        Q = orthogonal(2.0)(shape, (1, 1), KEY).reshape(-1, shape[-1])
        Q = Q if Q.shape[0] >= Q.shape[1] else Q.T
        yield "QᵀQ", Q.T @ Q, 4.0 * np.eye(Q.shape[1])


ORTHOGONAL = Proposition(
    id="orthogonal",
    title="Orthogonal weights",
    statement=r"W = g\,Q,\quad Q^\top Q = I \text{ (or } Q Q^\top = I \text{ where } W "
    r"\text{ is wide)}",
    roles=("other",),
    sources=(SAXE,),
    hypotheses=(Hypothesis("at least two axes", "raises UsageError (tests/test_initializers.py)"),),
    evidence=(closely("N", "other", "QᵀQ = I", ["QᵀQ"], products),),
)

CHAPTER = Chapter(
    "Initializers",
    "The variance of a sum of independent products with mean 0 is the sum of their variances.",
    (HE_VARIANCE, GLOROT_VARIANCE, LECUN_VARIANCE, ORTHOGONAL),
)
