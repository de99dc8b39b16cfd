"""Categorical cross-entropy: one class of l for each instance.

    ℓ(i) = −Σ_j Y_ij log P_ij                                   dP_ij = −dℓ(i) Y_ij / P_ij
    of logits Z, P = softmax(Z):
    ℓ(i) = (Σ_j Y_ij) log Σ_k exp Z_ik − Σ_j Y_ij Z_ij          dZ_ij = dℓ(i) ((Σ_k Y_ik) P_ij − Y_ij)

where dℓ(i) = w(i) / Σw. dZ = dℓ (P − Y) if and only if every row of Y sums to one.
Conventions: 0 · log 0 = 0; P_ij = 0 where Y_ij > 0 is +∞, never a clipped number. A logit of −∞ masks its class: where
Y_ij = 0 it adds nothing to ℓ and gets the gradient 0. A logit of +∞, or a row of nothing but −∞, gives NaN.
Shapes: P, Z, dP, dZ (B, l) · Y (B, l), or labels (B,) · ℓ, dℓ (B, 1).
Propositions: cce, cce-bounds, softmax-cce, logsumexp, softmax-shift.
Source: Jiang, section 4 (one-hot Y, stated) and section 1 (the loss, named); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np

from mathdl.arrays import Array, Shape, like, namespace
from mathdl.errors import UsageError, shape_mismatch
from mathdl.losses.loss import Kind, Loss, as_dtype_of
from mathdl.losses.targets import categorical_targets
from mathdl.primitive import primitive


class CategoricalCrossEntropyCache(NamedTuple):
    """P, made safe to divide by (1 where Y = 0), and Y."""

    P: Array
    Y: Array


class CategoricalCrossEntropyLogitsCache(NamedTuple):
    """exp(Z − max Z) and its row sums, Y and its row sums."""

    E: Array
    T: Array
    Y: Array
    Y_sums: Array


class CategoricalCrossEntropyLabelsCache(NamedTuple):
    """exp(Z − max Z) and its row sums, and the labels."""

    E: Array
    T: Array
    labels: Array


Cache: TypeAlias = (
    CategoricalCrossEntropyCache | CategoricalCrossEntropyLogitsCache | CategoricalCrossEntropyLabelsCache
)


def one_hot(labels: Array, P: Array) -> Array:
    """Y_ij = [y_i = j]: (B,) → (B, l), in P's dtype. A label outside of 0 … l−1 gives a row of zeros."""
    xp = namespace(P)
    return xp.astype(labels[:, None] == xp.arange(P.shape[1], **like(labels)), P.dtype)


def categorical_cross_entropy_forward(P: Array, Y: Array) -> tuple[Array, CategoricalCrossEntropyCache]:
    """(ℓ, cache) of probabilities P (B, l) and rows Y (B, l)."""
    xp = namespace(P)
    P = xp.where(Y > 0, P, 1.0)
    return -xp.sum(Y * xp.log(P), axis=1, keepdims=True), CategoricalCrossEntropyCache(P, Y)


def categorical_cross_entropy_backward(dlosses: Array, cache: CategoricalCrossEntropyCache) -> Array:
    """dP = −dℓ Y / P."""
    dP = cache.Y / cache.P
    dP *= -dlosses
    return dP


def categorical_cross_entropy_logits_forward(Z: Array, Y: Array) -> tuple[Array, CategoricalCrossEntropyLogitsCache]:
    """(ℓ, cache) of logits Z (B, l) and rows Y (B, l)."""
    xp = namespace(Z)
    S, E, T = shifted_exponentials(Z)
    Y_sums = xp.sum(Y, axis=1, keepdims=True)
    picked = xp.sum(xp.where(Y > 0, Y * S, 0.0), axis=1, keepdims=True)
    return Y_sums * xp.log(T) - picked, CategoricalCrossEntropyLogitsCache(E, T, Y, Y_sums)


def categorical_cross_entropy_logits_backward(dlosses: Array, cache: CategoricalCrossEntropyLogitsCache) -> Array:
    """dZ = dℓ ((Σ_j Y_ij) softmax(Z) − Y)."""
    dZ = cache.E * (cache.Y_sums / cache.T)
    dZ -= cache.Y
    dZ *= dlosses
    return dZ


