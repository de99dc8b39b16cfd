"""Rows of an array a chunk at a time: a memory-mapped array is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from mathdl.arrays import Shape

ENTRIES = 1 << 21
"""Entries of a chunk: 16 MB in float64."""


def row_chunks(shape: Shape, entries: int = ENTRIES) -> Iterator[slice]:
    """Slices of axis 0 that cover an array of this shape, each of at most `entries` entries (and at least one row).

    They depend on the shape alone, so sums over chunks have the same bits wherever the array lives.
    """
    rows = max(1, entries // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))
