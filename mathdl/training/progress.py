"""The progress of a training in the terminal: epoch, loss, learning rate, time left. Quiet where there is none."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any, Protocol

from mathdl.training.history import Row

_REFRESH_SECONDS = 0.1


class Progress(Protocol):
    """What the trainer tells while it runs."""

    def __enter__(self) -> Progress: ...
    def __exit__(self, *error: object) -> None: ...
    def minibatches(self, epoch: int, done: int, J: Any) -> None:
        """So many of `epoch` are done; J of the last is an array of one number, read only when it is shown."""
        ...

    def epoch(self, row: Row) -> None:
        """An epoch is done, with these figures."""
        ...


def progress(verbose: bool | None, epoch: int, epochs: int, m: int, minibatches: int) -> Progress:
    """A bar on stderr, if `verbose` is true, or None and stderr is a terminal.

    `epoch` of `epochs` epochs have ended, and `m` of the `minibatches` of the running one.
    """
    shown = sys.stderr.isatty() if verbose is None else verbose
    return _Bar(epoch, epochs, m, minibatches) if shown else _Quiet()


class _Quiet:
    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def minibatches(self, epoch: int, done: int, J: Any) -> None:
        return None

    def epoch(self, row: Row) -> None:
        return None


class _Bar:
    def __init__(self, epoch: int, epochs: int, m: int, minibatches: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._of_an_epoch = minibatches
        self._done, self._seen = epoch * minibatches + m, 0.0
        self._text: dict[str, str] = {}
        self._bar = RichProgress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(stderr=True),
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task(
            "", total=epochs * minibatches, completed=self._done, epoch=epoch + 1, epochs=epochs, figures=""
        )

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.refresh()
        self._bar.stop()

    def minibatches(self, epoch: int, done: int, J: Any) -> None:
        self._done = (epoch - 1) * self._of_an_epoch + done
        now = perf_counter()
        if now - self._seen < _REFRESH_SECONDS:
            return
        self._seen = now
        self._show(epoch, {**self._text, "loss": f"loss {float(J[0]):.4f}"})

    def epoch(self, row: Row) -> None:
        shown = {"loss": "loss", "val_accuracy": "val_accuracy", "val_r2": "val_r2", "learning_rate": "rate"}
        digits = {"learning_rate": ".2g"}
        self._text = {n: f"{word} {row[n]:{digits.get(n, '.4f')}}" for n, word in shown.items() if n in row}
        self._show(row["epoch"], self._text)

    def _show(self, epoch: int, text: dict[str, str]) -> None:
        self._bar.update(self._task, completed=self._done, epoch=epoch, figures="  ".join(text.values()))
        self._bar.refresh()
