"""SHA-256 of data and of weights: by them a run tells whether they are the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import to_host
from mathdl.data import Table
from mathdl.network import Parameters

_ROWS_AT_A_TIME = 4096


def data_hash(table: Table) -> str:
    """Of X and Y in the order of their rows, and of the test part, if the data have one."""
    digest = hashlib.sha256()
    for part in (table, table.test):
        for A in () if part is None else (part.X, part.Y):
            _add(digest, A)
    return digest.hexdigest()


def weights_hash(params: Parameters) -> str:
    """Of θ and the state."""
    digest = hashlib.sha256()
    for vector in (params.vector, params.state.vector):
        _add(digest, np.asarray(to_host(vector)))
    return digest.hexdigest()


def _add(digest: Any, A: NDArray[Any] | None) -> None:
    digest.update(b"none" if A is None else f"{A.shape} {A.dtype.str}".encode())
    for start in range(0, 0 if A is None else len(A), _ROWS_AT_A_TIME):
        digest.update(np.ascontiguousarray(A[start : start + _ROWS_AT_A_TIME]).tobytes())  # type: ignore[index]
