"""Simple perceptron: one node.

    A = φ(Z),  Z = y Wᵀ + b
    dZ = dA ∘ φ'(Z)        dy = dZ W        dW = dZᵀ y        db = Σ_i dZ(i)

Shapes: y (B, m) · W (1, m) · b (1,) · A (B, 1). Propositions: perceptron.
Source: Jiang, section 3, Definition 4: y and W (stated); its formula is not in the text as it stands, so that is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.errors import UsageError, shape_mismatch
from mathdl.initializers import Initializer, zeros
from mathdl.layers.layer import NOTHING, Cache, Context, Layer
from mathdl.sums import sum_outer, sum_rows


class PerceptronCache(NamedTuple):
    """What the backward pass needs: y, W, and the cache of φ."""

    y: Array
    W: Array
    activation: Cache


def perceptron_forward(
    y: Array, W: Array, b: Array, activation: Layer, context: Context
) -> tuple[Array, PerceptronCache]:
    """φ(y Wᵀ + b)."""
    Z = namespace(y).matmul(y, W.T)
    Z += b
    A, cache = activation.forward(NOTHING, Z, context)
    return A, PerceptronCache(y, W, cache)


def perceptron_backward(
    dA: Array, cache: PerceptronCache, activation: Layer, into: Tree = NOTHING, input_gradient: bool = True
) -> tuple[Array, dict[str, Array]]:
    """(dZ W or None, {"W": dZᵀ y, "b": Σ_i dZ(i)})."""
    dZ, _ = activation.backward(dA, cache.activation, NOTHING)
    grads = {"W": sum_outer(dZ, cache.y, into.get("W")), "b": sum_rows(dZ, into.get("b"))}
    return (namespace(dZ).matmul(dZ, cache.W) if input_gradient else None), grads


@dataclass(frozen=True)
class Perceptron(Layer):
    """One node with the activation φ, a layer without parameters: `Perceptron(Sigmoid())`.

    `initializer` is that of W (None: He before a ReLU-like activation, Glorot otherwise); b starts at 0.
    `l1`, `l2` add the penalty l1 Σ|W| + l2/2 Σ W² to the cost. Raises `ShapeError` on inputs that are not vectors.
    """

    activation: Layer
    initializer: str | Initializer | None = None
    l1: float = 0.0
    l2: float = 0.0
    trainable: bool = True

    propositions: ClassVar[tuple[str, ...]] = ("perceptron",)

    def __post_init__(self) -> None:
        activation = self.activation
        if isinstance(activation, type) or not isinstance(activation, Layer):
            raise UsageError(f"Perceptron: activation must be a layer such as Sigmoid(), got {activation!r}")
        if activation.shapes((1,)) != ((1,), {}) or activation.inner or activation.draws:
            raise UsageError(
                f"Perceptron: activation must have no parameters and act entry by entry, got {activation!r}"
            )

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        if len(input) != 1:
            raise shape_mismatch(
                "Perceptron", "y must be a vector for each instance; put a Flatten() before", y=("(m,)", input)
            )
        return (1,), {"W": (1, input[0]), "b": (1,)}

    def initializers(self) -> Tree:
        return {"W": self.initializer, "b": zeros()}

    def fans(self, input: Shape) -> Tree:
        return {"W": (input[0], 1)}  # W is a row: its columns are what comes in

    def multiply_adds(self, input: Shape) -> int:
        return input[0]

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, PerceptronCache]:
        return perceptron_forward(A, params["W"], params["b"], self.activation, context)

    def backward(
        self, dA: Array, cache: PerceptronCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return perceptron_backward(dA, cache, self.activation, into, input_gradient)
