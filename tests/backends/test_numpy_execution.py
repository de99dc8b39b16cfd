"""The execution of steps on a CPU: order, errors, sums over shards, threads that come and go, the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from queue import Empty, SimpleQueue
from time import sleep
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController

from mathdl import primitive
from mathdl.errors import UsageError
from mathdl.primitive import reference_only
from mathdl_backends.numpy import blas
from mathdl_backends.numpy.execution import ShardedExecution
from mathdl_backends.numpy.pieces import team
from mathdl_backends.numpy.products import matmul
from support import normal

module = sys.modules["mathdl_backends.numpy.execution"]  # the package has a function of this name
WORKERS = [1, 2, 3, 8]
GUARD = 60  # seconds after which what should never wait is taken to wait forever


def within_time(test):
    """Run a test in a thread of its own, so that a deadlock fails instead of hanging."""

    @wraps(test)
    def guarded(*args, **keywords):
        outcome = SimpleQueue()

        def run():
            try:
                outcome.put((test(*args, **keywords), None))
            except BaseException as error:
                outcome.put((None, error))

        threading.Thread(target=run, daemon=True).start()
        try:
            _, error = outcome.get(timeout=GUARD)
        except Empty:
            pytest.fail(f"still waiting after {GUARD} s", pytrace=False)
        if error is not None:
            raise error

    return guarded


def blas_libraries():
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def blas_threads():
    return [library.num_threads for library in blas_libraries()]


def workers_alive():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mathdl-worker")]


@pytest.fixture(autouse=True)
def nothing_left_behind():
    before, errors = blas_threads(), np.geterr()
    yield
    assert blas_threads() == before
    assert np.geterr() == errors
    assert workers_alive() == []
    assert team.map is None


@pytest.fixture
def two_blas_threads():
    before = blas_threads()
    for library in blas_libraries():
        library.set_num_threads(2)
    yield [2] * len(before)
    for library, threads in zip(blas_libraries(), before, strict=True):
        library.set_num_threads(threads)


# -- map -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("shards", [1, 2, 4, 8])
@within_time
def test_results_are_in_the_order_of_the_shards(workers, shards, coupled):
    def task(shard):
        sleep(0.002 * (shards - shard))
        return shard * 10

    with ShardedExecution(workers, shards, coupled) as execution:
        for _ in range(3):
            assert execution.map(task, shards) == [10 * shard for shard in range(shards)]


@pytest.mark.parametrize("count", [0, 1, 3, 9, 20])
def test_more_or_fewer_tasks_than_shards(count):
    with ShardedExecution(3, 4, False) as execution:
        assert execution.map(lambda j: j, count) == list(range(count))


@within_time
def test_shards_run_on_as_many_threads_as_there_are_workers():
    running, most, lock = 0, 0, threading.Lock()
    meet = threading.Barrier(3, timeout=GUARD)

    def task(shard):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if shard < 3:
            meet.wait()  # three at once, or never
        with lock:
            running -= 1
        return threading.current_thread().name

    with ShardedExecution(3, 8, False) as execution:
        names = set(execution.map(task, 8))
    assert most == 3
    assert len(names) == 3


@pytest.mark.parametrize("workers", WORKERS)
@within_time
def test_coupled_shards_run_no_more_than_the_workers_at_once(workers):
    running, most, lock = 0, 0, threading.Lock()
    with ShardedExecution(workers, 8, True) as execution:
        totals = [execution.total(shard, 8) for shard in range(8)]

        def task(shard):
            nonlocal running, most
            for _ in range(3):
                with lock:
                    running += 1
                    most = max(most, running)
                sleep(0.001)
                with lock:
                    running -= 1
                totals[shard](np.ones(2))

        execution.map(task, 8)
    assert most <= workers


@within_time
def test_an_execution_must_be_open():
    execution = ShardedExecution(2, 2, True)
    for _ in range(2):
        with pytest.raises(UsageError, match="while it is open"):
            execution.map(lambda shard: shard, 2)
        with pytest.raises(UsageError, match="while it is open"):
            execution.spread(lambda where: None, 10)
        with execution:
            assert execution.map(lambda shard: shard, 2) == [0, 1]


@within_time
def test_a_worker_that_wakes_late_holds_up_nobody():
    release = threading.Event()
    with ShardedExecution(2, 2, False) as execution:
        execution.map(lambda shard: shard, 2)
        (_, orders), *_ = execution._team._hired
        orders.put((copy_context(), SimpleNamespace(work=lambda: release.wait(GUARD))))  # busy
        try:
            found = execution.map(lambda shard: threading.current_thread().name, 2)
            assert len(set(found)) == 1
        finally:
            release.set()


@within_time
def test_coupled_shards_run_all_together():
    with ShardedExecution(2, 4, True) as execution, pytest.raises(UsageError, match="4 of them, not 3"):
        execution.map(lambda shard: shard, 3)


def test_none_means_the_cores_that_may_be_used():
    assert ShardedExecution(None, 8, False).workers == module.usable_cores() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_cores_that_may_be_used_are_those_of_this_process():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert module.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


# -- errors ----------------------------------------------------------------------------------------------------------


class Spoilt(Exception):
    pass


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("failing", [[0], [3], [1, 2], [0, 1, 2, 3]])
@within_time
def test_the_first_error_is_raised(workers, coupled, failing):
    def task(shard):
        sleep(0.001 * (4 - shard))
        if shard in failing:
            raise Spoilt(shard)
        return shard

    with ShardedExecution(workers, 4, coupled) as execution:
        with pytest.raises(Spoilt) as caught:
            execution.map(task, 4)
        assert caught.value.args == (failing[0],)
        assert execution.map(lambda shard: shard, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("at", range(3))
@within_time
def test_a_shard_that_fails_between_sums_stops_those_that_wait(workers, failing, at):
    with ShardedExecution(workers, 4, True) as execution:
        totals = [execution.total(shard, 4) for shard in range(4)]

        def task(shard, spoilt=True):
            for round in range(3):
                if spoilt and (shard, round) == (failing, at):
                    raise Spoilt(shard)
                x = totals[shard](np.full(2, float(shard)))
            return x

        with pytest.raises(Spoilt) as caught:
            execution.map(task, 4)
        assert caught.value.args == (failing,)
        again = execution.map(lambda shard: task(shard, False), 4)
        np.testing.assert_array_equal(again, np.full((4, 2), 6.0))


@within_time
def test_a_sum_that_fails_is_an_error_of_its_shard():
    with ShardedExecution(2, 2, True) as execution:
        totals = [execution.total(shard, 2) for shard in range(2)]
        with pytest.raises(ValueError, match="broadcast"):
            execution.map(lambda shard: totals[shard](np.ones(2 + shard)), 2)


@pytest.mark.parametrize("coupled", [False, True])
@within_time
def test_an_interrupt_is_raised_and_leaves_no_thread_waiting(coupled):
    with ShardedExecution(2, 4, coupled) as execution:
        totals = [execution.total(shard, 4) for shard in range(4)]

        def task(shard):
            if shard == 0:
                raise KeyboardInterrupt
            return totals[shard](np.ones(1))

        with pytest.raises(KeyboardInterrupt):
            execution.map(task, 4)


@within_time
def test_an_interrupt_between_the_tasks_of_the_caller(monkeypatch):
    work = module._Job.work

    def interrupted(job):
        if not threading.current_thread().name.startswith("mathdl-worker"):
            raise KeyboardInterrupt
        work(job)

    with ShardedExecution(2, 2, True) as execution:
        totals = [execution.total(shard, 2) for shard in range(2)]
        monkeypatch.setattr(module._Job, "work", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execution.map(lambda shard: totals[shard](np.ones(1)), 2)


@within_time
def test_what_a_worker_raises_reaches_the_caller_whatever_it_is():
    together = threading.Barrier(2, timeout=GUARD)

    def task(shard):
        together.wait()
        if threading.current_thread().name.startswith("mathdl-worker"):
            raise SystemExit("from a worker")

    with ShardedExecution(2, 2, False) as execution, pytest.raises(SystemExit, match="from a worker"):
        execution.map(task, 2)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_while_the_caller_waits_for_other_shards():
    program = """
