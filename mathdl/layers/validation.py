"""Checks of a layer's arguments, made once, when the layer is made."""

from __future__ import annotations

from math import inf

from mathdl.arrays import Shape
from mathdl.errors import UsageError, shape_mismatch


def positive_int(layer: str, **values: object) -> None:
    """Raise `UsageError` unless every value is an int ≥ 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{layer}: {name} must be an int ≥ 1, got {value!r}")


def in_interval(layer: str, low: float, high: float, **values: float) -> None:
    """Raise `UsageError` unless every value lies in [low, high)."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
            raise UsageError(f"{layer}: {name} must lie in [{low}, {high}), got {value!r}")


def positive(layer: str, **values: float) -> None:
    """Raise `UsageError` unless every value is a finite number > 0."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise UsageError(f"{layer}: {name} must be a finite number > 0, got {value!r}")


def last_axis(layer: str, input: Shape) -> int:
    """k, the size of the last axis; raise `ShapeError` where an instance is a single number."""
    if not input:
        raise shape_mismatch(layer, "an instance must have an axis; put a Reshape((1,)) before", A=("(…, k)", input))
    return input[-1]
