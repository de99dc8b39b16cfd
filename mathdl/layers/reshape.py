"""Reshape: the same entries in another shape.

    A[l](i) = A[l-1](i) in the given shape, in row-major order        dA[l-1] = dA[l] in the shape of A[l-1]

A bijection, whose adjoint is its inverse.
Shapes: A[l-1] (B, *s) · A[l] (B, *shape), with the same number of entries. Propositions: flatten. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.errors import UsageError, integer, shape_mismatch
from mathdl.layers.layer import NOTHING, Context, Layer


@dataclass(frozen=True)
class Reshape(Layer):
    """Each instance in the shape `shape`. The cache is the shape of A[l-1]."""

    shape: Sequence[int]

    propositions: ClassVar[tuple[str, ...]] = ("flatten",)

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Iterable):
            raise UsageError(f"Reshape: shape must be a tuple of ints ≥ 1 such as (28, 28, 1), got {self.shape!r}")
        sizes = tuple(integer(f"Reshape: shape[{axis}]", size) for axis, size in enumerate(self.shape))
        object.__setattr__(self, "shape", sizes)  # hashable, and nobody else's list

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        output = tuple(self.shape)
        if prod(input) != prod(output):
            raise shape_mismatch(
                "Reshape",
                f"{prod(input)} entries cannot take a shape of {prod(output)}",
                **{"A[l-1]": ("(*s,)", input), "A[l]": ("shape", output)},
            )
        return output, {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Shape]:
        return namespace(A).reshape(A, (A.shape[0], *self.shape)), A.shape

    def backward(
        self, dA: Array, cache: Shape, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return namespace(dA).reshape(dA, cache), {}
