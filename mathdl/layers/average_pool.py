"""Average pooling.

    Z(i, j, c) = 1/n(i, j) Σ_{a, a'} A(i s + a − top, j s' + a' − left, c)        (0 outside)
    dA(u, v, c) = Σ dZ(i, j, c) / n(i, j) over the windows that see (u, v)

Convention: n(i, j) is the number of elements of A that the window sees; with `count_padding` it is f·f' everywhere:
padding counts as zeros. Without it, a window that lies wholly in the padding has no average, and is refused.

Shapes: A (B, p, q, k …) or (B, p, k …) · Z (B, p', q', k …) or (B, p', k …).
Propositions: conv-size, avg-pool, overlap. Source: Kasliwal, section 7 (headed); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mathdl.arrays import Array, Shape, Tree, like, namespace
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.pooling import Line, check_pooling, lines, pooling_window
from mathdl.primitive import primitive
from mathdl.windows import Padding, Pair, Size, Window, cropped, no_window_in_padding, padded, rows_and_columns


class AveragePoolCache(NamedTuple):
    """What the backward pass needs: n(i, j), and the axes that were summed over, with their lengths."""

    n: Array | float
    lines: tuple[tuple[Line, int], ...]


@primitive
def sum_line(A: Array, line: Line) -> Array:
    """The sum over windows along one axis, tap after tap; A has its padding."""
    first, *others = line.taps(A.shape[line.axis])
    Z = A[first]
    for tap in others:
        Z = Z + A[tap]
    return Z


@primitive
def sum_line_backward(dZ: Array, line: Line, elements: int) -> Array:
    """dA with its padding, so many elements along the axis: dZ, added to all that the window saw."""
    axis = line.axis
    dA = namespace(dZ).zeros((*dZ.shape[:axis], elements, *dZ.shape[axis + 1 :]), **like(dZ))
    for tap in line.taps(elements):
        dA[tap] += dZ
    return dA


def average_pool_forward(A: Array, window: Window, counts: Array | None = None) -> tuple[Array, AveragePoolCache]:
    """(Z, cache). `counts` is n(i, j), an integer array that broadcasts against Z; None: f·f' everywhere."""
    n = float(window.kernel[0] * window.kernel[1]) if counts is None else namespace(A).astype(counts, A.dtype)
    along = []
    for line in lines(window):
        along.append((line, A.shape[line.axis] + sum(line.padding)))
        A = sum_line(padded(A, line.axis, line.padding), line)
    return A / n, AveragePoolCache(n, tuple(along))


def average_pool_backward(dZ: Array, cache: AveragePoolCache) -> Array:
    """dA."""
    dZ /= cache.n
    for line, elements in reversed(cache.lines):
        dZ = cropped(sum_line_backward(dZ, line, elements), line.axis, line.padding)
    return dZ


def window_counts(window: Window, input: Pair) -> Any:
    """n(i, j): how many pixels of an image of p × q the window sees in each place, a NumPy array (p', q')."""
    rows, columns = (
        np.minimum(start + f, p) - np.maximum(start, 0)
        for f, p, start in (
            (f, p, np.arange(places) * s - before)
            for f, s, (before, _), p, places in zip(*window[:3], input, window.output(input), strict=True)
        )
    )
    return np.outer(rows, columns)


@dataclass(frozen=True)
class AveragePool2D(Layer):
    """The average over windows of `size`, an int or (rows, columns), on images (p, q, k …).

    `stride` is `size` unless given. `padding`: `"valid"`, `"same"` (output ⌈p / s⌉), an int or (rows, columns) on both
    sides, or ((top, bottom), (left, right)); with `count_padding` its zeros count. Raises `UsageError` for arguments
    that make no sense, `ShapeError` for inputs that do not fit.
    """

    size: Size
    stride: Size | None = None
    padding: Padding = "valid"
    count_padding: bool = False

    propositions: ClassVar[tuple[str, ...]] = ("conv-size", "avg-pool", "overlap")

    def __post_init__(self) -> None:
        check_pooling(self, 2)

    def window(self, input: Shape) -> Window:
        """The window on inputs of this shape."""
        return pooling_window("AveragePool2D", 2, input, self.size, self.stride, self.padding)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        window, image = self.window(input), rows_and_columns(input, 2)
        if not self.count_padding:
            no_window_in_padding("AveragePool2D", window, image)
        return (*window.output(image), *input[2:]), {}

    def constants(self, input: Shape) -> Tree:
        window = self.window(input)
        if self.count_padding or window.padding == ((0, 0), (0, 0)):
            return {}
        counts = window_counts(window, rows_and_columns(input, 2))
        return {"counts": counts.reshape(*counts.shape, *(1 for _ in input[2:]))}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, AveragePoolCache]:
        return average_pool_forward(A, self.window(A.shape[1:]), context.constants.get("counts"))

    def backward(
        self, dA: Array, cache: AveragePoolCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return average_pool_backward(dA, cache), {}


@dataclass(frozen=True)
class AveragePool1D(Layer):
    """The average over windows of `size` elements, on sequences (p, k …).

    `stride` is `size` unless given. `padding`: `"valid"`, `"same"` (output ⌈p / s⌉), an int on both sides, or
    (before, after); with `count_padding` its zeros count. Raises `UsageError` for arguments that make no sense,
    `ShapeError` for inputs that do not fit.
    """

    size: int
    stride: int | None = None
    padding: Padding = "valid"
    count_padding: bool = False

    propositions: ClassVar[tuple[str, ...]] = AveragePool2D.propositions

    def __post_init__(self) -> None:
        check_pooling(self, 1)

    def window(self, input: Shape) -> Window:
        """The window on inputs of this shape, as images p × 1."""
        return pooling_window("AveragePool1D", 1, input, self.size, self.stride, self.padding)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        window, image = self.window(input), rows_and_columns(input, 1)
        if not self.count_padding:
            no_window_in_padding("AveragePool1D", window, image)
        return (window.output(image)[0], *input[1:]), {}

    def constants(self, input: Shape) -> Tree:
        window = self.window(input)
        if self.count_padding or window.padding == ((0, 0), (0, 0)):
            return {}
        counts = window_counts(window, rows_and_columns(input, 1))
        return {"counts": counts.reshape(counts.shape[0], *(1 for _ in input[1:]))}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, AveragePoolCache]:
        return average_pool_forward(A, self.window(A.shape[1:]), context.constants.get("counts"))

    def backward(
        self, dA: Array, cache: AveragePoolCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return average_pool_backward(dA, cache), {}
