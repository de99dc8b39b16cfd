"""What the benchmarks of a CPU and of a GPU share: frameworks, workers, turns. PyTorch and JAX by stand-ins."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import chain
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest


def test_milliseconds_of_a_cpu(scripts, monkeypatch):
    run, workloads = scripts("run"), scripts("workloads")
    monkeypatch.setattr(run, "_BURST_SECONDS", 0.01)
    workload = workloads.Workload("mlp", 4, (6,), (5,), 2)
    figures = run.measure(workload, run.COMPETITORS["mlp"], 2, {"mathdl", "sklearn", "floor"})
    assert list(figures) == ["mathdl", "sklearn", "floor"]
    for found in figures.values():
        assert set(found) == {"ms", "least", "most", "faults", "peak_mib", "ratio"}
        assert 0 < found["least"] <= found["ms"] <= found["most"]


def cut_to_10_bits(A):
    return (np.asarray(A).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize(
    ("product", "seen"),
    [
        (lambda A, B, place: A @ B, "float32"),
        (lambda A, B, place: cut_to_10_bits(A) @ cut_to_10_bits(B), "TF32"),
        (lambda A, B, place: np.zeros_like(A), "neither float32 nor TF32"),
    ],
)
def test_the_precision_of_products_is_seen(scripts, monkeypatch, product, seen):
    worker, workloads = scripts("worker"), scripts("workloads")
    monkeypatch.setattr(worker, "module_of", lambda framework: SimpleNamespace(product=product))
    assert worker.precision_of_products("mathdl", workloads.Place()) == seen


def test_the_epoch_in_which_steps_are_captured_is_not_counted(scripts, monkeypatch):
    module, workloads = scripts("frameworks.mathdl"), scripts("workloads")
    clock = iter([10.0, 11.0, 13.0, 16.0])  # at the end of each epoch
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    workload = workloads.Workload("mlp", 4, (5,), (3,), 2)
    assert module.training(workload, workloads.Place(start_apart=True))(6) == 6.0
    assert module.training(workload, workloads.Place())(6) is None


@pytest.fixture
def stub_torch(monkeypatch):
    """PyTorch, as far as capture goes: a log of what was asked for, and graphs that run again what they recorded."""
    log, recorded = [], []

    class Cursor:
        def __init__(self):
            self.value = 0

        def zero_(self):
            self.value = 0

        def add_(self, count):
            torch.run(lambda: setattr(self, "value", self.value + count))

    class Order:
        def __init__(self, rows):
            self.rows = rows

        def index_select(self, axis, cursor):
            return SimpleNamespace(view=lambda size: lambda: self.rows[cursor.value])

        def copy_(self, other):
            log.append("order")
            self.rows = other.rows

    class CUDAGraph:
        def replay(self):
            log.append("replay")
            for call in recorded:
                call()

    @contextmanager
    def within(name):
        log.append(name)
        yield
        log.append(f"end of {name}")

    def run(call):
        recorded.append(call) if log and log[-1].startswith("capture") else call()

    torch = ModuleType("torch")
    torch.log, torch.run, torch.int64 = log, run, "int64"
    torch.nn = ModuleType("torch.nn")
    torch.tensor, torch.zeros = (lambda A, device: Order(A)), (lambda *size, dtype, device: Cursor())
    torch.set_float32_matmul_precision = lambda name: log.append(name)
    torch.backends = SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=None))
    torch.cuda = SimpleNamespace(
        Stream=lambda: SimpleNamespace(wait_stream=lambda stream: None),
        current_stream=lambda: SimpleNamespace(wait_stream=lambda stream: None),
        stream=lambda stream: within("side stream"),
        graph=lambda graph: within("capture"),
        CUDAGraph=CUDAGraph,
        synchronize=lambda: log.append("synchronize"),
        set_device=lambda index: log.append(f"device {index}"),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch.nn", torch.nn)
    return torch


def test_a_whole_step_of_pytorch_in_a_graph(scripts, stub_torch):
    module, workloads = scripts("frameworks.torch"), scripts("workloads")
    workload, log, trained = workloads.Workload("mlp", 2, (3,), (3,), 2), stub_torch.log, []

    def step(rows):
        stub_torch.run(lambda: trained.append(sorted(rows())))

    optimizer = SimpleNamespace(zero_grad=lambda: log.append("no gradients"))
    burst = module.captured(step, optimizer, workload, workloads.Place("cuda"))
    assert log == ["side stream", "end of side stream", "no gradients", "capture", "end of capture"]
    assert len(trained) == module.WARM_UP
    trained.clear()
    log.clear()
    burst(5)
    assert log == ["order", *["replay"] * 5, "synchronize"]
    epoch, again = trained[:2], trained[2:4]
    assert sorted(chain(*epoch)) == list(range(4))  # every row once
    assert again == epoch
    assert trained[4] == epoch[0]


@pytest.mark.parametrize(("precision", "name", "allowed"), [("float32", "highest", False), ("TF32", "high", True)])
def test_pytorch_is_told_its_precision(scripts, stub_torch, precision, name, allowed):
    place = scripts("workloads").Place("cuda:1", precision)
    scripts("frameworks.torch").take_place(place)
    assert stub_torch.log == ["device 1", name]
    assert vars(stub_torch.backends.cudnn) == {"allow_tf32": allowed, "benchmark": True}


@pytest.mark.parametrize(("precision", "asked"), [("float32", "highest"), ("TF32", None)])
def test_jax_is_told_its_precision_and_its_device(scripts, monkeypatch, precision, asked):
    jax, settings = ModuleType("jax"), {}
    jax.numpy, jax.config = ModuleType("jax.numpy"), SimpleNamespace(update=settings.__setitem__)
    jax.devices = lambda kind: [f"{kind} 0", f"{kind} 1"]
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.numpy", jax.numpy)
    scripts("frameworks.jax").take_place(scripts("workloads").Place("cuda:1", precision))
    assert settings == {"jax_default_device": "cuda 1", "jax_default_matmul_precision": asked}


def test_eager_is_without_captures(scripts):
    frameworks = scripts("frameworks").FRAMEWORKS
    assert frameworks["mathdl-eager"].environment["MATHDL_CUDA_GRAPHS"] == "0"
    assert "MATHDL_CUDA_GRAPHS" not in frameworks["mathdl"].environment


def test_a_worker_says_why_it_stopped(scripts):
    workers = scripts("workers")
    worker = workers.Worker("mathdl")
    with pytest.raises(workers.Stopped, match="KeyError: 'no such task'"):
        worker.prepare("no such task", 0.01)
    assert not worker.runs
    worker.close()


def test_a_worker_that_does_not_answer_is_ended(scripts):
    workers = scripts("workers")
    worker = workers.Worker("mathdl")
    with pytest.raises(workers.Stopped, match="no answer in 0 s"):
        worker.ask({"product": None}, limit=0.001)
    assert not worker.runs
    worker.close()


def test_bursts_are_in_turns(scripts, monkeypatch):
    workers, asked = scripts("workers"), []

    def competitor(name, figures):
        def burst(limit):
            asked.append(name)
            ms = next(figures, None)
            if ms is None:
                raise workers.Stopped("out of figures")
            return {"ms": ms, "faults": 0.0, "peak_mib": 1.0}

        return SimpleNamespace(framework=name, burst=burst)

    figures, stopped = workers.in_turns(
        [competitor("a", iter([3.0, 1.0, 8.0])), competitor("b", iter([2.0]))], rounds=3, pause=0
    )
    assert asked == ["a", "b", "a", "b", "a"]
    assert stopped == {"b": "out of figures"}
    assert figures == {"a": {"ms": 3.0, "least": 1.0, "most": 8.0, "faults": 0.0, "peak_mib": 1.0}}
    figures, _ = workers.in_turns(
        [competitor("mathdl", iter([1.0, 10.0, 4.0])), competitor("b", iter([3.0, 20.0, 16.0]))], rounds=3, pause=0
    )
    assert (figures["mathdl"]["ratio"], figures["b"]["ratio"]) == (1.0, 3.0)  # of 3, 2 and 4
    assert figures["b"]["ms"] / figures["mathdl"]["ms"] == 4.0
    figures, _ = workers.in_turns([competitor("a", iter([3.0, 1.0]))], rounds=2, pause=0, until=0.0)
    assert figures["a"]["ms"] == 3.0  # one round, though the time is over
