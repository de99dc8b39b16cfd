"""How a step runs on a CPU: as a program of compiled code, whose pieces are shared out among threads.

Without the compiled part: call by call, its shards on worker threads, or, if it is not cut, the pieces of its large
calls. BLAS runs on one thread all the while: on several it rounds differently, by their number. All cuts come from the
plan and from the shapes, and every sum over shards or pieces is taken in their order: so the number of workers and
their timing never change a bit of the result.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from threading import Condition, Semaphore, Thread
from typing import Any

import numpy as np

from mathdl.errors import UsageError
from mathdl_backends.numpy import blas, pieces
from mathdl_backends.numpy.products import MOST_PIECES
from mathdl_backends.numpy.programs import Pool, why_absent
from mathdl_backends.numpy.recording import Make, is_recording
from mathdl_backends.numpy.tasks import RecordedTask

_MOST_THREADS = 8
"""Threads of a program: the gradient of a convolution's kernel is made of so many parts."""
_SMALLEST_SPREAD = 300_000
"""Elements below which handing elementwise work to another thread costs more than it saves."""


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ShardedExecution:
    """Runs steps of `shards` shards on `workers` threads (None: the cores that this process may use)."""

    def __init__(self, workers: int | None, shards: int, couples_instances: bool) -> None:
        self.workers = workers or usable_cores()
        self.shards = shards
        # Shards that wait for one another need a thread each; the gate keeps `workers` of them running.
        self._meeting = _Meeting(shards, self.workers) if couples_instances and shards > 1 else None
        self._threads = shards if self._meeting else min(self.workers, shards if shards > 1 else MOST_PIECES)
        self._team: _Team | None = None
        self._pool = Pool(min(self.workers, _MOST_THREADS)) if shards == 1 and why_absent() is None else None
        self._errstate: Any = None

    def __enter__(self) -> ShardedExecution:
        if self._pool is not None:
            self._pool.open()
        blas.one_thread.begin()
        self._errstate = np.errstate(all="ignore")  # non-finite numbers are found by diagnosis, not by warnings
        self._errstate.__enter__()
        self._team = _Team(self._threads)
        return self

    def __exit__(self, *error: object) -> None:
        team, self._team = self._entered(), None
        self._errstate.__exit__(None, None, None)
        if self._pool is not None:
            self._pool.close()
        try:
            team.dismiss()
        finally:
            blas.one_thread.end()

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        team, meeting = self._entered(), self._meeting
        before = self._take_pieces()
        try:
            if self.shards == 1:
                return [task(shard) for shard in range(count)]
            return team.map(task, count) if meeting is None else meeting.hold(team, task, count)
        finally:
            pieces.team.map, pieces.team.workers = before

    def total(self, shard: int, count: int) -> Callable[[Any], Any]:
        if count == 1 or self._meeting is None:
            return _same
        meeting = self._meeting
        return lambda x: meeting.sum(shard, x)

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        count = min(self.workers, self._threads) if size >= _SMALLEST_SPREAD and not is_recording() else 1
        step = -(-size // count)
        self._entered().map(lambda k: task(slice(k * step, min(size, (k + 1) * step))), count)

    def about(self, gradient: Callable[[], Any], update: Callable[[], Any]) -> str:
        if self.shards > 1:
            return f"call by call, in {self.shards} shards"
        tasks = [task for task in (gradient, update) if isinstance(task, RecordedTask)]
        refused = [task.refused for task in tasks if task.refused is not None]
        if refused:
            return f"call by call: {refused[0]}"
        calls = " + ".join(str(task.calls) for task in tasks)
        if all(task.program is not None for task in tasks):
            return f"one program of compiled code, made of {calls} calls"
        return f"{calls} recorded calls" + (", some of them as programs of compiled code" if self._pool else "")

    def view(self, A: Any) -> Any:
        return A

    def recorded(self, make: Make, writes: Sequence[Any]) -> Callable[[], Any]:
        if self._meeting is not None:  # what other shards bring is not in this one's record
            return make(_same)
        return RecordedTask(make, writes, self._pool)

    def replay(self, task: Callable[[], Any]) -> None:
        self.map(lambda _: task(), 1)

    @property
    def lanes(self) -> int:
        return 1 if self._pool is None else self._pool.threads

    def side_by_side(self, tasks: Sequence[Any], own: Sequence[Sequence[Any]], whole: Sequence[Any]) -> bool:
        programs = [task.program for task in tasks if isinstance(task, RecordedTask) and task.program is not None]
        if self._pool is None or len(programs) < len(tasks) or is_recording():
            return False
        if not all(_is_run(A) and A.dtype == B.dtype for A, B in zip(whole, own[0], strict=True)):
            return False
        moves = [
            np.concatenate([program.moves(buffer, A) for buffer, A in zip(buffers, whole, strict=True)])
            for program, buffers in zip(programs, own, strict=True)
        ]
        self._entered()
        self._pool.run_chunks(programs, moves, whole[0].shape[0] // own[0][0].shape[0])
        return True

    def run(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        before = self._take_pieces()
        try:
            for done in range(count):
                first, second = getattr(gradient, "program", None), getattr(update, "program", None)
                if self._pool is not None and first is not None and second is not None:
                    return done + self._pool.steps(first, second, J, count - done)  # all that is left
                gradient()
                if not math.isfinite(float(J[0])):
                    return done
                update()
        finally:
            pieces.team.map, pieces.team.workers = before
        return count

    def _take_pieces(self) -> tuple[Any, int]:
        """From now on, large calls of this thread in pieces, by the team, unless steps are cut. What was before."""
        before = pieces.team.map, pieces.team.workers
        pieces.team.map = self._entered().map if self.shards == 1 else None
        pieces.team.workers = self.workers
        return before

    def _entered(self) -> _Team:
        if self._team is None:
            raise UsageError("an execution runs steps while it is open: write `with execution:` around them")
        return self._team


def _is_run(A: Any) -> bool:
    """Whether the numbers of A lie one after another, where compiled code can read them."""
    return bool(A.flags.c_contiguous and A.flags.aligned)


def _same(x: Any) -> Any:
    return x


class _Team:
    """Threads that are hired for the first job and kept alive until `dismiss`; the caller is a member too."""

    def __init__(self, members: int) -> None:
        self._members = members
        self._hired: list[tuple[Thread, SimpleQueue[Any]]] = []

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        """`[task(0), …, task(count - 1)]`; the first error in that order is raised when all have ended."""
        members = min(self._members, count)
        if members <= 1:
            return [task(j) for j in range(count)]
        while len(self._hired) < members - 1:
            self._hire()
        job = _Job(task, count)
        for _, orders in self._hired[: members - 1]:
            orders.put((copy_context(), job))
        job.work()
        return job.outcome()

    def dismiss(self) -> None:
        for _, orders in self._hired:
            orders.put(None)
        for thread, _ in self._hired:
            thread.join()
        self._hired = []

    def _hire(self) -> None:
        orders: SimpleQueue[Any] = SimpleQueue()
        thread = Thread(target=_obey, args=(orders,), daemon=True, name=f"mathdl-worker-{len(self._hired) + 1}")
        thread.start()
        self._hired.append((thread, orders))


def _obey(orders: SimpleQueue[Any]) -> None:
    while (order := orders.get()) is not None:
        context, job = order
        context.run(job.work)
        del order, context, job  # what a step leaves behind would live on until the next one


class _Job:
    """Tasks 0 … count − 1, each taken by the member who is free first: one who wakes late holds up nobody."""

    def __init__(self, task: Callable[[int], Any], count: int) -> None:
        self._task = task
        self._left = deque(range(count))
        self._results: list[Any] = [None] * count
        self._errors: list[BaseException | None] = [None] * count
        self._ended: SimpleQueue[int] = SimpleQueue()

    def work(self) -> None:
        """Do tasks until none is left."""
        while self._left:
            try:
                j = self._left.popleft()
            except IndexError:  # another member was faster
                return
            try:
                self._results[j] = self._task(j)
            except BaseException as error:  # handed to the caller, who raises it
                self._errors[j] = error
            self._ended.put(j)

    def outcome(self) -> list[Any]:
        """The results, when all tasks have ended; or the first error that is not the consequence of another."""
        for _ in self._results:
            self._ended.get()
        errors = [error for error in self._errors if error is not None]
        if errors:
            raise next((error for error in errors if not isinstance(error, _Abandoned)), errors[0])
        return self._results


class _Abandoned(Exception):
    """Raised in the shards that wait for one that failed."""


class _Meeting:
    """A barrier between shards at which their arrays are added, in the order of the shards."""

    def __init__(self, shards: int, workers: int) -> None:
        self._shards = shards
        self._workers = workers
        self._condition = Condition()
        self._begin()

    def _begin(self) -> None:
        """Forget what an abandoned step left behind."""
        self._gate = Semaphore(self._workers)
        self._parts: list[Any] = [None] * self._shards
        self._arrived = self._round = 0
        self._sum: Any = None
        self._abandoned = False

    def hold(self, team: _Team, task: Callable[[int], Any], count: int) -> list[Any]:
        """`team.map(task, count)` for tasks that meet; one that fails makes the others fail, who would wait forever."""
        if count != self._shards:
            raise UsageError(f"shards that are coupled run together: {self._shards} of them, not {count}")
        self._begin()

        def gated(shard: int) -> Any:
            try:
                with self._gate:
                    return task(shard)
            except BaseException:
                self._abandon()
                raise

        try:
            return team.map(gated, count)
        except BaseException:  # an interrupt may come between the tasks
            self._abandon()
            raise

    def sum(self, shard: int, x: Any) -> Any:
        """Σ over the shards of what each brings; waits for all of them. The result is one array for all."""
        with self._condition:
            self._parts[shard] = x
            self._arrived += 1
            mine = self._round
            if self._arrived == self._shards:
                self._sum = self._parts[0]
                for part in self._parts[1:]:
                    self._sum = self._sum + part
                self._arrived = 0
                self._round += 1
                self._condition.notify_all()
                return self._sum
        self._gate.release()  # while this shard waits, another may run
        try:
            with self._condition:
                self._condition.wait_for(lambda: self._round != mine or self._abandoned)
                if self._round == mine:
                    raise _Abandoned
                return self._sum  # the next sum is not made before this shard brings its part
        finally:
            self._gate.acquire()

    def _abandon(self) -> None:
        with self._condition:
            self._abandoned = True
            self._condition.notify_all()
