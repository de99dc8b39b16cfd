"""Dense (feed-forward) layer.

    A[l] = A[l-1] W[l] + b[l]
    dA[l-1] = dA[l] W[l]ᵀ        dW[l] = A[l-1]ᵀ dA[l]        db[l] = Σ_i dA[l](i)

Shapes: A[l-1] (B, n[l-1]) · W[l] (n[l-1], n[l]) · b[l] (n[l],) · A[l] (B, n[l]).
Propositions: dense-forward, dense-backward, broadcast-adjoint.
Source: Jiang, sections 2 (Definition 2, the matrix product) and 4; Kasliwal, section 5 (headed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.errors import shape_mismatch
from mathdl.initializers import Initializer, zeros
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import positive_int
from mathdl.sums import sum_outer, sum_rows


class DenseCache(NamedTuple):
    """What the backward pass needs: A[l-1], W[l], and whether there is a b[l]."""

    A: Array
    W: Array
    bias: bool


def dense_forward(A: Array, W: Array, b: Array | None) -> tuple[Array, DenseCache]:
    """A W + b; b may be None."""
    Z = namespace(A).matmul(A, W)
    if b is not None:
        Z += b
    return Z, DenseCache(A, W, b is not None)


def dense_backward(
    dZ: Array, cache: DenseCache, into: Tree = NOTHING, input_gradient: bool = True
) -> tuple[Array, dict[str, Array]]:
    """(dZ Wᵀ or None, {"W": Aᵀ dZ, "b": Σ_i dZ(i)}); no "b" where forward had none."""
    grads = {"W": sum_outer(cache.A, dZ, into.get("W"))}
    if cache.bias:
        grads["b"] = sum_rows(dZ, into.get("b"))
    return (namespace(dZ).matmul(dZ, cache.W.T) if input_gradient else None), grads


@dataclass(frozen=True)
class Dense(Layer):
    """A dense layer of `width` nodes: A[l] = A[l-1] W[l] + b[l], on inputs of shape (n[l-1],).

    `initializer` is that of W (None: He before a ReLU-like activation, Glorot otherwise); b starts at 0.
    `l1`, `l2` add the penalty l1 Σ|W| + l2/2 Σ W² to the cost. Raises `ShapeError` on inputs that are not vectors.
    """

    width: int
    bias: bool = True
    initializer: str | Initializer | None = None
    l1: float = 0.0
    l2: float = 0.0
    trainable: bool = True

    propositions: ClassVar[tuple[str, ...]] = ("dense-forward", "dense-backward", "broadcast-adjoint")

    def __post_init__(self) -> None:
        positive_int(self, "width")

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        if len(input) != 1:
            raise shape_mismatch(
                "Dense", "A[l-1] must be a vector for each instance; put a Flatten() before", A=("(n[l-1],)", input)
            )
        b = {"b": (self.width,)} if self.bias else {}
        return (self.width,), {"W": (input[0], self.width)} | b

    def initializers(self) -> Tree:
        return {"W": self.initializer, "b": zeros()}

    def multiply_adds(self, input: Shape) -> int:
        return input[0] * self.width

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, DenseCache]:
        return dense_forward(A, params["W"], params.get("b"))

    def backward(
        self, dA: Array, cache: DenseCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return dense_backward(dA, cache, into, input_gradient)
