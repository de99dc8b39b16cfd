"""The compiled part of the NumPy backend: `loaded()` is the shared object that was built beside this file, if any.

It is built when mathdl is installed where a C compiler is (scripts/build_native.py); all works without it, slower, and
with the same bits. `MATHDL_NATIVE=0` in the environment leaves it out.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_PATH = Path(__file__).with_name("_steps.so")
_SOURCES = ("steps.c", "ops.h", "windows.h", "loops.h", "words.h")


def digest(folder: Path = Path(__file__).parent) -> str:
    """What a library must be built from to fit this Python code: a digest of the C sources."""
    return sha256(b"".join((folder / name).read_bytes() for name in _SOURCES)).hexdigest()[:16]


@cache
def loaded() -> Any:
    """The library with its functions typed, or None."""
    if os.environ.get("MATHDL_NATIVE") == "0" or not _PATH.is_file():
        return None
    try:
        found: Any = ctypes.CDLL(str(_PATH))
        found.built_from.restype = ctypes.c_char_p
        if found.built_from().decode() != digest():
            return None
    except (OSError, AttributeError):  # built for another machine, or from early sources
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    found.pool_new.argtypes, found.pool_new.restype = (integer, pointer), pointer
    found.pool_run.argtypes, found.pool_run.restype = (pointer, pointer), integer
    found.pool_steps.argtypes = (pointer, pointer, pointer, pointer, integer, ctypes.c_int64)
    found.pool_steps.restype = ctypes.c_int64
    found.pool_chunks.argtypes = (pointer, pointer, ctypes.c_int64, ctypes.c_int64)
    found.pool_chunks.restype = integer
    # With Python's lock: to let go of it takes as long as a small program, and nobody sets up BLAS in the meantime.
    found.pool_run_alone = ctypes.PyDLL(str(_PATH)).pool_run_alone
    found.pool_run_alone.argtypes, found.pool_run_alone.restype = (pointer, pointer), integer
    found.random_words.argtypes = (pointer, *(3 * (ctypes.c_int64,)), pointer)
    found.random_words.restype = None
    return found


def why_absent() -> str:
    """Why `loaded()` is None."""
    if os.environ.get("MATHDL_NATIVE") == "0":
        return "absent: switched off by MATHDL_NATIVE=0"
    if not _PATH.is_file():
        return "absent: no C compiler was there when mathdl was installed; install it again where one is"
    return "absent: built for another kind of machine, or from other sources; install mathdl again"
