"""Minibatches: the cost is a weighted sum over instances, so its gradient may be computed in parts and added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp

from mathdl.arrays import Device, Vector, namespace
from mathdl.layers import BatchNorm, Dense, ReLU
from mathdl.layers.layer import Layer
from mathdl.losses import Loss, MeanSquaredError, Poisson
from mathdl.network import Network
from mathdl.objective import Objective
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import POSITIVE, REAL, Domain
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients
from mathdl.theory.exact import exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject

JIANG = Source("Jiang", "section 1, stochastic gradient descent is named; section 4, n samples", "ours")

theta, T = sp.symbols("theta T", positive=True)
B, n = sp.symbols("B n", integer=True, positive=True)
k = sp.Dummy("k", integer=True, positive=True)
g = sp.IndexedBase("g", real=True)
first, rest = (sp.Function(name)(theta) for name in ("S_1", "S_2"))

PARTS_ADD = Derivation(
    (
        Step(sp.Derivative((first + rest) / T, theta), "J, its sum Σ w ℓ cut in two, over the whole Σ w"),
        Step(sp.Derivative(first / T, theta) + sp.Derivative(rest / T, theta), "the derivative is linear"),
    ),
    title="the gradients of two shards add",
)
UNBIASED = Derivation(
    (
        Step(sp.Sum(B / n * (g[k] / B), (k, 1, n)), "each of n instances is in the minibatch with probability B / n"),
        Step(sp.Sum(g[k], (k, 1, n)) / n, "the mean of the gradients of all n"),
    ),
    title="the mean over minibatches of B of n",
    shows="other",
)


def in_shards(loss: Loss, B: int, cut: int, definition: Any, domain: Domain) -> Subject:
    """A loss on two shards of a minibatch, each told the Σw of the whole: J is the sum of what they give."""

    def forward(place: Device, x: Mapping[str, Any]) -> tuple[Any, Any]:
        total = namespace(x["w"]).sum(x["w"])
        parts = [
            loss.forward(x["P"][rows, :], x["Y"][rows, :], x["w"][rows], total) for rows in (slice(cut), slice(cut, B))
        ]
        return parts[0][0] + parts[1][0], [cache for _, cache in parts]

    def backward(dJ: Any, caches: Any) -> dict[str, Any]:
        parts = [loss.backward(cache) for cache in caches]
        return {"P": namespace(parts[0]).concat(parts, axis=0)}

    shapes = {"P": (B, 2), "Y": (B, 2), "w": (B,)}
    domains = {"P": domain, "Y": domain, "w": POSITIVE}
    return Subject(f"{loss!r} in shards", shapes, forward, backward, definition, domains, is_cost=True)


def squares(B: int, cut: int) -> Subject:
    """The mean squared error in shards."""

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        return definitions.mean_squared_error(x["P"], x["Y"], x["w"])

    return in_shards(MeanSquaredError(), B, cut, definition, REAL)


def counts(B: int, cut: int) -> Subject:
    """The Poisson loss in shards."""

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        return definitions.poisson(x["P"], x["Y"], x["w"])

    return in_shards(Poisson(), B, cut, definition, POSITIVE)


def gradient(layers: list[Layer], rows: slice) -> dict[str, Any]:
    """J and ∂J/∂θ of some rows of a minibatch with Σw = 8, by the recursion that training uses, on integers."""
    network = Network(layers)
    params = network.empty_parameters((3,), "cpu", "float64")
    rng = np.random.default_rng(0)
    params.vector[...] = rng.integers(-4, 5, params.vector.shape)
    X, Y, w = rng.integers(-9, 9, (4, 3)) * 1.0, rng.integers(-9, 9, (4, 2)) * 1.0, np.array([1.0, 2.0, 4.0, 1.0])
    objective, into = Objective(network, MeanSquaredError()), Vector(params.shape_tree, np, np.float64, "cpu")
    contexts = network.contexts(params, training=True, instances=len(X[rows]))
    J, _, _ = objective.gradient(params, contexts, X[rows], Y[rows], w[rows], 8.0, into.tree)
    return {"J": J, **into}


def shards() -> Iterator[tuple[str, Any, Any]]:
    """Every cut of four instances into two shards; integers, so the sums are exact."""
    whole = gradient([Dense(3), ReLU(), Dense(2)], slice(0, 4))
    for cut in range(1, 4):
        parts = [gradient([Dense(3), ReLU(), Dense(2)], rows) for rows in (slice(0, cut), slice(cut, 4))]
        for name, expected in whole.items():
            yield ("J" if name == "J" else "∂J/∂θ"), parts[0][name] + parts[1][name], expected


def coupled() -> Iterator[tuple[str, Any, Any]]:
    """A layer that couples instances: shards with statistics of their own give another gradient."""
    layers: list[Layer] = [BatchNorm(), Dense(2)]
    whole, parts = gradient(layers, slice(0, 4)), [gradient(layers, rows) for rows in (slice(0, 2), slice(2, 4))]
    differ = max(float(np.max(abs(parts[0][name] + parts[1][name] - whole[name]))) for name in whole)
    yield "differs", float(differ > 0.01), 1.0


BATCH_LINEARITY = Proposition(
    id="batch-linearity",
    title="Gradients of shards add",
    statement=r"J = \frac{\sum_i w_i\, \ell_i}{\sum_i w_i} \;\Rightarrow\; \nabla J = \sum_{\text{shards } s} \nabla "
    r"\Bigl(\frac{\sum_{i \in s} w_i\, \ell_i}{\sum_{\text{all } i} w_i}\Bigr); \qquad "
    r"\mathbb E\, \nabla J_B = \nabla J",
    roles=("forward", "gradient"),
    sources=(JIANG,),
    hypotheses=(
        Hypothesis(
            r"$\ell_i$ depends on instance $i$ alone: no layer couples instances",
            "checked below: batch normalization does",
        ),
        Hypothesis(r"$\sum_i w_i \ne 0$", "raises DataError (tests/losses/test_loss.py)"),
        Hypothesis("for the mean: equal weights, and a minibatch drawn uniformly", "prose; an epoch is a permutation"),
    ),
    derivations=(PARTS_ADD, UNBIASED),
    prose=(Prose("More than two shards: by induction."),),
    evidence=(
        code_values("J of two shards", squares(3, 1), counts(2, 1)),
        code_gradients("dP of two shards", squares(3, 1), counts(2, 1)),
        dual_gradients("dP of two shards, at real sizes", squares(16, 5), counts(16, 5)),
        exactly("X", "gradient", "∂J/∂θ of every cut, exactly", ["J", "∂J/∂θ"], shards),
        exactly("E", "gradient", "not so with batch normalization by shard", ["differs"], coupled),
    ),
)

CHAPTER = Chapter(
    "Minibatches",
    "What lets a minibatch be cut into shards that are computed by themselves.",
    (BATCH_LINEARITY,),
)
