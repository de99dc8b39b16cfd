"""Ctrl-C while training: the running minibatch is finished, then training stops; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
from threading import current_thread, main_thread
from types import FrameType
from typing import Any


class InterruptAfterMinibatch:
    """A context in which the first SIGINT only sets `asked`. Outside of the main thread it does nothing."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> InterruptAfterMinibatch:
        if current_thread() is main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
