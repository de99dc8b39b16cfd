"""What a gradient check found: a row for each gradient, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

AGREES, WRONG, FOLLOWS, KINK = "agrees", "WRONG", "follows", "at a kink"


class Agreement(NamedTuple):
    """How far two figures are apart, and how far they may be; both over the sum of the magnitudes that they add up."""

    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether they agree; never if something is not finite."""
        return self.error <= self.tolerance

    @property
    def excess(self) -> float:
        """How many tolerances the error is; NaN counts as ∞."""
        ratio = self.error / self.tolerance if self.tolerance > 0 else (0.0 if self.error == 0 else float("inf"))
        return ratio if ratio == ratio else float("inf")


class Row(NamedTuple):
    """One gradient of one layer, of the loss, or of the whole network."""

    path: tuple[int, ...]
    """Of the layer; () for the loss and the whole network."""
    place: str
    """``"Dense"``, the class of the layer, or what else it is."""
    gradient: str
    """``"dW[2]"``."""
    duals: Agreement | None
    """Against dual numbers; None where there was nothing to compare."""
    differences: Agreement | None
    """Against central differences; None where every direction crossed a kink."""
    verdict: str
    """``"agrees"``, ``"WRONG"``, ``"follows"`` (from a wrong gradient inside), ``"at a kink"``."""
    note: str = ""
    """What else there is to say."""

    def cells(self) -> list[str]:
        """The row as text."""
        where = ".".join(map(str, self.path))
        figures = [_figure(value) for pair in (self.duals, self.differences) for value in (pair or (None, None))]
        verdict = f"{self.verdict}: {self.note}" if self.note else self.verdict
        return [where, self.place, self.gradient, *figures, verdict]

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON takes it; a figure that is not finite is null."""
        pairs = {"duals": self.duals, "differences": self.differences}
        figures = {
            name: pair and {key: _finite(v) for key, v in pair._asdict().items()} for name, pair in pairs.items()
        }
        return self._asdict() | {"path": list(self.path)} | figures


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


COLUMNS = ("l", "layer", "gradient", "duals", "≤", "differences", "≤ ", "verdict")
"""The columns of the table; each figure stands beside what it may be at most."""
FIGURES = COLUMNS[3:7]


@dataclass(frozen=True)
class GradientReport:
    """The rows of a check, in the order of the layers. `ok`: every one of them agrees."""

    rows: Sequence[Row] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """Whether every gradient agrees."""
        return bool(self.rows) and all(row.verdict == AGREES for row in self.rows)

    @property
    def wrong(self) -> list[Row]:
        """The gradients that are wrong by themselves, not because of a layer inside or before."""
        return [row for row in self.rows if row.verdict == WRONG]

    def lines(self) -> Iterator[list[str]]:
        """The rows as text, under `COLUMNS`."""
        return (row.cells() for row in self.rows)

    @property
    def summary(self) -> str:
        """The verdict on all of them, in a line."""
        if self.ok:
            return f"all {len(self.rows)} gradients agree with dual numbers and with differences"
        if self.wrong:
            return "; ".join(f"{row.gradient} of {_named(row)} is wrong" for row in self.wrong)
        kinks = [f"{row.gradient} of {_named(row)}" for row in self.rows if row.verdict != AGREES]
        return f"on a kink: {', '.join(kinks)}. Check at another point (another seed, other X)"

    def __str__(self) -> str:
        lines = [list(COLUMNS), *self.lines()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        return "\n".join([*(row.rstrip() for row in rows), self.summary])


def _named(row: Row) -> str:
    return f"layer l = {'.'.join(map(str, row.path))}, {row.place}" if row.path else row.place
