"""The progress of a training in the terminal: epoch, loss, learning rate, time left. Quiet where there is no terminal."""

from __future__ import annotations

import sys
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol

from mathdl.training.history import Row

_REFRESH_SECONDS = 0.1


class Progress(Protocol):
    """What the trainer tells while it runs."""

    def __enter__(self) -> Progress: ...
    def __exit__(self, *error: object) -> None: ...
    def minibatch(self, epoch: int, m: int, J: Any) -> None:
        """{m} of `epoch` is done; J is an array of one number, read only when it is shown."""
        ...

    def epoch(self, row: Row) -> None:
        """An epoch is done, with these figures."""
        ...


def progress(verbose: bool | None, epochs: int, minibatches: int, done: int) -> Progress:
    """A bar on stderr, if `verbose` is true, or None and stderr is a terminal."""
    shown = sys.stderr.isatty() if verbose is None else verbose
    return _Bar(epochs, minibatches, done) if shown else _Quiet()


class _Quiet:
    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def minibatch(self, epoch: int, m: int, J: Any) -> None:
        return None

    def epoch(self, row: Row) -> None:
        return None


class _Bar:
    def __init__(self, epochs: int, minibatches: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._minibatches, self._done, self._seen = minibatches, done, 0.0
        self._text: dict[str, str] = {}
        self._bar = RichProgress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task(
            "", total=epochs * minibatches, completed=done, epoch=1, epochs=epochs, figures=""
        )

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.refresh()
        self._bar.stop()

    def minibatch(self, epoch: int, m: int, J: Any) -> None:
        self._done += 1
        now = perf_counter()
        if now - self._seen < _REFRESH_SECONDS:
            return
        self._seen = now
        self._show(epoch, {**self._text, "loss": f"loss {float(J[0]):.4f}"})

    def epoch(self, row: Row) -> None:
        shown = ("loss", "val_loss", "val_accuracy", "val_r2", "learning_rate")
        self._text = {name: f"{name} {row[name]:.4g}" for name in shown if name in row}
        self._show(row["epoch"], self._text)

    def _show(self, epoch: int, text: dict[str, str]) -> None:
        self._bar.update(self._task, completed=self._done, epoch=epoch, figures="  ".join(text.values()))
        self._bar.refresh()
