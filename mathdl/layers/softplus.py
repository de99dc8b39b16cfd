"""Softplus, a smooth ReLU.

    A = log(1 + e^Z)        dZ = dA ∘ σ(Z) = dA ∘ (1 − e^(−A))

Computed as max(Z, 0) + log1p(e^(−|Z|)) and −expm1(−A): no power overflows, and both tails are exact to rounding.
A(−∞) = 0, A(∞) = ∞; a NaN stays a NaN.
Shapes: any; dZ as Z. Propositions: softplus.
Source: Dugas et al., Incorporating second-order functional knowledge (NIPS 2000); the proof is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.primitive import pointwise


@pointwise
def softplus_forward(xp: Any, Z: Array) -> Array:
    """log(1 + e^Z)."""
    return xp.maximum(Z, 0.0) + xp.log1p(xp.exp(-xp.abs(Z)))


@pointwise
def softplus_backward(xp: Any, dA: Array, A: Array) -> Array:
    """dA ∘ (1 − e^(−A)), in place of dA."""
    dA *= -xp.expm1(-A)
    return dA


@dataclass(frozen=True)
class Softplus(Layer):
    """A = log(1 + e^Z), entry by entry. The cache is A."""

    propositions: ClassVar[tuple[str, ...]] = ("softplus",)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = softplus_forward(A)
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return softplus_backward(dA, cache), {}
