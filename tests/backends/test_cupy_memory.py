"""The memory of captured steps, against a stand-in for CuPy's pool that gives blocks back where CuPy's does."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest

from mathdl_backends.cupy.memory import GraphMemory


class CUDAError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class NoMemory(MemoryError):
    pass


class Device:
    """So many bytes; `cupy` is CuPy as far as it knows of them."""

    def __init__(self, room, status=2):
        self.room, self.status = room, status
        self.default = Pool(self, self.block)
        self.cupy = SimpleNamespace(
            get_default_memory_pool=lambda: self.default,
            cuda=SimpleNamespace(
                MemoryPool=lambda source: Pool(self, source),
                runtime=SimpleNamespace(CUDARuntimeError=CUDAError),
                memory=SimpleNamespace(
                    Memory=self.block, MemoryPointer=lambda memory, offset: memory, OutOfMemoryError=NoMemory
                ),
            ),
        )

    def block(self, size):
        if size > self.room:
            raise CUDAError(self.status)
        self.room -= size
        return size


class Pool:
    """As cupy/cuda/memory.pyx, `_try_malloc`: at its limit, and where CUDA has no memory, it gives free blocks back."""

    def __init__(self, device, source):
        self.device, self.source, self.free, self.taken, self.limit = device, source, [], 0, 0

    def set_limit(self, size):
        self.limit = size

    def malloc(self, size):
        if size in self.free:
            self.free.remove(size)
            return size
        if self.limit and self.taken + size > self.limit:
            self.free_all_blocks()
            if self.taken + size > self.limit:
                raise NoMemory(f"the limit {self.limit}")
        try:
            block = self.source(size)
        except CUDAError as error:
            if error.status != 2:
                raise
            self.free_all_blocks()
            try:
                block = self.source(size)
            except CUDAError as again:
                raise NoMemory("from the pool") from again
        self.taken += size
        return block

    def release(self, size):
        self.free.append(size)

    def free_all_blocks(self):
        self.device.room += sum(self.free)
        self.taken -= sum(self.free)
        self.free = []


def test_blocks_that_a_graph_writes_to_are_never_given_back():
    device = Device(room=10)
    memory = GraphMemory(device.cupy)
    pool = memory.malloc.__self__
    pool.release(memory.malloc(6))
    memory.hold()
    with pytest.raises(NoMemory):
        memory.malloc(8)
    assert (pool.free, device.room) == ([6], 4)
    assert memory.malloc(6) == 6


def test_before_a_capture_they_are():
    device = Device(room=10)
    memory = GraphMemory(device.cupy)
    memory.malloc.__self__.release(memory.malloc(6))
    assert memory.malloc(8) == 8
    with pytest.raises(NoMemory, match="from the pool"):
        memory.malloc(8)


def test_nor_at_a_limit():
    device = Device(room=20)
    memory = GraphMemory(device.cupy)
    pool = memory.malloc.__self__
    pool.set_limit(10)
    pool.release(memory.malloc(6))
    memory.hold()
    assert memory.malloc(8) == 8
    assert pool.free == [6]


@pytest.mark.parametrize("held", [False, True])
def test_what_other_arrays_have_left_behind_is_taken_first(held):
    device = Device(room=10)
    device.default.release(device.default.malloc(8))
    memory = GraphMemory(device.cupy)
    if held:
        memory.hold()
    assert memory.malloc(9) == 9
    assert device.default.free == []


@pytest.mark.parametrize("held", [False, True])
def test_other_errors_are_left_alone(held):
    device = Device(room=10, status=700)
    device.default.release(device.default.malloc(8))
    memory = GraphMemory(device.cupy)
    if held:
        memory.hold()
    with pytest.raises(CUDAError, match="700"):
        memory.malloc(9)
    assert device.default.free == [8]


def test_it_goes_as_soon_as_nobody_holds_it():
    """Memory of a device must not wait for the garbage collector."""
    memory = GraphMemory(Device(room=10).cupy)
    pool = weakref.ref(memory.malloc.__self__)
    gc.disable()
    try:
        del memory
        assert pool() is None
    finally:
        gc.enable()
