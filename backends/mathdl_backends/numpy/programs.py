"""Programs of compiled code (native/steps.c): groups of ops on the pieces of one shape, run by a pool of threads.

A group is ops that follow one another piece by piece, so that what one writes is in the cache when the next reads it.
What nobody reads but the ops of its group is local: it lives in the scratch of a thread, a piece at a time, and nowhere
else. Groups that need nothing of one another are one stage, and run side by side.
"""

from __future__ import annotations

import ctypes
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from mathdl_backends.numpy import blas, native
from mathdl_backends.numpy.memory import Buffer, Memory, owner
from mathdl_backends.numpy.pieces import Parts

KINDS = (
    *("PRODUCT", "ROW_PRODUCT", "TAKE_ROWS", "CONVOLVE", "CONVOLVE_DW", "CONVOLVE_DA", "MAX_LINE", "MAX_LINE_BACKWARD"),
    *("SUM_PIECES", "COPY", "ADD", "SUBTRACT", "MULTIPLY", "DIVIDE", "SQRT", "RELU", "RELU_BACKWARD"),
    *("FROM_BOOL", "ARGMAX", "PUT_ROW", "LOOP", "REDUCE", "COPY_AXES", "RANDOM_WORDS"),
)
_FIELDS = (
    *("kind", "is_double", "a", "b", "c", "a_down", "b_down", "c_down", "a_right", "b_right", "inner", "width"),
    *("locals", "work", "window"),
)
_OP = np.dtype([(name, np.int64) for name in _FIELDS])
_TO_MEMORY = frozenset({"SUM_PIECES", "ARGMAX", "PUT_ROW", "LOOP", "REDUCE", "COPY_AXES", "RANDOM_WORDS"})
"""Ops that know where their result lies, and write there."""
_ALONE = 150_000
"""Operations of a program up to which it runs on the calling thread: others would not have begun before it ends."""
_LARGEST_LOCAL = 1 << 16
"""Numbers of a piece up to which what is local stays in the cache."""


class Operand(NamedTuple):
    """An array as an op reads it: where it begins, and the elements from row to row and from column to column."""

    array: Any
    down: int
    right: int
    whole: bool = False
    """Whether each entry is read where the result has it, and not a row or a number by many."""


class Op(NamedTuple):
    """An op of steps.c."""

    kind: str
    a: Operand
    b: Operand
    out: Any
    width: int
    inner: int = 0
    about: Any = None
    """A `Window`, `Line`, `Loop` or `Axes` of steps.c, as integers; or what makes it, given where arrays lie."""
    scratch: int = 0
    """Bytes that it works in."""
    more: tuple[Any, ...] = ()
    """Arrays that only `about` points to."""
    wide: bool | None = None
    """`is_wide`; None: as the numbers of the result."""

    @property
    def arrays(self) -> list[Any]:
        """All that it reads and writes."""
        return [self.a.array, self.b.array, self.out, *self.more]

    @property
    def is_wide(self) -> bool:
        """Whether its numbers take 8 bytes, and not 4."""
        return bool(self.out.itemsize == 8) if self.wide is None else self.wide

    def record(self, local: dict[int, int], where_is: Callable[[Any], int]) -> tuple[tuple[int, ...], Any]:
        """(the op as steps.c takes it, what it points to beside the arrays).

        `local` says where in the scratch what is local lies, by its owner; `where_is(A)` where A lies.
        """

        def place(A: Any) -> tuple[int, int]:
            at = local.get(id(owner(A)))
            return (where_is(A), 0) if at is None else (at, 1)

        (a, a_local), (b, b_local), (c, c_local) = map(place, (self.a.array, self.b.array, self.out))
        where = a_local + 2 * b_local + 4 * c_local
        about = self.about(where_is) if callable(self.about) else self.about
        return (
            KINDS.index(self.kind), self.is_wide, a, b, c, self.a.down, self.b.down, self.width, self.a.right,
            self.b.right, self.inner, self.width, where, 0, 0 if about is None else address(about),
        ), about  # fmt: skip


