"""Pieces of work whose borders only the shape decides: whoever computes a piece, the bits are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import local
from typing import Any, TypeAlias

PIECE = 16_384
"""Numbers of a piece of elementwise work: worth a hand-off, and yet in the cache from call to call."""

_FEW = 4
"""Pieces up to which there are so many, of one size: else a thread would have twice the work of another."""

Parts: TypeAlias = Sequence[tuple[slice, slice]]
"""The (rows, columns) of the pieces of a result."""


class _Team(local):
    """`team.map`: None where this thread works by itself; else what runs the pieces of large calls."""

    map: Callable[[Callable[[int], Any], int], Any] | None = None
    workers: int = 1
    """How many of its pieces run at a time."""


team = _Team()


def each_piece(task: Callable[[int], Any], count: int) -> None:
    """task(0), …, task(count − 1), by the team of this thread if it has one."""
    if team.map is not None and count > 1:
        team.map(task, count)
    else:
        for j in range(count):
            task(j)


def height(columns: int) -> int:
    """The rows of a piece of so many columns."""
    return max(1, PIECE // columns)


def row_ranges(rows: int, columns: int) -> list[slice]:
    """The rows of each piece of a result: as many as make a piece, the last what is left."""
    step = height(columns)
    return [slice(i, min(i + step, rows)) for i in range(0, rows, step)]


def pieces(rows: int, columns: int) -> Parts:
    """The pieces of elementwise work: whole rows; parts of a row where there is but one. A few are alike in size."""
    if rows == 1:
        return [(slice(0, 1), part) for part in _ranges(columns, PIECE)]
    return [(part, slice(0, columns)) for part in _ranges(rows, height(columns))]


def _ranges(length: int, step: int) -> list[slice]:
    count = -(-length // step)
    if 1 < count <= _FEW:
        step = -(-length // _FEW)
    return [slice(i, min(i + step, length)) for i in range(0, length, step)]
