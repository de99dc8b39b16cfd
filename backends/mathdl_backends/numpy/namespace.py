"""The NumPy namespace: array-api-compat's, with the functions that its wrappers slow down taken unwrapped.

A wrapper costs 0.7 to 1.5 µs a call, and a small network's step is some fifty calls long.
"""

from __future__ import annotations

from threading import local
from types import ModuleType
from typing import Any

import array_api_compat.numpy as compat
import numpy as np

LONGEST_PRODUCT = 448
"""OpenBLAS adds the terms of a longer inner dimension in blocks that depend on the number of its threads."""

blas = local()
"""`blas.threaded`: whether this thread's products may run on several BLAS threads, and so must not depend on how many."""


def matmul(A: Any, B: Any) -> Any:
    """A B for 2-D operands; where BLAS is threaded, in a form whose bits do not depend on the number of threads."""
    if getattr(blas, "threaded", False):
        return _matmul_for_any_threads(A, B)
    return np.matmul(A, B)


def _matmul_for_any_threads(A: Any, B: Any, out: Any = None) -> Any:
    (rows, inner), columns = A.shape, B.shape[1]
    if rows == 1 or columns == 1:  # matrix × vector is cut along the inner dimension; matrix × matrix is not
        A = np.concatenate([A, A]) if rows == 1 else A
        B = np.concatenate([B, B], axis=1) if columns == 1 else B
        product = _matmul_for_any_threads(A, B)[:rows, :columns]
        if out is None:
            return np.ascontiguousarray(product)
        out[...] = product
        return out
    if inner <= LONGEST_PRODUCT:
        return np.matmul(A, B, out=out)
    pieces = -(-inner // LONGEST_PRODUCT)
    step = -(-inner // pieces)
    out = np.matmul(A[:, :step], B[:step], out=out)
    for start in range(step, inner, step):
        out += np.matmul(A[:, start : start + step], B[start : start + step])
    return out


def matmul_into(A: Any, B: Any, out: Any) -> Any:
    """A B written to `out`."""
    if getattr(blas, "threaded", False):
        return _matmul_for_any_threads(A, B, out)
    return np.matmul(A, B, out=out)


def _sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)


def _max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


def _take(x: Any, indices: Any, /, *, axis: Any = None) -> Any:
    return x.take(indices, axis)


def _reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    if copy is None:
        return x.reshape(shape)
    return np.reshape(x, shape, copy=copy)


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return x.astype(dtype, copy=copy)


namespace = ModuleType("mathdl_backends.numpy.namespace.namespace", "The array API functions for NumPy arrays.")
namespace.__dict__.update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
namespace.__dict__.update(
    {name: getattr(np, name) for name in ("exp", "log", "log1p", "expm1", "sqrt", "tanh", "abs", "sign", "maximum", "minimum")}
)
namespace.__dict__.update(matmul=matmul, sum=_sum, max=_max, take=_take, reshape=_reshape, astype=_astype)
