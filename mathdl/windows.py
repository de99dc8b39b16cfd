"""Geometry of sliding windows: sizes, padding, taps, and the table that makes a convolution a gather.

Along an axis of p elements a window has f taps that lie d apart (`kernel`, `dilation`) and moves s at a time
(`stride`), over `before` elements of padding, the p elements, and `after` elements of padding. It takes

    p' = ⌊(before + p + after − d (f − 1) − 1) / s⌋ + 1

places; in place i its tap a lies on the element i s + a d − before, or on padding. A sequence of p elements is an image
of p × 1, so every `Window` has two axes: rows, then columns.

Propositions: conv-size. Source: Kasliwal, sections 6 and 7 (headed); the formulas are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mathdl.arrays import Array, Shape, like, namespace
from mathdl.errors import ShapeError, UsageError, shape_mismatch, unknown_name

Pair: TypeAlias = tuple[int, int]
Size: TypeAlias = int | Pair
"""A kernel, stride or dilation as users write it: an int, or (rows, columns)."""
Padding: TypeAlias = str | int | Pair | tuple[Pair, Pair]
"""Padding as users write it: `"valid"` (none), `"same"` (p' = ⌈p / s⌉, the odd element after), an int or
(rows, columns) on both sides, or ((top, bottom), (left, right)). In one dimension: an int, or (before, after)."""


class Window(NamedTuple):
    """A window over rows and columns; `padding` is ((top, bottom), (left, right)), negative where it cuts off."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair

    def output(self, input: Pair) -> Pair:
        """p' × q', the number of places of this window on an image of p × q."""
        rows, columns = (
            (sum(padding) + p - d * (f - 1) - 1) // s + 1 for f, s, padding, d, p in zip(*self, input, strict=True)
        )
        return rows, columns

    def adjoint(self) -> Window:
        """At stride 1: the window over the output that sees, with its taps flipped, the places that saw an element."""
        (top, bottom), (left, right) = self.padding
        rows, columns = (d * (f - 1) for f, d in zip(self.kernel, self.dilation, strict=True))
        return self._replace(padding=((rows - top, rows - bottom), (columns - left, columns - right)))

    def taps(self, output: Pair) -> list[tuple[slice, slice]]:
        """For each tap, in row-major order: the rows and the columns of the padded image that it sees."""
        rows, columns = map(tap_slices, output, self.kernel, self.stride, self.dilation)
        return [(row, column) for row in rows for column in columns]

    @property
    def is_point(self) -> bool:
        """Whether this window sees exactly one pixel in every place: 1 × 1, stride 1, no padding."""
        return self.kernel == self.stride == (1, 1) and self.padding == ((0, 0), (0, 0))


def tap_slices(places: int, kernel: int, stride: int, dilation: int = 1) -> list[slice]:
    """For each of the taps along an axis: the elements that it sees from all the places, in order."""
    return [slice(a * dilation, a * dilation + (places - 1) * stride + 1, stride) for a in range(kernel)]


def check_window(layer: str, axes: int, padding: object, **sizes: object) -> None:
    """Raise `UsageError` unless every size is a `Size`, and `padding` a `Padding`, for that number of axes (1 or 2)."""
    pair = " or a tuple (rows, columns) of two" if axes == 2 else ""
    for name, value in sizes.items():
        if not _is_int(value, 1) and not (axes == 2 and _is_pair(value, 1)):
            raise UsageError(f"{layer}: {name} must be an int ≥ 1{pair}, got {value!r}")
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise unknown_name(f"padding of {layer}", padding, ("valid", "same"))
        return
    nested = axes == 2 and _is_pair_of(padding, lambda side: _is_pair(side, 0))
    if not (_is_int(padding, 0) or _is_pair(padding, 0) or nested):
        forms = "(rows, columns) or ((top, bottom), (left, right))" if axes == 2 else "(before, after)"
        raise UsageError(f"{layer}: padding must be 'valid', 'same', an int ≥ 0, or {forms}, got {padding!r}")


@lru_cache(maxsize=256)
def fit(layer: str, input: Shape, kernel: Size, stride: Size, padding: Padding, dilation: Size = 1) -> Window:
    """The window on an input of p or p × q elements; raises `ShapeError` if it is larger than the padded input.

    The arguments have passed `check_window`. A sequence gets the window of the image p × 1.
    """
    axes = len(input)
    f, s, d = (value if isinstance(value, tuple) else (value,) * axes for value in (kernel, stride, dilation))
    reach = tuple(taps_apart * (taps - 1) + 1 for taps, taps_apart in zip(f, d, strict=True))
    sides = _sides(input, s, reach, padding)
    padded = tuple(before + p + after for p, (before, after) in zip(input, sides, strict=True))
    if any(r > p for r, p in zip(reach, padded, strict=True)):
        raise shape_mismatch(
            layer,
            "the window must not be larger than the padded input; take a smaller window, or more padding",
            window=("d (f − 1) + 1", reach),
            padded=("before + p + after", padded),
        )
    top_bottom, left_right = (*sides, (0, 0))[:2]
    f, s, d = (rows_and_columns(size, axes) for size in (f, s, d))
    return Window(f, s, (top_bottom, left_right), d)


def rows_and_columns(sizes: Shape, axes: int) -> Pair:
    """The first two of the sizes; with one axis the second is 1: a sequence is an image of one column."""
    return sizes[0], sizes[1] if axes == 2 else 1


def no_window_in_padding(layer: str, window: Window, input: Pair) -> None:
    """Raise `ShapeError` if some place of the window (without dilation) lies wholly in the padding."""
    for f, s, (before, after), p, places in zip(*window[:3], input, window.output(input), strict=True):
        if before >= f or (places - 1) * s - before >= p:
            raise ShapeError(
                f"{layer}: a window lies wholly in the padding; pad by less than the size · size {f}, stride {s},"
                f" padding ({before}, {after}), p = {p}"
            )


def spatial(layer: str, axes: int, input: Shape) -> Shape:
    """The first axes, p or p × q, of an input that must have channels behind them; raises `ShapeError`."""
    if len(input) <= axes:
        kind, symbolic = (("a sequence", "(p, k)"), ("an image", "(p, q, k)"))[axes - 1]
        raise shape_mismatch(
            layer, f"A[l-1] must be {kind} with an axis of channels; one channel is X[..., None]", A=(symbolic, input)
        )
    return input[:axes]


class Gather(NamedTuple):
    """A window on an image of p × q, with its table (`gather_table`) on the device; a point needs none."""

    window: Window
    input: Pair
    table: Array | None


@lru_cache(maxsize=256)
def gather_table(window: Window, input: Pair) -> npt.NDArray[np.int64]:
    """For each place and tap (both row-major): the pixel u·q + v that it sees; p·q, one past the last, for padding.

    Shape (p'·q'·f·f',). Memoised, so it cannot be written to.
    """
    rows, columns = (
        np.arange(places)[:, None] * s + np.arange(f) * d - before
        for f, s, (before, _), d, places in zip(*window, window.output(input), strict=True)
    )
    u, v = rows[:, None, :, None], columns[None, :, None, :]
    p, q = input
    inside = (u >= 0) & (u < p) & (v >= 0) & (v < q)
    table = np.where(inside, u * q + v, p * q).astype(np.int64).reshape(-1)
    table.flags.writeable = False
    return table


def patches(A: Array, gather: Gather) -> Array:
    """What the window sees: (B, p, q, k) → (B·p'·q', f·f', k), with zeros for padding."""
    xp = namespace(A)
    B, p, q, k = A.shape
    if gather.window.is_point:
        return xp.reshape(A, (B * p * q, 1, k))
    assert gather.table is not None, "the plan puts the layer's constants on the device"
    pixels = xp.concat([xp.reshape(A, (B, p * q, k)), xp.zeros((B, 1, k), **like(A))], axis=1)
    taps = gather.window.kernel[0] * gather.window.kernel[1]
    return xp.reshape(xp.take(pixels, gather.table, axis=1), (B * gather.table.shape[0] // taps, taps, k))


def padded(A: Array, axis: int, sides: Pair, value: float = 0.0) -> Array:
    """A with `sides` = (before, after) elements of `value` around it along an axis; A itself if there are none."""
    if sides == (0, 0):
        return A
    xp = namespace(A)
    before, after = (xp.full((*A.shape[:axis], width, *A.shape[axis + 1 :]), value, **like(A)) for width in sides)
    return xp.concat([before, A, after], axis=axis)


def cropped(A: Array, axis: int, sides: Pair) -> Array:
    """A without its padding along an axis: the adjoint of `padded`."""
    before, after = sides
    return A[(*axis * (slice(None),), slice(before, A.shape[axis] - after), ...)]


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_pair(value: object, least: int) -> bool:
    return _is_pair_of(value, lambda entry: _is_int(entry, least))


def _is_pair_of(value: object, kind: Callable[[object], bool]) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(kind, value))


def _sides(input: Shape, stride: Shape, reach: Shape, padding: Any) -> list[Pair]:
    """(before, after) for each axis."""
    if padding == "valid":
        return [(0, 0)] * len(input)
    if padding == "same":
        totals = [max((-(-p // s) - 1) * s + r - p, 0) for p, s, r in zip(input, stride, reach, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if isinstance(padding, int):
        return [(padding, padding)] * len(input)
    if len(input) == 1:
        return [padding]
    return [side if isinstance(side, tuple) else (side, side) for side in padding]
