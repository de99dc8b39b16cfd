"""What is computed of rows that are only read, a chunk of them at a time: predictions, and the sums behind figures.

A chunk lies in buffers that stay, so a backend may record what is done with it and run it again without the Python in
between, as it does a step; and each of its workers may have such buffers, and compute chunks beside the others. The
first chunks of a size are computed as they come: to record them would take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from math import prod
from threading import Lock
from typing import Any, NamedTuple

from mathdl.arrays import Array, Shape, concatenated, like
from mathdl.layers.layer import Context
from mathdl.network import Parameters

_UNRECORDED = 8
"""Chunks of a size that come before the first that is recorded."""
_FIRST_RUNS = 2
"""Runs of a task before it may run beside others: the first is recorded, the second compared with the record."""
_MOST_TASKS = 4
"""Each has the memory that it needs."""
_MOST_SIZES = 1000
_READ = 1 << 22
"""Numbers that are read at a time, or those of a chunk: 16 MB in float32."""


class Subject(NamedTuple):
    """What is computed: body(params, contexts, *arrays) → one array, a pure function of the arrays of a chunk."""

    body: Callable[..., Array]
    params: Parameters
    contexts: Mapping[int, Context]
    rests_on: tuple[Any, ...] = ()
    """What else the body is made from: while these are the same objects, it is the same function."""

    def __call__(self, *arrays: Array) -> Array:
        return self.body(self.params, self.contexts, *arrays)

    def seen_through(self, view: Callable[[Array], Array]) -> Subject:
        """The same, on `view` of the parameters and the state."""
        contexts = {l: context.seen_through(view) for l, context in self.contexts.items()}
        return self._replace(params=self.params.seen_through(view), contexts=contexts)


class Lane:
    """A subject on chunks whose arrays are like `arrays`: a task that is recorded, and buffers of its own."""

    def __init__(self, subject: Subject, arrays: Sequence[Array], output: Shape, execution: Any) -> None:
        params = subject.params
        xp: Any = params.device.namespace
        self.arrays = [xp.empty(A.shape, **like(A)) for A in arrays]
        self.output = xp.zeros(output, dtype=params.vector.dtype, device=params.device.handle)
        self.runs = 0
        self._subject = subject
        self.task: Callable[[], None] = execution.recorded(self._seen_through, [self.output])

    def _seen_through(self, view: Callable[[Array], Array]) -> Callable[[], None]:
        subject, arrays, output = self._subject.seen_through(view), [*map(view, self.arrays)], view(self.output)

        def task() -> None:
            output[...] = subject(*arrays)

        return task


class ChunkTask:
    """A subject on chunks whose arrays are like `arrays`; a context manager, open for as long.

    `output` is the shape of what comes of a chunk.
    """

    def __init__(self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None) -> None:
        device = subject.params.device
        self._xp: Any = device.namespace
        self._execution = device.backend.execution(device.handle, workers, 1, False)
        self._new_lane: Callable[[], Lane] = lambda: Lane(subject, arrays, output, self._execution)
        self._lanes = [self._new_lane()]
        self.lock = Lock()
        """Held by who uses the task."""

    def __enter__(self) -> ChunkTask:
        self._execution.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._execution.__exit__(*error)

    def __call__(self, arrays: Sequence[Array], count: int = 1) -> Array:
        """What comes of `count` chunks that lie behind one another in these arrays, one behind the other, too."""
        if count == 1:
            return self._alone(self._lanes[0], arrays)
        B, (rows, *shape) = self._lanes[0].arrays[0].shape[0], self._lanes[0].output.shape
        whole = self._xp.empty((count * rows, *shape), **like(self._lanes[0].output))
        for done in range(count):
            rest, into = [A[done * B :, ...] for A in arrays], whole[done * rows :, ...]
            lane = self._next()
            if lane is None:
                tasks, own = [lane.task for lane in self._lanes], [[*lane.arrays, lane.output] for lane in self._lanes]
                if self._execution.side_by_side(tasks, own, [*rest, into]):
                    break
            into[:rows, ...] = self._alone(lane or self._lanes[0], [A[:B, ...] for A in rest])
        return whole

    def at_once(self, arrays: Sequence[Array]) -> Array | None:
        """What comes of one chunk, without opening anything, where the backend knows how, and nobody uses the task.

        For a single row, to open an execution takes longer than to run it. None: this cannot be done.
        """
        lane = self._lanes[0]
        run = getattr(lane.task, "by_itself", None)
        if run is None or not self.lock.acquire(blocking=False):
            return None
        try:
            return self._on(lane, arrays, run)
        finally:
            self.lock.release()

    def _next(self) -> Lane | None:
        """A lane that has to run alone before all run side by side; None if there is none."""
        while len(self._lanes) < self._execution.lanes:
            self._lanes.append(self._new_lane())
        return next((lane for lane in self._lanes if lane.runs < _FIRST_RUNS), None)

    def _alone(self, lane: Lane, arrays: Sequence[Array]) -> Array:
        return self._on(lane, arrays, lambda: self._execution.replay(lane.task))

    def _on(self, lane: Lane, arrays: Sequence[Array], run: Callable[[], Any]) -> Array:
        for buffer, A in zip(lane.arrays, arrays, strict=True):
            buffer[...] = A
        run()
        lane.runs += 1
        return self._xp.astype(lane.output, lane.output.dtype, copy=True)


class ChunkTasks:
    """The tasks of a model, the latest few."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tasks: dict[Hashable, ChunkTask] = {}
        self._seen: dict[Hashable, int] = {}

    def computed(
        self,
        subject: Subject,
        chunks: Sequence[slice],
        read: Callable[[slice], Sequence[Array]],
        output: Callable[[int], Shape],
        workers: int | None = None,
    ) -> list[Array]:
        """What comes of the chunks: arrays that belong behind one another.

        `read(rows)` are the arrays of some rows, `output(B)` is the shape of what comes of a chunk of B. The bits are
        the same, recorded or not, by any number of workers.
        """
        if len(chunks) == 1:
            (rows,) = chunks
            return [self._single(subject, read(rows), output(rows.stop - rows.start), workers)]
        results: list[Array] = []
        for B, group in groupby(chunks, lambda rows: rows.stop - rows.start):
            alike = list(group)
            first, *others = _stretches(alike, _READ // prod(subject.params.input_shape))
            arrays = read(first)
            with self._open(subject, [A[:B, ...] for A in arrays], output(B), workers, len(alike)) as compute:
                results.append(compute(arrays, (first.stop - first.start) // B))
                results.extend(compute(read(rows), (rows.stop - rows.start) // B) for rows in others)
        return results

    def _single(self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None) -> Array:
        """What comes of a chunk without others."""
        task = self._tasks.get(_key(subject, arrays, workers))
        found = None if task is None else task.at_once(arrays)
        if found is not None:
            return found
        with self._open(subject, arrays, output, workers, 1) as compute:
            return compute(arrays, 1)

    @contextmanager
    def _open(
        self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None, count: int
    ) -> Iterator[Callable[[Sequence[Array], int], Array]]:
        task = self._task(subject, arrays, output, workers, count)
        if task is not None and task.lock.acquire(blocking=False):
            try:
                with task:
                    yield task
            finally:
                task.lock.release()
            return
        device, B = subject.params.device, arrays[0].shape[0]  # no task, or another thread is using it
        with device.backend.execution(device.handle, workers, 1, False) as execution:
            seen = subject.seen_through(execution.view)

            def compute(arrays: Sequence[Array], count: int) -> Array:
                chunks = ([execution.view(A[j * B : (j + 1) * B, ...]) for A in arrays] for j in range(count))
                return concatenated([execution.map(lambda _, chunk=chunk: seen(*chunk), 1)[0] for chunk in chunks])

            yield compute

    def _task(
        self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None, count: int
    ) -> ChunkTask | None:
        """The task for chunks like this, of which there are `count` more; None as long as there were few."""
        key = _key(subject, arrays, workers)
        task = self._tasks.get(key)
        if task is not None:
            return task
        with self._lock:
            seen = self._seen.get(key, 0)
            if seen + count <= _UNRECORDED:
                if len(self._seen) >= _MOST_SIZES:
                    self._seen.clear()
                self._seen[key] = seen + count
                return None
            if len(self._tasks) >= _MOST_TASKS:
                del self._tasks[next(iter(self._tasks))]
            task = self._tasks[key] = ChunkTask(subject, arrays, output, workers)
            return task


def _stretches(chunks: Sequence[slice], rows: int) -> list[slice]:
    """Chunks of one size, that follow one another, in stretches of so many rows at most, or of one chunk."""
    count = max(1, rows // (chunks[0].stop - chunks[0].start))
    groups = (chunks[j : j + count] for j in range(0, len(chunks), count))
    return [slice(group[0].start, group[-1].stop) for group in groups]


def _key(subject: Subject, arrays: Sequence[Array], workers: int | None) -> Hashable:
    return (id(subject.params), *map(id, subject.rests_on), workers, *[A.shape for A in arrays])
