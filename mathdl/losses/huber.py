"""Huber's loss: the squared error near 0, the absolute error far from it.

    ℓ(i) = 1/d Σ_j h(P_ij − Y_ij),   h(r) = r²/2 for |r| ≤ δ,  δ (|r| − δ/2) beyond
    dP_ij = 1/d dℓ(i) min(max(P_ij − Y_ij, −δ), δ)

where dℓ(i) = w(i) / Σw: the average is over instances and outputs. h is once continuously differentiable.
Shapes: P, Y, dP (B, d) · ℓ, dℓ (B, 1). Propositions: huber.
Source: Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mathdl.arrays import Array, Shape
from mathdl.errors import UsageError
from mathdl.losses.loss import Kind, Loss, matched, mean_over_outputs
from mathdl.losses.targets import regression_targets
from mathdl.primitive import pointwise


class HuberCache(NamedTuple):
    """C = P − Y cut off at ±δ: the slope of h."""

    C: Array


@pointwise
def huber_slopes(xp: Any, P: Array, Y: Array, delta: float) -> Array:
    """min(max(P − Y, −δ), δ)."""
    return xp.minimum(xp.maximum(P - Y, -delta), delta)


@pointwise
def huber_terms(xp: Any, P: Array, Y: Array, C: Array) -> Array:
    """h(r) = C (r − C/2) with r = P − Y and C its cut-off: r²/2 where C = r, δ (|r| − δ/2) where C = ±δ."""
    return C * (P - Y - C * 0.5)


def huber_forward(P: Array, Y: Array, delta: float) -> tuple[Array, HuberCache]:
    """(ℓ, cache) of P and Y (B, d)."""
    C = huber_slopes(P, Y, delta)
    return mean_over_outputs(huber_terms(P, Y, C)), HuberCache(C)


def huber_backward(dlosses: Array, cache: HuberCache) -> Array:
    """dP = 1/d dℓ C."""
    return cache.C * (dlosses / cache.C.shape[1])


@dataclass(frozen=True)
class Huber(Loss):
    """Huber's loss, quadratic within `delta` > 0, averaged over instances and outputs.

    Raises `ShapeError` unless P and Y are both (B, d).
    """

    delta: float = 1.0

    kind: ClassVar[Kind] = "regression"
    propositions: ClassVar[tuple[str, ...]] = ("huber",)

    def __post_init__(self) -> None:
        if not (self.delta > 0 and isfinite(self.delta)):
            raise UsageError(f"Huber: delta must be a finite number > 0, got {self.delta!r}")

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        return regression_targets("huber", Y, outputs)

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, HuberCache]:
        return huber_forward(P, matched("Huber", P, Y), self.delta)

    def terms_backward(self, dlosses: Array, cache: HuberCache) -> Array:
        return huber_backward(dlosses, cache)
