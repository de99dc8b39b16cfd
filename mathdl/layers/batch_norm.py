"""Batch normalization: each channel is normalized over the whole minibatch.

    N = (A[l-1] − μ) / √(v + ε)        A[l] = γ ∘ N + β
    μ = 1/c Σ A[l-1]        v = 1/c Σ (A[l-1] − μ)²,   sums over the c = B·p·q entries of a channel
    dγ = Σ dA ∘ N        dβ = Σ dA        dA[l-1] = γ / √(v + ε) ∘ (dA − dβ / c − N ∘ dγ / c)

Outside of training μ and v are the state `mean` and `variance`, constants; then the two means are not subtracted.
The variance takes a second pass over A − μ: Σ A² − c μ² would cancel.
Shapes: A, N (B, …, k) · γ, β, μ, v (k,).
Propositions: batch-norm-forward, batch-norm-backward, batch-norm-running.
Source: Ioffe and Szegedy, Batch normalization (2015); the running variance is the unbiased one, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, prod
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.initializers import constant, zeros
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import in_interval, last_axis, positive
from mathdl.primitive import primitive
from mathdl.sums import stored, sum_rows

Total = Callable[[Array], Array]


class BatchNormCache(NamedTuple):
    """C = A − μ, γ and 1/√(v + ε), so N = C / √(v + ε); the statistics of the minibatch, and how to sum over it (None:
    they are constants)."""

    C: Array
    gamma: Array
    scale: Array
    mean: Array
    variance: Array
    entries: int
    total: Total | None


def batch_statistics(X: Array, k: int, total: Total, entries: int) -> tuple[Array, Array, Array]:
    """(C, μ, v) of wide rows over the whole minibatch; v is biased, divided by `entries`."""
    mean = total(channel_sums(X, k)) / entries
    C = X - across(mean, X)
    return C, mean, total(channel_sums(C * C, k)) / entries


def batch_norm_forward(
    C: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float, entries: int, total: Total | None
) -> tuple[Array, BatchNormCache]:
    """γ ∘ N + β, in wide rows as C."""
    scale = 1.0 / namespace(C).sqrt(variance + epsilon)
    Y = C * across(gamma * scale, C)
    Y += across(beta, C)
    return Y, BatchNormCache(C, gamma, scale, mean, variance, entries, total)


def batch_norm_backward(
    dA: Array, cache: BatchNormCache, into: Tree = NOTHING, input_gradient: bool = True
) -> tuple[Array, dict[str, Array]]:
    """(dA[l-1] in place of dA, or None; {"gamma": dγ, "beta": dβ}), the latter two over the rows of dA alone."""
    xp, C, k = namespace(dA), cache.C, cache.gamma.shape[0]
    D = xp.reshape(dA, C.shape)
    dgamma, dbeta = channel_sums(D * C, k) * cache.scale, channel_sums(D, k)
    grads = {"gamma": stored(dgamma, into.get("gamma")), "beta": stored(dbeta, into.get("beta"))}
    if not input_gradient:
        return None, grads
    if cache.total is not None:
        D -= C * across(cache.total(dgamma) / cache.entries * cache.scale, D)
        D -= across(cache.total(dbeta) / cache.entries, D)
    D *= across(cache.gamma * cache.scale, D)
    return xp.reshape(D, dA.shape), grads


@primitive
def wide(A: Array) -> Array:
    """(B, …, k) as rows of several pixels, at most 512 wide: broadcasting over narrow rows is slow on a CPU."""
    k, pixels = A.shape[-1], prod(A.shape[:-1])
    together = gcd(pixels, max(512 // k, 1))
    return namespace(A).reshape(A, (pixels // together, together * k))


def across(v: Array, X: Array) -> Array:
    """v (k,), repeated for the pixels in a row of X."""
    return v if X.shape[1] == v.shape[0] else namespace(v).tile(v, (X.shape[1] // v.shape[0],))


def channel_sums(X: Array, k: int) -> Array:
    """Σ over rows, and over the pixels in a row: (k,)."""
    if X.shape[1] == k:
        return sum_rows(X)
    return sum_rows(namespace(X).reshape(sum_rows(X), (X.shape[1] // k, k)))


@dataclass(frozen=True)
class BatchNorm(Layer):
    """A[l] = γ ∘ N + β over the last axis; γ starts at 1, β at 0.

    While training, N has the statistics of the whole minibatch, and the state is to become
    `momentum` · state + (1 − `momentum`) · (μ, unbiased v). Outside of training, N has those of the state.
    A single entry (c = 1) has no unbiased variance: it leaves the state's variance as it is.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    trainable: bool = True

    couples_instances: ClassVar[bool] = True
    propositions: ClassVar[tuple[str, ...]] = ("batch-norm-forward", "batch-norm-backward", "batch-norm-running")

    def __post_init__(self) -> None:
        in_interval("BatchNorm", 0, 1, momentum=self.momentum)
        positive("BatchNorm", epsilon=self.epsilon)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        k = last_axis("BatchNorm", input)
        return input, {"gamma": (k,), "beta": (k,)}

    def initializers(self) -> Tree:
        return {"gamma": constant(1.0), "beta": zeros()}

    def states(self, input: Shape) -> Tree:
        return {"mean": (input[-1:], 0.0), "variance": (input[-1:], 1.0)}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, BatchNormCache]:
        entries = context.instances * prod(A.shape[1:-1])
        X, total = wide(A), context.total if context.training else None
        if total is not None:
            C, mean, variance = batch_statistics(X, A.shape[-1], total, entries)
        else:
            mean, variance = context.state["mean"], context.state["variance"]
            C = X - across(mean, X)
        gamma, beta = params["gamma"], params["beta"]
        Y, cache = batch_norm_forward(C, gamma, beta, mean, variance, self.epsilon, entries, total)
        return namespace(A).reshape(Y, A.shape), cache

    def backward(
        self, dA: Array, cache: BatchNormCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return batch_norm_backward(dA, cache, into, input_gradient)

    def new_state(self, state: Tree, cache: BatchNormCache) -> Tree:
        old, new = self.momentum, 1.0 - self.momentum
        c, variance = cache.entries, state["variance"]
        if c > 1:  # of one entry the variance is 0, and every such minibatch would shrink the state's
            variance = old * variance + new * (c / (c - 1)) * cache.variance
        return {"mean": old * state["mean"] + new * cache.mean, "variance": variance}
