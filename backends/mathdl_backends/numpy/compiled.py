"""Recorded calls as programs of native/steps.c: products in pieces, and what is done to them while they are in cache.

A run of calls that a program knows becomes a list of stages, one after the other; a stage holds the groups that do not
wait for one another. A group is an op and the elementwise ops behind it on arrays of the same shape: each piece of the
shape goes through all of them before the next. The pieces are those of `products.cut`, and every op rounds as NumPy
does, so the bits are those of the calls. The other calls run between the programs as they are.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np

from mathdl_backends.numpy import blas, native
from mathdl_backends.numpy.products import Parts, cut
from mathdl_backends.numpy.recording import maximum, minimum

Call = tuple[Callable[..., Any], tuple[Any, ...]]

_KINDS = ("PRODUCT", "SUM_ROWS", "TAKE_ROWS", "ADD", "SUBTRACT", "MULTIPLY", "DIVIDE", "SQRT", "RELU", "RELU_BACKWARD")
_BINARY = {np.add: "ADD", np.subtract: "SUBTRACT", np.multiply: "MULTIPLY", np.divide: "DIVIDE"}
_OP = np.dtype(
    [(name, np.int64) for name in ("kind", "is_double", "a", "b", "c", "a_down", "b_down", "c_down")]
    + [(name, np.int64) for name in ("a_right", "b_right", "inner")]
)
_PIECE = 16_384
"""Elements of a piece where no product decides: worth a hand-off, and yet in the cache from op to op."""
_ALONE = 150_000
"""Operations of a program up to which it runs on the calling thread: others would not have begun before it ends."""
_FEW_CALLS, _LITTLE_WORK = 3, 20_000
"""Fewer calls with less work than this stay calls: a program costs as much as two."""


class Operand(NamedTuple):
    """An array as an op reads it: where it begins, and the elements from row to row and from column to column."""

    array: Any
    down: int
    right: int

    @property
    def is_whole(self) -> bool:
        """Whether each entry is read at its own place, and not a row or a number by many."""
        return self.down > 0 and self.right == 1


class Group:
    """Ops on the pieces of one shape (rows, columns)."""

    def __init__(self, shape: tuple[int, int], parts: Parts) -> None:
        self.shape, self.parts = shape, parts
        self.work = 0
        self.ops: list[tuple[int, ...]] = []
        self.outs: list[Any] = []
        self.at_own_place: list[Any] = []
        """What is read entry by entry, where it is written."""
        self.read_elsewhere: list[Any] = []

    def add(self, kind: str, a: Operand, b: Operand | None, out: Any, work: int, inner: int = 0) -> None:
        """An op; `inner` as in steps.c."""
        second = b if b is not None else Operand(a.array, 0, 0)
        self.ops.append((
            _KINDS.index(kind), out.dtype == np.float64, address(a.array), address(second.array), address(out),
            a.down, second.down, self.shape[1], a.right, second.right, inner,
        ))  # fmt: skip
        elementwise = kind not in _KINDS[:3]
        for operand in (a, second):
            (self.at_own_place if elementwise and operand.is_whole else self.read_elsewhere).append(operand.array)
        self.outs.append(out)
        self.work += work

    def takes(self, shape: tuple[int, int], operands: Sequence[Operand], out: Any) -> bool:
        """Whether an elementwise op may follow: no piece may read what another piece writes."""
        if shape != self.shape:
            return False
        placed = [*self.outs, *self.at_own_place]
        return (
            not _touch([o.array for o in operands if not o.is_whole], [*self.outs, out])
            and not _touch([out], self.read_elsewhere)
            and all(_fits(o.array, self.outs) for o in operands if o.is_whole)
            and _fits(out, placed)
        )

    def waits_for(self, other: Group) -> bool:
        """Whether this group may not run beside the other, which comes before it."""
        reads = [*self.at_own_place, *self.read_elsewhere]
        return _touch(reads, other.outs) or _touch(self.outs, [*other.outs, *other.at_own_place, *other.read_elsewhere])


def address(A: Any) -> int:
    """Where the data of an array begin."""
    where: int = A.__array_interface__["data"][0]
    return where


def _touch(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return any(np.may_share_memory(A, B) for A in some for B in others)


def _fits(A: Any, arrays: Sequence[Any]) -> bool:
    """Whether A is each of the arrays, entry by entry, or has nothing to do with it."""
    return all(_same(A, B) or not np.may_share_memory(A, B) for B in arrays)


def _same(A: Any, B: Any) -> bool:
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


class Pool:
    """The threads that run programs; `close` ends them."""

    def __init__(self, threads: int) -> None:
        self._library, routines = native.loaded(), blas.routines() or ()
        self._process = os.getpid()
        self._pool = self._library.pool_new(threads, (ctypes.c_void_p * len(routines))(*routines))
        if not self._pool:
            raise MemoryError("no memory for the threads of a step")

    def program(self, groups: Sequence[Group]) -> Callable[[], None]:
        """The groups, in their order, as a function without arguments."""
        stages = _stages(groups)
        ops: list[tuple[int, ...]] = []
        pieces: list[tuple[int, ...]] = []
        starts = [0]
        for stage in stages:
            for group in stage:
                for rows, columns in group.parts:
                    place = rows.start, rows.stop, columns.start, columns.stop
                    pieces.append((len(ops), len(group.ops), *place))
                ops += group.ops
            starts.append(len(pieces))
        tables = (
            np.array(ops, dtype=_OP),
            np.array(pieces, dtype=np.int64),
            np.array([(start, end - start) for start, end in pairwise(starts)], dtype=np.int64),
        )
        counters = np.zeros(2 * len(stages), dtype=np.int64)
        alone = sum(group.work for group in groups) < _ALONE
        arguments = (
            ctypes.c_void_p(self._pool), *(ctypes.c_void_p(address(table)) for table in tables),
            ctypes.c_int64(len(stages)), ctypes.c_void_p(address(counters)), ctypes.c_int(alone),
        )  # fmt: skip
        run, kept = self._library.pool_run, (tables, counters, groups)  # the arrays live as long as the program

        def program(kept: Any = kept) -> None:
            run(*arguments)

        return program

    def compiled(self, calls: Sequence[Call], results: Sequence[Any]) -> list[Call]:
        """The calls, with the runs that a program knows as single calls; `results` are read after them."""
        return _compiled(calls, results, self)

    def close(self) -> None:
        """End the threads."""
        if os.getpid() == self._process:  # a process that was forked off has none of them
            self._library.pool_free(self._pool)


def _stages(groups: Sequence[Group]) -> list[list[Group]]:
    stages: list[list[Group]] = []
    for group in groups:
        if stages and not any(group.waits_for(other) for other in stages[-1]):
            stages[-1].append(group)
        else:
            stages.append([group])
    return stages


def _compiled(calls: Sequence[Call], results: Sequence[Any], pool: Pool) -> list[Call]:
    done: list[Call] = []
    run: list[Call] = []
    groups: list[Group] = []

    def flush() -> None:
        if len(run) < _FEW_CALLS and sum(group.work for group in groups) < _LITTLE_WORK:
            done.extend(run)
        else:
            done.append((pool.program(list(groups)), ()))
        run.clear()
        groups.clear()

    for call in _fused(calls, results):
        if _add(call, groups):
            run.append(call)
        else:
            if run:
                flush()
            done.append(call)
    if run:
        flush()
    return done


def _relu_backward(dA: Any, A: Any, out: Any) -> None:
    """One call for three: whether A > 0, as numbers, times dA."""
    np.multiply(dA, (A > 0).astype(dA.dtype), out=out)


def _fused(calls: Sequence[Call], results: Sequence[Any]) -> Iterator[Call]:
    j = 0
    while j < len(calls):
        triple = calls[j : j + 3]
        if _is_relu_backward(triple) and not _is_used(triple[0][1][2], triple[1][1][0], calls[j + 3 :], results):
            dA, _, out = triple[2][1]
            yield _relu_backward, (dA, triple[0][1][0], out)
            j += 3
        else:
            yield calls[j]
            j += 1


def _is_relu_backward(triple: Sequence[Call]) -> bool:
    if [function for function, _ in triple] != [np.greater, np.copyto, np.multiply]:
        return False
    (_, (_, zero, mask)), (_, (number, copied, *_)), (_, (_, factor, _)) = triple
    return _is_zero(zero) and isinstance(copied, np.ndarray) and _same(copied, mask) and _same(factor, number)


def _is_used(mask: Any, number: Any, calls: Sequence[Call], results: Sequence[Any]) -> bool:
    """Whether what the triple leaves behind, apart from its product, may be read later."""
    some = [mask, number]
    return _touch(some, results) or any(_touch(some, _reads(call)) if _shows(call) else True for call in calls)


def _shows(call: Call) -> bool:
    """Whether the arguments of a call are all the arrays that it reads."""
    function = call[0]
    return (
        isinstance(function, np.ufunc)
        or function in (np.copyto, maximum, minimum)
        or getattr(function, "is_product", False)
        or isinstance(getattr(function, "__self__", None), np.ndarray | np.ufunc)
    )


def _reads(call: Call) -> list[Any]:
    return [A for A in (getattr(call[0], "__self__", None), *call[1]) if isinstance(A, np.ndarray)]


def _is_zero(A: Any) -> bool:
    return isinstance(A, np.ndarray) and A.ndim == 0 and A == 0


def _add(call: Call, groups: list[Group]) -> bool:
    """Whether the call is one that a program knows; it is then in the groups."""
    function, args = call
    if function is np.matmul and args[0].ndim == 1:
        return _sum_rows(args[0], args[1], args[2], groups)
    if function is np.matmul or getattr(function, "is_product", False):
        return _product(args[0], args[1], args[2], groups)
    if function in _BINARY:
        return _elementwise(_BINARY[function], args[:2], args[2], groups)
    if function is np.sqrt:
        return _elementwise("SQRT", args[:1], args[1], groups)
    if function is maximum and _is_zero(args[1]):
        return _elementwise("RELU", args[:1], args[2], groups)
    if function is _relu_backward:
        return _elementwise("RELU_BACKWARD", args[:2], args[2], groups)
    source = getattr(function, "__self__", None)
    if isinstance(source, np.ndarray) and function.__name__ == "take" and args[3] == "wrap":
        return _take_rows(source, args[0], args[1], args[2], groups)
    return False


def _product(A: Any, B: Any, out: Any, groups: list[Group]) -> bool:
    a, b, c = _layout(A), _layout(B), _layout(out)
    if a is None or b is None or c is None or c.right or not A.dtype == B.dtype == out.dtype or c.down != out.shape[1]:
        return False
    if np.may_share_memory(A, B):
        return False  # NumPy takes another routine for A Aᵀ
    (rows, columns), inner = out.shape, A.shape[1]
    parts = cut(rows, inner, columns) or [(slice(0, rows), slice(0, columns))]
    if min(inner, *(part.stop - part.start for piece in parts for part in piece)) < 2:
        return False  # and for vectors; what is empty is not for BLAS
    group = Group((rows, columns), parts)
    group.add("PRODUCT", a, b, out, rows * inner * columns, inner)
    groups.append(group)
    return True


def _sum_rows(ones: Any, D: Any, out: Any, groups: list[Group]) -> bool:
    if D.ndim != 2 or not ones.dtype == D.dtype == out.dtype or not all(map(_is_contiguous, (ones, D, out))):
        return False
    if not np.all(ones == 1) or min(D.shape) < 2:
        return False
    group = Group((1, D.shape[1]), [(slice(0, 1), slice(0, D.shape[1]))])
    group.add("SUM_ROWS", Operand(ones, 0, 1), Operand(D, D.shape[1], 1), out, D.size, D.shape[0])
    groups.append(group)
    return True


def _take_rows(source: Any, indices: Any, axis: Any, out: Any, groups: list[Group]) -> bool:
    if axis != 0 or source.ndim < 2 or indices.ndim != 1 or indices.dtype != np.int64 or source.size == 0:
        return False
    if not all(map(_is_contiguous, (source, out))) or not indices.flags.c_contiguous:
        return False
    rows, width = len(indices), prod(source.shape[1:])
    group = Group((rows, width), _pieces(rows, width))
    group.add("TAKE_ROWS", Operand(source, width, 1), Operand(indices, 0, 1), out, out.size, source.shape[0])
    groups.append(group)
    return True


def _elementwise(kind: str, inputs: Sequence[Any], out: Any, groups: list[Group]) -> bool:
    """An op that works entry by entry, behind the last group or as one of its own."""
    if not _is_contiguous(out) or out.ndim == 0 or out.size == 0:
        return False
    shape = (out.shape[0], out.shape[1]) if out.ndim == 2 else (1, out.size)
    operands = [_operand(A, out, shape) for A in inputs]
    if any(o is None for o in operands) or not any(o is not None and o.right for o in operands):
        return False
    known = [o for o in operands if o is not None]
    if kind == "RELU_BACKWARD" and not all(o.right for o in known):
        return False
    if not all(_fits(o.array, [out]) for o in known if o.is_whole):
        return False
    if _touch([o.array for o in known if not o.is_whole], [out]):
        return False
    if not groups or not groups[-1].takes(shape, known, out):
        groups.append(Group(shape, _pieces(*shape)))
    groups[-1].add(kind, known[0], known[1] if len(known) > 1 else None, out, out.size)
    return True


def _operand(A: Any, out: Any, shape: tuple[int, int]) -> Operand | None:
    if not isinstance(A, np.ndarray) or A.dtype != out.dtype:
        return None
    if A.size == 1:
        return Operand(A, 0, 0)
    if A.shape == out.shape and A.flags.c_contiguous:
        return Operand(A, shape[1], 1)
    if A.shape == out.shape[1:] and out.ndim == 2 and A.flags.c_contiguous:
        return Operand(A, 0, 1)
    return None


def _pieces(rows: int, columns: int) -> Parts:
    if rows == 1:
        return [(slice(0, 1), slice(j, min(j + _PIECE, columns))) for j in range(0, columns, _PIECE)]
    height = max(1, _PIECE // columns)
    return [(slice(i, min(i + height, rows)), slice(0, columns)) for i in range(0, rows, height)]


def _is_contiguous(A: Any) -> bool:
    return isinstance(A, np.ndarray) and A.flags.carray and A.dtype in (np.float32, np.float64)


def _layout(M: Any) -> Operand | None:
    """M as BLAS takes it: `right` is whether it lies transposed, `down` the elements to the next row, or column."""
    if M.ndim != 2 or M.dtype not in (np.float32, np.float64):
        return None
    (rows, columns), (down, right), item = M.shape, M.strides, M.itemsize
    if right == item and down >= columns * item and down % item == 0:
        return Operand(M, down // item, 0)
    if down == item and right >= rows * item and right % item == 0:
        return Operand(M, right // item, 1)
    return None
