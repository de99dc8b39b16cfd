"""What max and average pooling share: a window is taken along one axis after the other, columns first, then rows.

Both operations are separable, which makes f + f' steps of f·f', and sequences a special case of images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mathdl.arrays import Shape
from mathdl.layers.validation import plain_ints
from mathdl.windows import Padding, Pair, Size, Window, check_window, fit, spatial, tap_slices


class Line(NamedTuple):
    """A window along one axis of A: f = `size`, s = `stride`, and `padding` = (before, after)."""

    axis: int
    size: int
    stride: int
    padding: Pair

    def taps(self, elements: int) -> list[tuple[Any, ...]]:
        """For each tap: the index of the elements that it sees, in an array of so many elements along the axis."""
        places = (elements - self.size) // self.stride + 1
        return [(*self.axis * (slice(None),), tap, ...) for tap in tap_slices(places, self.size, self.stride)]


def lines(window: Window) -> list[Line]:
    """The window as windows along columns, then rows; an axis along which it does nothing is left out."""
    each = [Line(1 + axis, *window_of_axis) for axis, window_of_axis in enumerate(zip(*window[:3], strict=True))]
    return [line for line in reversed(each) if line[1:] != (1, 1, (0, 0))]


def check_pooling(layer: Any, axes: int) -> None:
    """Raise `UsageError` for a pooling layer along so many axes that fits no input."""
    plain_ints(layer, "size", "stride", "padding")
    stride = {} if layer.stride is None else {"stride": layer.stride}
    check_window(type(layer).__name__, axes, layer.padding, size=layer.size, **stride)


def pooling_window(layer: str, axes: int, input: Shape, size: Size, stride: Size | None, padding: Padding) -> Window:
    """The window of a pooling layer on inputs of this shape; raises `ShapeError`."""
    return fit(layer, spatial(layer, axes, input), size, size if stride is None else stride, padding)
