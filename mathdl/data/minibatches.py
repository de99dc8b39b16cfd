"""Minibatches {m}: the rows of each step of an epoch, addressed by (seed, "minibatches", epoch).

    {m}(i) of an epoch is row order(epoch)[m B + i]        m = 0 … ⌈n / B⌉ − 1, i = 0 … B − 1

B is the number of instances in a minibatch; the last may be short. Every row is in one minibatch of each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathdl.errors import UsageError, integer
from mathdl.random import fold, permutation


@dataclass(frozen=True)
class Minibatches:
    """The cut of n rows into minibatches of `batch_size`; one minibatch if batch_size ≥ n.

    `minibatches[m]` is the slice of an epoch's order that {m} takes; `minibatches.rows(epoch)[m]` are its rows.
    With shuffle=False the order is 0 … n − 1 in every epoch.
    """

    n: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name in ("n", "batch_size"):
            object.__setattr__(self, name, integer(f"Minibatches: {name}", getattr(self, name)))

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, m: int) -> slice:
        if not -len(self) <= m < len(self):
            raise UsageError(f"minibatch {{{m}}}: there are {len(self)}, {{0}} … {{{len(self) - 1}}}")
        first = m % len(self) * self.batch_size
        return slice(first, min(first + self.batch_size, self.n))

    def __iter__(self) -> Iterator[slice]:
        return (self[m] for m in range(len(self)))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows in the order of this epoch, (n,); epochs count from 0."""
        if not self.shuffle:
            return np.arange(self.n, dtype=np.int64)
        return permutation(fold(self.seed, "minibatches", epoch), self.n)

    def rows(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of each minibatch of this epoch: `rows(epoch)[m][i]` is the row of instance {m}(i)."""
        order = self.order(epoch)
        return [order[first : first + self.batch_size] for first in range(0, self.n, self.batch_size)]
