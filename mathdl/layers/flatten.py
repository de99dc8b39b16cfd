"""Flatten: an image as a vector.

    A[l](i) = the entries of A[l-1](i) in row-major order        dA[l-1] = dA[l] in the shape of A[l-1]

A bijection, whose adjoint is its inverse.
Shapes: A[l-1] (B, p, q, k) · A[l] (B, p·q·k). Propositions: flatten. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.layers.layer import NOTHING, Context, Layer


@dataclass(frozen=True)
class Flatten(Layer):
    """(p, q, k) → (p·q·k,). The cache is the shape of A[l-1]."""

    propositions: ClassVar[tuple[str, ...]] = ("flatten",)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        return (prod(input),), {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Shape]:
        return namespace(A).reshape(A, (A.shape[0], prod(A.shape[1:]))), A.shape

    def backward(
        self, dA: Array, cache: Shape, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return namespace(dA).reshape(dA, cache), {}
