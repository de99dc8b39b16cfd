"""The BLAS that NumPy has loaded: how many threads it takes, and where its routines lie.

The compiled programs (native/steps.c) need an OpenBLAS with 64-bit integers, as NumPy's wheels have it; elsewhere
`routines()` is None.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

_ROUTINES = ("sgemm", "dgemm", "sgemv", "dgemv")
_SETTINGS = ("get_num_threads", "set_num_threads")


@cache
def routines() -> tuple[int, ...] | None:
    """Where NumPy's BLAS has gemm and gemv, each for float and for double, and what tells and sets its threads.

    None where it has no such.
    """
    try:  # a look-up in NumPy's own module finds the library that it was linked to, and no other
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for prefix in ("scipy_", ""):
        names = *(f"cblas_{name}" for name in _ROUTINES), *(f"openblas_{name}" for name in _SETTINGS)
        found: list[Any] = [getattr(library, f"{prefix}{name}64_", None) for name in names]
        if None not in found:
            return tuple(ctypes.cast(function, ctypes.c_void_p).value or 0 for function in found)
    return None


class _OneBlasThread:
    """BLAS on one thread, process-wide, from the first `begin` to the last `end`; then on as many as before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = 0
        self._before: list[int] = []

    def begin(self) -> None:
        with self._lock:
            if self._open == 0:
                self._before = [number() for number, _ in _blas_threads()]
                for _, set_number in _blas_threads():
                    set_number(1)
            self._open += 1

    def end(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                for (_, set_number), threads in zip(_blas_threads(), self._before, strict=True):
                    set_number(threads)


one_thread = _OneBlasThread()


@cache
def _blas_threads() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """What tells and what sets the threads of each BLAS library of this process; to find them takes milliseconds."""
    libraries = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
    return [_threads_of(library) for library in libraries]


def _threads_of(library: Any) -> tuple[Callable[[], int], Callable[[int], Any]]:
    # threadpoolctl obeys one thread of a process alone and ignores the others; executions take turns by their own lock.
    set_number = getattr(library, "_real_set_num_threads", library.set_num_threads)
    symbol = getattr(library, "_get_symbol", None)
    if symbol is None or getattr(library, "threading_layer", None) != "pthreads":
        return library.get_num_threads, set_number
    names = "openblas_get_num_threads", "openblas_set_num_threads"
    found = [symbol(name) for name in names]  # looked up once, and not at every call
    return library.get_num_threads if found[0] is None else found[0], set_number if found[1] is None else found[1]
