"""Calls that any program can make: of NumPy's own inner loops, and of what moves numbers without looking at them.

A ufunc is a table of loops in C, one for each combination of dtypes (`PyUFuncObject` of NumPy's C API). A program calls
them where NumPy would, on the same runs of numbers, and so gets NumPy's bits: of exp and tanh as of a sum.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from mathdl_backends.numpy import tables
from mathdl_backends.numpy.pieces import pieces, row_ranges
from mathdl_backends.numpy.programs import Group, Op, Operand, address, share
from mathdl_backends.numpy.recording import Call, maximum, minimum

_BEHIND_A_NAME = {maximum: np.maximum, minimum: np.minimum}
_REDUCED = {np.add: False, np.maximum: True, np.minimum: True}
"""Reductions: whether they begin with their first term, and not with 0."""
_PUT_ROW = tables.put_row.__wrapped__  # type: ignore[attr-defined]


def calls(call: Call) -> Group | None:
    """A group that does what the call does, if there is a loop for it."""
    function, args = call.function, call.args
    ufunc = _BEHIND_A_NAME.get(function, function)
    if isinstance(ufunc, np.ufunc) and ufunc.signature is None:
        return _elementwise(ufunc, args[:-1], args[-1]) if len(args) == ufunc.nin + 1 else None
    if function is np.copyto:
        return _copy(args[1], args[0])
    if function is _PUT_ROW:
        return _put_row(*args)
    of, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(of, np.ufunc) and name == "reduce":
        A, axis, dtype, out, _ = args
        return _reduce(of, A, axis, out) if dtype is None else None
    if isinstance(of, np.ndarray) and name == "argmax":
        return _argmax(of, *args)
    return None


class _UFunc(ctypes.Structure):
    """`PyUFuncObject`, behind the head that all Python objects have."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("nin", "nout", "nargs", "identity")),
        *((name, ctypes.c_void_p) for name in ("functions", "data")),
        *((name, ctypes.c_int) for name in ("ntypes", "reserved")),
        ("name", ctypes.c_char_p),
        ("types", ctypes.c_void_p),
    )


@lru_cache(maxsize=256)
def inner_loop(ufunc: Any, types: tuple[int, ...]) -> tuple[int, int] | None:
    """(address of the loop for these numbers of dtypes, of the data that it is called with); None if there is none."""
    head = _UFunc.from_address(id(ufunc) + object.__basicsize__)
    if (head.nin, head.nout, head.nargs) != (ufunc.nin, ufunc.nout, ufunc.nargs) or head.ntypes != ufunc.ntypes:
        return None
    if head.name is None or head.name.decode() != ufunc.__name__ or not (head.functions and head.types):
        return None
    known = ctypes.string_at(head.types, head.ntypes * head.nargs)
    for j in range(head.ntypes):
        if tuple(known[j * head.nargs : (j + 1) * head.nargs]) == types:
            addresses = [
                (ctypes.c_void_p * head.ntypes).from_address(table)[j] if table else None
                for table in (head.functions, head.data)
            ]
            return (addresses[0], addresses[1] or 0) if addresses[0] else None
    return None


def _elementwise(ufunc: Any, inputs: Sequence[Any], out: Any) -> Group | None:
    if ufunc.nout != 1 or ufunc.nin > 2 or not all(map(_is_plain, (*inputs, out))) or out.size == 0:
        return None
    loop = inner_loop(ufunc, tuple(A.dtype.num for A in (*inputs, out)))
    if loop is None or any(share(A, out) and not _is_where(A, out) for A in inputs):
        return None
    if out.ndim > 2:
        if not out.flags.c_contiguous or not all(
            A.size == 1 or (A.shape == out.shape and A.flags.c_contiguous) for A in inputs
        ):
            return None
        inputs, out = [A.reshape(-1) for A in inputs], out.reshape(-1)
    shape = (1,) * (2 - out.ndim) + out.shape
    seen = [np.broadcast_to(A, shape) for A in inputs] + [out.reshape(shape)]
    if out.size and not np.may_share_memory(seen[-1], out):
        return None  # a view that is no run of rows
    group = Group((shape[0], shape[1]), pieces(*shape))
    about = partial(_loop, loop, [*inputs, out], [A.strides for A in seen], (0, 0, 0, 0))
    return _one_op(group, "LOOP", inputs, out, about, 8 * out.size)


