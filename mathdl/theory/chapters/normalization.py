"""Normalization: entries minus their mean, over their standard deviation; of a channel, or of a row of channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from mathdl import layers
from mathdl.arrays import Device
from mathdl.layers.layer import Context
from mathdl.theory import definitions
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.domains import POSITIVE
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients
from mathdl.theory.exact import exactly, number_values
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, nested, of_layer

IOFFE = Source("Ioffe and Szegedy, Batch normalization (2015)", "algorithms 1 and 2", "ours")
BA = Source("Ba, Kiros and Hinton, Layer normalization (2016)", "equations (3) and (4)", "ours")
EPSILON = Fraction(1, 4)

j = sp.Dummy("j", integer=True, positive=True)
q, r = sp.Symbol("q", integer=True, positive=True), sp.Symbol("r", integer=True, nonnegative=True)
c = q + r
x, g = sp.IndexedBase("x", real=True), sp.IndexedBase("g", real=True)
gamma, beta, mu, m, sigma = sp.symbols("gamma beta mu m sigma", real=True)
epsilon, v = sp.Symbol("epsilon", positive=True), sp.Symbol("v", nonnegative=True)

ENTRIES = Hypothesis(
    r"$c \ge 1$ entries, of which $x_q$ is any one: $c = q + r$, $r \ge 0$; $\varepsilon > 0$",
    "epsilon ≤ 0 raises UsageError (tests/layers/test_batch_norm.py, tests/layers/test_layer_norm.py)",
)

# ------------------------------------------------------------------------------------------- layers and their meaning


def batch_norm(B: int, input: tuple[int, ...]) -> Subject:
    """Batch normalization while training: every pixel of every instance is a row of the definition."""

    def definition(definitions: Any, inputs: Any) -> Any:
        rows = _rows(inputs["A"], input)
        return _images(definitions.batch_norm(rows, inputs["gamma"], inputs["beta"], EPSILON), (B, *input))

    layer = layers.BatchNorm(epsilon=float(EPSILON))
    return replace(of_layer(layer, input, definition, B, training=True), name=f"{layer!r}, training, on {(B, *input)}")


def batch_norm_inference(B: int, input: tuple[int, ...]) -> Subject:
    """Batch normalization outside of training: its statistics are inputs, and constants."""
    layer = layers.BatchNorm(epsilon=float(EPSILON))

    def forward(place: Device, inputs: Any) -> Any:
        state = {"mean": inputs["mean"], "variance": inputs["variance"]}
        return layer.forward(inputs, inputs["A"], Context(state=state, instances=B))

    def backward(dA: Any, cache: Any) -> Any:
        dX, gradients = layer.backward(dA, cache)
        return {"A": dX, **gradients}

    def definition(definitions: Any, inputs: Any) -> Any:
        statistics = inputs["mean"], inputs["variance"], EPSILON
        rows = definitions.batch_norm_inference(_rows(inputs["A"], input), inputs["gamma"], inputs["beta"], *statistics)
        return _images(rows, (B, *input))

    shapes = {"A": (B, *input)} | dict.fromkeys(("gamma", "beta", "mean", "variance"), input[-1:])
    name = f"{layer!r}, predicting, on {(B, *input)}"
    return Subject(name, shapes, forward, backward, definition, {"variance": POSITIVE})


def layer_norm(B: int, input: tuple[int, ...]) -> Subject:
    """Layer normalization."""

    def definition(definitions: Any, inputs: Any) -> Any:
        return definitions.layer_norm(inputs["A"], inputs["gamma"], inputs["beta"], EPSILON)

    return of_layer(layers.LayerNorm(epsilon=float(EPSILON)), input, definition, B)


def _rows(A: Any, input: tuple[int, ...]) -> list[list[Any]]:
    """Nested lists (B, *input) as rows of channels."""
    rows: list[list[Any]] = nested(A).reshape(-1, input[-1]).tolist()
    return rows


def _images(rows: Any, shape: tuple[int, ...]) -> Any:
    return nested(rows).reshape(shape).tolist()


# -------------------------------------------------------------------------------------------------------- derivations

mean = sp.Sum(x[j], (j, 1, c)) / c
spread = sp.Sum((x[j] - m) ** 2, (j, 1, c)) / c

MEAN = Derivation(
    (Step(sp.Derivative(mean, x[q]), "μ is the mean"), Step(1 / c, "x at q is one of c terms")),
    title="∂μ/∂x",
)
SPREAD = Derivation(
    (
        Step(sp.Derivative(spread, x[q]) + sp.Derivative(spread, m) / c, "the chain rule, with ∂m/∂x = 1/c"),
        Step(2 * (x[q] - m) / c - 2 * (sp.Sum(x[j], (j, 1, c)) - c * m) / c**2, "each term (x − m)² is differentiated"),
    ),
    title="∂v/∂x, about any m",
)
VARIANCE = Derivation(
    (
        Step(2 * (x[q] - m) / c - 2 * (sp.Sum(x[j], (j, 1, c)) - c * m) / c**2, "∂v/∂x about m"),
        Step(2 * (x[q] - m) / c, "about the mean the deviations sum to 0"),
    ),
    title="∂v/∂x",
    where={m: mean},
)


def normalized(k: Any) -> Any:
    """N_k = (x_k − μ) / √(v + ε)."""
    return (x[k] - mu) / sp.sqrt(v + epsilon)


def input_gradient(weight: Any) -> Derivation:
    """∂/∂x_q of Σ_j g_j weight(j) N_j."""
    pairing = sp.Sum(g[j] * weight(j) * normalized(j), (j, 1, c))
    return Derivation(
        (
            Step(
                sp.Derivative(pairing, x[q])
                + sp.Derivative(pairing, mu) / c
                + sp.Derivative(pairing, v) * 2 * (x[q] - mu) / c,
                "the chain rule: N depends on x itself, on μ and on v, whose derivatives stand above",
            ),
            Step(
                (
                    g[q] * weight(q)
                    - sp.Sum(g[j] * weight(j), (j, 1, c)) / c
                    - normalized(q) * sp.Sum(g[j] * weight(j) * normalized(j), (j, 1, c)) / c
                )
                / sp.sqrt(v + epsilon),
                "a mean term from μ, and one from v",
            ),
        ),
        title="∇x",
    )


affine = sp.Sum(g[j] * (gamma * normalized(j) + beta), (j, 1, c))
GAMMA = Derivation(
    (
        Step(sp.Derivative(affine, gamma), "the gradient of ⟨g, γ N + β⟩ for γ"),
        Step(sp.Sum(g[j] * normalized(j), (j, 1, c)), "linear in γ"),
    ),
    title="∇γ",
)
BETA = Derivation(
    (
        Step(sp.Derivative(affine, beta), "the gradient of ⟨g, γ N + β⟩ for β"),
        Step(sp.Sum(g[j], (j, 1, c)), "β is added to every entry"),
    ),
    title="∇β",
)
UNBIASED = Derivation(
    (
        Step(c * (sigma**2 + mu**2) - c * (sigma**2 / c + mu**2), "E Σ x² − c E x̄², for independent x"),
        Step((c - 1) * sigma**2, "so Σ (x − x̄)² / (c − 1) has the mean σ²"),
    ),
    title="the unbiased variance",
    shows="other",
)

# -------------------------------------------------------------------------------------------------------- propositions

BATCH_NORM_FORWARD = Proposition(
    id="batch-norm-forward",
    title="Batch normalization",
    statement=r"A = \gamma N + \beta,\quad N = \frac{X - \mu}{\sqrt{v + \varepsilon}},\quad "
    r"\mu = \tfrac1c \sum X,\quad v = \tfrac1c \sum (X - \mu)^2, \quad \text{sums over the } c = Bpq "
    r"\text{ entries of a channel}",
    roles=("forward",),
    sources=(IOFFE,),
    hypotheses=(ENTRIES,),
    convention="While training μ and v are those of the whole minibatch; outside of training they are the state.",
    evidence=(
        code_values(
            "A is normalized over the minibatch", batch_norm(2, (2,)), batch_norm(3, (1,)), batch_norm(1, (2, 1, 1))
        ),
        code_values("A is normalized by the state, outside of training", batch_norm_inference(2, (2,))),
        number_values("A, at real sizes", batch_norm(8, (5, 6, 3)), batch_norm_inference(8, (5, 6, 3))),
    ),
)

BATCH_NORM_BACKWARD = Proposition(
    id="batch-norm-backward",
    title="Gradients of batch normalization",
    statement=r"\nabla_X J = \frac{\gamma}{\sqrt{v + \varepsilon}} \Bigl( G - \tfrac1c \sum G - N \tfrac1c \sum G N "
    r"\Bigr), \qquad \nabla_\gamma J = \sum G N, \qquad \nabla_\beta J = \sum G",
    roles=("gradient",),
    sources=(Source("Ioffe and Szegedy, Batch normalization (2015)", "section 3", "ours"),),
    hypotheses=(ENTRIES,),
    convention="Outside of training the statistics are constants, and the two mean terms are not there.",
    derivations=(MEAN, SPREAD, VARIANCE, input_gradient(lambda _: gamma), GAMMA, BETA),
    evidence=(
        code_gradients("gradients while training", batch_norm(2, (1,)), batch_norm(3, (1,))),
        code_gradients("gradients outside of training", batch_norm_inference(2, (2,))),
        dual_gradients("gradients at real sizes", batch_norm(8, (5, 6, 3)), batch_norm_inference(8, (5, 6, 3))),
    ),
)


def new_states() -> Iterator[tuple[str, Any, Any]]:
    """The state after minibatches whose statistics are exact in binary, with momentum ½; and after a single entry."""
    for B, momentum in ((2, 0.5), (3, 0.75), (2, 0.0)):
        layer = layers.BatchNorm(momentum)
        X = 3.0 * np.array([[4.0, -7.0], [2.0, 5.0], [-3.0, 9.0]])[:B]
        old = {"mean": np.array([8.0, -16.0]), "variance": np.array([4.0, 64.0])}
        params = {"gamma": np.ones(2), "beta": np.zeros(2)}
        _, cache = layer.forward(params, X, Context(training=True, state=old, instances=B))
        new = layer.new_state(old, cache)
        unbiased = [variance * B / (B - 1) for variance in definitions.feature_variances(X.tolist())]
        running = definitions.batch_norm_running
        yield "mean", new["mean"], running(old["mean"].tolist(), definitions.feature_means(X.tolist()), momentum)
        yield "variance", new["variance"], running(old["variance"].tolist(), unbiased, momentum)
    _, cache = layer.forward(params, X[:1], Context(training=True, state=old, instances=1))
    yield "a single entry", layer.new_state(old, cache)["variance"], old["variance"]


BATCH_NORM_RUNNING = Proposition(
    id="batch-norm-running",
    title="The statistics that batch normalization keeps",
    statement=r"\bar\mu \leftarrow \alpha \bar\mu + (1 - \alpha)\,\mu, \qquad \bar v \leftarrow \alpha \bar v + "
    r"(1 - \alpha) \frac{c}{c - 1}\, v, \qquad \mathbb E\Bigl[\frac{c}{c-1}\, v\Bigr] = \sigma^2",
    roles=("other",),
    sources=(IOFFE,),
    hypotheses=(
        Hypothesis("for the mean: the entries of a channel are independent, of one mean and variance σ²", "prose"),
        Hypothesis(r"$c \ge 2$", "of a single entry the variance stays (checked below)"),
    ),
    derivations=(UNBIASED,),
    evidence=(
        exactly("X", "other", "the state after a minibatch", ["mean", "variance", "a single entry"], new_states),
    ),
)

LAYER_NORM_FORWARD = Proposition(
    id="layer-norm-forward",
    title="Layer normalization",
    statement=r"A_j = \gamma_j N_j + \beta_j,\quad N_j = \frac{x_j - \mu}{\sqrt{v + \varepsilon}},\quad "
    r"\mu = \tfrac1k \sum_j x_j,\quad v = \tfrac1k \sum_j (x_j - \mu)^2",
    roles=("forward",),
    sources=(BA,),
    hypotheses=(ENTRIES,),
    evidence=(
        code_values("each row is normalized by itself", layer_norm(2, (2,)), layer_norm(1, (2, 3))),
        number_values("A, at real sizes", layer_norm(8, (5, 6, 7))),
    ),
)

LAYER_NORM_BACKWARD = Proposition(
    id="layer-norm-backward",
    title="Gradients of layer normalization",
    statement=r"\nabla_x J = \frac{1}{\sqrt{v + \varepsilon}} \Bigl( D - \tfrac1k \sum_j D_j - N \tfrac1k \sum_j D_j "
    r"N_j \Bigr),\quad D = \gamma \odot G, \qquad \nabla_\gamma J = \sum G \odot N, \qquad \nabla_\beta J = \sum G",
    roles=("gradient",),
    sources=(Source("Ba, Kiros and Hinton, Layer normalization (2016)", "", "ours"),),
    hypotheses=(ENTRIES,),
    derivations=(MEAN, SPREAD, VARIANCE, input_gradient(lambda k: sp.IndexedBase("gamma", real=True)[k])),
    evidence=(
        code_gradients("gradients", layer_norm(2, (2,)), layer_norm(1, (3,))),
        dual_gradients("gradients at real sizes", layer_norm(8, (5, 6, 7))),
    ),
)

CHAPTER = Chapter(
    "Normalization",
    "An entry is a number x of a channel (batch normalization) or of a row of channels (layer normalization); both "
    "subtract a mean and divide by a root, so both have the same derivation.",
    (BATCH_NORM_FORWARD, BATCH_NORM_BACKWARD, BATCH_NORM_RUNNING, LAYER_NORM_FORWARD, LAYER_NORM_BACKWARD),
)
