"""Perceptron and dense layers."""

from __future__ import annotations

from itertools import product
from typing import Any

from mathdl.layers import Dense
from mathdl.theory.evidence import integer_gradients, integer_values
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer


def dense(B: int, m: int, l: int) -> Subject:
    """Dense(l) on B instances of m features, beside its definition."""

    def definition(definitions: Any, inputs: Any) -> Any:
        return definitions.dense(inputs["A"], inputs["W"], inputs["b"])

    return of_layer(Dense(l), (m,), definition, B)


SMALL = [dense(B, m, l) for B, m, l in product((1, 2, 3), repeat=3)]
SHAPES = Hypothesis(
    r"$X \in M_{n,m}$, $W \in M_{m,l}$, $b \in M_{1,l}$", "raises ShapeError (tests/layers/test_dense.py)"
)

DENSE_FORWARD = Proposition(
    id="dense-forward",
    title="Dense layer",
    statement=r"Z = XW + 1_n b, \qquad Z_{ij} = \sum_k X_{ik} W_{kj} + b_j",
    roles=("forward",),
    sources=(
        Source("Jiang", "section 2, Definition 2 (the product); section 4", "headed"),
        Source("Kasliwal", "section 5", "headed"),
    ),
    hypotheses=(SHAPES,),
    evidence=(integer_values("Z equals the sums", SMALL),),
)

DENSE_BACKWARD = Proposition(
    id="dense-backward",
    title="Gradients of a dense layer",
    statement=r"\nabla_W J = X^\top G, \quad \nabla_b J = 1_n^\top G, \quad \nabla_X J = G W^\top, \qquad G = \nabla_Z J",
    roles=("gradient",),
    sources=(Source("Jiang", "section 4", "ours"),),
    hypotheses=(SHAPES,),
    evidence=(integer_gradients("gradients equal those of the sums", SMALL),),
)

CHAPTER = Chapter(
    "Perceptron and dense layers",
    "A sample is a row (Jiang, Convention 1).",
    (DENSE_FORWARD, DENSE_BACKWARD),
)
