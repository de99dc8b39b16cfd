"""NumPy kernel for a row of a table: one assignment, where the reference passes over the whole table."""

from __future__ import annotations

from typing import Any

from mathdl.primitive import Kernel
from mathdl_backends.numpy.recording import as_one_call


@as_one_call
def put_row(T: Any, at: Any, row: Any) -> None:
    """T[at] ← row."""
    T[at[0]] = row


KERNELS = {"put_row": Kernel(put_row)}
