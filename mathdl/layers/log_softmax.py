"""Logarithm of softmax, along the last axis.

    A = Z − log Σ_j e^(Z_j)        dZ = dA − e^A Σ_j dA_j

Computed with Z − max_j Z_j in place of Z: no power overflows, and no logarithm of a probability that was rounded to 0.
A label with Z = −∞ has A = −∞; rows with ∞ or NaN, or with −∞ alone, are NaN.
Shapes: Z, A, dZ (B, …, l). Propositions: logsumexp, softmax-shift.
Source: Kasliwal, section 4, output layers (headed); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import last_axis


def log_softmax_forward(Z: Array) -> Array:
    """Z − log Σ_j e^(Z_j), row by row."""
    xp = namespace(Z)
    A = Z - xp.max(Z, axis=-1, keepdims=True)
    A -= xp.log(xp.sum(xp.exp(A), axis=-1, keepdims=True))
    return A


def log_softmax_backward(dA: Array, A: Array) -> Array:
    """dA − e^A Σ_j dA_j, row by row, in place of dA."""
    xp = namespace(dA)
    dA -= xp.exp(A) * xp.sum(dA, axis=-1, keepdims=True)
    return dA


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """A = log softmax(Z), row by row. The cache is A."""

    propositions: ClassVar[tuple[str, ...]] = ("logsumexp", "softmax-shift")

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        last_axis("LogSoftmax", input)
        return input, {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array]:
        A = log_softmax_forward(A)
        return A, A

    def backward(
        self, dA: Array, cache: Array, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return log_softmax_backward(dA, cache), {}
