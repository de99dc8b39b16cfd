"""Sigmoid linear unit (swish).

    A = Z ∘ σ(Z)        dZ = dA ∘ S ∘ (1 + Z ∘ (1 − S)),  S = σ(Z)

Z = ∞ gives ∞; Z = −∞ gives a NaN (the form is −∞ · 0), as does a NaN.
Shapes: any; dZ as Z. Propositions: swish.
Source: Elfwing, Uchibe and Doya, Sigmoid-weighted linear units (2018); the proof is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.sigmoid import logistic
from mathdl.primitive import pointwise


@pointwise
def silu_forward(xp: Any, Z: Array) -> Array:
    """Z ∘ σ(Z)."""
    return Z * logistic(xp, Z)


@pointwise
def silu_backward(xp: Any, dA: Array, Z: Array) -> Array:
    """dA ∘ S ∘ (1 + Z ∘ (1 − S)) with S = σ(Z), in place of dA."""
    S = logistic(xp, Z)
    dA *= S * (1.0 + Z * (1.0 - S))
    return dA


@dataclass(frozen=True)
class SiLU(Layer):
    """A = Z σ(Z), entry by entry. The cache is Z: A is not monotone, so it does not determine the derivative."""

    propositions: ClassVar[tuple[str, ...]] = ("swish",)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        return silu_forward(A), A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return silu_backward(dA, cache), {}
