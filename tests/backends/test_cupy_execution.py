"""Captured steps, against a stand-in for CUDA: what runs when, what a graph replays, and what is put back.

Work for the stand-in's device is handed to `Device.do`. It waits until somebody waits for its stream; while that
captures, it is only taken down. The null stream and the other wait for each other never: what runs or reads on one
while work waits on the other fails. What real kernels do in a graph is asked of a real GPU, by `scripts/gpu/bench`.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from mathdl.errors import OutOfMemoryError
from mathdl_backends.cupy.execution import GraphExecution


class NoMemory(MemoryError):
    pass


class Graph:
    def __init__(self, device, work):
        self.device, self.work, self.uploaded = device, work, False

    def upload(self):
        self.uploaded = True

    def launch(self, stream):
        assert self.uploaded
        assert stream is self.device.stream
        self.device.launches += 1
        self.device.waiting += self.work

    def debug_dot_str(self):
        label = 'label="0\nvoid kernel<float [4]>\n"'
        nodes = [f'"graph_1_node_{j}"[style="bold" shape="octagon" {label}];' for j in range(len(self.work))]
        edges = [f'"graph_1_node_{j}" -> "graph_1_node_{j + 1}" [headlabel=0];' for j in range(len(self.work) - 1)]
        return "\n".join(["digraph dot {", 'subgraph cluster_1 {label="graph_1"', *nodes, *edges, "}", "}"])


class Stream:
    def __init__(self, device):
        self.device = device

    def __enter__(self):
        self.device.current = self
        return self

    def __exit__(self, *error):
        self.device.current = self.device.null

    def synchronize(self):
        assert self.device.taken is None, "a stream that captures cannot be waited for"
        self.device.finish(self)

    def begin_capture(self):
        assert self.device.current is self is not self.device.null
        self.device.taken = []

    def end_capture(self):
        work, self.device.taken = self.device.taken, None
        if self.device.broken:
            self.device.broken = False
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        self.device.captures += 1
        return Graph(self.device, work)


class Array(np.ndarray):
    """An array whose work goes through the device, and that may not be read while it is captured."""

    device = None

    def __setitem__(self, key, value):
        plain = self.view(np.ndarray)
        self.device.do(lambda: plain.__setitem__(key, value))

    def __getitem__(self, key):
        if isinstance(key, int):  # an array without axes, and no number
            return super().__getitem__(slice(key, key + 1)).reshape(())
        return super().__getitem__(key)

    def __imul__(self, other):
        plain = self.view(np.ndarray)
        self.device.do(lambda: np.multiply(plain, other, out=plain))
        return self

    def __iadd__(self, other):
        plain = self.view(np.ndarray)
        self.device.do(lambda: np.add(plain, other, out=plain))
        return self

    def __int__(self):
        self.device.read()
        return int(self.view(np.ndarray))

    def __bool__(self):
        self.device.read()
        return bool(self.view(np.ndarray))


class Device:
    """CUDA and CuPy, as far as `GraphExecution` needs them."""

    def __init__(self):
        self.taken, self.captures, self.launches, self.broken = None, 0, 0, False
        self.waiting, self.first = [], []
        """Work that waits on the stream of the steps, and on the null stream."""
        self.null = Stream(self)
        self.current = self.null
        self.allocators, self.held = [], 0
        self.int64 = np.int64
        self.cuda = SimpleNamespace(
            Stream=self.new_stream,
            MemoryPool=lambda source: SimpleNamespace(malloc="its own", set_limit=self.hold),
            get_current_stream=lambda: self.current,
            using_allocator=self.using_allocator,
            memory=SimpleNamespace(OutOfMemoryError=NoMemory),
        )
        Array.device = self

    def new_stream(self, non_blocking):
        assert non_blocking, "the null stream would wait for a blocking one, and end the capture"
        self.stream = Stream(self)
        return self.stream

    def using_allocator(self, malloc):
        self.allocators.append(malloc)
        return nullcontext()

    def hold(self, size):
        assert (size, self.taken) == (0, None), "no limit, from before the capture on"
        self.held += 1

    def do(self, job):
        if self.taken is not None:
            self.taken.append(job)
        elif self.current is not self.null:
            self.waiting.append(job)
        else:
            self.first.append(job)

    def finish(self, stream):
        mine, other = (self.first, self.waiting) if stream is self.null else (self.waiting, self.first)
        assert not (mine and other), "these streams do not wait for each other"
        for job in mine:
            job()
        mine.clear()

    def read(self):
        if self.taken is not None:
            self.broken = True
            raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")
        self.finish(self.current)

    def zeros(self, shape, dtype=float):
        return np.zeros(shape, dtype).view(Array)

    def empty_like(self, A):
        return np.full(A.shape, -99, A.dtype).view(Array)

    def isfinite(self, A):
        return Later(self, lambda: np.isfinite(A.view(np.ndarray)))

    def count_finite(self, J, good):
        """A kernel of its own, that test_cupy_elementwise.py checks."""
        J, good = J.view(np.ndarray), good.view(np.ndarray)

        def job():
            good[0] &= np.isfinite(J[0])
            good[1] += good[0]

        self.do(job)


class Later:
    """A number that is there when the work before it is done."""

    def __init__(self, device, value):
        self.device, self.value = device, value

    def __bool__(self):
        self.device.read()
        return bool(self.value())


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    module = sys.modules[GraphExecution.__module__]
    monkeypatch.setattr(module, "count_finite", lambda J, good: Array.device.count_finite(J, good))


class Steps:
    """θ ← θ + row[cursor]; J is the row's number. Runs of it are compared with a loop."""

    def __init__(self, rows, syncs=False):
        self.device = Device()
        self.rows = np.array(rows, dtype=float)
        self.theta, self.J = self.device.zeros(1), self.device.zeros(1)
        self.cursor = self.device.zeros(1, int)
        self.calls = []
        self.execution = GraphExecution(SimpleNamespace(id=0, __enter__=None), self.device)
        self.execution._handle = nullcontext()
        self.gradient = self.execution.recorded(lambda view: self._gradient, [self.J])
        self.update = self.execution.recorded(lambda view: self._update, [self.theta, self.cursor])
        self.layer = Mine(syncs)

    def _gradient(self):
        self.calls.append("gradient")
        J, cursor = self.J.view(np.ndarray), self.cursor.view(np.ndarray)
        self.layer.forward(self.theta)
        self.device.do(lambda: J.__setitem__(0, self.rows[cursor[0]]))

    def _update(self):
        self.calls.append("update")
        theta, J = self.theta.view(np.ndarray), self.J.view(np.ndarray)
        self.device.do(lambda: np.add(theta, J, out=theta))
        self.cursor += 1

    def run(self, count):
        with self.execution:
            return self.execution.run(self.gradient, self.update, self.J, count)

    @property
    def state(self):
        assert not self.device.waiting, "steps still run"
        self.device.finish(self.device.null)
        return float(self.theta.view(np.ndarray)[0]), int(self.cursor.view(np.ndarray)[0])


