"""Residual layer: what is inside it is added to a shortcut.

    A[l] = F(A[l-1]) + S(A[l-1])            S the identity, or the layers of `shortcut`
    dA[l-1] = F'ᵀ(dA[l]) + S'ᵀ(dA[l])

The layers of F are [l.1], [l.2] …, those of S continue the count.
Shapes: F(A) and S(A) must be of one shape, which is that of A[l]. Propositions: residual.
Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (CVPR 2016), eq. (1), (2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.errors import shape_mismatch
from mathdl.layers.chain import (
    Path,
    chain_activations,
    chain_backward,
    chain_collect,
    chain_forward,
    chain_shapes,
    numbered,
    require_layers,
    sequence,
)
from mathdl.layers.layer import NOTHING, Cache, Context, Layer, size


class ResidualCache(NamedTuple):
    """The tapes of the layers of F and of S."""

    body: dict[int, Cache]
    shortcut: dict[int, Cache]


@dataclass(frozen=True)
class Residual(Layer):
    """A[l] = F(A[l-1]) + S(A[l-1]) with F the chain `layers` and S the chain `shortcut` (empty: the identity)."""

    layers: Sequence[Layer]
    shortcut: Sequence[Layer] = ()
    trainable: bool = True

    propositions: ClassVar[tuple[str, ...]] = ("residual",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", sequence(self.layers, "Residual"))  # hashable, and nobody else's list
        object.__setattr__(self, "shortcut", sequence(self.shortcut, "Residual: shortcut") if self.shortcut else ())
        require_layers(self.inner, "Residual: inner layer ")

    @property
    def _body(self) -> dict[int, Layer]:
        return numbered(self.layers)

    @property
    def _shortcut(self) -> dict[int, Layer]:
        return numbered(self.shortcut, start=len(self.layers) + 1)

    @property
    def inner(self) -> Mapping[int, Layer]:
        return self._body | self._shortcut

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        body, parameters = chain_shapes(self._body, input)
        shortcut, more = chain_shapes(self._shortcut, input)
        F, S = body[len(self.layers)], list(shortcut.values())[-1] if shortcut else input
        if F != S:
            rule = "the layers inside and the shortcut must give one shape"
            raise shape_mismatch("Residual", rule, F=("(A[l-1])", F), S=("(A[l-1])", S))
        return F, parameters | more

    def initializers(self) -> Tree:
        return {l: layer.initializers() for l, layer in self.inner.items()}

    def fans(self, input: Shape) -> Tree:
        return self._collect(input, lambda layer, shape: layer.fans(shape))

    def states(self, input: Shape) -> Tree:
        return self._collect(input, lambda layer, shape: layer.states(shape))

    def constants(self, input: Shape) -> Tree:
        return self._collect(input, lambda layer, shape: layer.constants(shape))

    def multiply_adds(self, input: Shape) -> int:
        return sum(self._collect(input, lambda layer, shape: layer.multiply_adds(shape)).values())

    def activations(self, input: Shape) -> int:
        inside: int = sum(self._collect(input, lambda layer, shape: layer.activations(shape)).values())
        return size(self.shapes(input)[0]) + inside

    def _collect(self, input: Shape, of: Any) -> dict[int, Any]:
        return chain_collect(self._body, input, of) | chain_collect(self._shortcut, input, of)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, ResidualCache]:
        F, body = chain_forward(self._body, params, A, context.inner)
        S, shortcut = chain_forward(self._shortcut, params, A, context.inner)
        return F + S, ResidualCache(body, shortcut)

    def backward(
        self, dA: Array, cache: ResidualCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        copy = namespace(dA).astype(dA, dA.dtype, copy=True)  # each chain may overwrite what it is given
        dF, grads = chain_backward(self._body, copy, cache.body, into, input_gradient)
        dS, more = chain_backward(self._shortcut, dA, cache.shortcut, into, input_gradient)
        return (dF + dS if input_gradient else None), grads | more

    def inner_activations(self, params: Tree, A: Array, context: Context) -> Iterator[tuple[Path, Array]]:
        yield from chain_activations(self._body, params, A, context.inner)
        yield from chain_activations(self._shortcut, params, A, context.inner)

    def new_state(self, state: Tree, cache: ResidualCache) -> Tree:
        caches = cache.body | cache.shortcut
        return {l: layer.new_state(state[l], caches[l]) for l, layer in self.inner.items() if state[l]}
