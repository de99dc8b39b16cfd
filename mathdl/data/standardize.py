"""Standardization: features with mean 0 and deviation 1.

    Z = (X − μ) / σ        X = Z σ + μ

μ and σ belong to the last axis: one of each for a feature; for images one for a channel, over all pixels of all images.
σ² = Σ (x − μ)² / n, by n as scikit-learn has it. A constant feature gets σ = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mathdl.arrays import Shape
from mathdl.data.chunks import row_chunks
from mathdl.errors import DataError, FileFormatError, shape_mismatch


@dataclass(frozen=True)
class Standardize:
    """The map X ↦ (X − mean) / deviation along the last axis; arrays (n,), such as targets, have one mean."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def learn(cls, X: NDArray[Any]) -> Standardize:
        """Mean and deviation of X (n, …, k) in float64, chunk by chunk: a memory-mapped X is never loaded as a whole.

        Raises `DataError` if X is empty, not finite, or too large for float64.
        """
        if X.size == 0:
            raise DataError(f"Standardize: X is empty, its shape is {X.shape}")
        with np.errstate(all="ignore"):
            # from a first row, so that a constant feature has deviation 0 to the bit
            origin = next(_columns(X[:1]))[0]
            count = X.size // len(origin)
            shift = sum(np.sum(part - origin, axis=0) for part in _columns(X)) / count
            squares = sum(np.sum((part - origin - shift) ** 2, axis=0) for part in _columns(X))
            mean, deviation = origin + shift, np.sqrt(squares / count)
        unusable = ~(np.isfinite(mean) & np.isfinite(deviation))
        if unusable.any():
            raise DataError(f"Standardize: column {int(np.argmax(unusable))} of X holds NaN, infinite or huge numbers")
        deviation[deviation == 0.0] = 1.0
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    def apply(self, X: NDArray[Any], dtype: DTypeLike = "float32") -> NDArray[Any]:
        """(X − mean) / deviation: computed in float64, rounded once to `dtype`. Raises `ShapeError`."""
        return self._map(X, np.dtype(dtype), lambda part: (part - np.array(self.mean)) / np.array(self.deviation))

    def invert(self, Z: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Z · deviation + mean, in `dtype`; None: that of Z, float64 for integers. Raises `ShapeError`."""
        if dtype is None:
            dtype = Z.dtype if Z.dtype.kind == "f" else np.float64
        return self._map(Z, np.dtype(dtype), lambda part: part * np.array(self.deviation) + np.array(self.mean))

    def to_dict(self) -> dict[str, list[float]]:
        """What JSON can hold, for `from_dict`."""
        return {"mean": list(self.mean), "deviation": list(self.deviation)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Standardize:
        """The record that `to_dict` gave. Raises `FileFormatError` if it is none."""
        try:
            mean, deviation = (tuple(float(value) for value in record[name]) for name in ("mean", "deviation"))
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"not the record of a standardization: {error!r}") from error
        if len(mean) != len(deviation) or not all(value > 0 for value in deviation):
            raise FileFormatError(f"not the record of a standardization: {record!r}")
        return cls(mean, deviation)

    def _map(
        self, X: NDArray[Any], dtype: np.dtype[Any], values: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> NDArray[Any]:
        if _channels(X.shape) != len(self.mean):
            raise shape_mismatch(
                "Standardize",
                "the last axis of X must be as long as mean; (n,) counts as 1",
                X=("(n, …, k)", X.shape),
                mean=("(k,)", (len(self.mean),)),
            )
        result = np.empty(X.shape, dtype=dtype)
        for rows in row_chunks(X.shape):
            result[rows] = values(np.asarray(X[rows], dtype=np.float64))
        return result


def _channels(shape: Shape) -> int:
    return shape[-1] if len(shape) > 1 else 1


def _columns(X: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """X in chunks of shape (entries, channels), float64."""
    for rows in row_chunks(X.shape):
        yield np.asarray(X[rows], dtype=np.float64, order="C").reshape(-1, _channels(X.shape))
