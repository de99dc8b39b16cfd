"""The record of a training: a row of figures an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

from mathdl.errors import unknown_name

Row = dict[str, Any]
"""The figures of one epoch: epoch (from 1), step, loss, …, learning_rate, seconds."""


class History(Sequence[Row]):
    """One row of figures an epoch: `history[-1]` is the last row, `history["loss"]` a column.

    A column is NaN where a row has no such figure.
    """

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows: list[Row] = list(rows)
        self.stopped: str | None = None
        """Why training ended before its last epoch: "early stopping", "interrupted", "callback"; else None."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.rows[key]
        known = {name for row in self.rows for name in row}
        if self.rows and key not in known:
            raise unknown_name("figure", key, known)
        return [row.get(key, nan) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.rows[-1].items()) if self.rows else "empty"
        return f"<History of {len(self)} epochs: {last}>"
