"""The cut of n rows into train, validation and test: disjoint, complete, by the seed, stratified for classes.

The test part gets ⌊test · n + ½⌋ rows, validation likewise, train the rest. Stratified, the rows of a part are shared
out among the classes by largest remainder (class c gets ⌊quota⌋, quota = rows of the part · n_c / n, and what is left
goes to the largest remainders), so that every class keeps its share, and at least one row for train.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathdl.errors import DataError, UsageError
from mathdl.random import fold, permutation


class Split(NamedTuple):
    """Indices of rows, each part in ascending order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split(Y_or_n: ArrayLike, validation: float = 0.1, test: float = 0.2, seed: int = 0, stratify: bool = True) -> Split:
    """Cut the rows of labels Y (n,), or n rows, into train, validation and test.

    `validation` and `test` are fractions of n in [0, 1), together below 1. `stratify` keeps the share of each class of
    Y in each part; for regression give n, or stratify=False. Rows are drawn by the address (seed, "split"). Raises
    `UsageError` for arguments, `DataError` for a part or a class that would be left without rows.
    """
    _check_fractions(validation=validation, test=test)
    labels = np.asarray(Y_or_n)
    n = int(labels) if labels.ndim == 0 else labels.shape[0]
    if labels.ndim == 0 and (labels.dtype.kind not in "iu" or n < 1):
        raise UsageError(f"split: expected labels (n,) or a number of rows n ≥ 1, got {Y_or_n!r}")
    if labels.ndim > 1 and stratify:
        raise UsageError(f"split: stratify needs labels (n,), got shape {labels.shape}; pass n or stratify=False")
    if labels.ndim == 0 or not stratify:
        labels = np.zeros(n, dtype=np.int64)

    classes, which, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    in_test = _share(_rows_of("test", test, n), sizes, sizes - 1, classes)
    in_validation = _share(_rows_of("validation", validation, n), sizes, sizes - 1 - in_test, classes)

    order = permutation(fold(seed, "split"), n)
    by_class = np.split(order[np.argsort(which[order], kind="stable")], np.cumsum(sizes)[:-1])
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for rows, t, v in zip(by_class, in_test, in_validation, strict=True):
        for part, some in zip(parts, (rows[t + v :], rows[t : t + v], rows[:t]), strict=True):
            part.append(some)
    return Split(*(np.sort(np.concatenate(part)) for part in parts))


def _check_fractions(**fractions: Any) -> None:
    for name, fraction in fractions.items():
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise UsageError(f"split: {name} must be a fraction in [0, 1), got {fraction!r}")
    if sum(fractions.values()) >= 1:
        raise UsageError(f"split: validation + test must be below 1, got {' + '.join(map(str, fractions.values()))}")


def _rows_of(part: str, fraction: float, n: int) -> int:
    rows = int(np.floor(fraction * n + 0.5))
    if fraction > 0 and rows == 0:
        raise DataError(f"split: {part} = {fraction} of {n} rows is none. Use {part}=0 or more rows")
    return rows


def _share(rows: int, sizes: NDArray[np.int64], most: NDArray[np.int64], classes: NDArray[Any]) -> NDArray[np.int64]:
    """`rows` in proportion to `sizes` by largest remainder, for no class more than `most`."""
    n = int(sizes.sum())
    shares = np.minimum(rows * sizes // n, most)
    while int(shares.sum()) < rows:
        remainders = np.where(shares < most, rows * sizes - shares * n, -n)
        largest = int(np.argmax(remainders))
        if shares[largest] == most[largest]:
            smallest = int(np.argmin(sizes))
            whose = f"class {classes[smallest].item()!r} has {sizes[smallest]} of" if len(classes) > 1 else "there are"
            raise DataError(f"split: {whose} {n} rows, none is left for train. Use smaller fractions or more rows")
        shares[largest] += 1
    return shares
