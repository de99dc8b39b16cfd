"""The memory of captured steps: a pool of its own, which keeps what a graph writes to.

A graph writes to the same addresses at every launch, long after its arrays are gone and their blocks lie free in the
pool. A pool of CuPy's that comes to its limit, or that CUDA has no memory for, gives its free blocks back to CUDA and
tries once more (cupy/cuda/memory.pyx, `_try_malloc`): from the first capture on, this one gives an error instead.
"""

from __future__ import annotations

from typing import Any

_NO_MEMORY = 2  # cudaErrorMemoryAllocation


class GraphMemory:
    """A pool; `malloc` is an allocator as CuPy takes it."""

    def __init__(self, cupy: Any) -> None:
        self._source = _Source(cupy)  # no method of this object: pool and object would keep each other alive
        self._pool = cupy.cuda.MemoryPool(self._source)
        self.malloc = self._pool.malloc

    def hold(self) -> None:
        """Give nothing back from now on. On the device of the pool."""
        self._pool.set_limit(size=0)
        self._source.held = True


class _Source:
    """New blocks; if need be, in the place of those that the pool of all other arrays keeps without using them."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.held = False

    def __call__(self, size: int) -> Any:
        try:
            return self._block(size)
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != _NO_MEMORY:
                raise
            self._cupy.get_default_memory_pool().free_all_blocks()
        try:
            return self._block(size)
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            if self.held and error.status == _NO_MEMORY:
                raise self._cupy.cuda.memory.OutOfMemoryError(size, -1) from error  # which the pool lets through
            raise

    def _block(self, size: int) -> Any:
        memory = self._cupy.cuda.memory
        return memory.MemoryPointer(memory.Memory(size), 0)
