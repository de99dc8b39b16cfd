"""Binary cross-entropy: yes or no for each output.

    ℓ(i) = −1/l Σ_j (Y_ij log P_ij + (1 − Y_ij) log(1 − P_ij))
    dP_ij = dℓ(i)/l ((1 − Y_ij) / (1 − P_ij) − Y_ij / P_ij)
    of logits Z, P = σ(Z):
    ℓ(i) = 1/l Σ_j (max(Z_ij, 0) − Z_ij Y_ij + log(1 + exp(−|Z_ij|)))        dZ_ij = dℓ(i)/l (σ(Z_ij) − Y_ij)

where dℓ(i) = w(i) / Σw: the average is over instances and outputs.
Conventions: 0 · log 0 = 0; an output that is certain and wrong is +∞, never a clipped number; an infinite logit that is
right adds nothing to ℓ.
Shapes: P, Z, Y, dP, dZ (B, l) · ℓ, dℓ (B, 1). Propositions: bce. Source: ours (σ: Kasliwal, section 3.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from mathdl.arrays import Array, Shape, namespace
from mathdl.errors import UsageError
from mathdl.losses.loss import Kind, Loss, matched, mean_over_outputs
from mathdl.losses.targets import binary_targets
from mathdl.primitive import pointwise


class BinaryCrossEntropyCache(NamedTuple):
    """P and Y."""

    P: Array
    Y: Array


class BinaryCrossEntropyLogitsCache(NamedTuple):
    """Z, exp(−|Z|) and Y."""

    Z: Array
    E: Array
    Y: Array


Cache: TypeAlias = BinaryCrossEntropyCache | BinaryCrossEntropyLogitsCache


@pointwise
def binary_cross_entropy_terms(xp: Any, P: Array, Y: Array) -> Array:
    """−Y log P − (1 − Y) log(1 − P), each logarithm of 1 where its factor is 0."""
    return (Y - 1.0) * xp.log1p(-xp.where(Y < 1, P, 0.0)) - Y * xp.log(xp.where(Y > 0, P, 1.0))


@pointwise
def binary_cross_entropy_slopes(xp: Any, P: Array, Y: Array) -> Array:
    """(1 − Y) / (1 − P) − Y / P, each quotient 0 where its numerator is."""
    return (1.0 - Y) / (1.0 - xp.where(Y < 1, P, 0.0)) - Y / xp.where(Y > 0, P, 1.0)


@pointwise
def binary_cross_entropy_logits_terms(xp: Any, Z: Array, Y: Array, E: Array) -> Array:
    """Z ([Z > 0] − Y) + log(1 + E), the first product 0 where its second factor is."""
    wrong = xp.astype(Z > 0, Y.dtype) - Y
    return xp.where(wrong != 0, Z * wrong, 0.0) + xp.log1p(E)


@pointwise
def binary_cross_entropy_logits_slopes(xp: Any, Z: Array, Y: Array, E: Array) -> Array:
    """σ(Z) − Y, with σ(Z) = exp(min(Z, 0)) / (1 + E): no exponential overflows, and small σ(Z) keep their digits."""
    return xp.exp(xp.minimum(Z, 0.0)) / (1.0 + E) - Y


def binary_cross_entropy_forward(P: Array, Y: Array) -> tuple[Array, BinaryCrossEntropyCache]:
    """(ℓ, cache) of probabilities P (B, l)."""
    return mean_over_outputs(binary_cross_entropy_terms(P, Y)), BinaryCrossEntropyCache(P, Y)


def binary_cross_entropy_backward(dlosses: Array, cache: BinaryCrossEntropyCache) -> Array:
    """dP = dℓ/l ((1 − Y) / (1 − P) − Y / P)."""
    dP = binary_cross_entropy_slopes(cache.P, cache.Y)
    dP *= dlosses / cache.P.shape[1]
    return dP


def binary_cross_entropy_logits_forward(Z: Array, Y: Array) -> tuple[Array, BinaryCrossEntropyLogitsCache]:
    """(ℓ, cache) of logits Z (B, l)."""
    xp = namespace(Z)
    E = xp.exp(-xp.abs(Z))
    return mean_over_outputs(binary_cross_entropy_logits_terms(Z, Y, E)), BinaryCrossEntropyLogitsCache(Z, E, Y)


def binary_cross_entropy_logits_backward(dlosses: Array, cache: BinaryCrossEntropyLogitsCache) -> Array:
    """dZ = dℓ/l (σ(Z) − Y)."""
    dZ = binary_cross_entropy_logits_slopes(cache.Z, cache.Y, cache.E)
    dZ *= dlosses / cache.Z.shape[1]
    return dZ


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy of probabilities P, or with `logits=True` of σ(P), fused and stable.

    Y (B, l): 0 or 1 for each output. `label_smoothing` s in [0, 1) replaces Y by (1 − s) Y + s / 2.
    Averages over instances and outputs. Raises `ShapeError` unless P and Y are both (B, l).
    """

    logits: bool = False
    label_smoothing: float = 0.0

    kind: ClassVar[Kind] = "binary"
    pairs_with: ClassVar[tuple[str, ...]] = ("Sigmoid",)
    propositions: ClassVar[tuple[str, ...]] = ("bce",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UsageError(f"BinaryCrossEntropy: label_smoothing must lie in [0, 1), got {self.label_smoothing!r}")

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        return binary_targets(Y, outputs)

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, Cache]:
        Y = matched("BinaryCrossEntropy", P, Y)
        if self.label_smoothing:
            Y = Y * (1.0 - self.label_smoothing) + self.label_smoothing / 2
        return binary_cross_entropy_logits_forward(P, Y) if self.logits else binary_cross_entropy_forward(P, Y)

    def terms_backward(self, dlosses: Array, cache: Cache) -> Array:
        if isinstance(cache, BinaryCrossEntropyCache):
            return binary_cross_entropy_backward(dlosses, cache)
        return binary_cross_entropy_logits_backward(dlosses, cache)
