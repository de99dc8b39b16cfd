"""The compiled part of the NumPy backend: `library()` is the shared object that was built beside this file, if any.

It is built when mathdl is installed where a C compiler is (scripts/build_native.py); all works without it, slower, and
with the same bits. `MATHDL_NATIVE=0` in the environment leaves it out.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

_PATH = Path(__file__).with_name("_steps.so")


@cache
def library() -> Any:
    """The library with its functions typed, or None."""
    if os.environ.get("MATHDL_NATIVE") == "0" or not _PATH.is_file():
        return None
    try:
        found = ctypes.CDLL(str(_PATH))
    except OSError:  # built for another machine
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    found.pool_new.argtypes, found.pool_new.restype = (integer, pointer), pointer
    found.pool_free.argtypes, found.pool_free.restype = (pointer,), None
    found.pool_run.argtypes = (pointer, pointer, pointer, pointer, ctypes.c_int64, pointer, integer)
    found.pool_run.restype = None
    return found


def why_absent() -> str:
    """Why `library()` is None."""
    if os.environ.get("MATHDL_NATIVE") == "0":
        return "absent: switched off by MATHDL_NATIVE=0"
    if not _PATH.is_file():
        return "absent: no C compiler was there when mathdl was installed; install it again where one is"
    return "absent: built for another kind of machine; install mathdl again on this one"
