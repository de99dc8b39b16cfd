"""How steps and predictions run on a GPU: captured in a CUDA graph, and launched from there.

A step is a few dozen kernels of a few microseconds each, and CuPy takes 10 to 20 microseconds to start one. A graph
starts all of them at once. It does the same work on the same memory at every launch (DESIGN: a step reads and writes
fixed buffers, and what changes lies in tables that it reads at a cursor of its own), so many steps run in a row without
the host. `MATHDL_CUDA_GRAPHS=0` in the environment leaves graphs out.

J is looked at once a run of steps. Where it was not finite, θ, the state and all else that a step changes are put back
to what they were before the run, and the steps before that one are made again: the same kernels on the same numbers.
"""

from __future__ import annotations

import gc
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mathdl.errors import MathdlError, OutOfMemoryError
from mathdl_backends.cupy.elementwise import count_finite
from mathdl_backends.cupy.lazy import Lazy, plain
from mathdl_backends.cupy.memory import GraphMemory

_WARM_UP = 2
"""Steps that run call by call before one is captured: kernels are compiled and loaded at their first call."""

_NODE = re.compile(r'^\s*("graph_\d+_node_\d+")\s*\[', re.MULTILINE)
"""A node in what cudaGraphDebugDotPrint writes; its label may run over many lines, and hold any text."""


class Task:
    """A part of a step on lazy arrays (`lazy`), and the arrays that it changes.

    What cannot be done on these, a layer of one's own that asks for more than array functions, say, is done on CuPy's
    own from then on; the first run, which finds that out, leaves no trace.
    """

    def __init__(self, make: Callable[[Callable[[Any], Any]], Callable[[], Any]], writes: Sequence[Any]) -> None:
        self._make = make
        self._run = make(seen)
        self._has_run = False
        self.writes = tuple(writes)
        self.refused: str | None = None
        """Why it is not done on lazy arrays."""
        self.runs = 0
        """How often it was replayed call by call."""
        self.graph: Any = None
        """Where it is captured by itself."""

    def __call__(self) -> Any:
        return plain(self._run()) if self._has_run else self._first_run()

    def _first_run(self) -> Any:
        before = [A.copy() for A in self.writes]
        try:
            result = plain(self._run())
        except (MemoryError, MathdlError):
            raise
        except Exception as error:  # a layer raises what it likes; on CuPy's arrays it will again, if it is at fault
            self.refused = f"{place(error)}{type(error).__name__}: {error}"
            for A, saved in zip(self.writes, before, strict=True):
                A[...] = saved
            self._run = self._make(lambda A: A)
            result = self._run()
        self._has_run = True
        return result


def seen(A: Any) -> Any:
    """An array as the tasks of a step see it. `MATHDL_LAZY=0` in the environment: as CuPy's."""
    return A if os.environ.get("MATHDL_LAZY") == "0" else Lazy(A, shared=True)