import os, signal, threading, time
import numpy as np
from mathdl_backends.numpy.execution import ShardedExecution
for workers in (1, 2, 4):
    for late in range(4):
        try:
            with ShardedExecution(workers, 4, True) as execution:
                totals = [execution.total(shard, 4) for shard in range(4)]
                def task(shard):
                    if shard == late:
                        time.sleep(0.02)
                        os.kill(os.getpid(), signal.SIGINT)
                        time.sleep(0.02)
                    return [totals[shard](np.ones(1)) for _ in range(50)]
                execution.map(task, 4)
                time.sleep(0.1)
        except KeyboardInterrupt:
            continue
        raise SystemExit("not interrupted")
assert threading.active_count() == 1
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=GUARD, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# -- sums over shards ------------------------------------------------------------------------------------------------


def in_order(parts):
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@pytest.mark.parametrize("workers", WORKERS)
@given(seed=st.integers(0, 10**6))
@within_time
def test_total_adds_in_the_order_of_the_shards(workers, seed):
    rng = np.random.default_rng(seed)
    delays, parts = rng.permutation(4) * 0.001, rng.standard_normal((3, 4, 5)) * 10.0 ** rng.integers(-8, 8, (3, 4, 5))
    with ShardedExecution(workers, 4, True) as execution:
        totals = [execution.total(shard, 4) for shard in range(4)]

        def task(shard):
            sums = []
            for round in range(3):
                sleep(delays[(shard + round) % 4])
                sums.append(totals[shard](parts[round, shard]).copy())
            return sums

        found = execution.map(task, 4)
    for round in range(3):
        for shard in range(4):
            assert found[shard][round].tobytes() == in_order(parts[round]).tobytes()


