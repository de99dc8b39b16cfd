"""SYMBOLIC: an entry of an array is a SymPy expression.

It answers: is the backward formula *the* derivative? The functions that ship run on symbols, and what they return is
compared with SymPy's derivative of what forward returned:

    from mathdl_backends import symbolic

    A, W, b = symbolic.symbols("a", 2, 3), symbolic.symbols("w", 3, 2), symbolic.symbols("b", 2)
    Z, cache = dense_forward(A, W, b)
    Z.entries                                   # a NumPy array of expressions

Where the code has branches, symbols have signs or an order (`signed`, `ordered`); a comparison that is not decided by
them raises `UndecidedError`. Steps run one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from mathdl.errors import MissingExtraError
from mathdl.primitive import Kernel

try:
    import sympy  # noqa: F401
except ImportError as error:  # pragma: no cover - exercised in a subprocess by the tests
    raise MissingExtraError('the symbolic backend needs sympy: pip install "mathdl[theory]"') from error

from mathdl_backends.serial import SerialExecution
from mathdl_backends.symbolic.array import HANDLE, SymbolicArray, as_dtype, of_numpy
from mathdl_backends.symbolic.namespace import erf, namespace
from mathdl_backends.symbolic.numbers import UndecidedError, exact
from mathdl_backends.symbolic.symbols import array, ordered, orderings, sign_patterns, signed, symbols

__all__ = [
    "MAX_SHARDS",
    "MOST_ACTIVATIONS",
    "NAME",
    "SymbolicArray",
    "UndecidedError",
    "active",
    "array",
    "aside",
    "device",
    "device_name",
    "exact",
    "execution",
    "from_host",
    "fuse",
    "kernels",
    "lives_on",
    "namespace",
    "ordered",
    "orderings",
    "sign_patterns",
    "signed",
    "symbols",
    "to_host",
    "why_unusable",
]

NAME = "symbolic"
MAX_SHARDS = 1
MOST_ACTIVATIONS = 1 << 22


def kernels() -> Mapping[str, Any]:
    """erf alone: its body is an approximation, of which nothing could be proved."""
    return {"erf": Kernel(erf)}


def fuse(primitive: Any) -> None:
    return None


def device(index: int) -> str:
    return HANDLE


def device_name(A: Any) -> str:
    return NAME


def lives_on(A: Any, handle: Any) -> bool:
    return True


def why_unusable() -> None:
    return None


def to_host(A: SymbolicArray) -> Any:
    """Numbers in the dtype of A if all entries are; else the entries, a NumPy array of expressions."""
    if A.is_real and not all(entry.is_number for entry in A.entries.flat):
        return A.entries
    with np.errstate(invalid="ignore"):  # NumPy 2.1 warns of an entry that is NaN
        return A.entries.astype(A.dtype)


def from_host(A: Any, handle: Any, dtype: str | None = None) -> SymbolicArray:
    """Numbers of the host; floats stand for simple numbers (`numbers.exact`)."""
    made = of_numpy(np.asarray(A))
    return made if dtype is None else as_dtype(made, dtype)


def active(handle: Any) -> AbstractContextManager[Any]:
    return nullcontext()


aside = active  # a thread needs nothing more


class _SymbolicExecution(SerialExecution):
    """A cost that is an expression counts as finite."""

    def finite(self, J: Any) -> bool:
        return bool(namespace.isfinite(J[0]))


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> _SymbolicExecution:
    return _SymbolicExecution()
