"""Captured steps, against a stand-in for CUDA: what runs when, what a graph replays, and what is put back.

Work for the stand-in's device is handed to `Device.do`: it is done at once, or, while a stream is capturing, only taken
down, as CUDA does. What real kernels do in a graph is asked of a real GPU, by `scripts/gpu/bench`.
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
        for job in self.work:
            job()

    def debug_dot_str(self):
        nodes = [f'"graph_1_node_{j}"[style="bold" label="{{KERNEL}}"];' for j in range(len(self.work))]
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
        self.null = Stream(self)
        self.current = self.null
        self.allocators = []
        self.int64 = np.int64
        self.cuda = SimpleNamespace(
            Stream=self.new_stream,
            MemoryPool=lambda: SimpleNamespace(malloc="its own"),
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

    def do(self, job):
        if self.taken is None:
            job()
        else:
            self.taken.append(job)

    def read(self):
        if self.taken is not None:
            self.broken = True
            raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")

    def zeros(self, shape, dtype=float):
        return np.zeros(shape, dtype).view(Array)

    def empty_like(self, A):
        return np.full(A.shape, -99, A.dtype).view(Array)

    def isfinite(self, J):
        return np.isfinite(J)

    def count_finite(self, J, good):
        """A kernel of its own, that test_cupy_elementwise.py checks."""
        J, good = J.view(np.ndarray), good.view(np.ndarray)

        def job():
            good[0] &= np.isfinite(J[0])
            good[1] += good[0]

        self.do(job)


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


def test_steps_use_memory_of_their_own():
    steps = Steps(range(1, 6))
    steps.run(5)
    assert set(steps.device.allocators) == {"its own"}


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
