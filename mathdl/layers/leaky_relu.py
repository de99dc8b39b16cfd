"""Leaky rectified linear unit, of slope α ≥ 0 below zero.

    A = max(Z, 0) + α min(Z, 0)        dZ = dA ∘ ([A > 0] + α [A ≤ 0])

Convention: the derivative at 0 is α; so α = 0 is ReLU. A NaN stays a NaN.
Shapes: any; dZ as Z. Propositions: leaky-relu.
Source: Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models (2013); the proof is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.relu import relu_forward
from mathdl.layers.validation import in_interval
from mathdl.primitive import pointwise


@pointwise
def leaky_relu_forward(xp: Any, Z: Array, slope: float) -> Array:
    """max(Z, 0) + slope · min(Z, 0)."""
    return xp.maximum(Z, 0.0) + slope * xp.minimum(Z, 0.0)


@pointwise
def leaky_relu_backward(xp: Any, dA: Array, A: Array, slope: float) -> Array:
    """dA ∘ ([A > 0] + slope · [A ≤ 0]), in place of dA."""
    above = xp.astype(A > 0, A.dtype)
    dA *= above + slope * (1.0 - above)
    return dA


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """A = Z where Z > 0, slope · Z elsewhere. The cache is A, whose sign is that of Z."""

    slope: float = 0.01

    propositions: ClassVar[tuple[str, ...]] = ("leaky-relu",)

    def __post_init__(self) -> None:
        in_interval("LeakyReLU", 0, inf, slope=self.slope)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = leaky_relu_forward(A, slope=self.slope) if self.slope else relu_forward(A)  # 0 · (−∞) would be a NaN
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return leaky_relu_backward(dA, cache, slope=self.slope), {}