class Mine:
    """A layer that looks at a number, or does not."""

    def __init__(self, syncs):
        self.syncs = syncs

    def shapes(self):
        pass

    def backward(self):
        pass

    def forward(self, A):
        l = 3  # noqa: F841 - as in the chain of a network
        return bool(A[0:1]) if self.syncs else None


def test_two_steps_are_real_then_one_is_captured_and_the_rest_are_launched():
    steps = Steps(range(1, 11))
    assert steps.run(10) == 10
    assert steps.state == (55.0, 10)
    assert steps.device.captures == 1
    assert steps.device.launches == 8
    assert steps.calls == ["gradient", "update"] * 3, "the third time they were only taken down"


def test_a_later_run_goes_on_with_the_graph():
    steps = Steps(range(1, 11))
    assert [steps.run(n) for n in (1, 3, 6)] == [1, 3, 6]
    assert steps.state == (55.0, 10)
    assert (steps.device.captures, steps.device.launches) == (1, 8)


class Doubling:
    """A task: out ← 2 A."""

    def __init__(self, device, execution, layer=None):
        self.A, self.out, self.calls = device.zeros(1), device.zeros(1), 0
        self.device, self.layer = device, layer
        self.task = execution.recorded(lambda view: self._run, [self.out])

    def _run(self):
        self.calls += 1
        if self.layer is not None:
            self.layer.forward(self.A)
        A, out = self.A.view(np.ndarray), self.out.view(np.ndarray)
        self.device.do(lambda: np.multiply(A, 2, out=out))


def doubled(doubling, execution, value):
    doubling.A[...] = value
    with execution:
        execution.replay(doubling.task)
    assert not doubling.device.waiting, "it still runs"
    doubling.device.finish(doubling.device.null)
    return float(doubling.out.view(np.ndarray)[0])


def execution_on(device):
    execution = GraphExecution(SimpleNamespace(id=0), device)
    execution._handle = nullcontext()
    return execution


def test_a_task_is_captured_by_itself_when_it_has_run_twice():
    device = Device()
    execution = execution_on(device)
    first, second = Doubling(device, execution), Doubling(device, execution)
    assert [doubled(first, execution, value) for value in range(6)] == [0, 2, 4, 6, 8, 10]
    assert (first.calls, device.captures, device.launches, device.held) == (3, 1, 4, 1)
    assert [doubled(second, execution, value) for value in range(4)] == [0, 2, 4, 6]
    assert (second.calls, device.captures, device.launches) == (3, 2, 6)
    assert set(device.allocators) == {"its own"}


