"""The record of a training: a row of figures an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mathdl.errors import unknown_name

Row = dict[str, Any]
"""The figures of one epoch: epoch (from 1), step, loss, …, learning_rate, seconds."""


class History(Sequence[Row]):
    """One row of figures an epoch; `history["loss"]` is a column, `history[-1]` the last row."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows: list[Row] = list(rows)
        self.stopped: str | None = None
        """Why training ended before its last epoch: "early stopping", "interrupted", "callback"; else None."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.rows[key]
        if self.rows and key not in self.rows[0]:
            raise unknown_name("figure", key, self.rows[0])
        return [row[key] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.rows[-1].items()) if self.rows else "empty"
        return f"<History of {len(self)} epochs: {last}>"