class Group:
    """Ops on the pieces of one shape (rows, columns)."""

    def __init__(self, shape: tuple[int, int], parts: Parts) -> None:
        self.shape, self.parts = shape, parts
        self.largest = max((r.stop - r.start) * (c.stop - c.start) for r, c in parts)
        """The numbers of the largest piece."""
        self.is_linear = shape[0] == 1 or all(p.stop - p.start == shape[1] for _, p in parts)
        """Whether a piece is a run of numbers."""
        self.starts = [rows.start * shape[1] + columns.start for rows, columns in parts]
        self.work = 0
        self.ops: list[Op] = []
        self.calls: set[int] = set()
        """The numbers of the calls that its ops stand for."""
        self.outs: list[Any] = []
        self.at_own_place: list[Any] = []
        """What is read entry by entry, where it is written."""
        self.read_elsewhere: list[Any] = []

    def add(self, op: Op, work: int, more_outs: Sequence[Any] = ()) -> None:
        """An op behind the others."""
        self.ops.append(op)
        for operand in (op.a, op.b):
            (self.at_own_place if operand.whole else self.read_elsewhere).append(operand.array)
        self.outs += [op.out, *more_outs]
        self.work += work

    def fits_width(self, width: int) -> bool:
        """Whether each piece is made of whole rows of that width."""
        return width == self.shape[1] or (self.is_linear and gcd(*self.starts) % width == 0)

    def is_in_pieces_of(self, size: int) -> bool:
        """Whether the pieces are runs of so many numbers, but for the last."""
        return self.is_linear and self.starts == list(range(0, self.shape[0] * self.shape[1], size))

    def takes(self, width: int, size: int, operands: Sequence[Operand], out: Any) -> bool:
        """Whether an op may follow that reads and writes entry by entry: no piece may read what another one writes."""
        if size != self.shape[0] * self.shape[1] or not self.fits_width(width):
            return False
        placed = [*self.outs, *self.at_own_place]
        return (
            not touch([o.array for o in operands if not o.whole], [*self.outs, out])
            and not touch([out], self.read_elsewhere)
            and all(fits(o.array, self.outs) for o in operands if o.whole)
            and fits(out, placed)
        )

    def waits_for(self, other: Group) -> bool:
        """Whether this group may not run beside the other, which comes before it."""
        return other.is_in_the_way_of([*self.at_own_place, *self.read_elsewhere], self.outs)

    def is_in_the_way_of(self, reads: Sequence[Any], writes: Sequence[Any]) -> bool:
        """Whether what reads and writes these must wait for this group."""
        return touch(reads, self.outs) or touch(writes, [*self.outs, *self.at_own_place, *self.read_elsewhere])


def address(A: Any) -> int:
    """Where the data of an array begin."""
    where: int = A.__array_interface__["data"][0]
    return where


def share(A: Any, B: Any) -> bool:
    """Whether A and B may have numbers in common. Buffers never do: their memory is assigned when all is in order."""
    a, b = owner(A), owner(B)
    if a is not b and (isinstance(a, Buffer) or isinstance(b, Buffer)):
        return False
    return bool(np.may_share_memory(A, B))


