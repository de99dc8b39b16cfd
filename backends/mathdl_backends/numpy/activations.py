"""NumPy kernels for activations."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mathdl.primitive import Kernel

_WIDE = 512
"""Elements of a row that NumPy passes over at full speed."""
_LEAST = 8192
"""Elements below which the ways are equally quick."""


def relu_forward(Z: Any) -> Any:
    """max(Z, 0), against a row of zeros: NumPy compares with a row two to three times as fast as with one number."""
    return np.maximum(Z.reshape(-1, _WIDE), _zeros(Z.dtype)).reshape(Z.shape)


@lru_cache(maxsize=8)
def _zeros(dtype: Any) -> Any:
    zeros = np.zeros(_WIDE, dtype=dtype)
    zeros.flags.writeable = False
    return zeros


def _why_not(Z: Any) -> str | None:
    if type(Z) is not np.ndarray:
        return "recorded as one call with the number"
    if Z.size < _LEAST or Z.size % _WIDE or not Z.flags.c_contiguous or Z.dtype.kind != "f":
        return f"no rows of {_WIDE}"
    return None


KERNELS = {"relu_forward": Kernel(relu_forward, _why_not)}
