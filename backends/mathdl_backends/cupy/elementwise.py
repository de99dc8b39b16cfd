"""CUDA kernels for primitives that take many small ones as array code: pooling, random words, rows of tables.

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
from mathdl_backends.cupy.fusing import kernel
from mathdl_backends.cupy.lazy import before_writing, plain

_MOST_FIGURES = 64
"""Numbers of a row that one thread may well write."""


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

WORDS = Source(
    "words",
    "raw uint32 key, int64 first, int64 elements",
    "raw uint32 words",
    """
    const ptrdiff_t instance = i / elements, element = i % elements;
    unsigned int c0 = element / 4, c1 = first + instance, c2 = 0, c3 = 0, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const unsigned long long p0 = (unsigned long long)c0 * 0xD2511F53, p1 = (unsigned long long)c2 * 0xCD9E8D57;
        c0 = (unsigned int)(p1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned int)p1;
        c2 = (unsigned int)(p0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned int)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    words[i] = element % 4 == 0 ? c0 : element % 4 == 1 ? c1 : element % 4 == 2 ? c2 : c3;
    """,
)

LEAVE_ROW = Source(
    "leave_row",
    "raw T row, int64 rows, int64 width",
    "raw T table, raw int64 at",
    """
    const ptrdiff_t place = at[0];
    if (place >= 0 && place < rows)
        for (ptrdiff_t j = 0; j < width; j++) table[place * width + j] = row[j];
    at[0] = place + 1;
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


def words(key: Any, first: int, instances: int, elements: int) -> Any:
    """Random words (instances, elements)."""
    found = _empty()((instances, elements), "uint32")
    compiled(WORDS)(key, first, elements, found, size=found.size)
    return found


def take_rows(at: Any, *pairs: tuple[Any, Any]) -> None:
    """row ← T[at] for each of the pairs (T, row), in one kernel."""
    at, *pairs = plain((at, *pairs))
    sizes = [(T.shape[0], row.size) for T, row in pairs]
    for _, row in pairs:
        before_writing(row)
    kernel = compiled(_taking(tuple(str(row.dtype) for _, row in pairs)))
    tables, rows = ([pair[j] for pair in pairs] for j in (0, 1))
    kernel(at, *tables, *(n for size in sizes for n in size), *rows, size=max(width for _, width in sizes))


@cache
def _taking(dtypes: tuple[str, ...]) -> Source:
    """The kernel for rows of these dtypes."""
    numbers = range(len(dtypes))
    tables = [f"raw {dtypes[j]} T{j}" for j in numbers]
    sizes = [f"int64 rows{j}, int64 width{j}" for j in numbers]
    rows = [f"raw {dtypes[j]} row{j}" for j in numbers]
    lines = [f"if (i < width{j} && m < rows{j}) row{j}[i] = T{j}[m * width{j} + i];" for j in numbers]
    body = "\n".join(["const ptrdiff_t m = at[0];", "if (m >= 0) {", *lines, "}"])
    return Source("take_rows", ", ".join(["raw int64 at", *tables, *sizes]), ", ".join(rows), body)


def leave_row(at: Any, T: Any, row: Any) -> None:
    """T[at] ← row; at ← at + 1."""
    compiled(LEAVE_ROW)(row, *T.shape, T, at, size=1)


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


def _one_dtype(at: Any, *pairs: Any) -> str | None:
    if str(at.dtype) != "int64":
        return f"a cursor of {at.dtype}"
    other = next((f"{T.dtype} and {row.dtype}" for T, row in pairs if T.dtype != row.dtype), None)
    return other if pairs else "no rows"


def _few_numbers(at: Any, T: Any, row: Any) -> str | None:
    if T.ndim != 2 or T.shape[1] > _MOST_FIGURES:
        return f"rows {T.shape[1:]}: one thread writes {_MOST_FIGURES} numbers at most"
    return _one_dtype(at, (T, row))


def _in_32_bits(key: Any, first: int, instances: int, elements: int) -> str | None:
    return None if first + instances <= 2**32 else "instances are counted in 32 bits"


KERNELS = {
    "max_line": kernel(max_line, _floats),
    "max_line_backward": kernel(max_line_backward, _beats_in_one),
    "sum_line": kernel(sum_line, _floats),
    "sum_line_backward": kernel(sum_line_backward, _floats),
    "bits": kernel(words, _in_32_bits),
    "take_rows": Kernel(take_rows, _one_dtype),
    "leave_row": kernel(leave_row, _few_numbers, writes=(0, 1)),
}
