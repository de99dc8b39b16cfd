"""Exponential linear unit, with limit −α.

    A = Z where Z > 0, α (e^Z − 1) elsewhere        dZ = dA ∘ ([A > 0] + [A ≤ 0] ∘ (A + α))

Convention: the derivative at 0 is α, the one from below; it is the derivative if and only if α = 1.
A(−∞) = −α, A(∞) = ∞; a NaN stays a NaN.
Shapes: any; dZ as Z. Propositions: elu.
Source: Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units (2016);
the proof is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import positive
from mathdl.primitive import pointwise


@pointwise
def elu_forward(xp: Any, Z: Array, alpha: float) -> Array:
    """max(Z, 0) + α (e^min(Z, 0) − 1)."""
    return xp.maximum(Z, 0.0) + alpha * xp.expm1(xp.minimum(Z, 0.0))


@pointwise
def elu_backward(xp: Any, dA: Array, A: Array, alpha: float) -> Array:
    """dA ∘ ([A > 0] + [A ≤ 0] ∘ (min(A, 0) + α)), in place of dA."""
    above = xp.astype(A > 0, A.dtype)
    dA *= above + (1.0 - above) * (xp.minimum(A, 0.0) + alpha)  # the minimum: 0 · ∞ would be a NaN
    return dA


@dataclass(frozen=True)
class ELU(Layer):
    """A = Z where Z > 0, α (e^Z − 1) elsewhere, with α = `alpha` > 0. The cache is A."""

    alpha: float = 1.0

    propositions: ClassVar[tuple[str, ...]] = ("elu",)

    def __post_init__(self) -> None:
        positive("ELU", alpha=self.alpha)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = elu_forward(A, alpha=self.alpha)
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return elu_backward(dA, cache, alpha=self.alpha), {}
