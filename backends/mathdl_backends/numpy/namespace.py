"""The NumPy namespace: array-api-compat's, with the functions that its wrappers slow down taken unwrapped.

A wrapper costs 0.7 to 1.5 µs a call, and a small network's step is some fifty calls long.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import local
from types import ModuleType
from typing import Any

import array_api_compat.numpy as compat
import numpy as np

MOST_PIECES = 4
_SMALLEST_PIECE = 3_000_000
"""Multiply-adds below which handing a piece of a product to another thread costs more than it saves."""


class _Products(local):
    """`products.share`: None where this thread computes a product in one go; else what runs the pieces."""

    share: Callable[[Callable[[int], Any], int], Any] | None = None


products = _Products()


def matmul(A: Any, B: Any) -> Any:
    """A B for 2-D operands."""
    return np.matmul(A, B) if products.share is None else _in_pieces(A, B, None, products.share)


def matmul_into(A: Any, B: Any, out: Any) -> Any:
    """A B written to `out`."""
    return np.matmul(A, B, out=out) if products.share is None else _in_pieces(A, B, out, products.share)


def _in_pieces(A: Any, B: Any, out: Any, share: Callable[[Callable[[int], Any], int], Any]) -> Any:
    """A B in pieces of its rows or of its columns, whichever are more.

    Only the shape decides on the cut, and one BLAS thread computes a piece: the bits are the same whoever computes it.
    (On several threads BLAS cuts a product by their number, and rounds differently along the cuts.)
    """
    (rows, inner), columns = A.shape, B.shape[1]
    work = rows * inner * columns
    if work < 2 * _SMALLEST_PIECE:
        return np.matmul(A, B, out=out)
    pieces = MOST_PIECES if work >= MOST_PIECES * _SMALLEST_PIECE else 2
    if out is None:
        out = np.empty((rows, columns), dtype=np.result_type(A, B))
    step = -(-max(rows, columns) // pieces)

    def piece(j: int) -> None:
        part = slice(j * step, (j + 1) * step)
        if rows >= columns:
            np.matmul(A[part], B, out=out[part])
        else:
            np.matmul(A, B[:, part], out=out[:, part])

    share(piece, pieces)
    return out


_add_up: Any = np.add.reduce  # what np.sum comes down to
_greatest: Any = np.maximum.reduce


def _sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return _add_up(x, axis=axis, dtype=dtype, keepdims=keepdims)


def _max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    return _greatest(x, axis=axis, keepdims=keepdims)


def _mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    sum_ = _add_up(x, axis=axis, keepdims=keepdims)
    return sum_ / (x.size // max(sum_.size, 1))


def _argmax(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    return x.argmax(axis=axis, keepdims=keepdims)


def _take(x: Any, indices: Any, /, *, axis: Any = None) -> Any:
    return x.take(indices, axis)


def _reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    if copy is None:
        return x.reshape(shape)
    return np.reshape(x, shape, copy=copy)


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return x.astype(dtype, copy=copy)


_AS_THEY_ARE = (
    *("abs", "exp", "expm1", "log", "log1p", "maximum", "minimum", "sign", "sqrt", "tanh"),
    *("arange", "empty", "full", "ones", "zeros"),
)

namespace = ModuleType("mathdl_backends.numpy.namespace.namespace", "The array API functions for NumPy arrays.")
namespace.__dict__.update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
namespace.__dict__.update({name: getattr(np, name) for name in _AS_THEY_ARE})
namespace.__dict__.update(
    argmax=_argmax, astype=_astype, matmul=matmul, max=_max, mean=_mean, reshape=_reshape, sum=_sum, take=_take
)
