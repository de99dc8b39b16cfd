"""Max pooling.

    Z(i, j, c) = max_{a, a'} A(i s + a − top, j s' + a' − left, c)
    dA = dZ, brought to the element of each window that is the largest, and added where windows overlap

Conventions: of several largest elements the first in row-major order gets the gradient; padding is −∞; a NaN in a
window is its maximum (which element then gets the gradient is not defined). Columns are taken first, then rows: the
first row that holds the maximum, at its first column that does, is the first in row-major order. A window that lies
wholly in the padding has no maximum, and is refused.

Shapes: A (B, p, q, k …) or (B, p, k …) · Z (B, p', q', k …) or (B, p', k …).
Propositions: conv-size, max-pool, overlap. Source: Kasliwal, section 7 (headed); the formulas are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, like, namespace
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.layers.pooling import Line, check_pooling, lines, pooling_window
from mathdl.primitive import primitive
from mathdl.windows import Padding, Size, Window, cropped, no_window_in_padding, padded, rows_and_columns


class MaxLineCache(NamedTuple):
    """What the backward pass along one axis needs: for each tap but the first, where it beats all those before it."""

    beats: Sequence[Array]
    shape: Shape
    """The shape of A with its padding."""
    line: Line


def max_line_forward(A: Array, line: Line) -> tuple[Array, MaxLineCache]:
    """The maximum over windows along one axis."""
    A = padded(A, line.axis, line.padding, -inf)
    Z, beats = max_line(A, line)
    return Z, MaxLineCache(beats, A.shape, line)


@primitive
def max_line(A: Array, line: Line) -> tuple[Array, Sequence[Array]]:
    """The maximum over windows along one axis, tap after tap; where each tap but the first beats those before it."""
    xp = namespace(A)
    first, *others = line.taps(A.shape[line.axis])
    Z, beats = A[first], []
    for tap in others:
        beats.append(A[tap] > Z)
        Z = xp.maximum(Z, A[tap])
    return Z, tuple(beats)


@primitive
def max_line_backward(dZ: Array, cache: MaxLineCache) -> Array:
    """dA with its padding. The last tap that beats those before it is the winner: it takes dZ, and leaves 0 to them."""
    xp = namespace(dZ)
    dA = xp.zeros(cache.shape, **like(dZ))
    first, *others = cache.line.taps(cache.shape[cache.line.axis])
    for tap, beats in zip(reversed(others), reversed(cache.beats), strict=True):
        won = dZ * xp.astype(beats, dZ.dtype)
        dA[tap] += won
        dZ -= won
    dA[first] += dZ
    return dA


def max_pool_forward(A: Array, window: Window) -> tuple[Array, tuple[MaxLineCache, ...]]:
    """(Z, caches); a sequence (B, p, k …) takes the window of the image p × 1."""
    caches = []
    for line in lines(window):
        A, cache = max_line_forward(A, line)
        caches.append(cache)
    return A, tuple(caches)


def max_pool_backward(dZ: Array, caches: Sequence[MaxLineCache]) -> Array:
    """dA."""
    for cache in reversed(caches):
        dZ = cropped(max_line_backward(dZ, cache), cache.line.axis, cache.line.padding)
    return dZ


@dataclass(frozen=True)
class MaxPool2D(Layer):
    """The maximum over windows of `size`, an int or (rows, columns), on images (p, q, k …).

    `stride` is `size` unless given. `padding`: `"valid"`, `"same"` (output ⌈p / s⌉), an int or (rows, columns) on both
    sides, or ((top, bottom), (left, right)). Raises `UsageError` for arguments that make no sense, `ShapeError` for
    inputs that do not fit.
    """

    size: Size
    stride: Size | None = None
    padding: Padding = "valid"

    propositions: ClassVar[tuple[str, ...]] = ("conv-size", "max-pool", "overlap")

    def __post_init__(self) -> None:
        check_pooling(self, 2)

    def window(self, input: Shape) -> Window:
        """The window on inputs of this shape."""
        return pooling_window("MaxPool2D", 2, input, self.size, self.stride, self.padding)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        window, image = self.window(input), rows_and_columns(input, 2)
        no_window_in_padding("MaxPool2D", window, image)
        return (*window.output(image), *input[2:]), {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, tuple[MaxLineCache, ...]]:
        return max_pool_forward(A, self.window(A.shape[1:]))

    def backward(
        self, dA: Array, cache: Sequence[MaxLineCache], into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return max_pool_backward(dA, cache), {}


@dataclass(frozen=True)
class MaxPool1D(Layer):
    """The maximum over windows of `size` elements, on sequences (p, k …).

    `stride` is `size` unless given. `padding`: `"valid"`, `"same"` (output ⌈p / s⌉), an int on both sides, or
    (before, after). Raises `UsageError` for arguments that make no sense, `ShapeError` for inputs that do not fit.
    """

    size: int
    stride: int | None = None
    padding: Padding = "valid"

    propositions: ClassVar[tuple[str, ...]] = MaxPool2D.propositions

    def __post_init__(self) -> None:
        check_pooling(self, 1)

    def window(self, input: Shape) -> Window:
        """The window on inputs of this shape, as images p × 1."""
        return pooling_window("MaxPool1D", 1, input, self.size, self.stride, self.padding)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        window, image = self.window(input), rows_and_columns(input, 1)
        no_window_in_padding("MaxPool1D", window, image)
        return (window.output(image)[0], *input[1:]), {}

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, tuple[MaxLineCache, ...]]:
        return max_pool_forward(A, self.window(A.shape[1:]))

    def backward(
        self, dA: Array, cache: Sequence[MaxLineCache], into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return max_pool_backward(dA, cache), {}
