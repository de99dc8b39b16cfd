"""Which way the code went: a record of every decision that was made on real numbers.

A function that is made of pieces has a derivative where a small step keeps to the same pieces. Two evaluations took the
same branches if their records are equal: comparisons, masks, winners of maxima, signs.

    with branches() as here:
        f(x)
    with branches() as there:
        f(x + h)
    here.digest == there.digest
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

import numpy as np


class Branches:
    """What was decided, in the order of the code."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.decisions = 0
        """How many entries were decided on."""
        self.ties = 0
        """How many of them were ties, that the tangents broke: there the code stands on a kink."""

    @property
    def digest(self) -> str:
        """A fingerprint of all decisions."""
        return self._hash.hexdigest()

    def add(self, outcome: Any, ties: Any) -> None:
        """Record the outcomes (booleans) of one operation, and which of them were ties."""
        self._hash.update(repr(outcome.shape).encode())
        self._hash.update(np.packbits(outcome).tobytes())
        self.decisions += int(outcome.size)
        self.ties += int(np.count_nonzero(ties))


_record: ContextVar[Branches | None] = ContextVar("branches", default=None)


@contextmanager
def branches() -> Iterator[Branches]:
    """Record the decisions that are made in this context."""
    record = Branches()
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


def decide(outcome: Any, ties: Any) -> None:
    """Tell the record, if there is one."""
    record = _record.get()
    if record is not None:
        record.add(np.asarray(outcome), ties)
