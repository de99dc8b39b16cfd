"""Matrix products: the large ones of a step that is not cut into shards are computed in pieces, shared among threads.

Only the shape decides on the pieces, and one BLAS thread computes a piece: the bits are the same whoever computes it.
(On several threads BLAS cuts a product by their number, and rounds differently along the cuts.)
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from mathdl_backends.numpy.pieces import Parts, each_piece, team
from mathdl_backends.numpy.recording import as_one_call

MOST_PIECES = 4
SMALLEST_PIECE = 300_000
"""Multiply-adds below which handing a piece to another thread costs more than it saves."""

_ALIGNED = 16
"""Rows or columns that a piece begins at a multiple of: the widest vector registers hold as many numbers."""


def matmul(A: Any, B: Any) -> Any:
    """A B for 2-D operands."""
    return np.matmul(A, B) if team.map is None else _in_pieces(A, B, None)


def matmul_into(A: Any, B: Any, out: Any) -> Any:
    """A B written to `out`."""
    return np.matmul(A, B, out=out) if team.map is None else _in_pieces(A, B, out)


def _in_pieces(A: Any, B: Any, out: Any) -> Any:
    parts = cut(*A.shape, B.shape[1])
    if parts is None:
        return np.matmul(A, B, out=out)
    if out is None:
        out = np.empty_like(A, np.result_type(A.dtype, B.dtype), "C", shape=(A.shape[0], B.shape[1]))
    product_in_pieces(A, B, parts, out)
    return out


@lru_cache(maxsize=256)
def cut(rows: int, inner: int, columns: int) -> Parts | None:
    """The pieces of a product, of its rows unless these are few; None if it is too small for two.

    A piece of rows is also what is written in a row: the elementwise work that follows finds whole rows in the cache.
    """
    work = rows * inner * columns
    pieces = MOST_PIECES if work >= MOST_PIECES * SMALLEST_PIECE else 2
    if work < pieces * SMALLEST_PIECE:
        return None
    by_columns = columns > 2 * rows
    length = columns if by_columns else rows
    units = -(-length // _ALIGNED)
    ends = [min(length, units * j // pieces * _ALIGNED) for j in range(pieces)] + [length]
    ranges = [slice(first, end) for first, end in pairwise(ends) if first < end]
    if by_columns:
        return [(slice(0, rows), part) for part in ranges]
    return [(part, slice(0, columns)) for part in ranges]


@as_one_call
def product_in_pieces(A: Any, B: Any, parts: Parts, out: Any) -> None:
    """out ← A B, piece by piece."""

    def piece(j: int) -> None:
        rows, columns = parts[j]
        np.matmul(A[rows], B[:, columns], out=out[rows, columns])

    each_piece(piece, len(parts))
