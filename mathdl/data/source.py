"""Sources of rows for training: on the device at once, or streamed to it, a minibatch at a time.

A source holds X (n, …), Y and the weights w (n,) or None, as the steps read them: checked, standardized, cast.
`minibatch(B)` gives the buffers that minibatches of B instances are read through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Array, Device, namespace

Batch: TypeAlias = tuple[Array, Array, Array | None]
"""(X, Y, weights or None) of some instances, on the device."""


class Minibatch(Protocol):
    """The rows of one minibatch, which the shards of a step read."""

    ahead: bool
    """Whether steps on one minibatch after the other need nothing of the host: no `fetch`."""

    def begin(self, rows: Sequence[NDArray[np.int64]]) -> None:
        """These are the rows of the minibatches that follow."""
        ...

    def fetch(self, m: int) -> None:
        """The host's part, before the step on minibatch m of them."""
        ...

    @property
    def tables(self) -> Sequence[tuple[Array, Array]]:
        """The device's part, inside the step: (T, row), to be taken as row ← T[m] when m is the minibatch."""
        ...

    def take(self, first: int, end: int) -> Batch:
        """The instances (first) … (end − 1) of the minibatch."""
        ...

    def seen_through(self, view: Callable[[Array], Array]) -> Minibatch:
        """The same buffers, with `view` of each array."""
        ...


class Source(Protocol):
    """n rows that are trained or evaluated on."""

    n: int

    def minibatch(self, B: int, M: int = 1) -> Minibatch:
        """Buffers for minibatches of B instances, M at most that follow one another."""
        ...

    def slice(self, first: int, end: int) -> Batch:
        """The rows first … end − 1, in their own order."""
        ...

    def refilled(self, other: Source) -> bool:
        """Whether this source now holds the rows of the other, in the arrays that it had."""
        ...


class InMemory:
    """Rows that lie on the device, all of them; a minibatch is gathered inside the step.

    `own` are the arrays that nobody else holds: they may be written to.
    """

    def __init__(
        self, X: Array, Y: Array, weights: Array | None, device: Device, own: Sequence[Array | None] = ()
    ) -> None:
        self.n = int(X.shape[0])
        self.X, self.Y, self.weights = X, Y, weights
        self.device = device
        self._own = own

    def minibatch(self, B: int, M: int = 1) -> Minibatch:
        return _GatheredInStep(self, B, M)

    def refilled(self, other: Source) -> bool:
        if not isinstance(other, InMemory):
            return False
        pairs = [(self.X, other.X), (self.Y, other.Y), (self.weights, other.weights)]
        new = [(mine, given) for mine, given in pairs if mine is not given]
        if not all(self._may_take(mine, given) for mine, given in new):
            return False
        for mine, given in new:
            mine[...] = given
        return True

    def _may_take(self, mine: Array | None, given: Array | None) -> bool:
        return (
            mine is not None
            and given is not None
            and any(mine is A for A in self._own)
            and (mine.shape, mine.dtype) == (given.shape, given.dtype)
        )

    def slice(self, first: int, end: int) -> Batch:
        return self.X[first:end, ...], self.Y[first:end, ...], None if self.weights is None else self.weights[first:end]


class _GatheredInStep:
    ahead = True

    def __init__(self, source: InMemory, B: int, M: int) -> None:
        self._source = source
        xp = source.device.namespace
        self._table = xp.zeros((M, B), dtype=xp.int64, device=source.device.handle)
        self._rows = xp.zeros((B,), dtype=xp.int64, device=source.device.handle)

    def begin(self, rows: Sequence[NDArray[np.int64]]) -> None:
        self._table[: len(rows), :] = self._source.device.put(np.stack(rows))

    def fetch(self, m: int) -> None:
        return None

    @property
    def tables(self) -> Sequence[tuple[Array, Array]]:
        return [(self._table, self._rows)]

    def take(self, first: int, end: int) -> Batch:
        source, rows = self._source, self._rows[first:end]
        take = namespace(rows).take
        weights = None if source.weights is None else take(source.weights, rows, axis=0)
        return take(source.X, rows, axis=0), take(source.Y, rows, axis=0), weights

    def seen_through(self, view: Callable[[Array], Array]) -> Minibatch:
        twin, source = copy(self), copy(self._source)
        twin._source, twin._table, twin._rows = source, view(self._table), view(self._rows)
        source.X, source.Y = view(source.X), view(source.Y)
        source.weights = None if source.weights is None else view(source.weights)
        return twin


class Streamed:
    """Rows that stay in a file or on the host: read, prepared and sent to the device one minibatch at a time."""

    def __init__(
        self,
        X: NDArray[Any],
        Y: NDArray[Any],
        weights: NDArray[Any] | None,
        device: Device,
        prepare: Callable[[NDArray[Any]], Array],
        prepare_targets: Callable[[NDArray[Any]], Array],
    ) -> None:
        self.n = int(X.shape[0])
        self.X, self.Y, self.weights = X, Y, weights
        self.device = device
        self._prepare, self._prepare_targets = prepare, prepare_targets
        self._reader = ThreadPoolExecutor(1, "mathdl-reader")

    def minibatch(self, B: int, M: int = 1) -> Minibatch:
        return _ReadAhead(self, B)

    def refilled(self, other: Source) -> bool:
        return False

    def slice(self, first: int, end: int) -> Batch:
        return self.read(np.arange(first, end))

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """These rows, on the device, in arrays that nobody else holds. They are read in the order of the file."""
        order = np.argsort(rows, kind="stable")
        back = np.argsort(order, kind="stable")
        X, Y = np.asarray(self.X[rows[order]])[back], np.asarray(self.Y[rows[order]])[back]
        weights = None if self.weights is None else self.device.put(self.weights[rows])
        return self._prepare(X), self._prepare_targets(Y), weights

    def reading(self, rows: NDArray[np.int64]) -> Future[Batch]:
        """These rows, read by a thread beside the steps that run."""
        return self._reader.submit(self._read_aside, rows)

    def _read_aside(self, rows: NDArray[np.int64]) -> Batch:
        with self.device.aside():
            return self.read(rows)


class _ReadAhead:
    """Buffers that stay; while the steps on one minibatch run, the next is read into others."""

    ahead = False

    def __init__(self, source: Streamed, B: int) -> None:
        self._source = source
        self._buffers = source.read(np.arange(B))
        self._rows: Sequence[NDArray[np.int64]] = ()
        self._coming: tuple[int, Future[Batch]] | None = None
        self._read: Batch | None = None
        """Kept until the next is there: a device may still copy from it."""

    def begin(self, rows: Sequence[NDArray[np.int64]]) -> None:
        self._rows, self._coming = rows, None

    def fetch(self, m: int) -> None:
        if self._coming is not None and self._coming[0] == m:
            batch = self._coming[1].result()
        else:
            batch = self._source.read(self._rows[m])
        self._coming = (m + 1, self._source.reading(self._rows[m + 1])) if m + 1 < len(self._rows) else None
        for buffer, values in zip(self._buffers, batch, strict=True):
            if buffer is not None:
                buffer[...] = values
        self._read = batch

    @property
    def tables(self) -> Sequence[tuple[Array, Array]]:
        return ()

    def take(self, first: int, end: int) -> Batch:
        X, Y, weights = self._buffers
        return X[first:end, ...], Y[first:end, ...], None if weights is None else weights[first:end]

    def seen_through(self, view: Callable[[Array], Array]) -> Minibatch:
        twin, (X, Y, weights) = copy(self), self._buffers
        twin._buffers = view(X), view(Y), None if weights is None else view(weights)
        return twin
