"""What may happen at the end of an epoch: early stopping, and callbacks of one's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import isnan
from typing import Any, Protocol

from mathdl.arrays import Array
from mathdl.errors import UsageError, integer, unknown_name
from mathdl.training.history import Row


class Callback(Protocol):
    """Called with the `Trainer` and the figures of the epoch that has ended; a true answer stops the training.

    Any function of these two arguments will do.
    """

    def __call__(self, trainer: Any, row: Row) -> bool | None: ...


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when `monitor` has not improved by more than `minimum_change` for `patience` epochs.

    Figures called accuracy or r2 (and val_…) improve upwards, all others downwards. With `restore_best`, θ and the
    state go back to those of the best epoch at the end of `fit`, unless Ctrl-C ended it: then the training can go on.
    """

    patience: int = 10
    monitor: str = "val_loss"
    minimum_change: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "patience", integer("EarlyStopping: patience", self.patience))
        if not self.minimum_change >= 0:
            raise UsageError(f"EarlyStopping: minimum_change must be ≥ 0, got {self.minimum_change!r}")

    def check(self, figures: Collection[str]) -> None:
        """Raise `UnknownNameError` unless `monitor` is one of these figures."""
        if self.monitor not in figures:
            raise unknown_name("figure to monitor", self.monitor, figures)

    def value(self, row: Row) -> float:
        """The monitored figure of an epoch."""
        return float(row[self.monitor])

    def improves(self, value: float, best: float) -> bool:
        """Whether `value` is better than `best` by more than `minimum_change`. Any number is better than NaN."""
        if isnan(best):
            return not isnan(value)
        upwards = self.monitor.removeprefix("val_") in {"accuracy", "r2"}
        return value > best + self.minimum_change if upwards else value < best - self.minimum_change


@dataclass
class Best:
    """The best epoch so far, with the parameters that it ended with (on the host)."""

    monitor: str
    value: float
    epoch: int
    theta: Array
    state: Array
    waited: int = 0
    """Epochs since, none of which was better."""

    def figures(self) -> dict[str, Any]:
        """What a checkpoint stores beside the two vectors."""
        return {"monitor": self.monitor, "value": self.value, "epoch": self.epoch, "waited": self.waited}
