"""The door: what users hand to a trainer becomes NumPy arrays of numbers, checked once.

Inside a step nothing is checked. What is refused here is named by its place: X[3, 2] is row 3, column 2; X[3, 0, 5, 1]
is row 3, position (0, 5, 1). Memory-mapped arrays are read in chunks and stay memory-mapped, with the dtype of their
file; whoever takes rows from one casts them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Sized
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Array, is_array, namespace
from mathdl.data.chunks import ENTRIES, row_chunks
from mathdl.data.selection import is_on_file
from mathdl.errors import DataError, UsageError

DTYPES = ("float32", "float64")
_FEW = 4096
"""Numbers whose sum of squares is sooner found than whether each is finite."""
UNFIT = {
    "O": "Python objects",
    "U": "text",
    "S": "bytes",
    "T": "text",
    "c": "complex numbers",
    "M": "dates",
    "m": "times",
    "V": "records",
}
"""What cannot be trained on, by NumPy's letter for the kind of dtype."""


def as_arrays(X: Any, Y: Any = None, dtype: str | None = "float32") -> tuple[Array, Array | None]:
    """(X, Y) as arrays that are fit for training: anything that `numpy.asarray` takes, frames and lists included.

    X (n, …) is cast to `dtype` (None: it keeps its own) and is contiguous; it is the caller's own array if that needs
    no change, so it must not be written to. Y (n,) or (n, d) keeps its dtype: the loss decides what it is. float16 is
    cast up with a warning. What lies in a file stays there, uncast, and arrays of other backends on their device.
    Raises `DataError` for what cannot be trained on (text, objects, dates, complex numbers, sparse matrices, ragged
    lists, missing values, no rows), for NaN and infinities, also those that a number too large for `dtype` would
    become, and if X and Y differ in length.
    """
    if Y is None and _is_fit(X, dtype):
        return X, None
    if dtype not in (*DTYPES, None):
        raise UsageError(f"dtype must be one of {', '.join(DTYPES)} or None, got {dtype!r}")
    inputs = _as_array("X", X)
    if len(inputs.shape) == 1:
        raise DataError(
            f"X must have an axis of rows and one of features, got shape {inputs.shape}. "
            "One feature: X.reshape(-1, 1); one row: X.reshape(1, -1)"
        )
    _check_finite("X", inputs, dtype, column_names(X))
    inputs = _cast(inputs, dtype)
    if Y is None:
        return inputs, None
    targets = _as_array("Y", Y)
    if targets.shape[0] != inputs.shape[0]:
        raise DataError(f"X and Y must have as many rows · X {inputs.shape} · Y {targets.shape}")
    _check_finite("Y", targets, dtype, column_names(Y))
    return inputs, targets


def _is_fit(X: Any, dtype: str | None) -> bool:
    """Whether X is an array to which nothing has to be done. False: it may still be one, the longer way will tell."""
    return (
        type(X) is np.ndarray
        and X.dtype == dtype
        and X.ndim > 1
        and 0 < X.size <= ENTRIES
        and X.flags.carray
        and (isfinite(np.vdot(X, X)) if X.size < _FEW else bool(np.isfinite(X).all()))
    )