def categorical_cross_entropy_labels_forward(
    Z: Array, labels: Array
) -> tuple[Array, CategoricalCrossEntropyLabelsCache]:
    """(ℓ, cache) of logits Z (B, l) and labels y (B,): the form above with one-hot rows, in fewer passes."""
    losses, E, T = categorical_cross_entropy_labels_terms(Z, labels)
    return losses, CategoricalCrossEntropyLabelsCache(E, T, labels)


def categorical_cross_entropy_labels_backward(dlosses: Array, cache: CategoricalCrossEntropyLabelsCache) -> Array:
    """dZ = dℓ (softmax(Z) − Y) with Y one-hot."""
    return categorical_cross_entropy_labels_slopes(cache.E, cache.T, cache.labels, dlosses)


@primitive
def categorical_cross_entropy_labels_terms(Z: Array, labels: Array) -> tuple[Array, Array, Array]:
    """(ℓ, E, T) of logits and labels: log T_i − S_{i, y_i}, and what `shifted_exponentials` says."""
    xp = namespace(Z)
    S, E, T = shifted_exponentials(Z)
    B, l = Z.shape
    picked = xp.take(xp.reshape(S, (-1,)), labels + xp.arange(0, B * l, l, **like(labels)), axis=0)
    return xp.log(T) - picked[:, None], E, T


@primitive
def categorical_cross_entropy_labels_slopes(E: Array, T: Array, labels: Array, dlosses: Array) -> Array:
    """dℓ_i (E_ij / T_i − [y_i = j])."""
    dZ = E / T
    dZ -= one_hot(labels, dZ)
    dZ *= dlosses
    return dZ


def shifted_exponentials(Z: Array) -> tuple[Array, Array, Array]:
    """S = Z − max_j Z_ij, E = exp(S) and T = Σ_j E_ij (B, 1): no exponential overflows, and softmax(Z) = E / T."""
    xp = namespace(Z)
    S = Z - xp.max(Z, axis=1, keepdims=True)
    E = xp.exp(S)
    return S, E, xp.sum(E, axis=1, keepdims=True)


@dataclass(frozen=True)
class CategoricalCrossEntropy(Loss):
    """Categorical cross-entropy of probabilities P, or with `logits=True` of softmax(P), fused and stable.

    Y: integer labels (B,) in 0 … l−1, or rows (B, l) on the simplex. `label_smoothing` s in [0, 1) replaces Y by
    (1 − s) Y + s / l. Raises `ShapeError` unless P is (B, l) and Y fits it.
    """

    logits: bool = False
    label_smoothing: float = 0.0

    kind: ClassVar[Kind] = "categorical"
    pairs_with: ClassVar[tuple[str, ...]] = ("Softmax", "LogSoftmax")
    propositions: ClassVar[tuple[str, ...]] = ("cce", "cce-bounds", "softmax-cce", "logsumexp", "softmax-shift")

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UsageError(
                f"CategoricalCrossEntropy: label_smoothing must lie in [0, 1), got {self.label_smoothing!r}"
            )

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        return categorical_targets(Y, outputs)

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, Cache]:
        if P.ndim != 2 or (Y.shape != P.shape and Y.shape != P.shape[:1]):
            raise shape_mismatch(
                "CategoricalCrossEntropy",
                "P must be (B, l), and Y either labels (B,) or rows (B, l)",
                P=("(B, l)", P.shape),
                Y=("(B,) or (B, l)", Y.shape),
            )
        if Y.ndim == 1:
            if self.logits and not self.label_smoothing:
                return categorical_cross_entropy_labels_forward(P, Y)
            Y = one_hot(Y, P)
        Y = as_dtype_of(P, Y)
        if self.label_smoothing:
            Y = Y * (1.0 - self.label_smoothing) + self.label_smoothing / P.shape[1]
        forward = categorical_cross_entropy_logits_forward if self.logits else categorical_cross_entropy_forward
        return forward(P, Y)

    def terms_backward(self, dlosses: Array, cache: Cache) -> Array:
        match cache:
            case CategoricalCrossEntropyLabelsCache():
                return categorical_cross_entropy_labels_backward(dlosses, cache)
            case CategoricalCrossEntropyLogitsCache():
                return categorical_cross_entropy_logits_backward(dlosses, cache)
            case CategoricalCrossEntropyCache():
                return categorical_cross_entropy_backward(dlosses, cache)
