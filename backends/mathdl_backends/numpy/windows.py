"""NumPy kernels for sliding windows: gather and multiply in blocks that stay in cache; pooling without a fill of zeros.

What a window sees is a strided view of the padded images, copied a block of places at a time into a buffer of the
thread. The cache of the layer holds the images, so backward gathers again: that costs less than the memory would.

The functions that write to their last argument are single calls of a recorded step; native/windows.h has them in C.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import gcd, prod
from threading import local
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mathdl.primitive import Kernel
from mathdl_backends.numpy.pieces import each_piece, height, row_ranges
from mathdl_backends.numpy.recording import as_one_call

FEW_CHANNELS = 4
"""Up to so many channels the gathered matrix is laid out by taps: runs of places are longer than runs of channels."""

_MOST_PARTS = 8
"""Partial sums of a kernel's gradient, which are computed side by side and then added."""

_WIDE = 512
"""Elements of a row that is long enough to be broadcast over at full speed."""


class _Buffers(local):
    """The buffers of a thread, by name and dtype."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, Any], Any] = {}


_buffers = _Buffers()


# -- convolution -------------------------------------------------------------------------------------------------------


def convolve(A: Any, W: Any, b: Any, gather: Any, groups: int) -> Any:
    """Z = (what the window sees) W + b."""
    n = W.shape[2]
    Z = np.empty_like(A, shape=(A.shape[0] * prod(gather.window.output(gather.input)), n))
    convolve_into(A, W.reshape(-1, n), b, gather.window, Z)
    return Z


@as_one_call
def convolve_into(A: Any, W: Any, b: Any, window: Any, Z: Any) -> None:
    """Z ← (what the window sees of A) W + b, block by block."""
    blocks = row_ranges(*Z.shape)

    def block(j: int) -> None:
        rows = blocks[j]
        np.matmul(_patches(A, window, rows), W, out=Z[rows])
        if b is not None:
            _add_row(Z[rows], b)

    each_piece(block, len(blocks))


def convolve_dW(A: Any, dZ: Any, gather: Any, groups: int, into: Any = None) -> Any:
    """dW = Σ (what the window sees)ᵀ dZ: partial sums over blocks of places, then their sum, in their order."""
    taps, k, n = prod(gather.window.kernel), A.shape[3], dZ.shape[1]
    dW = np.empty_like(A, shape=(taps, k, n)) if into is None else into
    parts = np.empty_like(dZ, shape=(parts_of_dW(*dZ.shape), taps * k * n))
    convolve_dW_parts(A, dZ, gather.window, parts)
    total = dW.reshape(taps * k * n)
    if len(parts) == 1:
        total[...] = parts[0]
        return dW
    np.add(parts[0], parts[1], out=total)
    for part in parts[2:]:
        np.add(total, part, out=total)
    return dW


def parts_of_dW(places: int, n: int) -> int:
    """How many partial sums a kernel's gradient is made of."""
    return min(_MOST_PARTS, -(-places // height(n)))


@as_one_call
def convolve_dW_parts(A: Any, dZ: Any, window: Any, parts: Any) -> None:
    """Each of the parts ← the sum over its blocks of places, in their order."""
    blocks = row_ranges(*dZ.shape)
    shape = -1, dZ.shape[1]

    def part(j: int) -> None:
        mine = blocks[len(blocks) * j // len(parts) : len(blocks) * (j + 1) // len(parts)]
        sum_ = parts[j].reshape(shape)
        term = _buffer("term", sum_.shape, A.dtype)
        for rows in mine:
            np.matmul(_patches(A, window, rows).T, dZ[rows], out=sum_ if rows is mine[0] else term)
            if rows is not mine[0]:
                sum_ += term

    each_piece(part, len(parts))


def convolve_dA(dZ: Any, W: Any, window: Any, input: Any, groups: int) -> Any:
    """dA, image by image: what each place sends back to what it saw, added tap after tap."""
    taps, k, n = W.shape
    dA = np.empty_like(dZ, shape=(dZ.shape[0], *input, k))
    convolve_dA_into(dZ, W.reshape(taps * k, n), window, dA)
    return dA


@as_one_call
def convolve_dA_into(dZ: Any, W: Any, window: Any, dA: Any) -> None:
    """dA ← the input gradient of a convolution."""
    B, p, q, k = dA.shape
    output = dZ.shape[1:3]
    (top, bottom), (left, right) = window.padding
    images = row_ranges(B, p * q * k)

    def some(j: int) -> None:
        for i in range(images[j].start, images[j].stop):
            G = np.matmul(dZ[i].reshape(-1, dZ.shape[3]), W.T).reshape(*output, -1, k)
            whole = _buffer("sent back", (p + top + bottom, q + left + right, k), dA.dtype)
            whole[...] = 0
            for t, (rows, columns) in enumerate(window.taps(output)):
                whole[rows, columns] += G[:, :, t]
            dA[i] = whole[top : top + p, left : left + q]

    each_piece(some, len(images))


# -- pooling -----------------------------------------------------------------------------------------------------------


def max_line(A: Any, line: Any) -> tuple[Any, Any]:
    """(Z, beats): the maximum over windows along one axis, and where each tap but the first beats those before it."""
    first = line.taps(A.shape[line.axis])[0]
    Z = np.empty_like(A, shape=A[first].shape)
    beats = np.empty_like(A, dtype=bool, shape=(line.size - 1, *Z.shape))
    max_line_into(A, line, beats, Z)
    return Z, beats


@as_one_call
def max_line_into(A: Any, line: Any, beats: Any, Z: Any) -> None:
    """`beats` and Z ← the maximum over windows along one axis."""
    taps = line.taps(A.shape[line.axis])

    def some(where: slice) -> None:
        a, z = A[where], Z[where]
        z[...] = a[taps[0]]
        for tap, won in zip(taps[1:], beats, strict=True):
            np.greater(a[tap], z, out=won[where])
            np.maximum(z, a[tap], out=z)

    _by_images(some, len(Z), Z.size)


def max_line_backward(dZ: Any, cache: Any) -> Any:
    """Every element lies in one window, so each is written once."""
    dA = np.empty_like(dZ, shape=cache.shape)
    max_line_backward_into(dZ, cache.beats, cache.line, dA)
    return dA


@as_one_call
def max_line_backward_into(dZ: Any, beats: Any, line: Any, dA: Any) -> None:
    """dA ← what the windows send back: the last tap that beats those before it takes dZ, and leaves 0 to them."""
    taps = line.taps(dA.shape[line.axis])

    def some(where: slice) -> None:
        into = dA[where]
        left = into[taps[0]]
        left[...] = dZ[where]
        for tap, won in zip(reversed(taps[1:]), reversed(beats), strict=True):
            np.multiply(left, won[where], out=into[tap])
            np.subtract(left, into[tap], out=left)

    _by_images(some, len(dZ), dZ.size)


def sum_line_backward(dZ: Any, line: Any, elements: int) -> Any:
    """Every element lies in one window, and gets its share."""
    dA = np.empty((*dZ.shape[: line.axis], elements, *dZ.shape[line.axis + 1 :]), dtype=dZ.dtype)
    for tap in line.taps(elements):
        dA[tap] = dZ
    return dA


# -- what the kernels are made of --------------------------------------------------------------------------------------


def _by_images(some: Any, images: int, size: int) -> None:
    """some(slice of the images), in up to four runs where there is enough of them."""
    runs = min(images, 4) if size >= 1 << 17 else 1
    ends = [images * j // runs for j in range(runs + 1)]
    each_piece(lambda j: some(slice(ends[j], ends[j + 1])), runs)


def _add_row(Z: Any, b: Any) -> None:
    """Z += b. Broadcasting is slow over narrow rows, so it takes as many of them together as make a wide one."""
    rows, n = Z.shape
    together = gcd(rows, max(1, _WIDE // n))
    Z = Z.reshape(rows // together, together * n)
    Z += np.tile(b, together)


def _patches(A: Any, window: Any, places: slice) -> Any:
    """What the window sees from these places: (places, f·f'·k), in a buffer of this thread."""
    p, q, k = A.shape[1:]
    rows, columns = window.output((p, q))
    first = places.start // (rows * columns)
    images = A[first : -(-places.stop // (rows * columns))]
    view = _view(_padded(images, window.padding), window, (rows, columns))
    count = places.stop - places.start
    taps = *window.kernel, k
    if k <= FEW_CHANNELS:
        P = _buffer("patches", (*taps, count), A.dtype)
        for at, seen in _runs(places, first, rows, columns):
            block = view[seen]
            np.copyto(P[..., at].reshape(*taps, *block.shape[:2]), block.transpose(2, 3, 4, 0, 1))
        return P.reshape(-1, count).T
    P = _buffer("patches", (count, *taps), A.dtype)
    for at, seen in _runs(places, first, rows, columns):
        block = view[seen]
        np.copyto(P[at].reshape(block.shape), block)
    return P.reshape(count, -1)


@lru_cache(maxsize=4096)
def _cut_rows(start: int, stop: int, rows: int, columns: int) -> tuple[tuple[int, int, slice, slice], ...]:
    """(first place, image, rows, columns) of each rectangle that the places start … stop − 1 are made of."""
    found, place = [], start
    while place < stop:
        image, in_image = divmod(place, rows * columns)
        row, column = divmod(in_image, columns)
        if column or stop - place < columns:  # a part of a row
            width = min(columns - column, stop - place)
            found.append((place, image, slice(row, row + 1), slice(column, column + width)))
            place += width
        else:
            whole = min(rows - row, (stop - place) // columns)
            found.append((place, image, slice(row, row + whole), slice(0, columns)))
            place += whole * columns
    return tuple(found)


def _runs(places: slice, first: int, rows: int, columns: int) -> Iterator[tuple[slice, Any]]:
    """(where they lie among the places, the index into the view of the images from `first` on) of each rectangle."""
    for place, image, some_rows, some_columns in _cut_rows(places.start, places.stop, rows, columns):
        count = (some_rows.stop - some_rows.start) * (some_columns.stop - some_columns.start)
        yield slice(place - places.start, place - places.start + count), (image - first, some_rows, some_columns)


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


def _why_not_dA(dZ: Any, groups: int) -> str | None:
    if groups > 1:
        return "one product for each group is the reference's"
    return "no instances" if dZ.shape[0] == 0 else None


def _why_not_max(A: Any, line: Any) -> str | None:
    if line.size == 1:
        return "one tap is the maximum"
    return None if A.dtype.kind == "f" else f"{A.dtype}"


def _why_not_side_by_side(dZ: Any, cache: Any) -> str | None:
    if not isinstance(cache.beats, np.ndarray):
        return "the reference's cache"
    return _why_not_once(cache.line, cache.shape[cache.line.axis])


def _why_not_once(line: Any, elements: int) -> str | None:
    if line.stride != line.size or elements % line.size:
        return "an element lies in no window, or in more than one"
    return None


KERNELS: dict[str, Kernel] = {
    "convolve": Kernel(convolve, lambda A, W, b, gather, groups: _why_not_blocks(A, gather.window, groups)),
    "convolve_dW": Kernel(
        convolve_dW, lambda A, dZ, gather, groups, into=None: _why_not_blocks(A, gather.window, groups)
    ),
    "convolve_dA_by_taps": Kernel(convolve_dA, lambda dZ, W, window, input, groups: _why_not_dA(dZ, groups)),
    "max_line": Kernel(max_line, _why_not_max),
    "max_line_backward": Kernel(max_line_backward, _why_not_side_by_side),
    "sum_line_backward": Kernel(sum_line_backward, lambda dZ, line, elements: _why_not_once(line, elements)),
}
