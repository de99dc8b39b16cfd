"""Runs of recorded calls as programs: which call is which op, and which ops follow one another piece by piece.

The ops round as NumPy's calls do, to the last bit: products and sums go to the same routines of the same BLAS, on the
same pieces, and elementwise work does not depend on pieces at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mathdl_backends.numpy import loops, sums
from mathdl_backends.numpy.calls import is_contiguous, starts
from mathdl_backends.numpy.memory import Memory, owner
from mathdl_backends.numpy.pieces import height, pieces
from mathdl_backends.numpy.programs import Group, Op, Operand, Pool, fits, same, touch
from mathdl_backends.numpy.recording import Call, maximum

_FEW_CALLS, _LITTLE_WORK = 3, 20_000
"""Fewer calls with less work than this stay calls: a program costs as much as two."""

_SUM_PIECES = sums.sum_pieces.__wrapped__  # type: ignore[attr-defined]
_BINARY = {np.add: "ADD", np.subtract: "SUBTRACT", np.multiply: "MULTIPLY", np.divide: "DIVIDE"}


def compiled(
    calls: Sequence[Call],
    results: Sequence[Any],
    makes: Callable[[Any], bool],
    pool: Pool,
    memory: Memory | None = None,
) -> list[Call]:
    """The calls, with the runs that a program knows as single calls.

    `results` are read after them; `makes(A)` says whether A lies in a buffer that only these calls know. If all of them
    are one program, their buffers are given new places in `memory`.
    """
    calls = list(_fused(calls, results))
    users = _users(calls)
    kept = {id(owner(A)) for A in results}

    def is_local(group: Group, A: Any) -> bool:
        own = owner(A)
        return makes(A) and A.size == own.size and id(own) not in kept and users[id(own)] <= group.calls

    done: list[Call] = []
    pending: list[Call] = []
    groups: list[Group] = []

    def program() -> Call:
        places = memory if not results and len(pending) == len(calls) else None
        return Call(pool.program(list(groups), is_local, makes, places), (), (), ())

    def flush() -> None:
        if len(pending) < _FEW_CALLS and sum(group.work for group in groups) < _LITTLE_WORK:
            done.extend(pending)
        elif groups:
            done.append(program())
        pending.clear()
        groups.clear()

    for number, call in enumerate(calls):
        if _add(call, number, groups):
            pending.append(call)
        else:
            if any(group.is_in_the_way_of(call.reads, call.writes) for group in groups):
                flush()
            done.append(call)  # else it may as well come first, and the run goes on
    flush()
    return done


def _users(calls: Sequence[Call]) -> dict[int, set[int]]:
    """The numbers of the calls that read or write an array, by its owner."""
    found: dict[int, set[int]] = {}
    for number, call in enumerate(calls):
        for A in (*call.reads, *call.writes):
            found.setdefault(id(owner(A)), set()).add(number)
    return found


# -- three calls that are one ------------------------------------------------------------------------------------------


def _relu_backward(dA: Any, A: Any, out: Any) -> None:
    """One call for three: whether A > 0, as numbers, times dA."""
    np.multiply(dA, (A > 0).astype(dA.dtype), out=out)


def _fused(calls: Sequence[Call], results: Sequence[Any]) -> Iterator[Call]:
    j = 0
    while j < len(calls):
        triple = calls[j : j + 3]
        if _is_relu_backward(triple) and not _is_used(triple, calls[j + 3 :], results):
            dA, _, out = triple[2].args
            A = triple[0].args[0]
            yield Call(_relu_backward, (dA, A, out), (dA, A), (out,))
            j += 3
        else:
            yield calls[j]
            j += 1


def _is_relu_backward(triple: Sequence[Call]) -> bool:
    if [call.function for call in triple] != [np.greater, np.copyto, np.multiply]:
        return False
    (_, zero, mask), (number, copied, *_), (dA, factor, _) = (call.args for call in triple)
    if not (_is_zero(zero) and isinstance(copied, np.ndarray) and same(copied, mask) and same(factor, number)):
        return False
    return isinstance(dA, np.ndarray) and not touch([dA], [mask, number])  # nobody makes these


def _is_used(triple: Sequence[Call], calls: Sequence[Call], results: Sequence[Any]) -> bool:
    """Whether what the triple leaves behind, apart from its product, is read later."""
    left = [call.writes[0] for call in triple[:2]]
    return touch(left, results) or any(touch(left, call.reads) for call in calls)


def _is_zero(A: Any) -> bool:
    """Whether A is the number 0, and stays it: a record makes its constants such that nobody can write to them."""
    return isinstance(A, np.ndarray) and A.ndim == 0 and not A.flags.writeable and A == 0


# -- calls as ops ------------------------------------------------------------------------------------------------------


def _add(call: Call, number: int, groups: list[Group]) -> bool:
    """Whether the call is one that a program knows; it is then in one of the groups."""
    group = starts(call) or _follows(call, groups) or loops.calls(call)
    if group is None:
        return False
    if not any(group is other for other in groups):
        groups.append(group)
    group.calls.add(number)
    return True


def _follows(call: Call, groups: Sequence[Group]) -> Group | None:
    """The group that now has the call's op behind its own: one that is there, or a new one."""
    function, args = call.function, call.args
    if function is _SUM_PIECES:
        D, sums_ = args
        return _sum_pieces(D, sums_, groups) if is_contiguous(D) and is_contiguous(sums_) else None
    if function in _BINARY:
        return _elementwise(_BINARY[function], args[:2], args[2], groups)
    if function is np.sqrt:
        return _elementwise("SQRT", args[:1], args[1], groups)
    if function is maximum and _is_zero(args[1]):
        return _elementwise("RELU", args[:1], args[2], groups)
    if function is _relu_backward:
        return _elementwise("RELU_BACKWARD", args[:2], args[2], groups)
    if function is np.copyto:
        return _elementwise("COPY", args[1:2], args[0], groups)
    return None


