"""How a step runs on a CPU: shards of instances on worker threads with one BLAS thread each, or whole with a threaded BLAS.

The cut into shards comes from the plan, and every sum over shards is taken in the order of the shards: the number of
workers and their timing never change a bit of the result.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextvars import copy_context
from threading import Condition, Lock, Semaphore, Thread
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from mathdl_backends.numpy.namespace import blas

_SMALLEST_SPREAD = 100_000
"""Elements below which handing elementwise work to another thread costs more than it saves."""


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _BlasLimit:
    """The process-wide number of BLAS threads: the least that a running execution asks for; restored after the last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: list[int] = []
        self._limiter: Any = None

    def ask(self, threads: int) -> None:
        with self._lock:
            self._asked.append(threads)
            self._apply()

    def release(self, threads: int) -> None:
        with self._lock:
            self._asked.remove(threads)
            self._apply()

    def _apply(self) -> None:
        if self._limiter is not None:
            self._limiter.restore_original_limits()
            self._limiter = None
        if self._asked:
            self._limiter = ThreadpoolController().limit(limits=min(self._asked), user_api="blas")


_blas_limit = _BlasLimit()


class ShardedExecution:
    """Runs steps of `shards` shards on `workers` threads (None: the cores that this process may use)."""

    def __init__(self, workers: int | None, shards: int, couples_instances: bool) -> None:
        self.workers = workers or usable_cores()
        self.shards = shards
        # Shards that wait for one another need a thread each; the gate keeps `workers` of them running.
        self._meeting = _Meeting(shards, self.workers) if couples_instances and shards > 1 else None
        self._threads = shards if self._meeting else min(self.workers, shards)
        self._blas_threads = self.workers if shards == 1 else 1
        self._team: _Team | None = None
        self._errstate: Any = None

    def __enter__(self) -> ShardedExecution:
        _blas_limit.ask(self._blas_threads)
        blas.threaded = self.shards == 1
        self._errstate = np.errstate(all="ignore")  # non-finite numbers are found by diagnosis, not by warnings
        self._errstate.__enter__()
        self._team = _Team(self._threads) if self._threads > 1 else None
        return self

    def __exit__(self, *error: object) -> None:
        if self._team is not None:
            self._team.dismiss()
            self._team = None
        self._errstate.__exit__(None, None, None)
        blas.threaded = False
        _blas_limit.release(self._blas_threads)

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        if self._team is None or count == 1:
            return [task(shard) for shard in range(count)]
        if self._meeting is None:
            return self._team.map(task, count)
        meeting = self._meeting
        meeting.begin()

        def gated(shard: int) -> Any:
            with meeting.gate:
                try:
                    return task(shard)
                except BaseException:
                    meeting.abandon()
                    raise

        return self._team.map(gated, count)

    def total(self, shard: int, count: int) -> Callable[[Any], Any]:
        if count == 1 or self._meeting is None:
            return _same
        meeting = self._meeting
        return lambda x: meeting.sum(shard, x)

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        pieces = min(self.workers, self._threads)
        if self._team is None or pieces == 1 or size < _SMALLEST_SPREAD:
            task(slice(0, size))
            return
        step = -(-size // pieces)
        self._team.map(lambda k: task(slice(k * step, min(size, (k + 1) * step))), pieces)

    def finite(self, J: Any) -> bool:
        return math.isfinite(float(J[0]))


def _same(x: Any) -> Any:
    return x


class _Team:
    """Threads kept alive: member k does the tasks k, k + n, …; the caller is member 0."""

    def __init__(self, members: int) -> None:
        self._members = members
        self._go = [Lock() for _ in range(members)]
        self._done = [Lock() for _ in range(members)]
        for lock in (*self._go, *self._done):
            lock.acquire()
        self._task: Callable[[int], Any] | None = None
        self._count = 0
        self._results: list[Any] = []
        self._errors: list[BaseException | None] = []
        self._hired = [
            Thread(target=copy_context().run, args=(self._work, k), daemon=True, name=f"mathdl-worker-{k}")
            for k in range(1, members)
        ]
        for thread in self._hired:
            thread.start()

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        self._task, self._count = task, count
        self._results, self._errors = [None] * count, [None] * count
        for k in range(1, self._members):
            self._go[k].release()
        self._share(0)
        for k in range(1, self._members):
            self._done[k].acquire()
        results, errors = self._results, [error for error in self._errors if error is not None]
        self._task, self._results = None, []
        if errors:
            raise next((error for error in errors if not isinstance(error, _Abandoned)), errors[0])
        return results

    def dismiss(self) -> None:
        self._task = None
        for k in range(1, self._members):
            self._go[k].release()
        for thread in self._hired:
            thread.join()

    def _work(self, k: int) -> None:
        blas.threaded = False
        with np.errstate(all="ignore"):
            while True:
                self._go[k].acquire()
                if self._task is None:
                    return
                self._share(k)
                self._done[k].release()

    def _share(self, k: int) -> None:
        task = self._task
        assert task is not None
        for j in range(k, self._count, self._members):
            try:
                self._results[j] = task(j)
            except BaseException as error:  # handed to the caller, who raises it
                self._errors[j] = error
                return


class _Abandoned(Exception):
    """Raised in the shards that wait for one that failed."""


class _Meeting:
    """A barrier between shards at which their arrays are added, in the order of the shards."""

    def __init__(self, shards: int, workers: int) -> None:
        self.gate = Semaphore(workers)
        self._shards = shards
        self._condition = Condition()
        self.begin()

    def begin(self) -> None:
        """Forget what an abandoned step left behind."""
        self._parts: list[Any] = [None] * self._shards
        self._arrived = self._round = 0
        self._sum: Any = None
        self._abandoned = False

    def abandon(self) -> None:
        with self._condition:
            self._abandoned = True
            self._condition.notify_all()

    def sum(self, shard: int, x: Any) -> Any:
        """Σ over the shards of what each brings; waits for all of them."""
        with self._condition:
            self._parts[shard] = x
            self._arrived += 1
            if self._arrived == self._shards:
                self._sum = self._parts[0]
                for part in self._parts[1:]:
                    self._sum = self._sum + part
                self._arrived = 0
                self._round += 1
                self._condition.notify_all()
                return self._sum
            mine = self._round
            self.gate.release()  # while this shard waits, another may run
            while self._round == mine and not self._abandoned:
                self._condition.wait()
            result = self._sum
        self.gate.acquire()
        if self._abandoned and self._round == mine:
            raise _Abandoned
        return result
