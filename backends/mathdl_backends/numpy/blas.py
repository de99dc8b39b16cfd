"""Where the product routines lie of the BLAS that NumPy has loaded, for the compiled programs (native/steps.c).

They need an OpenBLAS with 64-bit integers, as NumPy's wheels have it; elsewhere `routines()` is None.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

_NAMES = ("sgemm", "dgemm", "sgemv", "dgemv")


@cache
def routines() -> tuple[int, ...] | None:
    """The addresses of gemm and gemv, each for float and for double; None where NumPy's BLAS has no such."""
    try:  # a look-up in NumPy's own module finds the library that it was linked to, and no other
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for prefix in ("scipy_cblas_", "cblas_"):
        found: list[Any] = [getattr(library, f"{prefix}{name}64_", None) for name in _NAMES]
        if None not in found:
            return tuple(ctypes.cast(function, ctypes.c_void_p).value or 0 for function in found)
    return None
