"""What `sh scripts/gpu/bench` asks of captured steps, and the floor that it measures them by; CUDA by a stand-in."""

from __future__ import annotations

import sys
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import mathdl as md
from mathdl import optimizers


@pytest.fixture
def bench(scripts):
    return scripts("bench")


@pytest.fixture
def stub_cupy(monkeypatch):
    """CuPy's streams and graphs, as far as they are asked here: a graph has a node for each call since its capture."""

    class Graph:
        def __init__(self, nodes):
            self.nodes = nodes

        def debug_dot_str(self):
            names = [f'"graph_1_node_{k}"' for k in range(self.nodes)]
            return "\n".join([*(f"{name}[label=...]" for name in names), *(f"{a} -> {b}" for a, b in pairwise(names))])

        def launch(self):
            cupy.seconds += 5e-6 + 2e-6 * self.nodes

    class Stream:
        def __init__(self, non_blocking):
            assert non_blocking

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def begin_capture(self):
            cupy.calls = 0

        def end_capture(self):
            return Graph(cupy.calls)

        def synchronize(self):
            pass

    def add(x, y, out):
        cupy.calls += 1

    cupy = ModuleType("cupy")
    cupy.seconds, cupy.calls, cupy.add, cupy.zeros = 0.0, 0, add, lambda n, dtype: np.zeros(n, dtype)
    cupy.cuda = SimpleNamespace(Stream=Stream)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def outcome(nodes=(9,), intact=True, **bits):
    return {"bits": {"θ": "1", "loss": "2"} | bits, "intact": intact, "nodes": list(nodes)}


def outcomes(bench, **changes):
    same = {"mlp, SGD with momentum": outcome(), "cnn": outcome()} | changes
    return same | {bench.CONSTANT: outcome(θ="of a constant rate")}


def test_the_same_bits_are_right(bench):
    eager = {name: found | {"nodes": []} for name, found in outcomes(bench).items()}
    checks = bench.compare(outcomes(bench), eager, on_gpu=True)
    assert set(checks) == {"mlp, SGD with momentum", "cnn", f"control: {bench.CONSTANT}"}
    assert all(check["same"] for check in checks.values())
    assert checks["cnn"]["nodes"] == [9]


@pytest.mark.parametrize(
    ("captured", "eager", "fault"),
    [
        (outcome(θ="another"), outcome(nodes=()), "θ differs"),
        (outcome(loss="another"), outcome(nodes=()), "loss differs"),
        (outcome(intact=False), outcome(nodes=()), "memory that was not its own was written"),
        (outcome(nodes=()), outcome(nodes=()), "no step was captured"),
        (outcome(), outcome(), "eager steps were captured"),
    ],
)
def test_what_capture_must_not_do(bench, captured, eager, fault):
    there = {name: found | {"nodes": []} for name, found in outcomes(bench).items()}
    checks = bench.compare(outcomes(bench, cnn=captured), there | {"cnn": eager}, on_gpu=True)
    assert {name: check["faults"] for name, check in checks.items() if not check["same"]} == {"cnn": [fault]}


def test_a_learning_rate_that_has_no_effect_is_found(bench):
    stale = outcomes(bench) | {bench.CONSTANT: outcome()}
    checks = bench.compare(stale, {name: found | {"nodes": []} for name, found in stale.items()}, on_gpu=True)
    assert [name for name, check in checks.items() if not check["same"]] == [f"control: {bench.CONSTANT}"]


def test_every_optimizer_is_among_the_cases(scripts):
    known = {kind for kind in vars(optimizers).values() if isinstance(kind, type) and hasattr(kind, "update")}
    tried = {type(make()) for make in scripts("captured").OPTIMIZERS.values()}
    assert tried == known - {optimizers.Optimizer}


