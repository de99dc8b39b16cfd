"""Targets as a file holds them, as labels or numbers: what kind they are, and which class has which number.

**What kind.** Text is classification. Rows (n, l), l > 1, on the simplex are classification. Numbers are classification
if they are whole and not negative, have at most 20 different values (1000 in an array of integers), and every value
appears twice on average. All else is regression. This is a guess, for defaults; the loss decides what Y is.

**Which number.** If the classes are exactly 0 … l−1, labels are kept. Otherwise the classes are sorted (numbers by
size, text by code point) and the label is the place in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mathdl.errors import DataError, UsageError

Kind: TypeAlias = Literal["classification", "regression"]
KINDS: tuple[Kind, ...] = ("classification", "regression")
Classes: TypeAlias = tuple[str, ...]


def checked_kind(kind: str | None) -> Kind | None:
    """`kind`, if it is one (or None). Raises `UsageError`."""
    for known in KINDS:
        if kind == known:
            return known
    if kind is not None:
        raise UsageError(f"kind must be one of {', '.join(KINDS)} or None, got {kind!r}")
    return None


def is_text(values: NDArray[Any]) -> bool:
    """Whether the array holds text."""
    return values.dtype.kind in "US"


def guess_kind(values: NDArray[Any]) -> Kind:
    """What these targets look like, by the rule above."""
    if is_text(values):
        return "classification"
    if values.ndim == 2 and values.shape[1] > 1:
        simplex = values.min() >= 0 and np.allclose(values.sum(axis=1), 1.0, rtol=0.0, atol=1e-6)
        return "classification" if simplex else "regression"
    distinct = np.unique(values)
    most = min(1000 if values.dtype.kind in "bui" else 20, values.shape[0] / 2)
    return "classification" if _whole(distinct) and len(distinct) <= most else "regression"


def learn_classes(values: NDArray[Any], place: Callable[[int], str]) -> Classes | None:
    """The classes of labels (n,), text or whole numbers; None if they are 0 … l−1 already.

    A number with a fraction is no label, and raises `DataError` with `place(i)`.
    """
    distinct = np.unique(values)
    if is_text(values):
        return tuple(distinct.astype(str).tolist())
    fractions = np.flatnonzero(np.isfinite(values) & (values != np.floor(values)))
    if len(fractions):
        raise DataError(
            f"{place(int(fractions[0]))}: expected a label, which is text or a whole number, got "
            f"{values[fractions[0]].item()!r}. Numbers like this are for a regression loss, such as mean_squared_error"
        )
    distinct = distinct[np.isfinite(distinct)]  # encode_labels says where the others are
    if len(distinct) and _whole(distinct) and int(distinct[-1]) == len(distinct) - 1:
        return None
    return tuple(class_name(value) for value in distinct.tolist())


def encode_labels(values: NDArray[Any], classes: Classes | None, place: Callable[[int], str]) -> NDArray[np.int64]:
    """Labels (n,) as int64: places in `classes`, or (None) the numbers themselves.

    A class that is not known, or a number that is no label, raises `DataError` with `place(i)`.
    """
    distinct, which = np.unique(values, return_inverse=True)
    number_of = None if classes is None else {name: c for c, name in enumerate(classes)}
    numbers = []
    for d, value in enumerate(distinct.tolist()):
        name = class_name(value)
        if number_of is None:
            number = int(name) if name.isdecimal() else None
            expected = "a whole number ≥ 0"
        else:
            number = number_of.get(str(value), number_of.get(name))
            expected = f"one of the classes {', '.join(number_of)}"
        if number is None:
            raise DataError(f"{place(int(np.argmax(which == d)))}: expected {expected}, got {value!r}")
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)[which]


def class_name(value: object) -> str:
    """The name of a class: text as it is, and a number in its shortest form, however it was written: 3.0 is "3"."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return value.decode() if isinstance(value, bytes) else str(value)
    return str(int(number)) if number.is_integer() else repr(number)


def _whole(values: NDArray[Any]) -> bool:
    return bool(values[0] >= 0 and np.all(np.isfinite(values)) and np.all(values == np.floor(values)))