def first_non_finite(A: Array) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity of A in row-major order, or None. A is an array of any backend."""
    xp = namespace(A)
    if not xp.isdtype(A.dtype, "real floating"):
        return None
    for rows in row_chunks(A.shape):
        found = _first_non_finite(A[rows, ...])
        if found is not None:
            return (rows.start + found[0], *found[1:])
    return None


def _first_non_finite(A: Array) -> tuple[int, ...] | None:
    """`first_non_finite` of real numbers that are in memory, all at once."""
    xp = namespace(A)
    finite = xp.isfinite(A)
    if bool(xp.all(finite)):
        return None
    flat = int(xp.argmin(xp.reshape(xp.astype(finite, xp.int8), (-1,))))
    index: list[int] = []
    for size in reversed(finite.shape):
        flat, place = divmod(flat, size)
        index.insert(0, place)
    return tuple(index)


def column_names(X: Any) -> Sequence[str]:
    """The names of the columns of a frame; none for anything else."""
    columns = getattr(X, "columns", None)
    return [] if columns is None else [str(name) for name in columns]


def _as_array(name: str, A: Any) -> Array:
    if hasattr(A, "toarray") and type(A).__module__.partition(".")[0] in ("scipy", "cupyx"):
        raise DataError(f"{name} is a sparse matrix; mathdl takes dense arrays: {name}.toarray()")
    array = A if _is_left_alone(A) else _as_numpy(name, A)
    if len(array.shape) == 0:
        raise DataError(f"{name} must be an array of rows, got {A!r}")
    if 0 in array.shape:
        raise DataError(f"{name} is empty: shape {array.shape}")
    unfit = UNFIT.get(_kind(array))
    if unfit is not None:
        raise DataError(f"{name} must hold numbers, found {unfit} (dtype {array.dtype}){_unfit_place(A, array)}")
    if _is_half(array):
        warnings.warn(f"{name} is float16, and is cast up: mathdl computes in float32 or float64", stacklevel=3)
        array = _cast(array, "float32")
    return array


def _as_numpy(name: str, A: Any) -> NDArray[Any]:
    if isinstance(A, np.ma.MaskedArray) and np.ma.is_masked(A):
        raise DataError(f"{name} has masked (missing) values; fill them in: {name}.filled(…)")
    try:
        return np.asarray(A)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} cannot be made an array{_ragged_place(A)}: {error}") from error


def _is_left_alone(A: Any) -> bool:
    """Whether A stays where it is: a memory map in its file, an array of another backend on its device."""
    return is_on_file(A) or (is_array(A) and not isinstance(A, np.ndarray | np.generic))


def _kind(array: Array) -> str:
    """NumPy's letter for the kind of dtype."""
    if isinstance(array, np.ndarray) or is_on_file(array):
        return str(array.dtype.kind)
    return "c" if namespace(array).isdtype(array.dtype, "complex floating") else "f"


def _is_half(array: Array) -> bool:
    if isinstance(array, np.ndarray):
        return bool(array.dtype == np.float16)
    return str(array.dtype).endswith("float16")  # bfloat16 is one, too


def _cast(A: Array, dtype: str | None) -> Array:
    """A in `dtype`, or (None) in its own in native byte order; memory maps as they are."""
    if is_on_file(A):
        return A
    if isinstance(A, np.ndarray):
        return np.ascontiguousarray(A, dtype=dtype or A.dtype.newbyteorder("="))
    xp = namespace(A)
    return A if dtype is None else xp.astype(A, getattr(xp, dtype), copy=False)


def _ragged_place(A: Any) -> str:
    """The first row of a list of lists that is longer or shorter than row 0."""
    if isinstance(A, list | tuple):
        lengths = [len(row) if isinstance(row, Sized) else None for row in A]
        for i, length in enumerate(lengths):
            if length != lengths[0]:
                return f", row 0 has {lengths[0]} entries and row {i} has {length}"
    return ""


def _unfit_place(A: Any, array: Array) -> str:
    """Which column of a frame, or which entry of an array of objects, is to blame."""
    for name in getattr(A, "columns", ()):
        column = np.asarray(A[name])
        if column.dtype.kind in UNFIT:
            return f": column {str(name)!r} is of {UNFIT[column.dtype.kind]}, {column[0]!r} …"
    if _kind(array) == "O":
        for index, value in np.ndenumerate(array):
            if not isinstance(value, int | float | np.number | np.bool_):
                return f": entry {list(index)} is {value!r}"
        return '. All of them are numbers: X.astype("float32")'
    return ""


def _check_finite(name: str, A: Array, dtype: str | None, columns: Sequence[str]) -> None:
    """Raise `DataError` at the first entry of A that is not finite, as it is or cast to `dtype`."""
    if _kind(A) != "f":
        return
    for rows in row_chunks(A.shape):
        with np.errstate(over="ignore"):
            found = _first_non_finite(_cast(_read(A, rows), dtype))
        if found is not None:
            index = (rows.start + found[0], *found[1:])
            value = float(A[index])
            what = f"{value}, too large for {dtype}" if isfinite(value) else str(value)
            raise DataError(f"{name}[{', '.join(map(str, index))}] is {what}: {_place(index, columns)}")


def _read(A: Array, rows: slice) -> Array:
    """Some rows of A, in memory."""
    return np.asarray(A[rows]) if isinstance(A, np.ndarray) or is_on_file(A) else A[rows, ...]


def _place(index: tuple[int, ...], columns: Sequence[str]) -> str:
    row, *rest = index
    if not rest:
        return f"row {row}"
    if len(rest) > 1:
        return f"row {row}, position {tuple(rest)}"
    named = f" ({columns[rest[0]]!r})" if rest[0] < len(columns) else ""
    return f"row {row}, column {rest[0]}{named}"
