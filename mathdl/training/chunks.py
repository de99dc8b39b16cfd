"""What is computed of rows that are only read, a chunk of them at a time: predictions, and the sums behind figures.

A chunk lies in buffers that stay, so a backend may record what is done with it and run it again without the Python in
between, as it does a step. The first chunks of a size are computed as they come: to record them would take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from threading import Lock
from typing import Any, NamedTuple

from mathdl.arrays import Array, Shape
from mathdl.layers.layer import Context
from mathdl.network import Parameters

_UNRECORDED = 2
"""Chunks of a size that come before the first that is recorded."""
_MOST_TASKS = 4
"""Each has the memory that it needs."""
_MOST_SIZES = 1000


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


class ChunkTask:
    """A subject on chunks whose arrays are like `arrays`, in buffers that stay; a context manager, open for as long."""

    def __init__(self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None) -> None:
        self._subject = subject
        params = subject.params
        device = params.device
        self._xp: Any = device.namespace
        self._arrays = [self._xp.empty_like(A) for A in arrays]
        self._output = self._xp.zeros(output, dtype=params.vector.dtype, device=device.handle)
        self._execution = device.backend.execution(device.handle, workers, 1, False)
        self._task = self._execution.recorded(self._seen_through, [self._output])
        self.lock = Lock()
        """Held by who uses the task."""

    def __enter__(self) -> ChunkTask:
        self._execution.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._execution.__exit__(*error)

    def __call__(self, arrays: Sequence[Array]) -> Array:
        """What comes of these arrays."""
        return self._of(arrays, lambda: self._execution.map(lambda _: self._task(), 1))

    def at_once(self, arrays: Sequence[Array]) -> Array | None:
        """The same without opening anything, where the backend knows how, and nobody uses the task; else None.

        For a single row, to open an execution takes as long as to run it.
        """
        run = getattr(self._task, "by_itself", None)
        if run is None or not self.lock.acquire(blocking=False):
            return None
        try:
            return self._of(arrays, run)
        finally:
            self.lock.release()

    def _of(self, arrays: Sequence[Array], run: Callable[[], Any]) -> Array:
        for buffer, A in zip(self._arrays, arrays, strict=True):
            buffer[...] = A
        run()
        return self._xp.astype(self._output, self._output.dtype, copy=True)

    def _seen_through(self, view: Callable[[Array], Array]) -> Callable[[], None]:
        subject, arrays, output = self._subject.seen_through(view), [*map(view, self._arrays)], view(self._output)

        def task() -> None:
            output[...] = subject(*arrays)

        return task


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
        """What comes of each chunk: `read(rows)` are its arrays, `output(B)` is the shape of what comes of B rows.

        The bits are the same, recorded or not, by any number of workers.
        """
        if len(chunks) == 1:
            (rows,) = chunks
            return [self._single(subject, read(rows), output(rows.stop - rows.start), workers)]
        results: list[Array] = []
        for B, group in groupby(chunks, lambda rows: rows.stop - rows.start):
            first, *others = group
            arrays = read(first)
            with self._open(subject, arrays, output(B), workers, 1 + len(others)) as compute:
                results.append(compute(arrays))
                results.extend(compute(read(rows)) for rows in others)
        return results

    def _single(self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None) -> Array:
        """What comes of a chunk without others."""
        task = self._tasks.get(_key(subject, arrays, workers))
        found = None if task is None else task.at_once(arrays)
        if found is not None:
            return found
        with self._open(subject, arrays, output, workers, 1) as compute:
            return compute(arrays)

    @contextmanager
    def _open(
        self, subject: Subject, arrays: Sequence[Array], output: Shape, workers: int | None, count: int
    ) -> Iterator[Callable[[Sequence[Array]], Array]]:
        task = self._task(subject, arrays, output, workers, count)
        if task is not None and task.lock.acquire(blocking=False):
            try:
                with task:
                    yield task
            finally:
                task.lock.release()
            return
        device = subject.params.device  # no task, or another thread is using it
        with device.backend.execution(device.handle, workers, 1, False) as execution:
            yield lambda arrays: execution.map(lambda _: subject(*arrays), 1)[0]

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


def _key(subject: Subject, arrays: Sequence[Array], workers: int | None) -> Hashable:
    return (id(subject.params), *map(id, subject.rests_on), workers, *[A.shape for A in arrays])
