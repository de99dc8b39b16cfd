"""What the tests of compiled programs share: a function of arrays, run as it is and as programs, to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from mathdl_backends.numpy import compiled, memory, pieces, products, programs, sums
from mathdl_backends.numpy.memory import Memory
from mathdl_backends.numpy.programs import Pool, Program, why_absent
from mathdl_backends.numpy.recording import Call, record
from support import normal

shapes = st.one_of(st.tuples(st.integers(1, 70)), st.tuples(st.integers(1, 40), st.integers(1, 600)))
dtypes = st.sampled_from(["float32", "float64"])
sizes = st.sampled_from([16, 100, 1 << 14])
"""Numbers of a piece."""

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1.0, 3.0]


class Watched(Pool):
    """A pool that remembers the ops of the programs made for it."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.groups: list[list[str]] = []

    def program(self, groups: Any, *more: Any) -> Program:
        self.groups += [[op.kind for op in group.ops] for group in groups]
        return super().program(groups, *more)


@cache
def pool(threads: int) -> Watched:
    """Pools that live as long as the tests: idle threads sleep."""
    made = Watched(threads)
    made.open()
    return made


@pytest.fixture
def everything_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However small a program is, it is made, and run by all threads; memory that nobody has written to is NaN."""
    assert why_absent() is None, "the tests need the compiled part: python scripts/build_native.py"
    new_block = memory._new_block

    def poisoned(size: int) -> Any:
        block = new_block(size)
        block[...] = 255
        return block

    monkeypatch.setattr(programs, "_ALONE", 0)
    monkeypatch.setattr(compiled, "_FEW_CALLS", 0)
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "_new_block", poisoned)
    with np.errstate(all="ignore"):
        yield


@contextmanager
def cut_finely(piece: int, product: int = 10**9) -> Iterator[None]:
    """Pieces of so many numbers, of products of so many multiply-adds; taken one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", piece)
        patch.setattr(sums, "_LARGE", 4 * piece)
        patch.setattr(products, "SMALLEST_PIECE", product)
        patch.setattr(pieces.team, "map", lambda task, count: [task(j) for j in range(count)])
        patch.setattr(pieces.team, "workers", products.MOST_PIECES)
        products.cut.cache_clear()
        yield
    products.cut.cache_clear()


def spiced(shape: Sequence[int], dtype: Any, seed: int = 0) -> np.ndarray:
    """Normal numbers, some of which are special."""
    A = normal(*shape, seed=seed, dtype=dtype)
    flat = A.reshape(-1)
    where = np.random.default_rng(seed).integers(0, max(flat.size, 1), min(8, flat.size))
    flat[where] = np.array(SPECIAL, dtype=dtype)[: len(where)]
    return A


def bits(A: np.ndarray) -> bytes:
    """The bits of A, NaN being one number."""
    return (np.where(np.isnan(A), np.array(np.nan, A.dtype), A) if A.dtype.kind == "f" else A).tobytes()


def check(
    function: Callable[..., Any], *arrays: np.ndarray, threads: Sequence[int] = (1, 2, 3, 8), calls: int | None = 0
) -> list[list[str]]:
    """Run function(*arrays), which writes to its arrays, as it is and compiled, from the same state, and compare.

    `calls` is how many calls are left beside programs (None: any number). Answers the kinds of ops, group by group.
    """
    start = [A.copy() for A in arrays]

    def restore() -> None:
        for A, value in zip(arrays, start, strict=True):
            A[...] = value

    function(*arrays)
    expected = [bits(A) for A in arrays]
    for count in threads:
        restore()
        room = Memory(1 << 30)
        recorder, _ = record(lambda view: partial(function, *map(view, arrays)), room)
        assert [bits(A) for A in arrays] == expected, "recording"
        found = compiled.compiled(recorder.calls, [], recorder.makes, pool(count), room)
        if len(found) > 1:  # then memory is not handed on
            restore()
            recorder, _ = record(lambda view: partial(function, *map(view, arrays)), Memory(1 << 30, hands_on=False))
            found = compiled.compiled(recorder.calls, [], recorder.makes, pool(count))
        left = [call for call in found if not isinstance(call.function, Program)]
        assert calls is None or len(left) == calls, left
        pool(count).groups.clear()
        compiled.compiled(recorder.calls, [], recorder.makes, pool(count))
        for _ in range(2):
            restore()
            run(found)
            assert [bits(A) for A in arrays] == expected, f"{count} threads"
    restore()
    return list(pool(threads[0]).groups)


def run(calls: Sequence[Call]) -> None:
    """The calls, one after the other."""
    for call in calls:
        call.function(*call.args)


def kinds(groups: Sequence[Sequence[str]]) -> set[str]:
    """Those that occur."""
    return {kind for group in groups for kind in group}
