"""How steps run on backends that check rather than train: one shard after the other, in the calling thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class SerialExecution:
    """Runs every task where it is asked for; floating-point warnings are off, as in every step."""

    lanes = 1

    def __init__(self) -> None:
        self._errstate: Any = None

    def __enter__(self) -> SerialExecution:
        self._errstate = np.errstate(all="ignore")
        self._errstate.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._errstate.__exit__(None, None, None)

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        return [task(shard) for shard in range(count)]

    def total(self, shard: int, count: int) -> Callable[[Any], Any]:
        return lambda x: x

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        task(slice(0, size))

    def view(self, A: Any) -> Any:
        return A

    def recorded(self, make: Callable[[Callable[[Any], Any]], Callable[[], Any]], writes: Any) -> Callable[[], Any]:
        return make(lambda A: A)

    def replay(self, task: Callable[[], Any]) -> None:
        task()

    def side_by_side(self, tasks: Sequence[Any], own: Sequence[Sequence[Any]], whole: Sequence[Any]) -> bool:
        return False

    def about(self, gradient: Callable[[], Any], update: Callable[[], Any]) -> str:
        return "call by call"

    def run(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        for done in range(count):
            gradient()
            if not math.isfinite(float(J[0])):
                return done
            update()
        return count
