"""The data of a run, and its cut into train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl.cli.config import Config
from mathdl.data import Table, split
from mathdl.errors import DataError

PARTS = ("train", "validation", "test")


class Part(NamedTuple):
    """Some rows of a table."""

    table: Table
    rows: NDArray[np.int64]
    """Which rows of the data these are, counted from 0."""

    def __len__(self) -> int:
        return len(self.rows)


def whole(table: Table) -> Part:
    """All rows."""
    return Part(table, np.arange(len(table)))


def own_test(table: Table) -> Table | None:
    """The test part that the data were published with, if it can be tested on."""
    return table.test if table.test is not None and table.test.Y is not None else None


def cut(table: Table, config: Config) -> Mapping[str, Part]:
    """The parts "train", "validation" and "test": by the seed, stratified for classes.

    Data that were published with a test part keep it: then only train and validation are cut.
    """
    if table.Y is None:
        raise DataError(f"{table.source}: there are no targets to train on; say which they are with --target")
    published = own_test(table)
    is_labels = table.kind == "classification" and table.Y.ndim == 1
    labels: Any = table.Y if is_labels else len(table)
    found = split(labels, config.validation, 0.0 if published is not None else config.test, config.seed)
    parts = {name: Part(table.take(rows), rows) for name, rows in zip(PARTS, found, strict=True)}
    return parts if published is None else {**parts, "test": whole(published)}
