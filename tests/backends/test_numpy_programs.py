"""Pools that run programs: opened and closed again, several at once, and steps in a row."""

from __future__ import annotations

from functools import partial
from threading import Thread

import numpy as np
import pytest

from compiling import everything_compiled, pool  # noqa: F401
from mathdl.tables import take_row
from mathdl_backends.numpy import blas, compiled, sums
from mathdl_backends.numpy.memory import Memory
from mathdl_backends.numpy.programs import Pool
from mathdl_backends.numpy.recording import record
from support import normal

pytestmark = pytest.mark.usefixtures("everything_compiled")


def test_two_pools_at_once_and_threads_that_slept():
    """Each thread runs programs of its own pool; more threads than cores."""
    wrong = []

    def work(seed):
        own = Pool(3)
        A, B, C = normal(200, 300, seed=seed), normal(300, 200), np.zeros((200, 200))
        out = np.zeros((200, 200))

        def function(A, B, C, out):
            np.matmul(A, B, out=C)
            np.add(C, sums.sum_rows(C), out=out)

        recorder, _ = record(lambda view: partial(function, *map(view, (A, B, C, out))), Memory(1 << 24))
        expected = out.tobytes()
        ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, own)
        for _ in range(3):
            own.open()
            for _ in range(30):
                out[...] = 0
                program()
                if out.tobytes() != expected:
                    wrong.append(seed)
            own.close()
            own.close()  # nothing is there any more

    threads = [Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_program_by_itself_leaves_blas_as_it_was():
    """It needs no open pool, and takes BLAS on one thread, which may round otherwise on several."""
    row, B, out = normal(1, 300, dtype="float32"), normal(300, 200, dtype="float32"), np.zeros((1, 200), "float32")
    recorder, _ = record(lambda view: partial(np.matmul, *map(view, (row, B, out))), Memory(1 << 20))
    ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, Pool(2))
    expected = out.tobytes()
    (threads, set_threads), *_ = blas._blas_threads()
    before = threads()
    try:
        for count in (1, 2, 3):
            set_threads(count)
            out[...] = 0
            program.by_itself()
            assert (out.tobytes(), threads()) == (expected, count)
    finally:
        set_threads(before)


def test_a_program_by_itself_that_takes_a_row_that_is_not_there():
    X, at, out = normal(5, 1), np.zeros(1, np.int64), np.zeros(1)
    recorder, _ = record(lambda view: partial(take_row, *map(view, (X, at, out))), Memory(1 << 20))
    ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, Pool(1))
    at[...] = 5
    with pytest.raises(IndexError, match="not there"):
        program.by_itself()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_steps_in_a_row_end_where_J_is_not_finite(dtype, value):
    """J = X[at]; G counts the gradients, θ the updates."""
    X, at = np.ones((5, 1), dtype), np.zeros(1, np.int64)
    J, G, theta = np.zeros(1, dtype), np.zeros(1, dtype), np.zeros(1, dtype)

    def gradient(X, at, J, G):
        take_row(X, at, J)
        G += 1

    def update(theta, at):
        theta += 1
        at += 1

    made = []
    for function, arrays in ((gradient, (X, at, J, G)), (update, (theta, at))):
        recorder, _ = record(lambda view, f=function, arrays=arrays: partial(f, *map(view, arrays)), Memory(1 << 20))
        ((program, *_),) = compiled.compiled(recorder.calls, [], recorder.makes, pool(2))
        made.append(program)
    at[...], G[...], theta[...] = 0, 0, 0
    assert pool(2).steps(*made, J, 5) == 5
    assert (at[0], G[0], theta[0]) == (5, 5, 5)
    with pytest.raises(IndexError, match="not there"):
        pool(2).steps(*made, J, 1)
    X[3], at[...], G[...], theta[...] = value, 0, 0, 0
    assert pool(2).steps(*made, J, 5) == 3
    assert (at[0], G[0], theta[0]) == (3, 4, 3)
    np.testing.assert_array_equal(J, X[3])