def _reduce(ufunc: Any, A: Any, axis: Any, out: Any) -> Group | None:
    if ufunc not in _REDUCED or not all(map(_is_plain, (A, out))) or A.size == 0 or not A.flags.c_contiguous:
        return None
    if share(A, out):
        return None
    axes = sorted(
        {k % A.ndim for k in (range(A.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))}
    )
    loop = inner_loop(ufunc, (A.dtype.num, A.dtype.num, out.dtype.num))
    if loop is None or not axes or axes != list(range(axes[0], axes[-1] + 1)) or not out.flags.c_contiguous:
        return None
    outer, terms, inner = prod(A.shape[: axes[0]]), prod(A.shape[axes[0] : axes[-1] + 1]), prod(A.shape[axes[-1] + 1 :])
    size = A.itemsize
    by_rows = [(rows, slice(0, inner)) for rows in row_ranges(outer, terms * inner)]
    group = Group((outer, inner), by_rows if outer > 1 else pieces(1, inner))
    strides = [(inner * size, size), (terms * inner * size, size)]
    about = partial(_loop, loop, [out, A], strides, (terms, inner * size, _REDUCED[ufunc], size))
    return _one_op(group, "REDUCE", [A], out, about, A.size, inner)


def _loop(
    loop: tuple[int, int],
    arrays: Sequence[Any],
    strides: Sequence[Any],
    reduction: tuple[int, ...],
    where_is: Callable[[Any], int],
) -> Any:
    """A `Loop` as steps.c takes it."""
    three = [[where_is(A) for A in arrays], [s[0] for s in strides], [s[1] for s in strides]]
    filled = [value for row in three for value in (*row, *(0,) * (3 - len(row)))]
    return np.array([*loop, len(arrays), *filled, *reduction], dtype=np.int64)


def _copy(A: Any, out: Any) -> Group | None:
    if not (isinstance(A, np.ndarray) and _is_plain(A) and _is_plain(out)) or out.size == 0:
        return None
    if A.dtype == np.bool_ and out.dtype in (np.float32, np.float64):
        if A.shape != out.shape or not (A.flags.c_contiguous and out.flags.c_contiguous):
            return None
        group = Group((1, out.size), pieces(1, out.size))
        return _one_op(group, "FROM_BOOL", [A], out, None, out.size)
    converts = A.dtype.kind == out.dtype.kind == "u" and sys.byteorder == "little"
    if (A.dtype != out.dtype and not converts) or A.ndim > out.ndim or share(A, out):
        return None
    seen = np.broadcast_to(A, out.shape)
    axes = [axis for axis in zip(out.shape, seen.strides, out.strides, strict=True) if axis[0] > 1]
    if len(axes) > 5:
        return None
    first = axes[0] if len(axes) > 1 else (1, 0, 0)
    rest = axes[1:] if len(axes) > 1 else axes
    padded = [first, *[(1, 0, 0)] * (4 - len(rest)), *rest]
    run = out.size // first[0]
    about = np.array([*zip(*padded, strict=True)], dtype=np.int64).reshape(-1)
    group = Group((first[0], run), [(rows, slice(0, run)) for rows in row_ranges(first[0], run)])
    about = np.concatenate([about, np.array([A.itemsize, out.itemsize], dtype=np.int64)])
    return _one_op(group, "COPY_AXES", [A], out, about, out.size)


def _put_row(T: Any, at: Any, row: Any) -> Group | None:
    if not all(A.flags.c_contiguous for A in (T, row)) or T.dtype != row.dtype or T.dtype.itemsize not in (4, 8):
        return None
    if T.ndim != 2 or row.shape != T.shape[1:] or at.dtype != np.int64 or at.shape != (1,):
        return None
    return _one_op(Group((1, T.shape[1]), [(slice(0, 1), slice(0, T.shape[1]))]), "PUT_ROW", [row, at], T, None, 1)


def _argmax(A: Any, axis: Any, out: Any) -> Group | None:
    if A.ndim != 2 or axis not in (1, -1) or not A.flags.c_contiguous or A.dtype not in (np.float32, np.float64):
        return None
    if out.dtype != np.int64 or out.shape != A.shape[:1] or A.size == 0 or not out.flags.c_contiguous:
        return None
    group = Group((1, len(out)), [(slice(0, 1), part) for part in row_ranges(len(out), A.shape[1])])
    return _one_op(group, "ARGMAX", [A], out, None, A.size, A.shape[1], A.dtype == np.float64)


def _one_op(
    group: Group, kind: str, inputs: Sequence[Any], out: Any, about: Any, work: int, inner: int = 0, wide: Any = None
) -> Group:
    first, second = Operand(inputs[0], 0, 0), Operand(inputs[-1], 0, 0)
    group.add(Op(kind, first, second, out, group.shape[1], inner, about, wide=wide), work)
    return group


def _is_plain(A: Any) -> bool:
    return isinstance(A, np.ndarray) and A.dtype.isnative and A.flags.aligned and not A.dtype.hasobject


def _is_where(A: Any, B: Any) -> bool:
    """Whether A and B are the same numbers in the same places."""
    return address(A) == address(B) and A.shape == B.shape and A.strides == B.strides and A.dtype == B.dtype
