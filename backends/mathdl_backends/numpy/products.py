"""Matrix products: the large ones of a step that is not cut into shards are computed in pieces, shared among threads.

The shape decides on the pieces, and one BLAS thread computes a piece: the bits are the same whoever computes it. (On
several threads BLAS cuts a product by their number, and may round differently along the cuts.) A piece of rows for each
worker takes less time, for each piece has BLAS pack the other matrix anew; and for most shapes it gives the same bits,
too, if the pieces begin where BLAS would cut. Where it does, as a product of the same shape shows, it is what is done.
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

_UNITS = 16, 12
"""What a piece may begin at a multiple of: BLAS takes so many rows at a time, and adds otherwise in those that are left
over. 16 float32 fill the widest vector registers; the routines for AVX2 take 12 rows."""


def matmul(A: Any, B: Any) -> Any:
    """A B for 2-D operands."""
    return np.matmul(A, B) if team.map is None else _in_pieces(A, B, None)


def matmul_into(A: Any, B: Any, out: Any) -> Any:
    """A B written to `out`."""
    return np.matmul(A, B, out=out) if team.map is None else _in_pieces(A, B, out)


def _in_pieces(A: Any, B: Any, out: Any) -> Any:
    parts = parts_of(A, B, team.workers)
    if parts is None:
        return np.matmul(A, B, out=out)
    if out is None:
        out = np.empty_like(A, np.result_type(A.dtype, B.dtype), "C", shape=(A.shape[0], B.shape[1]))
    product_in_pieces(A, B, parts, out)
    return out


def parts_of(A: Any, B: Any, workers: int) -> Parts | None:
    """The pieces of A B: of rows one for each worker, if that gives the bits of those that the shape decides on."""
    shape = *A.shape, B.shape[1]
    parts = cut(*shape)
    if parts is None or parts[0][1] != slice(0, shape[2]):
        return parts
    like = shape, (A.strides[1] == A.itemsize, B.strides[1] == B.itemsize), A.dtype.char
    unit = next((unit for unit in _UNITS if has_same_bits(*like, MOST_PIECES // 2, unit)), _UNITS[0])
    own = cut(*shape, workers, unit)
    return own if own is not None and has_same_bits(*like, workers, unit) else cut(*shape, unit=unit)


@lru_cache(maxsize=256)
def has_same_bits(shape: tuple[int, int, int], lies: tuple[bool, bool], dtype: str, pieces: int, unit: int) -> bool:
    """Whether so many pieces of a product give the bits of as many as `cut` decides on; all begin at such multiples.

    BLAS adds in an order that the shape of a piece decides, and no number does: so it is seen in random numbers. Each
    operand lies row after row, or else column after column.
    """
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    A, B = (
        rng.random(size, np.float32).astype(dtype) if plain else rng.random(size[::-1], np.float32).astype(dtype).T
        for size, plain in (((rows, inner), lies[0]), ((inner, columns), lies[1]))
    )
    made = []
    for parts in (cut(*shape, unit=unit), cut(*shape, pieces, unit)):
        made.append(np.empty((rows, columns), dtype))
        for part, across in parts or ():
            np.matmul(A[part], B[:, across], out=made[-1][part, across])
    return made[0].tobytes() == made[1].tobytes()


@lru_cache(maxsize=256)
def cut(rows: int, inner: int, columns: int, pieces: int = 0, unit: int = _UNITS[0]) -> Parts | None:
    """So many pieces of a product (0: as the shape decides), of its rows unless these are few; None if it is too small.
    Each begins at a multiple of `unit`.

    A piece of rows is also what is written in a row: the elementwise work that follows finds whole rows in the cache.
    """
    work = rows * inner * columns
    pieces = pieces or (MOST_PIECES if work >= MOST_PIECES * SMALLEST_PIECE else 2)
    if work < pieces * SMALLEST_PIECE:
        return None
    by_columns = columns > 2 * rows
    length = columns if by_columns else rows
    units = -(-length // unit)
    ends = [min(length, units * j // pieces * unit) for j in range(pieces)] + [length]
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
