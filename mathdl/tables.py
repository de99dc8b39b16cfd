"""Rows of tables, read and written where a cursor stands: the number of the row is on the device, as the table is."""

from __future__ import annotations

from mathdl.arrays import Array, namespace
from mathdl.primitive import primitive


@primitive
def take_row(T: Array, at: Array, row: Array) -> None:
    """row ← T[at]: T (M, …), at (1,), row (…)."""
    xp = namespace(T)
    row[...] = xp.reshape(xp.take(T, at, axis=0), T.shape[1:])


@primitive
def put_row(T: Array, at: Array, row: Array) -> None:
    """T[at] ← row: T (M, k), at (1,), row (k,)."""
    xp = namespace(T)
    chosen = xp.arange(T.shape[0], dtype=at.dtype, device=T.device) == at
    T[...] = xp.where(xp.reshape(chosen, (-1, 1)), row, T)


@primitive
def take_rows(at: Array, *pairs: tuple[Array, Array]) -> None:
    """row ← T[at] for each of the pairs (T, row), as `take_row`."""
    for T, row in pairs:
        take_row(T, at, row)


@primitive
def leave_row(at: Array, T: Array, row: Array) -> None:
    """T[at] ← row, as `put_row`; then at ← at + 1."""
    put_row(T, at, row)
    at += 1


@primitive
def put_numbers(row: Array, *numbers: Array) -> None:
    """row ← (the numbers): row (k,), k numbers of shape ()."""
    for j, number in enumerate(numbers):
        row[j : j + 1] = number