@within_time
def test_total_leaves_the_parts_alone():
    parts = [np.ones(3), np.full(3, 2.0)]
    with ShardedExecution(2, 2, True) as execution:
        totals = [execution.total(shard, 2) for shard in range(2)]
        execution.map(lambda shard: totals[shard](parts[shard]), 2)
    np.testing.assert_array_equal(parts, [[1, 1, 1], [2, 2, 2]])


@pytest.mark.parametrize(("shards", "coupled"), [(1, True), (4, False)])
def test_total_of_a_whole_minibatch_is_the_identity(shards, coupled):
    x = np.ones(3)
    with ShardedExecution(2, shards, coupled) as execution:
        assert execution.total(0, shards)(x) is x


# -- spread ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smallest", [1, 50, 10**6])
@given(
    workers=st.sampled_from(WORKERS),
    shards=st.sampled_from([1, 2, 4, 8]),
    coupled=st.booleans(),
    size=st.one_of(st.integers(0, 20), st.integers(0, 1000)),
)
def test_spread_covers_everything_once(smallest, workers, shards, coupled, size):
    times, calls = np.zeros(size, dtype=int), []

    def task(where):
        calls.append(where)
        assert where.step is None
        assert where.start >= 0
        assert where.stop <= size
        times[where] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SMALLEST_SPREAD", smallest)
        with ShardedExecution(workers, shards, coupled) as execution:
            execution.spread(task, size)
    assert np.all(times == 1)
    assert len(calls) <= (workers if size >= smallest else 1)


def test_spread_uses_the_workers_also_when_a_step_is_not_cut(monkeypatch):
    monkeypatch.setattr(module, "_SMALLEST_SPREAD", 10)
    meet = threading.Barrier(2, timeout=GUARD)
    with ShardedExecution(2, 1, False) as execution:
        execution.spread(lambda where: meet.wait(), 100)


def test_an_error_in_spread_is_raised(monkeypatch):
    monkeypatch.setattr(module, "_SMALLEST_SPREAD", 1)

    def task(where):
        if where.start:
            raise Spoilt

    with ShardedExecution(2, 2, False) as execution, pytest.raises(Spoilt):
        execution.spread(task, 100)


# -- the same bits ---------------------------------------------------------------------------------------------------

SIZES = (1, 2, 3, 10, 31, 64, 65, 128, 257, 512, 1000)
INNER = (1, 8, 100, 447, 448, 449, 784, 1024, 3136)


