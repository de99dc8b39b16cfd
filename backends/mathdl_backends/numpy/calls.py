"""Calls that begin a group of ops: products, sums, gathers, convolutions and pooling, each on pieces of its own."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from mathdl_backends.numpy import products, windows, words
from mathdl_backends.numpy.pieces import Parts, height, pieces, row_ranges
from mathdl_backends.numpy.programs import Group, Op, Operand, share
from mathdl_backends.numpy.recording import Call

_OPERATIONS_OF_A_WORD = 8
"""What a random word costs: ten rounds make four."""


def starts(call: Call) -> Group | None:
    """A group that does what the call does, if a program can."""
    translate = _STARTS.get(call.function)
    if translate is not None:
        return translate(*call.args)
    source = getattr(call.function, "__self__", None)
    if isinstance(source, np.ndarray) and call.function.__name__ == "take":
        return _take_rows(source, *call.args[:3])
    return None


def is_contiguous(A: Any) -> bool:
    """Whether A is an array that the ops can read and write as a run of numbers."""
    return isinstance(A, np.ndarray) and A.flags.carray and A.dtype in (np.float32, np.float64)


# -- products and sums -------------------------------------------------------------------------------------------------


def _matmul(A: Any, B: Any, out: Any) -> Group | None:
    if B.ndim != 2:
        return None
    if A.ndim == 1 or A.shape[0] == 1:
        return _row_product(A.reshape(-1), B, out)
    return _product(A, B, [(slice(0, A.shape[0]), slice(0, B.shape[1]))], out)


def _product(A: Any, B: Any, parts: Parts, out: Any) -> Group | None:
    a, b, c = _layout(A), _layout(B), _layout(out)
    if a is None or b is None or c is None or c.right or not A.dtype == B.dtype == out.dtype or c.down != out.shape[1]:
        return None
    if share(A, B):
        return None  # NumPy takes another routine for A Aᵀ
    (rows, columns), inner = out.shape, A.shape[1]
    if min(inner, *(part.stop - part.start for piece in parts for part in piece)) < 2:
        return None  # and for vectors; what is empty is not for BLAS
    group = Group((rows, columns), parts)
    group.add(Op("PRODUCT", a, b, out, columns, inner), rows * inner * columns)
    return group


def _row_product(a: Any, B: Any, out: Any) -> Group | None:
    """a B for one row a: ones, for a sum of rows."""
    if not a.dtype == B.dtype == out.dtype or not all(map(is_readable, (a, B, out))) or min(B.shape) < 2:
        return None
    group = Group((1, B.shape[1]), [(slice(0, 1), slice(0, B.shape[1]))])
    group.add(Op("ROW_PRODUCT", Operand(a, 0, 1), Operand(B, B.shape[1], 1), out, B.shape[1], B.shape[0]), B.size)
    return group


def _take_rows(source: Any, indices: Any, axis: Any, out: Any) -> Group | None:
    if axis != 0 or indices.ndim != 1 or indices.dtype != np.int64 or source.size == 0 or len(indices) == 0:
        return None
    if not all(A.flags.carray for A in (indices, out)) or not source.flags.c_contiguous or out.dtype != source.dtype:
        return None
    if out.dtype.itemsize not in (4, 8) or out.dtype.hasobject:
        return None
    rows, width = len(indices), prod(source.shape[1:])
    group = Group((rows, width), pieces(rows, width))
    op = Op("TAKE_ROWS", Operand(source, width, 1), Operand(indices, 0, 1), out, width, source.shape[0])
    group.add(op, out.size)
    return group


# -- windows -----------------------------------------------------------------------------------------------------------


def _convolve(A: Any, W: Any, b: Any, window: Any, Z: Any) -> Group | None:
    places, n = Z.shape
    if not _can_convolve(A, W, Z, places, n):
        return None
    group = Group((places, n), [(part, slice(0, n)) for part in row_ranges(places, n)])
    scratch = height(n) * W.shape[0] * A.itemsize
    op = Op("CONVOLVE", Operand(A, 0, 0), Operand(W, 0, 0), Z, n, n, _window(A.shape, window, places, n), scratch)
    group.add(op, W.size * places)
    if b is not None:
        group.add(Op("ADD", Operand(Z, n, 1, True), Operand(b, 0, 1), Z, n), Z.size)
    return group


def _convolve_dW(A: Any, dZ: Any, window: Any, parts: Any) -> Group | None:
    places, n = dZ.shape
    if not _can_convolve(A, dZ, parts, places, n):
        return None
    count, size = parts.shape
    group = Group((count, size), [(slice(j, j + 1), slice(0, size)) for j in range(count)])
    scratch = (height(n) * size // n + size) * A.itemsize
    about = _window(A.shape, window, places, n, count)
    group.add(Op("CONVOLVE_DW", Operand(A, 0, 0), Operand(dZ, 0, 0), parts, size, n, about, scratch), size * places)
    return group


def _convolve_dA(dZ: Any, W: Any, window: Any, dA: Any) -> Group | None:
    images, places, n = dZ.shape[0], prod(dZ.shape[1:3]), dZ.shape[3]
    if not all(map(is_readable, (dZ, W, dA))) or not dZ.dtype == W.dtype == dA.dtype or min(places, n, W.shape[0]) < 2:
        return None
    size = dA.size // images
    group = Group((images, size), [(part, slice(0, size)) for part in row_ranges(images, size)])
    about, scratch = _window(dA.shape, window, places, n), places * W.shape[0] * dA.itemsize
    op = Op("CONVOLVE_DA", Operand(dZ, 0, 0), Operand(W, 0, 0), dA, size, n, about, scratch)
    group.add(op, images * places * W.size)
    return group


def _max_line(A: Any, line: Any, beats: Any, Z: Any) -> Group | None:
    if not is_readable(A) or not is_contiguous(Z) or not beats.flags.c_contiguous or A.dtype != Z.dtype or not Z.size:
        return None
    group, about, n = _lines(line, A.shape, Z.shape, Z.shape)
    op = Op("MAX_LINE", Operand(A, 0, 0), Operand(beats, 0, 0), Z, group.shape[1], n, about)
    group.add(op, A.size, [beats])
    return group


def _max_line_backward(dZ: Any, beats: Any, line: Any, dA: Any) -> Group | None:
    if not all(map(is_readable, (dZ, dA))) or not beats.flags.c_contiguous or dZ.dtype != dA.dtype or not dZ.size:
        return None
    group, about, n = _lines(line, dA.shape, dZ.shape, dA.shape)
    op = Op("MAX_LINE_BACKWARD", Operand(dZ, 0, 0), Operand(beats, 0, 0), dA, group.shape[1], n, about)
    group.add(op, dA.size)
    return group


def _lines(line: Any, A: Any, Z: Any, out: Any) -> tuple[Group, Any, int]:
    """A group for a result of the shape `out`, a `Line` as steps.c takes it, and the elements behind the axis."""
    outer, n = prod(A[: line.axis]), prod(A[line.axis + 1 :])
    width = out[line.axis] * n
    group = Group((outer, width), [(part, slice(0, width)) for part in row_ranges(outer, width)])
    return group, np.array([outer, A[line.axis], Z[line.axis], line.size, line.stride]), n


def _can_convolve(A: Any, B: Any, out: Any, places: int, n: int) -> bool:
    if not all(map(is_readable, (A, B, out))) or not A.dtype == B.dtype == out.dtype:
        return False
    return n >= 2 and height(n) >= 2 and places % height(n) != 1  # NumPy takes another routine for a single row


def _window(images: Any, window: Any, places: int, n: int, parts: int = 0) -> Any:
    """A `Window` as steps.c takes it."""
    _, p, q, k = images
    (f, g), (s, t), ((top, _), (left, _)), (d, e) = window
    few = k <= windows.FEW_CHANNELS
    output = window.output((p, q))
    return np.array([p, q, k, *output, f, g, s, t, top, left, d, e, few, places, height(n), parts], dtype=np.int64)


def _random_words(key: Any, first: int, out: Any) -> Group | None:
    if out.size == 0:
        return None
    group = Group(out.shape, pieces(*out.shape))
    operand = Operand(key, 0, 0)
    group.add(Op("RANDOM_WORDS", operand, operand, out, out.shape[1], first), _OPERATIONS_OF_A_WORD * out.size)
    return group


# -- what arrays are like ----------------------------------------------------------------------------------------------


def is_readable(A: Any) -> bool:
    """Whether A is a run of numbers that the ops can read."""
    return (
        isinstance(A, np.ndarray) and A.flags.c_contiguous and A.flags.aligned and A.dtype in (np.float32, np.float64)
    )


def _layout(M: Any) -> Operand | None:
    """M as BLAS takes it: `right` is whether it lies transposed, `down` the elements to the next row, or column."""
    if M.ndim != 2 or M.dtype not in (np.float32, np.float64):
        return None
    (rows, columns), (down, right), item = M.shape, M.strides, M.itemsize
    if right == item and down >= columns * item and down % item == 0:
        return Operand(M, down // item, 0)
    if down == item and right >= rows * item and right % item == 0:
        return Operand(M, right // item, 1)
    return None


_STARTS: dict[Any, Callable[..., Group | None]] = {
    np.matmul: _matmul,
    products.product_in_pieces.__wrapped__: _product,  # type: ignore[attr-defined]
    windows.convolve_into.__wrapped__: _convolve,  # type: ignore[attr-defined]
    windows.convolve_dW_parts.__wrapped__: _convolve_dW,  # type: ignore[attr-defined]
    windows.convolve_dA_into.__wrapped__: _convolve_dA,  # type: ignore[attr-defined]
    windows.max_line_into.__wrapped__: _max_line,  # type: ignore[attr-defined]
    windows.max_line_backward_into.__wrapped__: _max_line_backward,  # type: ignore[attr-defined]
    words.fill.__wrapped__: _random_words,  # type: ignore[attr-defined]
}
