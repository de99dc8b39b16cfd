"""Convolutions at many shapes, each beside its definition."""

from __future__ import annotations

from itertools import product
from typing import Any

from mathdl import layers
from mathdl.theory import definitions
from mathdl.theory.subject import Subject, of_layer


def sequence(p: int, f: int, s: int = 1, padding: Any = (0, 0), d: int = 1, k: int = 2, groups: int = 1) -> Subject:
    """A convolution of one sequence of p × k."""
    sides = definitions.same_padding(p, f, s, d) if padding == "same" else padding

    def definition(definitions: Any, x: Any) -> Any:
        return definitions.conv1d(x["A"], x["W"], x["b"], s, sides, d, groups)

    return of_layer(layers.Conv1D(2, f, s, padding, d, groups), (p, k), definition, B=1)


def image(
    input: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: Any = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    channels: int = 2,
    B: int = 1,
) -> Subject:
    """A convolution of images; of several channel axes the definition sees one, which runs over all of them."""

    def definition(definitions: Any, x: Any) -> Any:
        A = [[[definitions.flatten(pixel) for pixel in row] for row in instance] for instance in x["A"]]
        W = [[_one_channel_axis(tap) for tap in row] for row in x["W"]]
        return definitions.conv2d(A, W, x["b"], stride, padding, dilation, groups)

    return of_layer(layers.Conv2D(channels, kernel, stride, padding, dilation, groups), input, definition, B=B)


def _one_channel_axis(tap: Any) -> list[Any]:
    """A tap of W, [c₁][c₂][o] or [c][o], as [c][o]."""
    if not isinstance(tap[0][0], list):
        return list(tap)
    return [outputs for channel in tap for outputs in _one_channel_axis(channel)]


SEQUENCES = [
    sequence(p, f, s, (before, after), d)
    for p, f, s, d, before, after in product(range(1, 6), range(1, 4), range(1, 4), range(1, 3), range(3), range(2))
    if definitions.window_size(p, f, s, (before, after), d)
]
"""Every convolution of a short sequence: all strides, dilations and paddings on either side."""

IMAGES = [
    image((3, 4, 2), (2, 3), (1, 1), ((1, 0), (0, 2)), B=2),
    image((4, 4, 2), (3, 2), (2, 1), ((1, 1), (1, 0))),
    image((5, 4, 1), (2, 2), (1, 2), ((0, 1), (2, 1)), (2, 1)),
    image((4, 5, 4), (2, 2), (2, 2), ((1, 0), (1, 1)), groups=2, channels=4),
    image((3, 3, 4), (2, 2), (1, 1), ((1, 0), (0, 1)), groups=2, channels=4),
    image((3, 4, 2), (2, 2), (1, 2), ((1, 0), (0, 1)), (1, 2), groups=2, channels=4),  # depthwise, two outputs each
    image((3, 3, 2, 3), (2, 2), (1, 1), ((0, 1), (1, 0))),
    sequence(5, 2, 2, "same"),
    sequence(4, 2, 1, "same"),
]
"""What sequences do not have: rows and columns that differ, groups, several axes of channels."""

SYMBOLIC = [
    image((3, 3, 1), (2, 2), (1, 1), ((1, 0), (0, 1))),
    image((3, 3, 1), (2, 2), (2, 1), ((1, 0), (0, 1)), (1, 2)),
    image((2, 2, 2), (2, 1), (1, 1), ((1, 0), (0, 0)), groups=2),
    image((2, 3, 4), (1, 2), (1, 2), ((0, 0), (1, 0)), groups=2),
]

REAL_SIZES = [
    image((9, 8, 3), (3, 3), (1, 1), ((1, 1), (1, 1)), channels=4, B=4),
    image((9, 8, 4), (3, 2), (2, 2), ((1, 0), (0, 1)), (1, 2), groups=2, channels=6, B=4),
    image((9, 8, 3), (3, 3), (2, 1), ((1, 1), (1, 1)), groups=3, channels=6, B=4),
]
