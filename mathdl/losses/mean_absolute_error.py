"""Mean absolute error.

    ℓ(i) = 1/d Σ_j |P_ij − Y_ij|        dP_ij = 1/d dℓ(i) sign(P_ij − Y_ij)

where dℓ(i) = w(i) / Σw: the average is over instances and outputs. Convention: the slope at P = Y is 0.
Shapes: P, Y, dP (B, d) · ℓ, dℓ (B, 1). Propositions: mae. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mathdl.arrays import Array, Shape, namespace
from mathdl.losses.loss import Kind, Loss, matched, mean_over_outputs
from mathdl.losses.targets import regression_targets


class MeanAbsoluteErrorCache(NamedTuple):
    """D = P − Y."""

    D: Array


def mean_absolute_error_forward(P: Array, Y: Array) -> tuple[Array, MeanAbsoluteErrorCache]:
    """(ℓ, cache) of P and Y (B, d)."""
    D = P - Y
    return mean_over_outputs(namespace(D).abs(D)), MeanAbsoluteErrorCache(D)


def mean_absolute_error_backward(dlosses: Array, cache: MeanAbsoluteErrorCache) -> Array:
    """dP = 1/d dℓ sign(P − Y)."""
    dP = namespace(cache.D).sign(cache.D)
    dP *= dlosses / cache.D.shape[1]
    return dP


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """|P − Y|, averaged over instances and outputs. Raises `ShapeError` unless P and Y are both (B, d)."""

    kind: ClassVar[Kind] = "regression"
    propositions: ClassVar[tuple[str, ...]] = ("mae",)

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        return regression_targets("mean_absolute_error", Y, outputs)

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, MeanAbsoluteErrorCache]:
        return mean_absolute_error_forward(P, matched("MeanAbsoluteError", P, Y))

    def terms_backward(self, dlosses: Array, cache: MeanAbsoluteErrorCache) -> Array:
        return mean_absolute_error_backward(dlosses, cache)
