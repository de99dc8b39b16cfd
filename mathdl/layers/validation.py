"""Checks of a layer's arguments, made once, when the layer is made."""

from __future__ import annotations

from math import inf
from numbers import Integral
from typing import Any

from mathdl.arrays import Shape
from mathdl.errors import UsageError, integer, shape_mismatch


def positive_int(layer: object, *fields: str) -> None:
    """Raise `UsageError` unless these fields are ints ≥ 1. NumPy's integers are stored as plain ones."""
    for name in fields:
        object.__setattr__(layer, name, integer(f"{type(layer).__name__}: {name}", getattr(layer, name)))


def plain_ints(layer: object, *fields: str) -> None:
    """Store NumPy's integers in these fields as plain ones: a layer prints, compares and is saved by its values."""
    for name in fields:
        object.__setattr__(layer, name, _plain(getattr(layer, name)))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


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
