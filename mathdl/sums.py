"""The two primitives that every parameter gradient is made of: a sum over instances, and a sum of outer products.

    sum_rows(D)     = Σ_i D(i)            D (B, k) → (k,)
    sum_outer(A, D) = Σ_i A(i)ᵀ D(i)      A (B, j), D (B, k) → (j, k)

`into` is the view in the flat gradient to write to; without it they return fresh arrays.
"""

from __future__ import annotations

from mathdl.arrays import Array, namespace
from mathdl.primitive import primitive


def stored(value: Array, into: Array | None) -> Array:
    """`value`, written to `into` where that is given."""
    if into is None:
        return value
    into[...] = value
    return into


@primitive
def sum_rows(D: Array, into: Array | None = None) -> Array:
    """Σ_i D(i): (B, k) → (k,)."""
    return stored(namespace(D).sum(D, axis=0), into)


@primitive
def sum_outer(A: Array, D: Array, into: Array | None = None) -> Array:
    """Σ_i A(i)ᵀ D(i): (B, j), (B, k) → (j, k)."""
    return stored(namespace(A).matmul(A.T, D), into)