class GraphExecution:
    """Steps of one size on a device. `cupy` is the module; nothing else here knows where it comes from."""

    lanes = 1

    def __init__(self, handle: Any, cupy: Any) -> None:
        self._handle = handle
        self._cupy = cupy
        self._stream: Any = None
        self._memory: Any = None
        self._graph: Any = None
        self._warm = 0
        self._saved: list[Any] = []
        self._good: Any = None
        """What `count_finite` says of the Js of a run."""
        self.refused: str | None = "MATHDL_CUDA_GRAPHS=0" if os.environ.get("MATHDL_CUDA_GRAPHS") == "0" else None
        """Why steps run call by call, if they do."""

    def __enter__(self) -> GraphExecution:
        self._handle.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.__exit__(*error)

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        with self._room_for_a_step():
            return [plain(task(shard)) for shard in range(count)]

    def view(self, A: Any) -> Any:
        return seen(A)

    def total(self, shard: int, count: int) -> Callable[[Any], Any]:
        return lambda x: x

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        task(slice(0, size))

    def recorded(self, make: Callable[[Callable[[Any], Any]], Callable[[], Any]], writes: Any) -> Callable[[], Any]:
        return Task(make, writes)

    def replay(self, task: Callable[[], Any]) -> None:
        with self._room_for_a_step():
            if self.refused is not None or not isinstance(task, Task):
                task()
                return
            with self._own_stream():
                if task.graph is None and task.runs >= _WARM_UP:
                    task.graph = self._captured_alone(task)
                if task.graph is not None:
                    task.graph.launch(self._stream)
                    return
                task()
                task.runs += 1

    def side_by_side(self, tasks: Sequence[Any], own: Sequence[Sequence[Any]], whole: Sequence[Any]) -> bool:
        return False

    def run(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        with self._room_for_a_step():
            if self.refused is not None or not (isinstance(gradient, Task) and isinstance(update, Task)):
                return self._eagerly(gradient, update, J, count)
            with self._own_stream():
                done = 0
                while self._graph is None and done < count:
                    if self._warm < _WARM_UP:
                        if not self._eagerly(gradient, update, J, 1):
                            return done
                        self._warm += 1  # a step without its update has not compiled all of the kernels
                        done += 1
                    elif not self._capture(gradient, update, J):
                        return done + self._eagerly(gradient, update, J, count - done)
                return done + self._launch(gradient, update, J, count - done)

    def about(self, gradient: Callable[[], Any], update: Callable[[], Any]) -> str:
        nodes = self.nodes()
        tasks = (task for task in (gradient, update) if isinstance(task, Task))
        plainly = next((f"; each call a kernel: {task.refused}" for task in tasks if task.refused), "")
        if nodes is not None:
            return f"one CUDA graph of {nodes} nodes{plainly}"
        return f"call by call: {self.refused or 'no step has been captured yet'}{plainly}"

    def nodes(self) -> int | None:
        """The nodes of the captured step; None as long as there is none."""
        if self._graph is None:
            return None
        return len(set(_NODE.findall(self._graph.debug_dot_str())))

    # -- the parts of a run --------------------------------------------------------------------------------------------

    def _eagerly(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        for done in range(count):
            gradient()
            if not bool(self._cupy.isfinite(J[0])):
                return done
            update()
        return count

    def _capture(self, gradient: Task, update: Task, J: Any) -> bool:
        """Whether the step is captured. Capturing runs nothing; where it fails, all is as it was."""
        xp = self._cupy
        try:
            self._good = xp.zeros((2,), dtype=xp.int64)
            self._saved = [xp.empty_like(A) for A in _distinct(gradient.writes, update.writes)]
            count_finite(J, self._good)  # its kernel is compiled before the capture, too
            graph = self._captured(gradient, lambda: count_finite(J, self._good), update)
            graph.upload()
        except Exception as error:
            self._saved = []
            self.refused = f"{place(error)}{type(error).__name__}: {error}"
            rule = "Inside a step nothing may be read on the host, and no array be made of numbers of the host"
            advice = "A smaller batch_size leaves room for one" if isinstance(error, MemoryError) else rule
            warnings.warn(
                f"steps run call by call, without a CUDA graph: {self.refused}. {advice}", RuntimeWarning, stacklevel=2
            )
            return False
        self._graph = graph
        return True

    def _captured_alone(self, task: Task) -> Any:
        """The graph of a task by itself; None if it cannot be captured, and then no other is tried."""
        try:
            graph = self._captured(task)
            graph.upload()
        except Exception as error:
            self.refused = f"{place(error)}{type(error).__name__}: {error}"
            return None
        return graph

    def _captured(self, *work: Callable[[], Any]) -> Any:
        """A graph of all that these do. Nothing of it is run."""
        self._stream.synchronize()
        gc.collect()  # what is thrown away while capturing may be memory that somebody else's kernels still read
        self._memory.hold()
        self._stream.begin_capture()
        try:
            for each in work:
                each()
        except BaseException:
            with suppress(Exception):  # a capture that went wrong ends with an error of its own
                self._stream.end_capture()
            raise
        return self._stream.end_capture()

    def _launch(self, gradient: Task, update: Task, J: Any, count: int) -> int:
        if count == 0:
            return 0
        arrays = _distinct(gradient.writes, update.writes)
        for saved, A in zip(self._saved, arrays, strict=True):
            saved[...] = A
        good = self._launched(count)
        if good == count:
            return count
        for saved, A in zip(self._saved, arrays, strict=True):
            A[...] = saved
        self._launched(good)
        gradient()  # of the step whose J is not finite: its figures are there to be looked at, and nothing is updated
        self._stream.synchronize()
        return good

    def _launched(self, count: int) -> int:
        """Launch so many steps: how many had a finite J before the first that had not."""
        self._good[0:1] = 1
        self._good[1:2] = 0
        for _ in range(count):
            self._graph.launch(self._stream)
        self._stream.synchronize()
        return int(self._good[1])

    @contextmanager
    def _own_stream(self) -> Iterator[None]:
        """A stream that can be captured, and memory of its own: what a graph writes to must never be lent to others."""
        cuda = self._cupy.cuda
        if self._stream is None:
            self._stream = cuda.Stream(non_blocking=True)
            self._memory = GraphMemory(self._cupy)
        cuda.get_current_stream().synchronize()  # tables and data are put on the device there
        with self._stream, cuda.using_allocator(self._memory.malloc):
            try:
                yield
            finally:  # after Ctrl-C, too, nothing runs on beside what the host does next
                self._stream.synchronize()

    @contextmanager
    def _room_for_a_step(self) -> Iterator[None]:
        try:
            yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise OutOfMemoryError(f"cuda:{self._handle.id} has no memory left for this step ({error})") from error


def _distinct(*groups: Sequence[Any]) -> list[Any]:
    """The arrays, each once."""
    return list({id(A): A for group in groups for A in group}.values())


def place(error: BaseException | None) -> str:
    """The layer that an error comes from, as `layer l = 3 (Mine): `; empty if it comes from none."""
    found, l = "", None
    trace = error.__traceback__ if error is not None else None
    while trace is not None:
        local = trace.tb_frame.f_locals
        if isinstance(local.get("l"), int):
            l = local["l"]
        layer = local.get("self")
        if all(hasattr(layer, name) for name in ("shapes", "forward", "backward")):
            found = f"layer {'' if l is None else f'l = {l} '}({type(layer).__name__}): "
        trace = trace.tb_next
    return found