def touch(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether any of the arrays may have numbers in common with any of the others."""
    return any(share(A, B) for A in some for B in others)


def fits(A: Any, arrays: Sequence[Any]) -> bool:
    """Whether A is each of the arrays, entry by entry, or has nothing to do with it."""
    return all(not share(A, B) or same(A, B) for B in arrays)


def same(A: Any, B: Any) -> bool:
    """Whether A and B are the same numbers in the same order."""
    if not (A.flags.c_contiguous and B.flags.c_contiguous):
        return False  # a transposed matrix begins at the same place
    return bool(address(A) == address(B) and A.size == B.size and A.dtype == B.dtype)


def why_absent() -> str | None:
    """None if programs can run here; else the reason why steps run call by call."""
    if native.loaded() is None:
        return native.why_absent()
    if blas.routines() is None:
        return "absent: NumPy's BLAS is not an OpenBLAS with 64-bit integers"
    return None


class Program:
    """Compiled groups: a function without arguments, that runs while its pool is open."""

    def __init__(self, pool: Pool, tables: Any, numbers: Sequence[Any], kept: Any, alone: bool) -> None:
        self.pool = pool
        self.alone = alone
        """Whether it needs no other thread."""
        self.address = address(tables)
        self._numbers = numbers
        """All that the ops are made of, as integers: the addresses are among them."""
        self._places: dict[int, Any] = {}
        self._kept = tables, kept  # the arrays live as long as the program

    def __call__(self) -> None:
        self.pool.run(self)

    def moves(self, buffer: Any, whole: Any) -> Any:
        """The `Move`s of steps.c that have chunks of `whole` take the place of a buffer of the program's own."""
        found = self._places.get(id(buffer))
        if found is None:
            found = self._places[id(buffer)] = self._places_of(buffer)
        moves = np.empty((len(found), 4), dtype=np.int64)
        moves[:, :2] = found
        moves[:, 2] = found[:, 1] + (address(whole) - address(buffer))
        moves[:, 3] = buffer.nbytes
        return moves

    def _places_of(self, buffer: Any) -> Any:
        """(where an address stands, the address) of all that lies in the buffer."""
        start, found = address(buffer), []
        for numbers in self._numbers:
            (here,) = np.nonzero((numbers >= start) & (numbers < start + buffer.nbytes))
            found += [(address(numbers) + numbers.itemsize * int(j), int(numbers[j])) for j in here]
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def by_itself(self) -> None:
        """Run it while its pool is closed: a program that needs no other thread."""
        if native.loaded().pool_run_alone(_alone(), self.address):
            raise _not_there()


@cache
def _alone() -> int:
    """The pool of the programs that run by themselves, one at a time."""
    return _new_pool(1)


def _new_pool(threads: int) -> int:
    routines = blas.routines() or ()
    found: int | None = native.loaded().pool_new(threads, (ctypes.c_void_p * len(routines))(*routines))
    if found is None:
        raise MemoryError("no memory for the threads of a step")
    return found


def _not_there() -> IndexError:
    return IndexError("a row was taken that is not there")


_resting: defaultdict[int, list[int]] = defaultdict(list)
"""Pools that nobody uses, by their number of threads: to start threads takes longer than to predict a row."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resting.clear)  # a process that was forked off has none of their threads


class Pool:
    """The threads that run programs, from `open` to `close`; a program runs while its pool is open."""

    def __init__(self, threads: int) -> None:
        self._library, self.threads = native.loaded(), threads
        self._pool: int | None = None
        self._process = 0

    def open(self) -> None:
        """Have threads: those that rest, or new ones."""
        try:
            self._pool = _resting[self.threads].pop()
        except IndexError:
            self._pool = _new_pool(self.threads)
        self._process = os.getpid()

    def program(
        self,
        groups: Sequence[Group],
        is_local: Callable[[Group, Any], bool],
        makes: Callable[[Any], bool] = lambda A: False,
        memory: Memory | None = None,
    ) -> Program:
        """The groups, in their order; with `memory`, the buffers that `makes` tells of get their places there."""
        stages = _stages(groups)
        work = scratch = -(-max(op.scratch for group in groups for op in group.ops) // 64) * 64
        local = {id(group): _local_places(group, work, is_local) for group in groups}
        places = _places(stages, local, makes, memory) if memory is not None else {}
        ops: list[tuple[int, ...]] = []
        pieces: list[tuple[int, ...]] = []
        starts = [0]
        kept: list[Any] = [places]
        abouts: list[Any] = []

        def where_is(A: Any) -> int:
            own = owner(A)
            block = places.get(id(own))
            return address(A) if block is None else address(block) + address(A) - address(own)

        for stage in stages:
            for group in stage:
                mine = local[id(group)]
                scratch = max(scratch, *(at + group.largest * 8 for at in mine.values()), 0)
                for rows, columns in group.parts:
                    place = rows.start, rows.stop, columns.start, columns.stop
                    pieces.append((len(ops), len(group.ops), *place, group.shape[1]))
                for op in group.ops:
                    record, about = op.record(mine, where_is)
                    ops.append(record)
                    if about is not None:
                        abouts.append(about)
                    kept += [A for A in op.arrays if id(owner(A)) not in mine and id(owner(A)) not in places]
            starts.append(len(pieces))
        tables = (
            np.array(ops, dtype=_OP),
            np.array(pieces, dtype=np.int64),
            np.array([(start, end - start) for start, end in pairwise(starts)], dtype=np.int64),
        )
        counters = np.zeros(2 * len(stages), dtype=np.int64)
        alone = sum(group.work for group in groups) < _ALONE
        where = (*map(address, tables), len(stages), address(counters), alone, scratch)
        numbers = [tables[0].view(np.int64), *abouts]
        return Program(self, np.array(where, dtype=np.int64), numbers, (tables, counters, kept), alone)

    def run(self, program: Program) -> None:
        """Run a program. Raises `IndexError` if it takes a row that is not there."""
        if self._library.pool_run(self._pool, program.address):
            raise _not_there()

    def run_chunks(self, programs: Sequence[Program], moves: Sequence[Any], count: int) -> None:
        """Chunks 0 … count − 1, each by one thread, and each thread with a program of its own, moved by its `moves`."""
        pairs = zip(programs, moves, strict=True)
        lanes = np.array([(program.address, address(m), len(m)) for program, m in pairs], dtype=np.int64)
        if self._library.pool_chunks(self._pool, address(lanes), len(lanes), count):
            raise _not_there()

    def steps(self, gradient: Program, update: Program, J: Any, count: int) -> int:
        """Both in turn, `count` times, as long as J (1,) is finite after `gradient`: how many times."""
        wide = J.dtype == np.float64
        done: int = self._library.pool_steps(self._pool, gradient.address, update.address, address(J), wide, count)
        if done < 0:
            raise _not_there()
        return done

    def close(self) -> None:
        """Let the threads rest."""
        if self._pool is not None and os.getpid() == self._process:
            _resting[self.threads].append(self._pool)
        self._pool = None


def _local_places(group: Group, first: int, is_local: Callable[[Group, Any], bool]) -> dict[int, int]:
    """Where in the scratch the results of a group that are local lie, by their owners."""
    if group.largest > _LARGEST_LOCAL:
        return {}
    found: dict[int, int] = {}
    step = -(-group.largest * 8 // 64) * 64
    in_memory = {id(owner(op.out)) for op in group.ops if op.kind in _TO_MEMORY}
    for op in group.ops:
        own = id(owner(op.out))
        if own not in in_memory and own not in found and is_local(group, op.out):
            found[own] = first + len(found) * step
    return found


def _places(
    stages: Sequence[Sequence[Group]],
    local: dict[int, dict[int, int]],
    makes: Callable[[Any], bool],
    memory: Memory,
) -> dict[int, Any]:
    """A block of the memory for each buffer that is not local, by its owner."""
    used: dict[int, tuple[Any, int, int]] = {}
    for j, stage in enumerate(stages):
        for group in stage:
            for A in (A for op in group.ops for A in op.arrays if makes(A) and isinstance(owner(A), Buffer)):
                own = owner(A)
                if id(own) not in local[id(group)]:
                    used[id(own)] = own, used[id(own)][1] if id(own) in used else j, j
    blocks = memory.placed([(own.nbytes, first, last) for own, first, last in used.values()])
    return dict(zip(used, blocks, strict=True))


def _stages(groups: Sequence[Group]) -> list[list[Group]]:
    stages: list[list[Group]] = []
    for group in groups:
        if stages and not any(group.waits_for(other) for other in stages[-1]):
            stages[-1].append(group)
        else:
            stages.append([group])
    return stages
