"""Gaussian error linear unit, exact (no tanh approximation).

    A = Z ∘ Φ(Z)        dZ = dA ∘ (Φ(Z) + Z ∘ φ(Z))
    Φ(z) = (1 + erf(z/√2)) / 2        φ(z) = e^(−z²/2) / √(2π)

Z = ±∞ gives a NaN in A (at −∞) or in dZ (the forms are ∞ · 0), as does a NaN.
Shapes: any; dZ as Z. Propositions: gelu.
Source: Hendrycks and Gimpel, Gaussian error linear units (2016); the proof is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.functions import erf
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.primitive import pointwise


@pointwise
def gelu_from_erf(xp: Any, Z: Array, E: Array) -> Array:
    """Z ∘ Φ(Z), where E = erf(Z/√2)."""
    return Z * (0.5 + 0.5 * E)


@pointwise
def gelu_gradient_from_erf(xp: Any, dA: Array, Z: Array, E: Array) -> Array:
    """dA ∘ (Φ(Z) + Z ∘ φ(Z)), in place of dA, where E = erf(Z/√2)."""
    dA *= 0.5 + 0.5 * E + Z * xp.exp(-0.5 * (Z * Z)) / sqrt(2 * pi)
    return dA


def gelu_forward(Z: Array) -> Array:
    """Z ∘ Φ(Z)."""
    return gelu_from_erf(Z, erf(Z * sqrt(0.5)))


def gelu_backward(dA: Array, Z: Array) -> Array:
    """dA ∘ (Φ(Z) + Z ∘ φ(Z)), in place of dA."""
    return gelu_gradient_from_erf(dA, Z, erf(Z * sqrt(0.5)))


@dataclass(frozen=True)
class GELU(Layer):
    """A = Z Φ(Z), entry by entry. The cache is Z: A is not monotone, so it does not determine the derivative."""

    propositions: ClassVar[tuple[str, ...]] = ("gelu",)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        return gelu_forward(A), A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return gelu_backward(dA, cache), {}
