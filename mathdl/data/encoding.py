"""From rows of text to numbers, learnt on one file and applied to others.

A numeric column is one column of X. A column of categories c₁ … c_r becomes r columns: column j is 1 where the text is
c_j, else 0 (one-hot). Which column is which, and the order of categories and classes, is the `Encoding`; a model keeps
it, so that what is predicted on is read as what was trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.data.labels import Classes, Kind, checked_kind, encode_labels, guess_kind, learn_classes
from mathdl.data.rows import Rows, number
from mathdl.errors import DataError, FileFormatError, UsageError, unknown_name

TARGET_NAMES = ("target", "label", "y", "class")
"""Columns that are taken as the target if none is named, in this order; else it is the last."""
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Encoding:
    """How a file was read, and how another must be. Arrays without columns have classes and kind only.

    `columns` are those that X is made of, in order; `categories` holds, for those that are text, the texts in the order
    of their columns in X.
    """

    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    target: str | None = None
    classes: Classes | None = None
    kind: Kind | None = None

    @classmethod
    def learn(
        cls, rows: Rows, target: str | None, kind: str | None = None, categorical: Collection[str] = ()
    ) -> Encoding:
        """The encoding of these rows. `target` names a column (None: there is none), `kind` is what its values are.

        A column is numeric if most of its fields are numbers (`encode` wants all of them to be), unless `categorical`
        names it. Raises `DataError`, `UnknownNameError`.
        """
        for name in (*categorical, *(() if target is None else (target,))):
            if name not in rows.header:
                raise unknown_name(f"column of {rows.source}", name, rows.header)
        columns = tuple(name for name in rows.header if name != target)
        if not columns:
            raise DataError(f"{rows.source}: has no column besides the target {target!r}")
        categories = {
            name: _learn_categories(rows, name) for name in columns if name in categorical or not rows.is_numeric(name)
        }
        if target is None:
            return cls(columns, categories)
        wanted = checked_kind(kind)
        values = _target_values(rows, target, wanted, target in categorical)
        found = wanted or guess_kind(values)
        is_labels = found == "classification"
        classes = learn_classes(values, lambda i: rows.place(i, target)) if is_labels else None
        return cls(columns, categories, target, classes, found)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns of X: ``age``, ``colour=blue``, ``colour=red`` …"""
        return tuple(
            feature
            for name in self.columns
            for feature in ([f"{name}={text}" for text in self.categories[name]] if name in self.categories else [name])
        )

    def encode(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
        """(X, Y) of these rows: X (n, features) float64; Y int64 or float64 (n,), or None if the target is not there.

        Columns that are not in the encoding are left aside. A missing column, an unknown category or class, and
        what is not a number raise `DataError` with the place.
        """
        missing = [name for name in self.columns if name not in rows.header]
        if missing:
            raise DataError(
                f"{rows.source}: column {missing[0]!r} is missing. Expected the columns {', '.join(self.columns)}; "
                f"found {', '.join(rows.header)}"
            )
        parts = [self._one_hot(rows, name) if name in self.categories else rows.numbers(name) for name in self.columns]
        X = np.column_stack([np.asarray(part, dtype=np.float64) for part in parts])
        return X, self._targets(rows) if self.target in rows.header else None

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold, for `from_dict`."""
        return {
            "columns": list(self.columns),
            "categories": {name: list(texts) for name, texts in self.categories.items()},
            "target": self.target,
            "classes": None if self.classes is None else list(self.classes),
            "kind": self.kind,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Encoding:
        """The encoding that `to_dict` gave. Raises `FileFormatError` if the record is none."""
        try:
            classes = record["classes"]
            return cls(
                columns=tuple(record["columns"]),
                categories={name: tuple(texts) for name, texts in record["categories"].items()},
                target=record["target"],
                classes=None if classes is None else tuple(classes),
                kind=checked_kind(record["kind"]),
            )
        except (KeyError, TypeError, AttributeError, UsageError) as error:
            raise FileFormatError(f"not the record of an encoding: {error!r}") from error

    def _one_hot(self, rows: Rows, name: str) -> NDArray[np.float64]:
        known = {text: j for j, text in enumerate(self.categories[name])}
        column = rows.column(name)
        for i, text in enumerate(column):
            if text not in known:
                raise DataError(f"{rows.place(i, name)}: expected one of {', '.join(known)}, got {text!r}")
        return np.eye(len(known))[[known[text] for text in column]]

    def _targets(self, rows: Rows) -> NDArray[Any]:
        target = str(self.target)
        if self.kind == "regression":
            return np.array(rows.numbers(target), dtype=np.float64)
        return encode_labels(np.array(rows.column(target)), self.classes, lambda i: rows.place(i, target))


def choose_target(rows: Rows, target: str | int | None, may_be_absent: bool = False) -> tuple[str | None, str]:
    """(column, how it was chosen), for a target by name, by place (a negative one counts from the end), or by default.

    The default is a column of a name in `TARGET_NAMES`, else the last; or, where it may be absent, none.
    """
    if isinstance(target, int):
        if not -len(rows.header) <= target < len(rows.header):
            raise UsageError(f"{rows.source}: target must be a column 0 … {len(rows.header) - 1}, got {target}")
        return rows.header[target], f"column {target}"
    if target is not None:
        if target not in rows.header:
            raise unknown_name(f"column of {rows.source}", target, rows.header)
        return target, "as asked"
    for wanted in TARGET_NAMES:
        for name in rows.header:
            if name.lower() == wanted:
                return name, "by its name"
    return (None, "") if may_be_absent else (rows.header[-1], "the last column")


def _learn_categories(rows: Rows, name: str) -> tuple[str, ...]:
    texts = sorted(set(rows.column(name)))
    if len(texts) > MOST_CATEGORIES:
        raise DataError(
            f"{rows.source}: column {name!r} has {len(texts)} different texts in {len(rows)} rows, "
            f"at most {MOST_CATEGORIES} can be categories. Leave the column out"
        )
    return tuple(texts)


def _target_values(rows: Rows, target: str, kind: Kind | None, categorical: bool) -> NDArray[Any]:
    if kind == "classification":
        numeric = not categorical and all(number(text) is not None for text in rows.column(target))
    else:
        numeric = kind == "regression" or (not categorical and rows.is_numeric(target))
    return np.array(rows.numbers(target) if numeric else rows.column(target))
