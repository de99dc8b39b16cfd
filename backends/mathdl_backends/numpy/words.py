"""NumPy kernel for random words: Philox in compiled code (native/words.h), where it is there.

The reference makes some hundred passes over arrays of 64-bit integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mathdl.primitive import Kernel
from mathdl_backends.numpy import native
from mathdl_backends.numpy.programs import address
from mathdl_backends.numpy.recording import as_one_call


def bits(key: Any, first: int, instances: int, elements: int) -> Any:
    """Words for the instances (first) …: uint32, (instances, elements)."""
    made = np.empty_like(key, shape=(instances, elements))
    fill(key, first, made)
    return made


@as_one_call
def fill(key: Any, first: int, made: Any) -> None:
    """`made` ← the words for its rows, from instance (first) on."""
    native.loaded().random_words(address(key), first, *made.shape, address(made))


def _compiled(key: Any, *_: Any) -> str | None:
    if native.loaded() is None:
        return native.why_absent()
    is_key = key.dtype == np.uint32 and key.shape == (2,) and key.flags.c_contiguous
    return None if is_key else f"a key of shape {key.shape} and dtype {key.dtype}"


KERNELS = {"bits": Kernel(bits, _compiled)}
