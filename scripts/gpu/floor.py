"""What a training step cannot do without, and the time that it takes at a device's ceilings.

    FLOPs      2 · 3 for each multiply-add of forward (A, dA, dW); the first layer that has parameters needs no dA
    bytes      the minibatch is read; θ and the velocity are read and written; A[l] of each layer that has parameters is
               written by forward and read by backward (caches may hold a part of it)
    nodes      of the CUDA graph of mathdl: one after the other, each takes the time of a node that does nothing much

The floor is the largest of the three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from frameworks.mathdl import network
from workloads import Workload

from mathdl.cli.summary import lines
from mathdl.layers import Residual
from mathdl.layers.chain import numbered, walk
from mathdl.layers.layer import size

_FLOAT32 = 4


class Work(NamedTuple):
    """Of one step."""

    flops: int
    bytes: int


def work(workload: Workload) -> Work:
    """The work of a step on a whole minibatch."""
    net = network(workload)
    outer = {path for path, layer in walk(net.chain) if isinstance(layer, Residual)}
    learnt = [
        line for line in lines(numbered(net.layers), workload.input) if line.path not in outer and line.parameters
    ]
    multiply_adds = 3 * sum(line.multiply_adds for line in learnt) - learnt[0].multiply_adds
    activations = size(workload.input) + 2 * sum(line.nodes for line in learnt)
    moved = workload.B * activations + 4 * sum(line.parameters for line in learnt)
    return Work(2 * workload.B * multiply_adds, _FLOAT32 * moved)


def milliseconds(step: Work, ceilings: Mapping[str, float], nodes: int | None) -> dict[str, float]:
    """What each part takes at these ceilings (see ceilings.py), and the largest: the floor."""
    parts = {"FLOPs": 1e3 * step.flops / ceilings["product"], "bytes": 1e3 * step.bytes / ceilings["copy"]}
    if nodes is not None and "node" in ceilings:
        parts["nodes"] = 1e3 * nodes * ceilings["node"]
    return parts | {"floor": max(parts.values())}
