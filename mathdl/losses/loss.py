"""What a loss is: a layer whose output is one number ℓ(i) an instance, and the cost J that averages them.

    J = Σ_i w(i) ℓ(i) / Σ_i w(i)        dℓ(i) = ∂J/∂ℓ(i) = w(i) / Σ w

A loss is a frozen dataclass that holds configuration only. Its mathematics stands beside it as two pure functions,
`<loss>_forward(P, Y) → (ℓ, cache)` and `<loss>_backward(dℓ, cache) → dP`, with ℓ of shape (B, 1). What every loss has
in common (weights, and the Σw of a minibatch of which this is a shard) stands here, once.

Shapes: P (B, l) what the network puts out · Y (B, l), or labels (B,) · w (B,) · ℓ, dℓ (B, 1) · J () · dP (B, l).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from mathdl.arrays import Array, Shape, namespace
from mathdl.errors import DataError, shape_mismatch

Kind: TypeAlias = Literal["categorical", "binary", "regression"]
"""What the targets are: one class of l, yes or no for each output, or numbers."""


class LossCache(NamedTuple):
    """What `Loss.backward` needs: dℓ, and the cache of the loss's own forward function."""

    dlosses: Array
    terms: Any


@runtime_checkable
class Loss(Protocol):
    """A loss: how far what the network puts out, P, is from the targets Y.

    Inheriting `Loss` gives `forward`, `backward` and `instance_losses`; a loss of one's own adds `kind`,
    `terms_forward`, `terms_backward` and `check_targets`.
    """

    kind: ClassVar[Kind]
    """What the targets are."""
    pairs_with: ClassVar[tuple[str, ...]] = ()
    """Last layers with which the loss has a fused form, `logits=True`: that layer and the loss in one, stable."""
    propositions: ClassVar[tuple[str, ...]] = ()
    """The ids of the propositions that say what this loss computes."""

    def terms_forward(self, P: Array, Y: Array) -> tuple[Array, Any]:
        """(ℓ (B, 1), cache)."""
        ...

    def terms_backward(self, dlosses: Array, cache: Any) -> Array:
        """dP, a fresh array, from dℓ: (B, 1), or one number for all instances."""
        ...

    def check_targets(self, Y: np.ndarray, outputs: Shape) -> np.ndarray:
        """Y in the form that `forward` takes, for a network whose output has the shape `outputs`.

        On the host, once, when data enter: nothing is checked inside a step. Raises `DataError` or `ShapeError`.
        """
        ...

    def forward(
        self, P: Array, Y: Array, weights: Array | None = None, total: Array | float | None = None
    ) -> tuple[Array, LossCache]:
        """(J, cache) with J = Σ_i w(i) ℓ(i) / total, of P's dtype and shape ().

        `weights` (B,): one w(i) for each instance; None: all 1. `total`: Σw of the whole minibatch, where P is a shard
        of it: a number, or an array of shape () or (1,) on P's device. None: Σw of the rows given, read on the host;
        Σw = 0 raises `DataError`. Shapes that differ raise `ShapeError`: nothing broadcasts.
        """
        losses, cache = self.terms_forward(P, Y)
        dlosses = shares(P, weights, total)
        return namespace(P).sum(losses * dlosses), LossCache(dlosses, cache)

    def backward(self, cache: LossCache) -> Array:
        """dP = ∂J/∂P, a fresh array of the shape and dtype of P."""
        return self.terms_backward(cache.dlosses, cache.terms)

    def instance_losses(self, P: Array, Y: Array) -> Array:
        """ℓ (B,): the loss of each instance by itself, without weights."""
        return self.terms_forward(P, Y)[0][:, 0]


def shares(P: Array, weights: Array | None, total: Array | float | None) -> Array | float:
    """dℓ(i) = w(i) / total: (B, 1), or one number (a float, or an array () or (1,)) where no weights are given."""
    xp = namespace(P)
    if weights is not None:
        if weights.shape != P.shape[:1]:
            raise shape_mismatch(
                "weights", "one for each instance", weights=("(B,)", weights.shape), P=("(B, l)", P.shape)
            )
        weights = as_dtype_of(P, weights)
    if total is None:
        total = P.shape[0] if weights is None else float(xp.sum(weights))
    if isinstance(total, int | float):
        if total == 0:
            raise DataError("the weights of the minibatch sum to 0, so it has no mean loss: leave such rows out")
        total = float(total)  # a NumPy scalar would promote float32 to float64
    else:
        total = as_dtype_of(P, total)
    return 1.0 / total if weights is None else weights[:, None] / total


def matched(loss: str, P: Array, Y: Array) -> Array:
    """Y in P's dtype; raises `ShapeError` unless both have the same shape (B, l)."""
    if Y.shape != P.shape or P.ndim != 2:
        raise shape_mismatch(
            loss, "P and Y must have the same shape; nothing broadcasts", P=("(B, l)", P.shape), Y=("(B, l)", Y.shape)
        )
    return as_dtype_of(P, Y)


def as_dtype_of(P: Array, A: Array) -> Array:
    """A in P's dtype; A itself if it has it."""
    return A if A.dtype == P.dtype else namespace(P).astype(A, P.dtype)


def mean_over_outputs(A: Array) -> Array:
    """1/l Σ_j A_ij: (B, l) → (B, 1)."""
    return namespace(A).sum(A, axis=1, keepdims=True) / A.shape[1]
