"""Hyperbolic tangent.

    A = tanh(Z) = 2 σ(2 Z) − 1        dZ = dA ∘ (1 − A ∘ A)

tanh(±∞) = ±1; a NaN stays a NaN.
Shapes: any; dZ as Z. Propositions: tanh. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.primitive import pointwise


@pointwise
def tanh_forward(xp: Any, Z: Array) -> Array:
    """tanh(Z)."""
    return xp.tanh(Z)


@pointwise
def tanh_backward(xp: Any, dA: Array, A: Array) -> Array:
    """dA ∘ (1 − A ∘ A), in place of dA."""
    dA *= 1.0 - A * A
    return dA


@dataclass(frozen=True)
class Tanh(Layer):
    """A = tanh(Z), entry by entry. The cache is A."""

    propositions: ClassVar[tuple[str, ...]] = ("tanh",)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = tanh_forward(A)
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return tanh_backward(dA, cache), {}
