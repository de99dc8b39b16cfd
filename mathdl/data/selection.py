"""Some rows of an array that lies in a file: nothing is read before it is asked for."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Shape


class SelectedRows:
    """The rows `rows` of a memory map, in this order, as an array that is read a slice at a time.

    `selected[first:end]`, `selected[indices]` and `selected[indices, ...]` are NumPy arrays in memory.
    """

    def __init__(self, source: np.memmap[Any, Any], rows: NDArray[np.int64]) -> None:
        self._source = source
        self._rows = rows
        self.shape: Shape = (len(rows), *source.shape[1:])
        self.dtype = source.dtype
        self.ndim = source.ndim
        self.size = prod(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = np.asarray(self._source[self._rows[first]])
        return rows[(slice(None), *rest) if rows.ndim == self.ndim else tuple(rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


def taken(X: Any, rows: Any) -> Any:
    """X[rows], with X left in its file if that is where it is."""
    if isinstance(X, SelectedRows):
        return SelectedRows(X._source, X._rows[rows])
    if isinstance(X, np.memmap):
        return SelectedRows(X, np.arange(len(X))[rows])
    return X[rows]


def is_on_file(A: object) -> bool:
    """Whether A is read from a file as it is used: a memory map, or some rows of one."""
    return isinstance(A, np.memmap | SelectedRows)
