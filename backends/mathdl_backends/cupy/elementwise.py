"""CUDA kernels for primitives that take many small ones as array code: pooling, the loss of labels, rows of tables.

Each is the body, in C, of a CuPy `ElementwiseKernel`, with one thread for a number `i` of the result. It does the
operations of the reference in the reference's order: pooling has its bits. The body says nothing of CUDA, so it can be
compiled and checked without a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

from mathdl.primitive import Kernel

_MOST_CLASSES = 64
"""Classes up to which one thread may well go through a row."""


class Source(NamedTuple):
    """A kernel as `cupy.ElementwiseKernel` takes it. All arrays are raw: numbers are addressed in row-major order."""

    name: str
    inputs: str
    outputs: str
    body: str


MAX_LINE = Source(
    "max_line",
    "raw T A, int64 elements, int64 places, int64 inner, int64 stride, int64 taps, int64 count",
    "raw T Z, raw bool beats",
    """
    const ptrdiff_t outer = i / inner / places, place = i / inner % places;
    const ptrdiff_t first = (outer * elements + place * stride) * inner + i % inner;
    T largest = A[first];
    for (ptrdiff_t tap = 1; tap < taps; tap++) {
        const T a = A[first + tap * inner];
        beats[(tap - 1) * count + i] = a > largest;
        if (a > largest || a != a) largest = a;
    }
    Z[i] = largest;
    """,
)

MAX_LINE_BACKWARD = Source(
    "max_line_backward",
    "raw T dZ, raw bool beats, int64 elements, int64 places, int64 inner, int64 stride, int64 taps, int64 count",
    "raw T dA",
    """
    const ptrdiff_t outer = i / inner / elements, element = i / inner % elements;
    T sum = 0;
    for (ptrdiff_t tap = taps - 1; tap >= 0; tap--) {
        const ptrdiff_t start = element - tap;
        if (start < 0 || start % stride != 0 || start / stride >= places) continue;
        const ptrdiff_t window = (outer * places + start / stride) * inner + i % inner;
        T left = dZ[window];
        for (ptrdiff_t later = taps - 1; later > tap; later--)
            left -= left * (T)beats[(later - 1) * count + window];
        sum += tap > 0 ? left * (T)beats[(tap - 1) * count + window] : left;
    }
    dA[i] = sum;
    """,
)

SUM_LINE = Source(
    "sum_line",
    "raw T A, int64 elements, int64 places, int64 inner, int64 stride, int64 taps",
    "raw T Z",
    """
    const ptrdiff_t outer = i / inner / places, place = i / inner % places;
    const ptrdiff_t first = (outer * elements + place * stride) * inner + i % inner;
    T sum = A[first];
    for (ptrdiff_t tap = 1; tap < taps; tap++) sum += A[first + tap * inner];
    Z[i] = sum;
    """,
)

SUM_LINE_BACKWARD = Source(
    "sum_line_backward",
    "raw T dZ, int64 elements, int64 places, int64 inner, int64 stride, int64 taps",
    "raw T dA",
    """
    const ptrdiff_t outer = i / inner / elements, element = i / inner % elements;
    T sum = 0;
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        const ptrdiff_t start = element - tap;
        if (start < 0 || start % stride != 0 || start / stride >= places) continue;
        sum += dZ[(outer * places + start / stride) * inner + i % inner];
    }
    dA[i] = sum;
    """,
)

LABELS_TERMS = Source(
    "categorical_cross_entropy_labels_terms",
    "raw T Z, raw L labels, int64 classes",
    "raw T losses, raw T E, raw T sums",
    """
    const ptrdiff_t row = i * classes;
    T largest = Z[row], sum = 0;
    for (ptrdiff_t j = 1; j < classes; j++) {
        const T z = Z[row + j];
        if (z > largest || z != z) largest = z;
    }
    for (ptrdiff_t j = 0; j < classes; j++) {
        const T e = exp(Z[row + j] - largest);
        E[row + j] = e;
        sum += e;
    }
    sums[i] = sum;
    const ptrdiff_t label = labels[i]; /* what is no class has no loss */
    losses[i] = 0 <= label && label < classes ? log(sum) - (Z[row + label] - largest) : (T)nan("");
    """,
)

LABELS_SLOPES = Source(
    "categorical_cross_entropy_labels_slopes",
    "raw T E, raw T sums, raw L labels, raw T dlosses, int64 classes",
    "raw T dZ",
    """
    const ptrdiff_t row = i / classes;
    T slope = E[i] / sums[row];
    slope -= (T)(labels[row] == i % classes);
    dZ[i] = slope * dlosses[row];
    """,
)

TAKE_ROW = Source(
    "take_row",
    "raw T table, raw int64 at, int64 rows, int64 width",
    "raw T row",
    """
    if (at[0] >= 0 && at[0] < rows) row[i] = table[at[0] * width + i];
    """,
)

PUT_ROW = Source(
    "put_row",
    "raw T row, raw int64 at, int64 rows, int64 width",
    "raw T table",
    """
    if (at[0] >= 0 && at[0] < rows) table[at[0] * width + i] = row[i];
    """,
)

COUNT_FINITE = Source(
    "count_finite",
    "raw T J",
    "raw int64 good",
    """
    good[0] = good[0] && isfinite(J[i]);
    good[1] = good[1] + good[0];
    """,
)


@cache
def compiled(source: Source) -> Any:
    """The kernel; CuPy compiles it for each combination of dtypes, at the first call with them."""
    import cupy

    return cupy.ElementwiseKernel(source.inputs, source.outputs, source.body, f"mathdl_{source.name}")


# -- the primitives ----------------------------------------------------------------------------------------------------


def max_line(A: Any, line: Any) -> tuple[Any, Any]:
    """Z, and where each tap but the first beats those before it: one array, tap after tap."""
    empty, (places, inner), shape = _empty(), _along(A.shape, line), _windows(A.shape, line)
    Z, beats = empty(shape, A.dtype), empty((line.size - 1, *shape), "bool")
    sizes = A.shape[line.axis], places, inner, line.stride, line.size, Z.size
    compiled(MAX_LINE)(A, *sizes, Z, beats, size=Z.size)
    return Z, beats


def max_line_backward(dZ: Any, cache: Any) -> Any:
    """dA with its padding."""
    line, (places, inner) = cache.line, _along(cache.shape, cache.line)
    dA = _empty()(cache.shape, dZ.dtype)
    sizes = cache.shape[line.axis], places, inner, line.stride, line.size, dZ.size
    compiled(MAX_LINE_BACKWARD)(dZ, cache.beats, *sizes, dA, size=dA.size)
    return dA


def sum_line(A: Any, line: Any) -> Any:
    """Z."""
    places, inner = _along(A.shape, line)
    Z = _empty()(_windows(A.shape, line), A.dtype)
    compiled(SUM_LINE)(A, A.shape[line.axis], places, inner, line.stride, line.size, Z, size=Z.size)
    return Z


def sum_line_backward(dZ: Any, line: Any, elements: int) -> Any:
    """dA with its padding, so many elements along the axis."""
    shape = (*dZ.shape[: line.axis], elements, *dZ.shape[line.axis + 1 :])
    places, inner = _along(shape, line)
    dA = _empty()(shape, dZ.dtype)
    compiled(SUM_LINE_BACKWARD)(dZ, elements, places, inner, line.stride, line.size, dA, size=dA.size)
    return dA


def labels_terms(Z: Any, labels: Any) -> tuple[Any, Any, Any]:
    """(ℓ, E, T)."""
    (B, classes), empty = Z.shape, _empty()
    losses, E, T = empty((B, 1), Z.dtype), empty(Z.shape, Z.dtype), empty((B, 1), Z.dtype)
    compiled(LABELS_TERMS)(Z, labels, classes, losses, E, T, size=B)
    return losses, E, T


def labels_slopes(E: Any, T: Any, labels: Any, dlosses: Any) -> Any:
    """dZ."""
    dZ = _empty()(E.shape, E.dtype)
    compiled(LABELS_SLOPES)(E, T, labels, dlosses, E.shape[1], dZ, size=dZ.size)
    return dZ


def take_row(T: Any, at: Any, row: Any) -> None:
    """row ← T[at]."""
    compiled(TAKE_ROW)(T, at, T.shape[0], row.size, row, size=row.size)


def put_row(T: Any, at: Any, row: Any) -> None:
    """T[at] ← row."""
    compiled(PUT_ROW)(row, at, *T.shape, T, size=T.shape[1])


def count_finite(J: Any, good: Any) -> None:
    """good (2,): 1 as long as every J (1,) was finite, else 0; how many were, up to the first that was not."""
    compiled(COUNT_FINITE)(J, good, size=1)


def _empty() -> Any:
    import cupy

    return cupy.empty


def _along(shape: Sequence[int], line: Any) -> tuple[int, int]:
    """(the places of the window, the numbers behind the axis) of an array with elements of this shape."""
    return (shape[line.axis] - line.size) // line.stride + 1, prod(shape[line.axis + 1 :])


def _windows(shape: Sequence[int], line: Any) -> tuple[int, ...]:
    """The shape of the results of the window on elements of this shape."""
    return (*shape[: line.axis], _along(shape, line)[0], *shape[line.axis + 1 :])


# -- when they are used ------------------------------------------------------------------------------------------------


def _floats(A: Any, *_: Any) -> str | None:
    return None if str(A.dtype) in ("float32", "float64") else f"numbers of {A.dtype}"


def _beats_in_one(dZ: Any, cache: Any) -> str | None:
    return "what the reference left behind" if isinstance(cache.beats, tuple) else _floats(dZ)


def _few_classes(Z: Any, labels: Any) -> str | None:
    if not 0 < Z.shape[1] <= _MOST_CLASSES:
        return f"{Z.shape[1]} classes: one thread goes through a row of {_MOST_CLASSES} at most"
    return _floats(Z)


def _one_dtype(T: Any, at: Any, row: Any) -> str | None:
    return None if T.dtype == row.dtype and str(at.dtype) == "int64" else f"{T.dtype} and {row.dtype} at {at.dtype}"


KERNELS = {
    "max_line": Kernel(max_line, _floats),
    "max_line_backward": Kernel(max_line_backward, _beats_in_one),
    "sum_line": Kernel(sum_line, _floats),
    "sum_line_backward": Kernel(sum_line_backward, _floats),
    "categorical_cross_entropy_labels_terms": Kernel(labels_terms, _few_classes),
    "categorical_cross_entropy_labels_slopes": Kernel(labels_slopes, _floats),
    "take_row": Kernel(take_row, _one_dtype),
    "put_row": Kernel(put_row, _one_dtype),
}
