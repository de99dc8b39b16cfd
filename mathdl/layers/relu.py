"""Rectified linear unit.

    A = max(Z, 0)        dZ = dA ∘ [A > 0]

Convention: ReLU'(0) = 0. A NaN in Z stays a NaN in A.
Shapes: any; dZ as Z. Propositions: relu. Source: Jiang, section 1 (named); the derivative is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.primitive import pointwise


@pointwise
def relu_forward(xp: Any, Z: Array) -> Array:
    """max(Z, 0)."""
    return xp.maximum(Z, 0.0)


@pointwise
def relu_backward(xp: Any, dA: Array, A: Array) -> Array:
    """dA ∘ [A > 0], in place of dA."""
    dA *= xp.astype(A > 0, dA.dtype)
    return dA


@dataclass(frozen=True)
class ReLU(Layer):
    """A = max(Z, 0), entry by entry. The cache is A: it is above 0 where Z is."""

    propositions: ClassVar[tuple[str, ...]] = ("relu",)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = relu_forward(A)
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return relu_backward(dA, cache), {}
