"""Layer normalization: each row of channels is normalized by itself.

    N = (A[l-1] − μ) / √(v + ε)        A[l] = γ ∘ N + β
    μ = 1/k Σ_j A[l-1]_j        v = 1/k Σ_j (A[l-1]_j − μ)²,   one μ and v for each row along the last axis
    dγ = Σ dA ∘ N        dβ = Σ dA,   sums over instances and pixels
    dN = γ ∘ dA        dA[l-1] = (dN − 1/k Σ_j dN_j − N ∘ 1/k Σ_j dN_j N_j) / √(v + ε)

The variance takes a second pass over A − μ: Σ A² − k μ² would cancel.
Shapes: A, N (B, …, k) · γ, β (k,) · μ, v (B, …, 1). Propositions: layer-norm-forward, layer-norm-backward.
Source: Ba, Kiros and Hinton, Layer normalization (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.initializers import constant, zeros
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import last_axis, positive
from mathdl.sums import sum_rows


class LayerNormCache(NamedTuple):
    """N, γ and 1/√(v + ε)."""

    N: Array
    gamma: Array
    scale: Array


def layer_norm_forward(A: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, LayerNormCache]:
    """γ ∘ N + β."""
    xp = namespace(A)
    N = A - xp.mean(A, axis=-1, keepdims=True)
    scale = 1.0 / xp.sqrt(xp.mean(N * N, axis=-1, keepdims=True) + epsilon)
    N *= scale
    Y = N * gamma
    Y += beta
    return Y, LayerNormCache(N, gamma, scale)


def layer_norm_backward(
    dA: Array, cache: LayerNormCache, into: Tree = NOTHING, input_gradient: bool = True
) -> tuple[Array, dict[str, Array]]:
    """(dA[l-1] in place of dA, or None; {"gamma": dγ, "beta": dβ})."""
    xp, N, rows = namespace(dA), cache.N, (prod(dA.shape[:-1]), dA.shape[-1])
    grads = {
        "gamma": sum_rows(xp.reshape(dA * N, rows), into.get("gamma")),
        "beta": sum_rows(xp.reshape(dA, rows), into.get("beta")),
    }
    if not input_gradient:
        return None, grads
    dA *= cache.gamma
    along_N = xp.mean(dA * N, axis=-1, keepdims=True)
    dA -= xp.mean(dA, axis=-1, keepdims=True)
    dA -= N * along_N
    dA *= cache.scale
    return dA, grads


@dataclass(frozen=True)
class LayerNorm(Layer):
    """A[l] = γ ∘ N + β along the last axis; γ starts at 1, β at 0."""

    epsilon: float = 1e-5
    trainable: bool = True

    propositions: ClassVar[tuple[str, ...]] = ("layer-norm-forward", "layer-norm-backward")

    def __post_init__(self) -> None:
        positive("LayerNorm", epsilon=self.epsilon)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        k = last_axis("LayerNorm", input)
        return input, {"gamma": (k,), "beta": (k,)}

    def initializers(self) -> Tree:
        return {"gamma": constant(1.0), "beta": zeros()}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, LayerNormCache]:
        return layer_norm_forward(A, params["gamma"], params["beta"], self.epsilon)

    def backward(
        self, dA: Array, cache: LayerNormCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return layer_norm_backward(dA, cache, into, input_gradient)
