"""Mean squared error.

    ℓ(i) = 1/d Σ_j (P_ij − Y_ij)²        dP_ij = 2/d dℓ(i) (P_ij − Y_ij)

where dℓ(i) = w(i) / Σw: the average is over instances and outputs, and there is no factor ½.
Shapes: P, Y, dP (B, d) · ℓ, dℓ (B, 1). Propositions: mse.
Source: Jiang, section 1 (regression, named); the loss is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mathdl.arrays import Array, Shape
from mathdl.losses.loss import Kind, Loss, matched, mean_over_outputs
from mathdl.losses.targets import regression_targets


class MeanSquaredErrorCache(NamedTuple):
    """D = P − Y."""

    D: Array


def mean_squared_error_forward(P: Array, Y: Array) -> tuple[Array, MeanSquaredErrorCache]:
    """(ℓ, cache) of P and Y (B, d)."""
    D = P - Y
    return mean_over_outputs(D * D), MeanSquaredErrorCache(D)


def mean_squared_error_backward(dlosses: Array, cache: MeanSquaredErrorCache) -> Array:
    """dP = 2/d dℓ (P − Y)."""
    return cache.D * (dlosses * (2.0 / cache.D.shape[1]))


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The square of P − Y, averaged over instances and outputs. Raises `ShapeError` unless P and Y are both (B, d)."""

    kind: ClassVar[Kind] = "regression"
    propositions: ClassVar[tuple[str, ...]] = ("mse",)

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        return regression_targets("mean_squared_error", Y, outputs)

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, MeanSquaredErrorCache]:
        return mean_squared_error_forward(P, matched("MeanSquaredError", P, Y))

    def terms_backward(self, dlosses: Array, cache: MeanSquaredErrorCache) -> Array:
        return mean_squared_error_backward(dlosses, cache)
