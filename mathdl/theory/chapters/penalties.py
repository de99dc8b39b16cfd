"""Penalties on weights, weight decay, and clipping: what is done to a gradient before it moves θ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from mathdl.layers import Dense
from mathdl.network import Network
from mathdl.optimizers import SGD
from mathdl.theory import definitions
from mathdl.theory.chapters.optimizers import HALF, QUARTER, adam, rmsprop, sgd
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.evidence import code_values
from mathdl.theory.exact import closely, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.training.trainer import Trainer

PASCANU = Source(
    "Pascanu, Mikolov and Bengio, On the difficulty of training recurrent networks (2013)", "algorithm 1", "ours"
)

k = sp.Dummy("k", integer=True, positive=True)
q, r = sp.Symbol("q", integer=True, positive=True), sp.Symbol("r", integer=True, nonnegative=True)
t = sp.Symbol("t", integer=True, positive=True)
g, w = sp.IndexedBase("g", real=True), sp.IndexedBase("w", real=True)
theta, G = sp.symbols("theta G", real=True)
eta, lam = sp.symbols("eta lambda", positive=True)

DECAY = Derivation(
    (
        Step(
            sp.Derivative(lam / 2 * sp.Sum(w[k] ** 2, (k, 1, q + r)), w[q]), "the gradient of λ/2 Σ W² at any weight q"
        ),
        Step(lam * w[q], "W_q is in one of the terms"),
    ),
    title="the gradient of the penalty",
    shows="other",
)
SHRINKS = Derivation(
    (
        Step(theta - eta * (G + lam * theta), "SGD on J + λ/2 Σ W²"),
        Step((1 - eta * lam) * theta - eta * G, "θ shrinks by a factor, and then follows the gradient of J"),
    ),
    title="weight decay is the penalty, for SGD",
    shows="other",
)


def penalized() -> Iterator[tuple[str, Any, Any]]:
    """A training step on X = 0, where J has no gradient: what moves W is the penalty alone."""
    for l1, l2, decay in ((0.0, 0.5, 0.0), (0.25, 0.0, 0.0), (0.25, 0.5, 0.0), (0.0, 0.0, 0.5)):
        network = Network([Dense(2, l1=l1, l2=l2)])
        optimizer = SGD(0.5, weight_decay=decay)
        trainer = Trainer(network, "mean_squared_error", optimizer, batch_size=4, device="cpu", dtype="float64")
        trainer.prepare(np.zeros((4, 3)), np.zeros((4, 2)))
        W = np.array([[1.0, -2.0], [0.0, 4.0], [-8.0, 0.5]])
        trainer.params["W[1]"][...] = W
        trainer.fit(np.zeros((4, 3)), np.zeros((4, 2)), epochs=1)
        yield "W", trainer.params["W[1]"], W - 0.5 * (l1 * np.sign(W) + (l2 + decay) * W)
        yield "b", trainer.params["b[1]"], np.zeros(2)


WEIGHT_DECAY = Proposition(
    id="weight-decay",
    title="Penalties and weight decay",
    statement=r"\nabla_W \Bigl(\lambda_1 \sum |W| + \tfrac{\lambda_2}{2} \sum W^2\Bigr) = \lambda_1 "
    r"\operatorname{sign} W + \lambda_2 W; \qquad \theta - \eta (G + \lambda\theta) = (1 - \eta\lambda)\,\theta - "
    r"\eta G",
    roles=("other",),
    sources=(Source("Jiang", "", "ours"),),
    hypotheses=(
        Hypothesis(r"for $\lambda_1$: $W_{ij} \ne 0$; at 0 the slope is taken to be 0", "checked below"),
        Hypothesis("decay acts on weights, never on biases and normalization", "checked below"),
    ),
    convention="sign 0 = 0.",
    derivations=(DECAY, SHRINKS),
    evidence=(
        code_values("decay is part of the gradient", sgd(HALF, decay=QUARTER)),
        code_values("also in Adam", adam(decay=QUARTER)),
        code_values("also in RMSprop", rmsprop(decay=QUARTER)),
        code_values("and not in AdamW", adam(decoupled=True, decay=QUARTER)),
        exactly("X", "other", "a step of training that only the penalties move", ["W", "b"], penalized),
    ),
)

norm, most = sp.Symbol("n", positive=True), sp.Symbol("c", positive=True)
CLIPPED = Derivation(
    (
        Step(sp.Sum((g[k] * most / norm) ** 2, (k, 1, t)), "the square of the norm of G c / ‖G‖"),
        Step(most**2 * sp.Sum(g[k] ** 2, (k, 1, t)) / norm**2, "the factor is the same for all entries"),
    ),
    title="clipping by norm",
    shows="other",
)
CLIPPED_NORM = Derivation(
    (
        Step(most**2 * sp.Sum(g[k] ** 2, (k, 1, t)) / norm**2, "with n the norm of G"),
        Step(most**2, "n² is the sum of the squares"),
    ),
    title="the norm after clipping is c",
    where={norm: sp.sqrt(sp.Sum(g[k] ** 2, (k, 1, t)))},
    shows="other",
)


def clipped() -> Iterator[tuple[str, Any, Any]]:
    """Gradients whose norms are whole numbers, above the bound, at it and below; and single entries."""
    for G in ([3.0, -4.0], [6.0, 8.0], [0.75, -1.0], [0.0, 5.0], [2.0, 3.0, -6.0, 0.0]):
        found = np.array(G)
        SGD(clip_norm=2.5).clip(found)
        yield "norm", found, definitions.clip_by_norm(G, 2.5)
        found = np.array(G)
        SGD(clip_value=2.0).clip(found)
        yield "value", found, definitions.clip_by_value(G, 2.0)


CLIPPING = Proposition(
    id="clipping",
    title="Clipping",
    statement=r"G \leftarrow G \min\Bigl(1, \frac{c}{\|G\|}\Bigr) \;\Rightarrow\; \|G\| \le c, \qquad G_j \leftarrow "
    r"\min(\max(G_j, -c), c)",
    roles=("other",),
    sources=(PASCANU,),
    hypotheses=(
        Hypothesis(
            r"$c > 0$; $\|G\|$ over all parameters that are learnt", "raises UsageError (tests/test_optimizers.py)"
        ),
    ),
    convention="A gradient within the bound stays as it is, bit for bit.",
    derivations=(CLIPPED, CLIPPED_NORM),
    evidence=(closely("X", "other", "gradients at, above and below the bound", ["norm", "value"], clipped),),
)

CHAPTER = Chapter(
    "Penalties, decay and clipping",
    "What is done to a gradient before it moves θ.",
    (WEIGHT_DECAY, CLIPPING),
)
