"""The memory of a record: blocks that go from one array to the next, as soon as nobody needs the one before.

A step's results are many times what it needs at once. Where a step runs call by call, malloc hands the same memory out
again and again. A record, whose every result is an array of its own, must do the same: while it is made, in the order
of the calls; and once more when the calls have become a program, whose order is another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

import numpy as np

_ALIGNED = 64
"""Bytes that a block begins at a multiple of: a line of the cache."""
_SMALL = 1 << 14
"""Bytes of a block that is not worth handing on."""


class Buffer(np.ndarray):
    """All the numbers of a result. Two of them are never the same array, whatever memory they lie in."""


class _Block(np.ndarray):
    """Memory of buffers. A class of its own, so that NumPy takes no buffer for a mere view of it."""


class Hold:
    """Whoever has this has the memory of an array."""


def owner(A: Any) -> Any:
    """The array that owns the memory of A, or the buffer that A is a view of."""
    while isinstance(A.base, np.ndarray) and not isinstance(A, Buffer):
        A = A.base
    return A


class Memory:
    """At most `most_bytes` in blocks, each lent to one array after the other if `hands_on`."""

    def __init__(self, most_bytes: int, hands_on: bool = True) -> None:
        self._left = most_bytes
        self.hands_on = hands_on
        self._blocks: list[Any] = []
        self._free: list[Any] = []
        self._held: dict[int, Any] = {}

    def begin_anew(self) -> None:
        """All blocks are free, whoever holds an array."""
        self._held.clear()
        self._free = list(self._blocks)

    def release(self) -> None:
        """Keep no block that is not in use."""
        self._blocks, self._free = [], []
        self._held.clear()

    def like(self, A: Any, hold: Hold) -> Any | None:
        """An array of the shape, dtype and order of axes of A, with nothing in it; None if that is too much.

        Its memory is free again when `hold` is gone.
        """
        block = self._block(A.nbytes)
        if block is None:
            return None
        if self.hands_on and block.nbytes > _SMALL:
            self._held[id(hold)] = ref(hold, self._give_back(id(hold), block))
        flat = Buffer(A.size, A.dtype, block.data)
        axes = sorted(range(A.ndim), key=lambda k: -abs(A.strides[k]))  # the slowest first, and C order among equals
        return flat.view(np.ndarray).reshape([A.shape[k] for k in axes]).transpose(np.argsort(axes))

    def placed(self, needs: Sequence[tuple[int, int, int]]) -> list[Any]:
        """A block for each (bytes, first, last): of two that overlap in time, each has a block of its own."""
        until: list[tuple[Any, int]] = [(block, -1) for block in self._blocks]
        found: list[Any] = [None] * len(needs)
        for j in sorted(range(len(needs)), key=lambda j: needs[j][1:]):
            size, first, last = needs[j]
            fitting = [k for k, (block, end) in enumerate(until) if end < first and block.nbytes >= size]
            if fitting:
                k = min(fitting, key=lambda k: until[k][0].nbytes)
                found[j] = until[k][0]
                until[k] = found[j], last
            else:
                found[j] = _new_block(size)
                until.append((found[j], last))
        return found

    def _give_back(self, key: int, block: Any) -> Callable[[Any], None]:
        def gone(_: Any) -> None:
            if self._held.pop(key, None) is not None:
                self._free.append(block)

        return gone

    def _block(self, size: int) -> Any | None:
        """The smallest free block that is large enough, and not more than twice as large; or a new one."""
        fitting = [block for block in self._free if size <= block.nbytes <= max(2 * size, _SMALL)]
        if fitting:
            best = min(fitting, key=lambda block: block.nbytes)
            self._free = [block for block in self._free if block is not best]
            return best
        self._left -= size
        if self._left < 0:
            return None
        block = _new_block(size)
        self._blocks.append(block)
        return block


def _new_block(size: int) -> Any:
    raw = np.empty(max(size, 1) + _ALIGNED, dtype=np.uint8)
    start = -raw.__array_interface__["data"][0] % _ALIGNED
    return raw[start : start + max(size, 1)].view(_Block)