def test_a_task_that_cannot_be_captured_runs_call_by_call(monkeypatch):
    device = Device()
    execution = execution_on(device)
    doubling = Doubling(device, execution, Mine(syncs=True))
    assert [doubled(doubling, execution, value) for value in range(5)] == [0, 2, 4, 6, 8]
    assert (device.captures, device.launches) == (0, 0)
    assert execution.refused.startswith("layer l = 3 (Mine): RuntimeError")
    monkeypatch.setenv("MATHDL_CUDA_GRAPHS", "0")
    execution = execution_on(device)
    doubling = Doubling(device, execution)
    assert [doubled(doubling, execution, value) for value in range(5)] == [0, 2, 4, 6, 8]
    assert (device.captures, doubling.calls) == (0, 5)


def test_steps_use_memory_of_their_own_which_is_held_from_the_capture_on():
    steps = Steps(range(1, 6))
    steps.run(2)
    assert steps.device.held == 0
    steps.run(3)
    assert steps.device.held == 1
    assert set(steps.device.allocators) == {"its own"}


def test_steps_wait_for_what_is_put_on_the_device_before():
    steps = Steps(range(1, 6))
    for count in (1, 1, 1, 2):
        steps.device.do(lambda: steps.rows.__iadd__(1))
        assert steps.run(count) == count
    assert steps.state == (15 + 1 + 2 + 3 + 4 + 4, 5)


def test_a_step_without_an_update_warms_nothing_up():
    steps = Steps([np.nan, *range(2, 9)])
    assert [steps.run(3) for _ in range(2)] == [0, 0]
    steps.rows[0] = 1
    assert steps.run(8) == 8
    assert steps.state == (36.0, 8)
    assert steps.device.launches == 6


def test_after_ctrl_c_nothing_runs_on_beside_the_host(monkeypatch):
    steps = Steps(range(1, 9))
    steps.run(3)
    launch = Graph.launch

    def interrupted(graph, stream):
        launch(graph, stream)
        raise KeyboardInterrupt

    monkeypatch.setattr(Graph, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        steps.run(5)
    assert steps.state == (10.0, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bad", range(8))
def test_a_J_that_is_not_finite_leaves_all_as_it_was_before_its_step(bad, value):
    rows = np.arange(1.0, 9.0)
    rows[bad] = value
    steps = Steps(rows)
    assert steps.run(8) == bad
    assert steps.state == (sum(range(1, bad + 1)), bad)
    np.testing.assert_array_equal(steps.J, [value])


def test_numbers_that_are_finite_again_do_not_hide_one_that_was_not():
    steps = Steps([1, 2, 3, np.inf, 5, 6])
    assert steps.run(6) == 3
    assert steps.state == (6.0, 3)


def test_a_layer_that_reads_on_the_host_is_named_and_steps_run_call_by_call():
    steps = Steps(range(1, 8), syncs=True)
    with pytest.warns(RuntimeWarning, match=r"layer l = 3 \(Mine\): RuntimeError: the current stream is capturing"):
        assert steps.run(7) == 7
    assert steps.state == (28.0, 7)
    assert (steps.device.captures, steps.device.launches) == (0, 0)
    assert steps.run(0) == 0
    assert steps.execution.nodes() is None


def test_a_capture_that_ends_badly_is_given_up():
    steps = Steps(range(1, 8))
    steps.run(2)
    steps.device.broken = True
    with pytest.warns(RuntimeWarning, match="cudaErrorStreamCaptureInvalidated"):
        assert steps.run(5) == 5
    assert steps.state == (28.0, 7)


def test_without_the_memory_to_go_back_steps_run_call_by_call(monkeypatch):
    """And those of the run that were made before count."""

    def full(A):
        raise NoMemory("allocating 8 bytes")

    steps = Steps(range(1, 8))
    monkeypatch.setattr(steps.device, "empty_like", full)
    with pytest.warns(RuntimeWarning, match=r"NoMemory: allocating 8 bytes\. A smaller batch_size leaves room for one"):
        assert steps.run(7) == 7
    assert steps.state == (28.0, 7)


def test_graphs_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("MATHDL_CUDA_GRAPHS", "0")
    steps = Steps([1, 2, 3, np.nan, 5])
    assert steps.run(5) == 3
    assert steps.state == (6.0, 3)
    assert (steps.device.captures, steps.device.allocators) == (0, [])


def test_plain_functions_run_call_by_call():
    steps = Steps(range(1, 5))
    with steps.execution:
        assert steps.execution.run(steps._gradient, steps._update, steps.J, 4) == 4
    assert (steps.state, steps.device.captures) == ((10.0, 4), 0)


def test_nodes_are_counted():
    steps = Steps(range(1, 6))
    assert steps.execution.nodes() is None
    steps.run(5)
    assert steps.execution.nodes() == len(steps.execution._graph.work) == 4


def test_memory_that_runs_out():
    steps = Steps(range(1, 6))

    def fail():
        raise NoMemory("allocating 8 bytes")

    steps.gradient._run = fail
    steps.execution._handle = type("Handle", (nullcontext,), {"id": 1})()
    with pytest.raises(OutOfMemoryError, match="cuda:1 has no memory left for this step"):
        steps.run(1)
