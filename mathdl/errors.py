"""The errors that users meet: one clear message, expected against actual, and what to do.

Every error of mathdl is a `MathdlError`, and also the built-in exception that a Python user would expect
(`ValueError` for a bad value, `ImportError` for a missing extra …), so both kinds of `except` work.
The network adds the place of a layer with `add_note`; the command line prints the message and its notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral

__all__ = [
    "DataError",
    "DeviceError",
    "FileFormatError",
    "MathdlError",
    "MissingExtraError",
    "NonFiniteError",
    "OutOfMemoryError",
    "ShapeError",
    "StaleTapeError",
    "UnknownNameError",
    "UsageError",
    "integer",
    "shape_mismatch",
    "unknown_name",
]


class MathdlError(Exception):
    """The root of every error that mathdl raises on purpose."""

    layer_path: tuple[int, ...] = ()
    """Where a layer raised it: (3, 1) is the first layer inside layer 3. The network turns it into a note."""


class UsageError(MathdlError, ValueError):
    """An argument has a value that makes no sense here."""


class ShapeError(MathdlError, ValueError):
    """Two shapes do not fit together."""


class DataError(MathdlError, ValueError):
    """Data that cannot be trained on: labels out of range, NaN, ragged rows, an empty table."""


class FileFormatError(MathdlError, ValueError):
    """A file is not what its name or its place says it is."""


class UnknownNameError(MathdlError, ValueError):
    """A name that is not in a table; the message holds the nearest match."""


class DeviceError(MathdlError, RuntimeError):
    """A device that is not there, or arrays that live on different ones."""


class OutOfMemoryError(MathdlError, MemoryError):
    """The device has no memory left for what was asked."""


class MissingExtraError(MathdlError, ImportError):
    """A feature whose optional dependency is not installed; the message names the extra."""


class StaleTapeError(MathdlError, RuntimeError):
    """A tape was used after the parameters that it was recorded with had changed."""


class NonFiniteError(MathdlError, ArithmeticError):
    """A NaN or an infinity appeared; the message holds its address [l]{m}(i)."""


def integer(what: str, value: object, least: int = 1) -> int:
    """`value` as a plain int: NumPy's integers come out of data. Raises `UsageError` unless it is an int ≥ `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise UsageError(f"{what} must be an int ≥ {least}, got {value!r}")
    return int(value)


def shape_mismatch(place: str, rule: str, **arrays: tuple[str, tuple[int, ...]]) -> ShapeError:
    """A `ShapeError` with two sides, symbolic and actual.

    `shape_mismatch("Dense", "A.shape[1] must equal W.shape[0]", A=("(B, n[l-1])", (64, 784)), …)` reads
    ``Dense: A.shape[1] must equal W.shape[0] · A (B, n[l-1]) = (64, 784) · …``
    """
    sides = [f"{name} {symbolic} = {actual}" for name, (symbolic, actual) in arrays.items()]
    return ShapeError(" · ".join([f"{place}: {rule}", *sides]))


def unknown_name(kind: str, name: object, known: Iterable[str] | Mapping[str, object]) -> UnknownNameError:
    """An `UnknownNameError` that offers the nearest known name and lists all of them."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}")
