"""NumPy kernels for sliding windows: gather and multiply in blocks that stay in cache; pooling without a fill of zeros.

What a window sees is a strided view of the padded images, copied a few megabytes at a time into a buffer of the thread.
The cache of the layer holds the images, so backward gathers again: that costs less than the memory would.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, prod
from threading import local
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mathdl.primitive import Kernel
from mathdl_backends.numpy.products import matmul_into

_BLOCK = 4 << 20
"""Bytes of gathered elements at a time: they are read back from the cache by the product."""

_FEW_CHANNELS = 4
"""Up to so many channels the gathered matrix is laid out by taps: runs of places are longer than runs of channels."""

_WIDE = 512
"""Elements of a row that is long enough to be broadcast over at full speed."""


class _Buffers(local):
    """The buffers of a thread, by name and dtype."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, Any], Any] = {}


_buffers = _Buffers()


def convolve(A: Any, W: Any, b: Any, gather: Any, groups: int) -> Any:
    """Z = (what the window sees) W + b, block by block."""
    W = W.reshape(-1, W.shape[2])
    Z = np.empty((A.shape[0] * prod(gather.window.output(gather.input)), W.shape[1]), dtype=A.dtype)
    for rows, P in _blocks(A, gather.window):
        block = Z[rows]
        matmul_into(P, W, block)
        if b is not None:
            _add_row(block, b)
    return Z


def convolve_dW(A: Any, dZ: Any, gather: Any, groups: int, into: Any = None) -> Any:
    """dW = Σ (what the window sees)ᵀ dZ, a sum over the blocks in their order."""
    taps, k, n = prod(gather.window.kernel), A.shape[3], dZ.shape[1]
    dW = np.empty((taps, k, n), dtype=A.dtype) if into is None else into
    sum_ = dW.reshape(taps * k, n)
    term = _buffer("term", sum_.shape, A.dtype)
    for rows, P in _blocks(A, gather.window):
        matmul_into(P.T, dZ[rows], term if rows.start else sum_)
        if rows.start:
            sum_ += term
    return dW


def max_line_backward(dZ: Any, cache: Any) -> Any:
    """Every element lies in one window, so each is written once."""
    first, *others = cache.line.taps(cache.shape[cache.line.axis])
    dA = np.empty(cache.shape, dtype=dZ.dtype)
    for tap, beats in zip(reversed(others), reversed(cache.beats), strict=True):
        won = dA[tap]
        np.multiply(dZ, beats, out=won)
        dZ = np.subtract(dZ, won, out=dA[first] if tap is others[0] else dZ)
    if not others:
        dA[first] = dZ
    return dA


def sum_line_backward(dZ: Any, line: Any, elements: int) -> Any:
    """Every element lies in one window, so each is written once."""
    dA = np.empty((*dZ.shape[: line.axis], elements, *dZ.shape[line.axis + 1 :]), dtype=dZ.dtype)
    for tap in line.taps(elements):
        dA[tap] = dZ
    return dA


def _add_row(Z: Any, b: Any) -> None:
    """Z += b. Broadcasting is slow over narrow rows, so it takes as many of them together as make a wide one."""
    rows, n = Z.shape
    together = gcd(rows, max(1, _WIDE // n))
    Z = Z.reshape(rows // together, together * n)
    Z += np.tile(b, together)


def _blocks(A: Any, window: Any) -> Iterator[tuple[slice, Any]]:
    """(places, what the window sees there), the places of a block in a row and in the order of the result.

    A block is some instances, or some rows of places of a single one where an instance is larger than a block.
    """
    (B, p, q, k), taps = A.shape, prod(window.kernel)
    rows, columns = window.output((p, q))
    row = columns * taps * k * A.itemsize
    height = min(rows, max(1, _BLOCK // row))
    instances = max(1, _BLOCK // (row * rows))
    for first in range(0, B, instances):
        view = _view(_padded(A[first : first + instances], window.padding), window, (rows, columns))
        for top in range(0, rows, height):
            block = view[:, top : top + height]
            places = prod(block.shape[:3])
            start = (first * rows + top) * columns
            if k <= _FEW_CHANNELS:
                P = _buffer("patches", (*block.shape[3:], *block.shape[:3]), A.dtype)
                np.copyto(P, block.transpose(3, 4, 5, 0, 1, 2))
                yield slice(start, start + places), P.reshape(taps * k, places).T
            else:
                P = _buffer("patches", block.shape, A.dtype)
                np.copyto(P, block)
                yield slice(start, start + places), P.reshape(places, taps * k)


def _view(A: Any, window: Any, output: tuple[int, int]) -> Any:
    """(B, p', q', f, f', k): what the window sees of padded images, without a copy."""
    (s, t), (d, e) = window.stride, window.dilation
    instance, row, column, channel = A.strides
    return as_strided(
        A,
        (A.shape[0], *output, *window.kernel, A.shape[3]),
        (instance, s * row, t * column, d * row, e * column, channel),
        writeable=False,
    )


def _padded(A: Any, padding: Any) -> Any:
    """A with zeros around it, in a buffer of this thread; negative padding cuts off."""
    _, p, q, _ = A.shape
    (top, bottom), (left, right) = padding
    A = A[:, max(-top, 0) : p - max(-bottom, 0), max(-left, 0) : q - max(-right, 0)]
    top, bottom, left, right = (max(side, 0) for side in (top, bottom, left, right))
    if not (top or bottom or left or right):
        return A
    B, p, q, k = A.shape
    X = _buffer("padded", (B, top + p + bottom, left + q + right, k), A.dtype)
    X[:, :top] = X[:, top + p :] = 0
    X[:, top : top + p, :left] = X[:, top : top + p, left + q :] = 0
    X[:, top : top + p, left : left + q] = A
    return X


def _buffer(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A buffer of this thread, for use until it is asked for again."""
    size, kept = prod(shape), _buffers.kept
    buffer = kept.get((name, dtype))
    if buffer is None or buffer.size < size:
        buffer = kept[name, dtype] = np.empty(size, dtype=dtype)
    return buffer[:size].reshape(shape)


def _why_not_blocks(A: Any, window: Any, groups: int) -> str | None:
    if groups > 1:
        return "one product for each group is the reference's"
    if window.is_point:
        return "a point gathers nothing"
    if A.shape[0] == 0:
        return "no instances"
    return None


def _why_not_once(line: Any, elements: int) -> str | None:
    if line.stride != line.size or elements % line.size:
        return "an element lies in no window, or in more than one"
    return None


KERNELS: dict[str, Kernel] = {
    "convolve": Kernel(convolve, lambda A, W, b, gather, groups: _why_not_blocks(A, gather.window, groups)),
    "convolve_dW": Kernel(
        convolve_dW, lambda A, dZ, gather, groups, into=None: _why_not_blocks(A, gather.window, groups)
    ),
    "max_line_backward": Kernel(
        max_line_backward, lambda dZ, cache: _why_not_once(cache.line, cache.shape[cache.line.axis])
    ),
    "sum_line_backward": Kernel(sum_line_backward, lambda dZ, line, elements: _why_not_once(line, elements)),
}
