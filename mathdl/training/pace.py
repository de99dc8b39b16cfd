"""How many steps run in a row between two looks at the clock, at Ctrl-C and at the progress bar."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

_SECONDS = 0.03
"""What such a run may take: short for whoever waits after Ctrl-C, long beside what the looks cost."""


class Pace:
    """One step at first; then twice as many for as long as they take less than half of the time."""

    def __init__(self) -> None:
        self.steps = 1

    def timed(self, run: Callable[[int, int], int], first: int, count: int) -> int:
        """`run(first, count)`, from which `steps` follows."""
        begun = perf_counter()
        done = run(first, count)
        seconds = perf_counter() - begun
        if seconds > _SECONDS:
            self.steps = max(1, self.steps // 2)
        elif count == self.steps and seconds < _SECONDS / 2:
            self.steps *= 2
        return done
