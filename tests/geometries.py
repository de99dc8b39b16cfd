"""Hypothesis strategies for the geometry of windows."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from mathdl.windows import Window


class Geometry(NamedTuple):
    """A window as users write it, on an input (p,) or (p, q) that it fits into."""

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @property
    def window(self) -> Window:
        """The window on an image."""
        return Window(self.kernel, self.stride, self.padding, self.dilation)


@st.composite
def geometries(draw, axes: int = 2, largest: int = 6, dilated: bool = True, most_padding: int = 3) -> Geometry:
    """Kernels, strides, paddings and dilations of every axis by themselves: rectangular, and not symmetric."""
    along = []
    for _ in range(axes):
        f, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2)) if dilated else 1
        before, after = draw(st.integers(0, most_padding)), draw(st.integers(0, most_padding))
        least = max(1, d * (f - 1) + 1 - before - after)
        along.append((draw(st.integers(least, max(least, largest))), f, s, (before, after), d))
    return Geometry(*zip(*along, strict=True))


def pools(axes: int = 2) -> st.SearchStrategy[Geometry]:
    """Windows without dilation, none of which lies wholly in the padding."""
    return geometries(axes=axes, dilated=False, most_padding=2).filter(_all_windows_see_the_input)


def _all_windows_see_the_input(geometry: Geometry) -> bool:
    for p, f, s, (before, after), _ in zip(*geometry, strict=True):
        for start in range(-before, p + after - f + 1, s):
            if not set(range(start, start + f)) & set(range(p)):
                return False
    return True
