"""Sources of rows for training: on the device at once, or streamed from a memory map, a minibatch at a time.

A source holds X (n, …), Y and the weights w (n,) or None, as the steps read them: checked, standardized, cast.
`minibatch(B)` gives the buffers that minibatches of B instances are read through.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Array, Device

Batch: TypeAlias = tuple[Array, Array, Array | None]
"""(X, Y, weights or None) of some instances, on the device."""


class Minibatch(Protocol):
    """The rows of one minibatch, which the shards of a step read."""

    def load(self, rows: NDArray[np.int64]) -> None:
        """Make these the rows of the minibatch."""
        ...

    def take(self, first: int, end: int) -> Batch:
        """The instances (first) … (end − 1) of the minibatch."""
        ...

    def seen_through(self, view: Callable[[Array], Array]) -> Minibatch | None:
        """The same buffers, with `view` of each array; None where they are other arrays for each minibatch."""
        ...


class Source(Protocol):
    """n rows that are trained or evaluated on."""

    n: int

    def minibatch(self, B: int) -> Minibatch:
        """Buffers for minibatches of B instances."""
        ...

    def slice(self, first: int, end: int) -> Batch:
        """The rows first … end − 1, in their own order."""
        ...


class InMemory:
    """Rows that lie on the device, all of them; a minibatch is gathered inside the step."""

    def __init__(self, X: Array, Y: Array, weights: Array | None, device: Device) -> None:
        self.n = int(X.shape[0])
        self.X, self.Y, self.weights = X, Y, weights
        self.device = device

    def minibatch(self, B: int) -> Minibatch:
        return _GatheredInStep(self, B)

    def slice(self, first: int, end: int) -> Batch:
        return self.X[first:end, ...], self.Y[first:end, ...], None if self.weights is None else self.weights[first:end]


class _GatheredInStep:
    def __init__(self, source: InMemory, B: int) -> None:
        self._source = source
        xp = source.device.namespace
        self._take = xp.take
        self._rows = xp.zeros((B,), dtype=xp.int64, device=source.device.handle)

    def load(self, rows: NDArray[np.int64]) -> None:
        self._rows[...] = self._source.device.put(rows)

    def take(self, first: int, end: int) -> Batch:
        source, rows = self._source, self._rows[first:end]
        weights = None if source.weights is None else self._take(source.weights, rows, axis=0)
        return self._take(source.X, rows, axis=0), self._take(source.Y, rows, axis=0), weights

    def seen_through(self, view: Callable[[Array], Array]) -> Minibatch:
        twin, source = copy(self), copy(self._source)
        twin._source, twin._rows = source, view(self._rows)
        source.X, source.Y = view(source.X), view(source.Y)
        source.weights = None if source.weights is None else view(source.weights)
        return twin


class Streamed:
    """Rows of a memory map: read, prepared and sent to the device one minibatch at a time."""

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

    def minibatch(self, B: int) -> Minibatch:
        return _ReadBeforeStep(self)

    def slice(self, first: int, end: int) -> Batch:
        return self.read(np.arange(first, end))

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """These rows, on the device. They are read in the order of the file."""
        order = np.argsort(rows, kind="stable")
        back = np.argsort(order, kind="stable")
        X, Y = np.asarray(self.X[rows[order]])[back], np.asarray(self.Y[rows[order]])[back]
        weights = None if self.weights is None else self.device.put(self.weights[rows])
        return self._prepare(X), self._prepare_targets(Y), weights


class _ReadBeforeStep:
    def __init__(self, source: Streamed) -> None:
        self._source = source
        self._batch: Batch

    def load(self, rows: NDArray[np.int64]) -> None:
        self._batch = self._source.read(rows)

    def take(self, first: int, end: int) -> Batch:
        X, Y, weights = self._batch
        return X[first:end, ...], Y[first:end, ...], None if weights is None else weights[first:end]

    def seen_through(self, view: Callable[[Array], Array]) -> None:
        return None
