"""From a rule to what is stored: errors inflated for their own evaluation, and what is infinite or NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mathdl_backends.rounding.bounds import Ball, Context, Numbers

INFLATE = 1.0 + 2.0**-30
"""Errors are sums and products of numbers ≥ 0: float64 evaluates them within some 1e-16 for each term of a sum."""


def settled(x: Ball, at: Context, uncertain: Callable[[], Numbers]) -> Ball:
    """x as it is stored: errors inflated, of the shape of the values; ∞ where the machine may overflow.

    A value that is infinite or NaN has the error 0 if every machine has it, ∞ where that is `uncertain`.
    """
    value = np.asarray(x.value)
    error = np.multiply(x.error, INFLATE, out=np.empty(value.shape))
    if not np.all(np.abs(value) + error <= at.format.largest):
        error[~(np.abs(value) + error <= at.format.largest)] = np.inf
        error[~np.isfinite(value) & ~np.broadcast_to(uncertain(), value.shape)] = 0.0
    return Ball(value, error)


def uncertain_entries(*operands: Ball) -> Numbers:
    """Where the result of an elementwise operation that is not finite may be so on some machines only."""
    certain: Any = True
    finite: Any = True
    unknown: Any = False
    for x in operands:
        certain, finite = certain & (x.error == 0), finite & np.isfinite(x.value)
        unknown = unknown | np.isinf(x.error)
    return unknown | (finite & ~np.asarray(certain))


def uncertain_sums(x: Ball, axis: Any, keepdims: bool) -> Numbers:
    """The same of a sum."""
    some, every = (np.any, np.all)
    unknown = some(np.isinf(x.error), axis=axis, keepdims=keepdims)
    finite = every(np.isfinite(x.value), axis=axis, keepdims=keepdims)
    return unknown | finite


def uncertain_products(x: Ball, y: Ball) -> Numbers:
    """The same of a matrix product."""
    unknown = np.any(np.isinf(x.error), axis=1)[:, None] | np.any(np.isinf(y.error), axis=0)[None, :]
    finite = np.all(np.isfinite(x.value), axis=1)[:, None] & np.all(np.isfinite(y.value), axis=0)[None, :]
    return unknown | finite
