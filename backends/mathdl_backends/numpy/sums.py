"""NumPy kernels for the sums over instances: written where they belong, without a copy in between."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mathdl.primitive import Kernel
from mathdl_backends.numpy.pieces import PIECE, each_piece, height, row_ranges
from mathdl_backends.numpy.products import matmul_into
from mathdl_backends.numpy.recording import as_one_call

_LARGE = 4 * PIECE
"""Numbers above which D is summed in pieces."""


def sum_rows(D: Any, into: Any = None) -> Any:
    """Σ_i D(i) as a product with ones: adding up narrow rows one by one takes up to seven times as long.

    Of a large D the sums of pieces, and then their sum: so the pieces may be summed side by side, while in the cache.
    """
    if D.size <= _LARGE or height(D.shape[1]) == 1 or not D.flags.c_contiguous:
        return np.matmul(ones(D.shape[0], D.dtype), D, out=into)
    sums = np.empty_like(D, shape=(-(-D.shape[0] // height(D.shape[1])), D.shape[1]))
    sum_pieces(D, sums)
    return sum_rows(sums, into)


@as_one_call
def sum_pieces(D: Any, sums: Any) -> None:
    """Each row of `sums` ← the sum of the rows of a piece of D."""
    rows = row_ranges(*D.shape)

    def piece(j: int) -> None:
        np.matmul(ones(rows[j].stop - rows[j].start, D.dtype), D[rows[j]], out=sums[j])

    each_piece(piece, len(rows))


def sum_outer(A: Any, D: Any, into: Any = None) -> Any:
    """Aᵀ D, written to `into` by the product itself."""
    return matmul_into(A.T, D, into)


@lru_cache(maxsize=64)
def ones(n: int, dtype: Any) -> Any:
    """(n,) ones, that cannot be written to."""
    ones = np.ones(n, dtype=dtype)
    ones.flags.writeable = False
    return ones


def _matrix(D: Any, *_: Any, **__: Any) -> str | None:
    return None if D.ndim == 2 and D.dtype.kind == "f" else f"{D.ndim} axes of {D.dtype}"


KERNELS = {
    "sum_rows": Kernel(sum_rows, _matrix),
    "sum_outer": Kernel(sum_outer),
}