def _elementwise(kind: str, inputs: Sequence[Any], out: Any, groups: Sequence[Group]) -> Group | None:
    """An op that works entry by entry."""
    if not is_contiguous(out) or out.ndim == 0 or out.size == 0:
        return None
    operands = [_operand(A, out) for A in inputs]
    if None in operands:
        return None
    known = [o for o in operands if o is not None]
    one_by_one = [o.whole for o in known]
    if not any(one_by_one) and not (kind == "COPY" and known[0].right):
        return None
    if kind not in (*_BINARY.values(), "COPY") and not all(one_by_one):
        return None
    if not all(fits(o.array, [out]) for o in known if o.whole):
        return None
    if touch([o.array for o in known if not o.whole], [out]):
        return None
    in_rows = any(not o.whole and o.array.size > 1 for o in known)
    width = out.shape[-1] if in_rows or out.ndim == 2 else out.size
    group = _place(width, in_rows, known, out, groups)
    width = width if in_rows else group.shape[1]
    known = [o._replace(down=width) if o.whole else o for o in known]
    second = known[1] if len(known) > 1 else Operand(known[0].array, 0, 0, known[0].whole)
    group.add(Op(kind, known[0], second, out, width), out.size)
    return group


def _place(width: int, in_rows: bool, operands: Sequence[Operand], out: Any, groups: Sequence[Group]) -> Group:
    """The last group that may take the op without overtaking what it waits for; else a new one."""
    for group in reversed(groups):
        if group.takes(width if in_rows else group.shape[1], out.size, operands, out):
            return group
        if group.is_in_the_way_of([o.array for o in operands], [out]):
            break
    shape = out.size // width, width
    return Group(shape, pieces(*shape))


def _sum_pieces(D: Any, sums_: Any, groups: Sequence[Group]) -> Group | None:
    rows, width = D.shape
    step = height(width)
    if rows % step == 1 or step < 2 or width < 2:
        return None  # NumPy takes another routine for a single row
    whole = Operand(D, width, 1, True)
    for group in reversed(groups):
        in_pieces = group.is_in_pieces_of(step * width) and group.takes(width, D.size, [whole], D)
        if in_pieces and not group.is_in_the_way_of((), [sums_]):
            break
        if group.is_in_the_way_of([D], [sums_]):
            group = Group(D.shape, pieces(*D.shape))
            break
    else:
        group = Group(D.shape, pieces(*D.shape))
    op = Op("SUM_PIECES", whole, Operand(sums.ones(step, D.dtype), 0, 0), sums_, width, step)
    group.add(op, D.size)
    return group


def _operand(A: Any, out: Any) -> Operand | None:
    if not isinstance(A, np.ndarray) or A.dtype != out.dtype or not A.flags.c_contiguous:
        return None
    if A.shape == out.shape:
        return Operand(A, 0, 1, True)
    if A.size == 1:
        return Operand(A, 0, 0)
    if A.ndim == 1 and A.shape == out.shape[-1:]:
        return Operand(A, 0, 1)
    if out.ndim == 2 and A.shape == (out.shape[0], 1):
        return Operand(A, 1, 0)
    return None
