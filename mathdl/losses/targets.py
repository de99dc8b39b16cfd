"""Checks of targets, made once on the host, when data enter: inside a step nothing is checked.

The loss decides what Y is, never Y's dtype: 3.0 is a label as 3 is one, and integers are numbers to a regression.
Every error names the first row that is wrong, what stands there, and what was expected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mathdl.arrays import Shape
from mathdl.errors import DataError, ShapeError

SIMPLEX_TOLERANCE = 1e-6
"""A row of l probabilities may miss the sum 1 by this times l: the rounding of float32."""


def categorical_targets(Y: Any, outputs: Shape) -> np.ndarray:
    """Labels (n,) of whole numbers in 0 … l−1 as int64, or rows (n, l) on the simplex as floats.

    Raises `DataError` for other values and `ShapeError` for other shapes; `outputs` is (l,), l ≥ 2.
    """
    place = "categorical_cross_entropy"
    l = _width(place, outputs)
    if l < 2:
        raise ShapeError(
            f"{place}: the network has 1 output, whose probability is always 1. "
            "Give it an output for each class, or use binary_cross_entropy"
        )
    Y = _numbers(place, Y)
    if Y.dtype == bool:
        raise DataError(f"{place}: Y is boolean; make it labels with Y.astype(int), or use binary_cross_entropy")
    if Y.ndim == 1:
        _all(place, Y, np.isin(Y, np.arange(l)), f"a label, a whole number in 0 … {l - 1}")
        labels: np.ndarray = Y.astype(np.int64)
        return labels
    if Y.shape[1:] != (l,):
        raise ShapeError(
            f"{place}: expected labels of shape ({len(Y)},) or rows of shape ({len(Y)}, {l}), "
            f"one column for each of the network's {l} outputs; got Y of shape {Y.shape}"
            + (": labels in a column? Give Y[:, 0]" if Y.shape[1:] == (1,) else "")
        )
    _all(place, Y, Y >= 0, "a probability ≥ 0")
    sums = np.asarray(np.sum(Y, axis=1, dtype=np.float64))
    wrong = np.flatnonzero(np.abs(sums - 1.0) > SIMPLEX_TOLERANCE * l)
    if wrong.size:
        raise DataError(
            f"{place}: row {wrong[0]} of Y sums to {sums[wrong[0]]:.6g}, expected 1 "
            f"(probabilities of {l} classes){_others(wrong)}"
        )
    return _floats(Y)


def binary_targets(Y: Any, outputs: Shape) -> np.ndarray:
    """0/1 (or False/True) of shape (n,) or (n, l) as floats (n, l); (n,) becomes (n, 1). Raises as the others do."""
    place = "binary_cross_entropy"
    Y = _columns(place, _numbers(place, Y), _width(place, outputs))
    _all(place, Y, (Y == 0) | (Y == 1), "0 or 1")
    return _floats(Y)


def regression_targets(place: str, Y: Any, outputs: Shape, minimum: float | None = None) -> np.ndarray:
    """Finite numbers (≥ `minimum`) of shape (n,) or (n, d) as floats (n, d); (n,) becomes (n, 1)."""
    Y = _numbers(place, Y)
    if Y.dtype == bool:
        raise DataError(f"{place}: Y is boolean; give numbers with Y.astype(float), or use binary_cross_entropy")
    Y = _columns(place, Y, _width(place, outputs))
    if minimum is not None:
        _all(place, Y, minimum <= Y, f"a number ≥ {minimum:g}")
    return _floats(Y)


def require_two_classes(Y: np.ndarray) -> None:
    """Raise `DataError` if all checked targets Y are one and the same class (or 0/1 row): nothing could be learnt."""
    if np.all(Y[0] == Y) and (Y.ndim == 1 or np.all((Y[0] == 0) | (Y[0] == 1))):
        which = f"label {Y[0]}" if Y.ndim == 1 else f"target {Y[0].tolist()}"
        raise DataError(f"all {len(Y)} instances have the {which}: training needs instances of at least two classes")


def _width(place: str, outputs: Shape) -> int:
    """l of outputs (l,)."""
    if len(outputs) != 1:
        raise ShapeError(
            f"{place}: the network must put out a vector (l,) for each instance, but its output is {outputs}; "
            "put a Flatten() or a pooling over the whole image before the last Dense()"
        )
    return outputs[0]


def _numbers(place: str, values: Any) -> np.ndarray:
    """The values as an array (n,) or (n, l) of numbers, all finite."""
    try:
        Y: np.ndarray = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{place}: the rows of Y have different lengths") from error
    if Y.dtype.kind in "US" or (Y.dtype == object and any(isinstance(value, str) for value in Y.flat)):
        raise DataError(
            f"{place}: Y holds strings such as {str(Y.flat[0])!r}. String labels are for the command line and the "
            "estimators, which keep the classes with the model; here give labels 0, 1, …, as from "
            "np.unique(Y, return_inverse=True)"
        )
    if Y.dtype.kind not in "biuf":
        raise DataError(f"{place}: Y has dtype {Y.dtype}, expected numbers: integers or floats")
    if Y.ndim not in (1, 2):
        raise ShapeError(f"{place}: expected Y of shape (n,) or (n, l), got {Y.shape}")
    if Y.size == 0:
        raise DataError(f"{place}: Y is empty, of shape {Y.shape}")
    _all(place, Y, np.isfinite(Y), "a finite number")
    return Y


def _columns(place: str, Y: np.ndarray, l: int) -> np.ndarray:
    """Y as (n, l); (n,) is one column."""
    rows = Y[:, np.newaxis] if Y.ndim == 1 else Y
    if rows.shape[1] != l:
        raise ShapeError(
            f"{place}: expected Y of shape ({len(Y)}, {l}), one column for each of the network's {l} outputs; "
            f"got {Y.shape}"
        )
    return rows


def _floats(Y: np.ndarray) -> np.ndarray:
    """Y as floats: those that it has, or float64."""
    return Y if Y.dtype.kind == "f" else Y.astype(np.float64)


def _all(place: str, Y: np.ndarray, good: np.ndarray, expected: str) -> None:
    """Raise `DataError` with the first row (and column) of Y that is not good."""
    wrong = np.argwhere(~good)
    if len(wrong):
        where = "row {}".format(*wrong[0]) if Y.ndim == 1 else "row {}, column {}".format(*wrong[0])
        raise DataError(f"{place}: {where} of Y is {Y[tuple(wrong[0])]}, expected {expected}{_others(wrong)}")


def _others(wrong: np.ndarray) -> str:
    return f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