def operand(shape, layout, dtype, seed):
    if layout == "transposed":
        return normal(*shape[::-1], seed=seed, dtype=dtype).T
    wide = normal(shape[0], shape[1] + 3, seed=seed, dtype=dtype)
    return wide[:, 1:-2] if layout == "slice" else np.ascontiguousarray(wide[:, 3:])


def shapes():
    every = [(r, i, c) for r in SIZES for i in INNER for c in SIZES if r * i * c < 5e7]
    order = np.random.default_rng(0).permutation(len(every))
    return [every[k] for k in order[:60]] + [
        (64, 784, 800),
        (800, 64, 784),
        (1, 3136, 1000),
        (1000, 3136, 1),
        (65, 449, 257),
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_have_the_same_bits_for_any_number_of_workers(two_blas_threads, dtype):
    layouts = ["plain", "transposed", "slice"]
    cases = [
        (operand((r, i), layouts[k % 3], dtype, k), operand((i, c), layouts[k // 3 % 3], dtype, k + 1))
        for k, (r, i, c) in enumerate(shapes())
    ]

    def bits(workers, cases):
        with ShardedExecution(workers, 1, False) as execution:
            return [execution.map(lambda _, A=A, B=B: matmul(A, B), 1)[0].tobytes() for A, B in cases]

    expected = bits(1, cases)
    for workers in WORKERS[1:]:
        for found, one, (A, B) in zip(bits(workers, cases), expected, cases, strict=True):
            assert found == one, f"{workers} workers: {A.shape} × {B.shape}"
    for one, (A, B) in zip(expected, cases, strict=True):
        Z = A.astype(np.float64) @ B.astype(np.float64)
        tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype] * A.shape[1] ** 0.5
        np.testing.assert_allclose(np.frombuffer(one, dtype).reshape(Z.shape), Z, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("coupled", [False, True])
@within_time
def test_shards_have_the_same_bits_for_any_number_of_workers(two_blas_threads, coupled):
    X, W = normal(200, 449, dtype="float32"), normal(449, 257, seed=1, dtype="float32")

    def step(workers):
        with ShardedExecution(workers, 4, coupled) as execution:
            totals = [execution.total(shard, 4) for shard in range(4)]

            def task(shard):
                Z = matmul(X[50 * shard : 50 * shard + 50], W)
                mean = totals[shard](Z.sum(axis=0)) / 200
                return totals[shard](((Z - mean) ** 2).sum(axis=0))

            return np.sum(execution.map(task, 4), axis=0).tobytes()

    assert len({step(workers) for workers in WORKERS}) == 1


def test_large_products_of_a_step_that_is_not_cut_run_on_the_workers():
    A, B = normal(200, 300), normal(300, 400)
    with ShardedExecution(3, 1, False) as execution:
        assert workers_alive() == []  # hired when there is work for them
        assert team.map is None
        execution.map(lambda _: matmul(A, B), 1)
        assert len(workers_alive()) == 2
        assert team.map is None


def test_products_of_other_threads_are_their_own():
    with ShardedExecution(2, 1, False) as execution, ThreadPoolExecutor(1) as pool:
        assert execution.map(lambda _: pool.submit(lambda: team.map).result(GUARD), 1) == [None]


@pytest.mark.parametrize("shards", [2, 4])
def test_products_of_shards_are_not_cut(shards):
    with ShardedExecution(2, shards, False) as execution:
        assert execution.map(lambda shard: team.map, shards) == [None] * shards


def test_executions_that_are_open_at_once_do_not_mix():
    whole, cut = ShardedExecution(2, 1, False), ShardedExecution(2, 2, False)
    with whole, cut:
        for _ in range(2):
            assert whole.map(lambda _: team.map is not None, 1) == [True]
            assert cut.map(lambda _: team.map, 2) == [None, None]
            inside = whole.map(lambda _: (cut.map(lambda shard: team.map, 2), team.map is not None), 1)
            assert inside == [([None, None], True)]
        with pytest.raises(Spoilt):
            whole.map(lambda _: (_ for _ in ()).throw(Spoilt), 1)
        assert team.map is None
        whole.spread(lambda where: team.map is None or pytest.fail("shared"), 10)


# -- what is set, and restored ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 4])
def test_blas_runs_on_one_thread_meanwhile(two_blas_threads, shards):
    with ShardedExecution(8, shards, False) as execution:
        assert set(blas_threads()) <= {1}
        assert execution.map(lambda shard: set(blas_threads()) <= {1}, shards) == [True] * shards
    assert blas_threads() == two_blas_threads


def test_blas_threads_with_nested_and_overlapping_executions(two_blas_threads):
    a, b, c = (ShardedExecution(2, shards, False) for shards in (1, 4, 1))
    with a:
        with b:
            with c:
                assert set(blas_threads()) <= {1}
            assert set(blas_threads()) <= {1}
        assert set(blas_threads()) <= {1}
    assert blas_threads() == two_blas_threads

    opened, closed = threading.Event(), threading.Event()

    def other():
        with b:
            opened.set()
            assert closed.wait(GUARD)
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        with a:
            future = pool.submit(other)
            assert opened.wait(GUARD)
        closed.set()  # b was opened later, and outlives a
        assert set(future.result(GUARD)) <= {1}
    assert blas_threads() == two_blas_threads


def test_an_execution_in_another_thread_than_the_one_that_set_blas_first(two_blas_threads):
    def other():
        with ShardedExecution(2, 2, False) as execution:
            return execution.map(lambda shard: set(blas_threads()) <= {1}, 2)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(other).result(GUARD) == [True, True]
    assert blas_threads() == two_blas_threads


@within_time
def test_everything_is_restored_after_an_error(two_blas_threads):
    def run():
        with ShardedExecution(2, 2, True) as execution:
            execution.map(lambda shard: shard, 2)
            raise Spoilt

    with pytest.raises(Spoilt):
        run()
    assert blas_threads() == two_blas_threads
    assert workers_alive() == []


def test_the_libraries_are_looked_for_once(monkeypatch):
    blas._blas_threads()
    monkeypatch.setattr(blas, "ThreadpoolController", None)
    with ShardedExecution(1, 1, False):
        pass


def test_floating_point_warnings_are_off_also_in_workers():
    together = threading.Barrier(4, timeout=GUARD)

    def task(shard):
        together.wait()  # so that each thread takes one
        return float((np.ones(1) / np.zeros(1))[0]), np.geterr()["divide"], threading.current_thread().name

    with ShardedExecution(4, 4, False) as execution:
        values, settings, names = zip(*execution.map(task, 4), strict=True)
    assert values == (np.inf,) * 4
    assert settings == ("ignore",) * 4
    assert len(set(names)) == 4
    with ShardedExecution(1, 1, False):
        assert np.geterr()["invalid"] == "ignore"
    assert np.geterr()["invalid"] == "warn"


def test_reference_only_reaches_the_workers(monkeypatch):
    monkeypatch.setattr(primitive, "PRIMITIVES", {})

    def one(A):
        return "reference"

    p = primitive.primitive(one)
    p._runs[np.ndarray] = lambda A: "kernel"
    together = threading.Barrier(2, timeout=GUARD)

    def task(shard):
        together.wait()  # so that both threads take one
        return p(np.zeros(1))

    with ShardedExecution(2, 2, False) as execution:
        assert execution.map(task, 2) == ["kernel", "kernel"]
        with reference_only():  # entered when the workers are already there
            assert execution.map(task, 2) == ["reference", "reference"]
        assert execution.map(task, 2) == ["kernel", "kernel"]
    with reference_only(), ShardedExecution(2, 2, False) as execution:
        assert execution.map(task, 2) == ["reference", "reference"]


def test_workers_are_gone_after_exit():
    for coupled in (False, True):
        with ShardedExecution(2, 4, coupled) as execution:
            execution.map(lambda shard: shard, 4)
            assert len(workers_alive()) == (3 if coupled else 1)
        assert workers_alive() == []


def test_workers_keep_nothing_of_a_step():
    class Large:
        alive = 0

        def __init__(self):
            Large.alive += 1

        def __del__(self):
            Large.alive -= 1

    with ShardedExecution(4, 4, False) as execution:
        results = execution.map(lambda shard: Large(), 4)
        assert Large.alive == 4
        del results
        deadline = 200
        while Large.alive and deadline:  # a worker lets go just after it has handed over
            deadline -= 1
            sleep(0.01)
        assert Large.alive == 0
