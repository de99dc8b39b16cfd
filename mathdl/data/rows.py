"""Rows of text with named columns, and the CSV files that they are read from.

A file is UTF-8 (with or without a byte order mark), has column names in its first line, and fields that are separated
by commas, semicolons or tabs, whichever cuts the first line into most; they may be quoted. White space around a field
and blank lines mean nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mathdl.errors import DataError, FileFormatError, unknown_name

DELIMITERS = ",;\t"
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})
"""How files write a missing number, in lower case. Where text is expected only an empty field is missing."""


@dataclass(frozen=True)
class Rows:
    """n rows of text. `lines` holds the line of the file that each row ends on, counted from 1."""

    source: str
    header: tuple[str, ...]
    cells: Sequence[Sequence[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.cells)

    def column(self, name: str) -> list[str]:
        """The text of one column; an empty field raises `DataError`."""
        if name not in self.header:
            raise unknown_name(f"column of {self.source}", name, self.header)
        j = self.header.index(name)
        column = [row[j] for row in self.cells]
        if "" in column:
            raise missing_value(self.place(column.index(""), name))
        return column

    def numbers(self, name: str) -> list[float]:
        """One column as numbers; anything else raises `DataError` with its place."""
        values = []
        for i, text in enumerate(self.column(name)):
            value = number(text)
            if value is None:
                raise self._not_a_number(i, name, text)
            values.append(value)
        return values

    def is_numeric(self, name: str) -> bool:
        """Whether most of the fields that are not missing are numbers."""
        present = [text for text in self.column(name) if text.lower() not in MISSING]
        return 2 * sum(number(text) is not None for text in present) > len(present)

    def place(self, i: int, name: str) -> str:
        """Where a field stands, for messages: rows are counted from 0 as instances (i) are, lines from 1."""
        return f"{self.source}: row {i} (line {self.lines[i]}), column {name!r}"

    def _not_a_number(self, i: int, name: str, text: str) -> DataError:
        place = self.place(i, name)
        if text.lower() in MISSING:
            return missing_value(place, text)
        return DataError(
            f"{place}: expected a finite number, got {text!r}. Most of this column are numbers; "
            f"if they are names of categories, say so: categorical=[{name!r}] (or --categorical {name})"
        )


def missing_value(place: str, text: str = "") -> DataError:
    """The error for a field without a value."""
    written = f" ({text!r})" if text else ""
    return DataError(f"{place}: the value is missing{written}. Fill it in or leave the row out")


def number(text: str) -> float | None:
    """The finite number that the text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    # float() takes digits grouped by underscores, which no file of numbers has; value - value is NaN for infinities
    return value if "_" not in text and value - value == 0.0 else None


def read_rows(path: Path) -> Rows:
    """Read a CSV file. Raises `FileFormatError` with the line where it is not one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(file, path.name)
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path.name}: expected text in UTF-8, found {error.reason} near byte {error.start}"
        ) from error


def _read(file: TextIO, source: str) -> Rows:
    delimiter = max(DELIMITERS, key=lambda candidate: len(_first_line(file, candidate)))
    header = tuple(name.strip() for name in _first_line(file, delimiter))
    _check_header(header, source)
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    cells: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row and len(row) != len(header):
                raise FileFormatError(
                    f"{source}, line {reader.line_num}: expected {len(header)} fields as above, found {len(row)}"
                )
            if row:
                cells.append([field.strip() for field in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise FileFormatError(f"{source}, line {reader.line_num}: not CSV, {error}") from error
    if len(cells) < 2:
        raise DataError(f"{source}: expected rows below the column names, found none")
    return Rows(source, header, cells[1:], lines[1:])


def _first_line(file: TextIO, delimiter: str) -> list[str]:
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return next((row for row in reader if row), [])
    except csv.Error:  # quotes that do not fit this delimiter
        return []


def _check_header(header: tuple[str, ...], source: str) -> None:
    if not header:
        raise FileFormatError(
            f"{source}: expected column names in the first line, found an empty file or broken quotes"
        )
    if all(number(name) is not None for name in header):
        raise FileFormatError(
            f"{source}: expected column names in the first line, found numbers: {', '.join(header[:5])}"
        )
    for j, name in enumerate(header):
        if not name:
            raise FileFormatError(
                f"{source}: column {j + 1} has no name. If it numbers the rows, leave it out (pandas: index=False)"
            )
        if name in header[:j]:
            raise FileFormatError(f"{source}: two columns are called {name!r}")