def test_trainings_end_with_a_short_minibatch_and_change_their_rate(scripts, monkeypatch):
    captured = scripts("captured")
    trainers, honest = [], md.Trainer
    monkeypatch.setattr(captured.md, "Trainer", lambda *a, **k: trainers.append(honest(*a, **k)) or trainers[-1])
    bits, intact = captured.trained(captured.cases()["mlp, Adam"], "cpu")
    (trainer,) = trainers
    assert intact
    assert set(bits) == {"θ", "state", "optimizer", "loss"}
    assert [len(rows) for rows, _, _ in trainer.minibatches] == [32, 32, 32, 32, 32, 3]
    assert len(set(trainer.history["learning_rate"])) == len(trainer.history) == 6


def test_memory_that_was_written_by_others_is_found(scripts):
    captured = scripts("captured")
    trainer = md.Trainer(md.Network([md.Dense(10), md.Softmax()]), device="cpu")
    trainer.fit(np.ones((4, 3)), np.arange(4), verbose=False)
    garbage = captured.Garbage()
    garbage(trainer, None)
    garbage.look()
    assert garbage.intact
    garbage._kept[-1][-1] = 0.0
    garbage(trainer, None)
    garbage(trainer, None)
    assert not garbage.intact


def test_captures_are_watched(scripts, stub_cupy):
    found = scripts("frameworks.mathdl").watched_captures()
    stream = stub_cupy.cuda.Stream(non_blocking=True)
    for nodes in (3, 1):
        stream.begin_capture()
        for _ in range(nodes):
            stub_cupy.add(1, 1, out=None)
        assert stream.end_capture().nodes == nodes
    assert found == [3, 1]


def test_a_graph_that_cannot_be_printed_is_watched_too(scripts, stub_cupy, monkeypatch):
    monkeypatch.setattr(stub_cupy.cuda.Stream, "end_capture", lambda self: "a graph")
    found = scripts("frameworks.mathdl").watched_captures()
    assert stub_cupy.cuda.Stream(non_blocking=True).end_capture() == "a graph"
    assert found == [None]


@pytest.mark.parametrize(
    ("graphs", "nodes"),
    [([27, 27, 27], 27), ([20, 7] * 3, 27), ([27], 27), ([20, 7], 27), ([], None), ([None] * 3, None)],
)
def test_nodes_of_a_step(bench, graphs, nodes):
    assert bench.nodes_of_a_step(graphs) == nodes


# -- the floor ---------------------------------------------------------------------------------------------------------


def test_the_work_of_an_mlp(scripts):
    floor, workload = scripts("floor"), scripts("workloads").GPU_WORKLOADS["MLP 784-512-256-10, B=128"]
    first, others = 784 * 512, 512 * 256 + 256 * 10
    activations, parameters = 784 + 2 * (512 + 256 + 10), first + others + 512 + 256 + 10
    assert floor.work(workload).flops == 2 * 128 * (2 * first + 3 * others)
    assert floor.work(workload).bytes == 4 * (128 * activations + 4 * parameters)


def test_the_work_of_a_residual_cnn(scripts):
    floor, workload = scripts("floor"), scripts("workloads").GPU_WORKLOADS["residual CNN 32×32×3, B=256"]
    first, at_32, at_16 = 32**2 * 27 * 32, 32**2 * 288 * 32, 16**2 * 576 * 64
    others = 2 * at_32 + 16**2 * 288 * 64 + 2 * at_16 + 64 * 10
    assert floor.work(workload).flops == 2 * 256 * (2 * first + 3 * others)


def test_the_floor_is_the_largest_part(scripts):
    floor = scripts("floor")
    ceilings = {"product": 1e12, "copy": 1e9, "node": 1e-6}
    found = floor.milliseconds(floor.Work(flops=3_000_000_000, bytes=2_000_000), ceilings, nodes=4000)
    assert found == pytest.approx({"FLOPs": 3.0, "bytes": 2.0, "nodes": 4.0, "floor": 4.0})
    assert floor.milliseconds(floor.Work(3_000_000_000, 2_000_000), ceilings, None)["floor"] == pytest.approx(3.0)


def test_the_time_of_a_node(scripts, stub_cupy, monkeypatch):
    ceilings = scripts("ceilings")
    monkeypatch.setattr(ceilings, "time", SimpleNamespace(perf_counter=lambda: stub_cupy.seconds))
    assert ceilings.graphs() == pytest.approx({"node": 2e-6, "launch": 5e-6})
