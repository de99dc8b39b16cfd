"""Weights of instances: w = sample weight × class weight.

    w(i) = s(i) Σ_c Y_ic k(c)        "balanced": k(c) = n / (l · n_c), n_c instances of class c, l classes that occur

Source: scikit-learn's `class_weight="balanced"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import is_array, to_host
from mathdl.errors import DataError, UsageError, unknown_name

ClassWeight = Mapping[Any, float] | str
"""A weight for each class (1 for those that are left out), or "balanced"."""


def sample_weights(weights: Any, n: int) -> NDArray[np.float64]:
    """s (n,) as float64, a copy. Raises `DataError` unless they are n finite numbers ≥ 0 whose sum is not 0."""
    w = np.array(to_host(weights) if is_array(weights) else weights, dtype=np.float64)
    if w.shape != (n,):
        raise DataError(f"sample_weight: expected one weight for each of {n} rows, got shape {w.shape}")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if bad.size:
        raise DataError(f"sample_weight: expected finite numbers ≥ 0, got {w[bad[0]]} in row {bad[0]}")
    if not w.any():
        raise DataError("sample_weight: the weights sum to 0, so there is no mean loss")
    return w


def class_weights(
    weights: ClassWeight, Y: NDArray[Any], classes: int, names: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Σ_c Y_ic k(c) (n,) of labels Y (n,), or of rows on the simplex (n, l); l = `classes`.

    A class is its number, or one of its `names`. Raises `UsageError` on a class that there is none of, and on weights
    that are not finite numbers ≥ 0.
    """
    if isinstance(weights, str):
        if weights != "balanced":
            raise unknown_name("class_weight", weights, ["balanced"])
        counts = np.bincount(Y, minlength=classes) if Y.ndim == 1 else Y.sum(axis=0)
        table = len(Y) / (np.count_nonzero(counts) * np.where(counts > 0, counts, np.inf))
    else:
        table = np.ones(classes)
        numbers = {name: c for c, name in enumerate(names or ())} | {c: c for c in range(classes)}
        for key, weight in weights.items():
            if key not in numbers:
                known = ", ".join(names) if names else f"0 … {classes - 1}"
                raise UsageError(f"class_weight: no class {key!r}; classes are {known}")
            if not (np.isfinite(weight) and weight >= 0):
                raise UsageError(f"class_weight: expected a finite number ≥ 0 for class {key!r}, got {weight!r}")
            table[numbers[key]] = weight
    mixed: NDArray[np.float64] = table[Y] if Y.ndim == 1 else Y @ table
    return mixed
