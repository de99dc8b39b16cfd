"""Global pooling: one figure a channel, over all the n = p·q pixels of an image (or the n = p elements of a sequence).

    average   Z(c) = 1/n Σ_u A(u, c)        dA(u, c) = dZ(c) / n
    maximum   Z(c) = max_u A(u, c)          dA(u, c) = dZ(c) [u is the first, in row-major order, with A(u, c) = Z(c)]

A NaN among the elements of a channel is its maximum.

Shapes: A (B, p, q, k …) or (B, p, k …) · Z (B, k …).
Propositions: gap, max-pool. Source: Kasliwal, section 7 (headed); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, like, namespace
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.windows import spatial


class GlobalMaxPoolCache(NamedTuple):
    """What the backward pass needs: the number u of the winner, (B, k …), and the shape of A."""

    winner: Array
    shape: Shape


def global_average_pool_forward(A: Array, axes: int) -> tuple[Array, Shape]:
    """(Z, shape of A): the mean over the first axes after that of the instances."""
    return namespace(A).mean(A, axis=tuple(range(1, 1 + axes))), A.shape


def global_average_pool_backward(dZ: Array, shape: Shape) -> Array:
    """dA."""
    xp = namespace(dZ)
    axes = len(shape) - dZ.ndim
    dA = xp.empty(shape, **like(dZ))
    dA[...] = xp.reshape(dZ / float(prod(shape[1 : 1 + axes])), (shape[0], *axes * (1,), *shape[1 + axes :]))
    return dA


def global_max_pool_forward(A: Array, axes: int) -> tuple[Array, GlobalMaxPoolCache]:
    """(Z, cache): the maximum over the first axes after that of the instances."""
    xp = namespace(A)
    rows = _in_rows(A, axes)
    return xp.max(rows, axis=1), GlobalMaxPoolCache(xp.argmax(rows, axis=1), A.shape)


def global_max_pool_backward(dZ: Array, cache: GlobalMaxPoolCache) -> Array:
    """dA."""
    xp = namespace(dZ)
    axes = len(cache.shape) - dZ.ndim
    u = xp.arange(prod(cache.shape[1 : 1 + axes]), dtype=cache.winner.dtype, device=dZ.device)
    won = xp.reshape(u, (1, -1, *(dZ.ndim - 1) * (1,))) == xp.expand_dims(cache.winner, axis=1)
    return xp.reshape(xp.astype(won, dZ.dtype) * xp.expand_dims(dZ, axis=1), cache.shape)


def _in_rows(A: Array, axes: int) -> Array:
    """A as (B, n, k …)."""
    return namespace(A).reshape(A, (A.shape[0], prod(A.shape[1 : 1 + axes]), *A.shape[1 + axes :]))


@dataclass(frozen=True)
class GlobalAveragePool1D(Layer):
    """The average of each channel of a sequence: (p, k …) → (k …). Raises `ShapeError` on inputs without channels."""

    propositions: ClassVar[tuple[str, ...]] = ("gap",)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        spatial("GlobalAveragePool1D", 1, input)
        return input[1:], {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Shape]:
        return global_average_pool_forward(A, 1)

    def backward(
        self, dA: Array, cache: Shape, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return global_average_pool_backward(dA, cache), {}


@dataclass(frozen=True)
class GlobalAveragePool2D(Layer):
    """The average of each channel of an image: (p, q, k …) → (k …). Raises `ShapeError` on inputs without channels."""

    propositions: ClassVar[tuple[str, ...]] = ("gap",)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        spatial("GlobalAveragePool2D", 2, input)
        return input[2:], {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Shape]:
        return global_average_pool_forward(A, 2)

    def backward(
        self, dA: Array, cache: Shape, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return global_average_pool_backward(dA, cache), {}


@dataclass(frozen=True)
class GlobalMaxPool1D(Layer):
    """The maximum of each channel of a sequence: (p, k …) → (k …). Raises `ShapeError` on inputs without channels."""

    propositions: ClassVar[tuple[str, ...]] = ("max-pool",)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        spatial("GlobalMaxPool1D", 1, input)
        return input[1:], {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, GlobalMaxPoolCache]:
        return global_max_pool_forward(A, 1)

    def backward(
        self, dA: Array, cache: GlobalMaxPoolCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return global_max_pool_backward(dA, cache), {}


@dataclass(frozen=True)
class GlobalMaxPool2D(Layer):
    """The maximum of each channel of an image: (p, q, k …) → (k …). Raises `ShapeError` on inputs without channels."""

    propositions: ClassVar[tuple[str, ...]] = ("max-pool",)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        spatial("GlobalMaxPool2D", 2, input)
        return input[2:], {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, GlobalMaxPoolCache]:
        return global_max_pool_forward(A, 2)

    def backward(
        self, dA: Array, cache: GlobalMaxPoolCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return global_max_pool_backward(dA, cache), {}
