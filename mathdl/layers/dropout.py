"""Dropout.

    A[l] = A[l-1] ∘ K / (1 − r)        dA[l-1] = dA[l] ∘ K / (1 − r)

K holds independent bits, 0 with probability r; so E A[l] = A[l-1]. Outside of training A[l] = A[l-1].
A bit is kept if its random 32-bit word is at least ⌊r 2³²⌋: integers are compared, so K is the same on every backend.
Shapes: any; K as A. Propositions: dropout, dropout-address.
Source: Srivastava et al., Dropout: a simple way to prevent overfitting (JMLR 2014), here scaled while training.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from mathdl.arrays import Array, Tree, namespace
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.validation import in_interval
from mathdl.primitive import pointwise
from mathdl.random import bits


@pointwise
def dropout_forward(xp: Any, A: Array, keep: Array, rate: float) -> Array:
    """A where `keep` is True, 0 elsewhere, over 1 − rate. (A NaN that is dropped stays a NaN.)"""
    return A * (xp.astype(keep, A.dtype) * (1.0 / (1.0 - rate)))


@pointwise
def dropout_backward(xp: Any, dA: Array, keep: Array, rate: float) -> Array:
    """dA ∘ keep / (1 − rate), in place of dA."""
    dA *= xp.astype(keep, dA.dtype) * (1.0 / (1.0 - rate))
    return dA


@dataclass(frozen=True)
class Dropout(Layer):
    """Drops each entry with probability `rate` in [0, 1) while training, and scales the others by 1 / (1 − rate).

    The cache is the boolean array K; None where nothing is dropped, and then A[l] is A[l-1] itself.
    """

    rate: float

    draws: ClassVar[bool] = True
    propositions: ClassVar[tuple[str, ...]] = ("dropout", "dropout-address")

    def __post_init__(self) -> None:
        in_interval("Dropout", 0, 1, rate=self.rate)

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Array | None]:
        if not context.training or self.rate == 0:
            return A, None
        words = bits(context.key, context.first, A.shape[0], prod(A.shape[1:]))
        keep = namespace(A).reshape(words >= int(self.rate * 2**32), A.shape)
        return dropout_forward(A, keep, rate=self.rate), keep

    def backward(
        self, dA: Array, cache: Array | None, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return (dA if cache is None else dropout_backward(dA, cache, rate=self.rate)), {}
