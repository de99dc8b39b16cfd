"""Logistic sigmoid.

    A = σ(Z) = 1 / (1 + e^(−Z))        dZ = dA ∘ A ∘ (1 − A)

Computed as 1 / (1 + e^(−|z|)) for z ≥ 0 and e^(−|z|) / (1 + e^(−|z|)) for z < 0: no power overflows, and the tail is
exact to rounding. σ(−∞) = 0, σ(∞) = 1; a NaN stays a NaN.
Shapes: any; dZ as Z. Propositions: sigmoid-derivative, sigmoid-symmetry.
Source: Kasliwal, section 3.1, equations (1) and (2) (stated); the stable form is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.primitive import pointwise


def logistic(xp: Any, Z: Array) -> Array:
    """σ(Z) without overflow, for use inside other pointwise functions."""
    E = xp.exp(-xp.abs(Z))
    return xp.maximum(E, xp.astype(Z >= 0, Z.dtype)) / (1.0 + E)  # E ≤ 1, so this is 1 or E over 1 + E


@pointwise
def sigmoid_forward(xp: Any, Z: Array) -> Array:
    """σ(Z)."""
    return logistic(xp, Z)


@pointwise
def sigmoid_backward(xp: Any, dA: Array, A: Array) -> Array:
    """dA ∘ A ∘ (1 − A), in place of dA."""
    dA *= A * (1.0 - A)
    return dA


@dataclass(frozen=True)
class Sigmoid(Layer):
    """A = σ(Z), entry by entry. The cache is A."""

    propositions: ClassVar[tuple[str, ...]] = ("sigmoid-derivative", "sigmoid-symmetry")

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = sigmoid_forward(A)
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return sigmoid_backward(dA, cache), {}
