"""`load`: a table from an embedded data set, a file or a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mathdl.data.embedded import EMBEDDED
from mathdl.data.encoding import Encoding, choose_target
from mathdl.data.idx import images_in, is_idx, labels_beside, read_idx, with_channel
from mathdl.data.labels import Kind, checked_kind, encode_labels, guess_kind, is_text, learn_classes
from mathdl.data.numpy_files import read_npy, read_npz
from mathdl.data.rows import Rows, read_rows
from mathdl.data.table import Table
from mathdl.errors import DataError, FileFormatError, UsageError, unknown_name

SUPPORTED = (
    ".csv and .tsv (with column names), .npz (arrays X and Y), .npy, IDX as MNIST is published (…-idx3-ubyte, "
    "gzipped or not), a folder with IDX files or with X.npy and Y.npy"
)


@dataclass(frozen=True)
class _Request:
    """The arguments of `load`, checked."""

    target: str | int | Literal[False] | None
    kind: Kind | None
    categorical: Collection[str]
    encoding: Encoding | None


def load(
    path_or_name: str | PathLike[str],
    target: str | int | Literal[False] | None = None,
    *,
    kind: str | None = None,
    categorical: Collection[str] = (),
    encoding: Encoding | None = None,
) -> Table:
    """A `Table` from the name of an embedded data set (``"digits"``, ``"diabetes"``), a file or a folder.

    - `.csv`, `.tsv`: column names in the first line. `target` is a column by name or place; None takes one that is
      called target, label, y or class, else the last (``table.source`` says which); False: there is no target. Columns
      of text, and those that `categorical` names, are one-hot encoded.
    - `.npz`: X is the array called X, x, data, features or x_train, Y that called Y, y, target, labels or y_train (or
      `target`); X_test, Y_test (or small letters) become ``table.test``.
    - `.npy`: X, memory-mapped; `target` is the column that becomes Y.
    - IDX files as MNIST is published, gzipped or (memory-mapped) not: an images file, with the labels file beside it,
      or their folder, where t10k-… becomes ``table.test``.
    - a folder with X.npy and Y.npy, memory-mapped.

    Images of uint8, (n, p, q), get a channel axis: (n, p, q, 1). `kind` is "classification", "regression" or None,
    which guesses from the targets (`mathdl.data.labels`). `encoding` is that of a table that a model was trained on:
    the file is read by it, and the target may be absent, or (`target`) have another name.

    Raises `FileFormatError` (not a file of this kind, cut short, damaged), `DataError` (missing values, …), with the
    place, and `UnknownNameError`. An embedded name comes first: "./digits" is a file.
    """
    request = _Request(target, checked_kind(kind), categorical, None if encoding == Encoding() else encoding)
    name = str(path_or_name)
    if name in EMBEDDED:
        if target not in (None, False):
            raise UsageError(f"{name}: the target of an embedded data set is fixed; got target={target!r}")
        return EMBEDDED[name]()
    path = Path(path_or_name)
    try:
        return _read(path, request)
    except FileNotFoundError:
        raise unknown_name("data set (neither a file or folder, nor embedded)", name, EMBEDDED) from None
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read, {error.strerror or error}") from error


def _read(path: Path, request: _Request) -> Table:
    if path.is_dir():
        return _folder(path, request)
    path.stat()
    if is_idx(path):
        return _idx(path, None, request)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(path, request)
    if suffix == ".npz":
        return _npz(path, request)
    if suffix == ".npy":
        return _npy(path, request)
    raise FileFormatError(f"{path.name}: this kind of file is not supported. Supported are {SUPPORTED}")


def _csv(path: Path, request: _Request) -> Table:
    rows = read_rows(path)
    encoding, chosen = _encoding_of(rows, request)
    X, Y = encoding.encode(rows)
    about = "no target" if Y is None else f"target {encoding.target!r} ({chosen})"
    return Table(X, Y, encoding, f"{path.name}: {len(rows)} rows, {X.shape[1]} features, {about}")


def _encoding_of(rows: Rows, request: _Request) -> tuple[Encoding, str]:
    known, name, chosen = request.encoding, None, ""
    if known is not None and known.columns and request.target is None:
        return known, "as learnt"
    if request.target is not False:
        name, chosen = choose_target(rows, request.target, may_be_absent=known is not None)
    if known is not None and known.columns:
        return replace(known, target=name), chosen
    learnt = Encoding.learn(rows, name, request.kind, request.categorical)
    return (learnt if known is None else replace(learnt, classes=known.classes, kind=known.kind)), chosen


def _npz(path: Path, request: _Request) -> Table:
    target = None if request.target is False else request.target
    if target is not None and not isinstance(target, str):
        raise UsageError(f"{path.name}: target must be the name of an array, got {target!r}")
    archive = read_npz(path, target)
    Y = None if request.target is False else archive.Y
    test = None if archive.X_test is None else (archive.X_test, archive.Y_test)
    return _table(path.name, archive.X, Y, test, archive.target, request)


def _npy(path: Path, request: _Request) -> Table:
    A, target = read_npy(path), request.target
    if target is None or target is False:
        return _table(path.name, A, None, None, None, request)
    try:
        column = int(target)
    except ValueError:
        raise UsageError(f"{path.name}: target must be the number of a column, got {target!r}") from None
    if A.ndim != 2 or A.shape[1] < 2 or not -A.shape[1] <= column < A.shape[1]:
        raise UsageError(f"{path.name}: target = column {column} of an array of shape {A.shape}")
    column %= A.shape[1]
    ends = {0: A[:, 1:], A.shape[1] - 1: A[:, :-1]}  # views, which stay memory-mapped
    X = ends[column] if column in ends else np.delete(A, column, axis=1)
    return _table(path.name, X, A[:, column], None, f"column {column}", request)


def _folder(folder: Path, request: _Request) -> Table:
    for x, y in (("X.npy", "Y.npy"), ("x.npy", "y.npy")):
        if (folder / x).is_file():
            Y = read_npy(folder / y) if (folder / y).is_file() and request.target is not False else None
            return _table(folder.name, read_npy(folder / x), Y, None, None, request)
    images = images_in(folder)
    test = [path for path in images if "t10k" in path.name or "test" in path.name]
    train = [path for path in images if path not in test] or test
    if len(train) != 1 or len(test) > 1:
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise FileFormatError(
            f"{folder}: expected X.npy and Y.npy, or one train-images-idx3-ubyte and train-labels-idx1-ubyte "
            f"(gzipped or not, with or without t10k-…); found {names}"
        )
    return _idx(train[0], test[0] if test and test != train else None, request)


def _idx(images: Path, test_images: Path | None, request: _Request) -> Table:
    if "labels" in images.name:
        raise FileFormatError(f"{images.name}: holds labels; give the images file that lies beside it, or their folder")
    X, Y = _images_and_labels(images, request)
    test = None if test_images is None else _images_and_labels(test_images, request)
    return _table(images.name, X, Y, test, None, request)


def _images_and_labels(images: Path, request: _Request) -> tuple[NDArray[Any], NDArray[Any] | None]:
    X, beside = read_idx(images), labels_beside(images)
    if beside is None or request.target is False:
        return with_channel(X), None
    Y = read_idx(beside)
    if Y.ndim != 1:
        raise FileFormatError(f"{beside.name}: expected labels on one axis, found shape {Y.shape}")
    return with_channel(X), Y


def _table(
    source: str,
    X: NDArray[Any],
    Y: NDArray[Any] | None,
    test: tuple[NDArray[Any], NDArray[Any] | None] | None,
    target: str | None,
    request: _Request,
) -> Table:
    """The table of arrays. Classes are learnt from both parts, so that neither holds one that is unknown."""
    parts = {source: (X, Y)} | ({} if test is None else {f"{source} (test)": test})
    for name, (X_part, Y_part) in parts.items():
        _check_rows(name, X_part, Y_part)
    encoding = request.encoding
    if encoding is None:
        labels = [_column(part) for _, part in parts.values() if part is not None]
        encoding = Encoding(target=target, kind=request.kind or (guess_kind(labels[0]) if labels else None))
        if encoding.kind == "classification" and labels and all(part.ndim == 1 for part in labels):
            encoding = replace(encoding, classes=learn_classes(np.concatenate(labels), lambda i: f"{source}: Y[{i}]"))
    tables = [
        Table(
            with_channel(X_part) if X_part.dtype == np.uint8 else X_part,
            None if Y_part is None else _encoded(Y_part, encoding, name),
            encoding,
            f"{name}: {len(X_part)} rows of shape {X_part.shape[1:]}, {'no' if Y_part is None else 'with'} targets",
        )
        for name, (X_part, Y_part) in parts.items()
    ]
    return replace(tables[0], test=tables[1] if len(tables) > 1 else None)


def _check_rows(source: str, X: NDArray[Any], Y: NDArray[Any] | None) -> None:
    if X.ndim == 0 or is_text(X):
        raise FileFormatError(
            f"{source}: X must hold numbers and have an axis of rows, found {X.dtype} of shape {X.shape}"
        )
    if Y is not None and Y.shape[:1] != X.shape[:1]:
        raise DataError(f"{source}: X and Y must have as many rows · X {X.shape} · Y {Y.shape}")


def _column(Y: NDArray[Any]) -> NDArray[Any]:
    """(n, 1) as (n,)."""
    return Y[:, 0] if Y.ndim == 2 and Y.shape[1] == 1 else Y


def _encoded(Y: NDArray[Any], encoding: Encoding, source: str) -> NDArray[Any]:
    if encoding.kind == "classification" and _column(Y).ndim == 1:
        return encode_labels(_column(Y), encoding.classes, lambda i: f"{source}: Y[{i}]")
    if is_text(Y):
        raise DataError(f"{source}: expected numbers as targets, found text, Y[0] = {Y.flat[0]!r}")
    return Y
