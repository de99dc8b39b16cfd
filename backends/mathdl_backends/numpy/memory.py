"""The memory of a record: blocks that go from one array to the next, as soon as nobody holds the one before.

A step's results are many times what it needs at once. Where a step runs call by call, malloc hands the same memory out
again and again; a record, whose every result has a place of its own, must do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np

_ALIGNED = 64
"""Bytes that a block begins at a multiple of: a line of the cache."""


class Hold:
    """Whoever has this has the memory of an array."""


class Memory:
    """At most `most_bytes` in blocks."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
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

    def like(self, A: Any) -> Any | None:
        """An array of the shape, dtype and order of axes of A, with nothing in it; None if that is too much."""
        axes = sorted(
            range(A.ndim), key=lambda k: -abs(A.strides[k])
        )  # the slowest first; C order where they are equal
        block = self._block(A.nbytes)
        if block is None:
            return None
        flat = np.frombuffer(block, dtype=A.dtype, count=A.size)
        return flat.reshape([A.shape[k] for k in axes]).transpose(np.argsort(axes))

    def lend(self, array: Any, hold: Hold) -> None:
        """The block of `array`, which `like` made, is free again when `hold` is gone."""
        block = next((block for block in self._blocks if np.may_share_memory(block, array)), None)
        if block is not None:  # an array of no numbers has none
            self._held[id(hold)] = ref(hold, self._give_back(id(hold), block))

    def _give_back(self, key: int, block: Any) -> Callable[[Any], None]:
        def gone(_: Any) -> None:
            if self._held.pop(key, None) is not None:
                self._free.append(block)

        return gone

    def _block(self, size: int) -> Any | None:
        """The smallest free block that is large enough, and not more than twice as large; or a new one."""
        fitting = [block for block in self._free if size <= block.nbytes <= max(2 * size, 4096)]
        if fitting:
            best = min(fitting, key=lambda block: block.nbytes)
            self._free = [block for block in self._free if block is not best]
            return best
        size = max(size, 1)
        self._left -= size
        if self._left < 0:
            return None
        raw = np.empty(size + _ALIGNED, dtype=np.uint8)
        start = -raw.__array_interface__["data"][0] % _ALIGNED
        block = np.frombuffer(raw.data[start : start + size], dtype=np.uint8)
        self._blocks.append(block)
        return block
