"""Poisson loss: counts Y from rates P ≥ 0; minus the log-likelihood, without the term log Y! that P does not change.

    ℓ(i) = 1/d Σ_j (P_ij − Y_ij log P_ij)        dP_ij = 1/d dℓ(i) (1 − Y_ij / P_ij)

where dℓ(i) = w(i) / Σw: the average is over instances and outputs.
Conventions: 0 · log 0 = 0; P_ij = 0 where Y_ij > 0 is +∞, never a clipped number. P < 0 where Y > 0 gives NaN: end the
network in a layer that is not negative, such as Softplus.
Shapes: P, Y, dP (B, d) · ℓ, dℓ (B, 1). Propositions: poisson. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mathdl.arrays import Array, Shape
from mathdl.losses.loss import Kind, Loss, matched, mean_over_outputs
from mathdl.losses.targets import regression_targets
from mathdl.primitive import pointwise


class PoissonCache(NamedTuple):
    """P and Y."""

    P: Array
    Y: Array


@pointwise
def poisson_terms(xp: Any, P: Array, Y: Array) -> Array:
    """P − Y log P, the logarithm of 1 where Y = 0."""
    return P - Y * xp.log(xp.where(Y > 0, P, 1.0))


@pointwise
def poisson_slopes(xp: Any, P: Array, Y: Array) -> Array:
    """1 − Y / P, the quotient 0 where Y is."""
    return 1.0 - Y / xp.where(Y > 0, P, 1.0)


def poisson_forward(P: Array, Y: Array) -> tuple[Array, PoissonCache]:
    """(ℓ, cache) of rates P and counts Y (B, d)."""
    return mean_over_outputs(poisson_terms(P, Y)), PoissonCache(P, Y)


def poisson_backward(dlosses: Array, cache: PoissonCache) -> Array:
    """dP = 1/d dℓ (1 − Y / P)."""
    dP = poisson_slopes(cache.P, cache.Y)
    dP *= dlosses / cache.P.shape[1]
    return dP


@dataclass(frozen=True)
class Poisson(Loss):
    """P − Y log P of rates P ≥ 0 and counts Y ≥ 0, averaged over instances and outputs.

    Raises `ShapeError` unless P and Y are both (B, d).
    """

    kind: ClassVar[Kind] = "regression"
    propositions: ClassVar[tuple[str, ...]] = ("poisson",)

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        return regression_targets("poisson", Y, outputs, minimum=0.0)

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, PoissonCache]:
        return poisson_forward(P, matched("Poisson", P, Y))

    def terms_backward(self, dlosses: Array, cache: PoissonCache) -> Array:
        return poisson_backward(dlosses, cache)
