"""Softmax along the last axis.

    P = e^Z / Σ_j e^(Z_j)        dZ = P ∘ (dP − Σ_j dP_j P_j)

Computed with Z − max_j Z_j in place of Z (softmax-shift): no power overflows. A label with Z = −∞ has P = 0; rows with
∞ or NaN, or with −∞ alone, are NaN.
Shapes: Z, P, dZ (B, …, l). Propositions: softmax-simplex, softmax-shift, softmax-jacobian, softmax-vjp.
Source: Jiang, section 1 (named); Kasliwal, section 4, output layers (headed); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import last_axis


def softmax_forward(Z: Array) -> Array:
    """P, whose rows are positive and sum to 1."""
    xp = namespace(Z)
    P = xp.exp(Z - xp.max(Z, axis=-1, keepdims=True))
    P /= xp.sum(P, axis=-1, keepdims=True)
    return P


def softmax_backward(dP: Array, P: Array) -> Array:
    """P ∘ (dP − ⟨dP, P⟩) row by row, in place of dP."""
    dP -= namespace(dP).sum(dP * P, axis=-1, keepdims=True)
    dP *= P
    return dP


@dataclass(frozen=True)
class Softmax(Layer):
    """P = softmax(Z), row by row. The cache is P."""

    propositions: ClassVar[tuple[str, ...]] = ("softmax-simplex", "softmax-shift", "softmax-jacobian", "softmax-vjp")

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        last_axis("Softmax", input)
        return input, {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        P = softmax_forward(A)
        return P, P

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return softmax_backward(dA, cache), {}
