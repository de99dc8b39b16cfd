"""PyTorch: eager, `torch.compile`, or a whole step in a CUDA graph; images with channels first or last."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch as pt
from torch import nn
from workloads import MOMENTUM, RATE, Burst, Place, Workload, rows_of

WARM_UP = 3
"""Steps before one is captured: they make the optimizer's state, and choose algorithms."""


def network(workload: Workload) -> nn.Module:
    """The network as PyTorch modules (channels first)."""
    if workload.network == "mlp":
        widths = (*workload.input, *workload.widths)
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(widths[-1], 10))
    if workload.network == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip

    class Block(nn.Module):
        def __init__(self, k: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(k, k, 3, padding=1), nn.BatchNorm2d(k), nn.ReLU(),
                nn.Conv2d(k, k, 3, padding=1), nn.BatchNorm2d(k),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return x + self.body(x)

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), Block(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(), Block(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def training(workload: Workload, place: Place, mode: str = "eager", channels_last: bool = False) -> Burst:
    """`mode`: eager, compile (on a GPU with reduce-overhead: loss and gradient as CUDA graphs), or graph."""
    take_place(place)
    X, Y = rows_of(workload)
    inputs, labels, model = pt.tensor(X, device=place.device), pt.tensor(Y, device=place.device), network(workload)
    if len(workload.input) == 3:
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    if channels_last:
        inputs, model = inputs.to(memory_format=pt.channels_last), model.to(memory_format=pt.channels_last)
    model = model.to(place.device)
    optimizer = pt.optim.SGD(
        model.parameters(), lr=RATE, momentum=MOMENTUM, **({"fused": True} if place.on_gpu else {})
    )

    def loss_of(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(model(x), y)

    if mode == "compile":
        loss_of = pt.compile(loss_of, **({"mode": "reduce-overhead"} if place.on_gpu else {}))

    def step(rows: Any) -> None:
        optimizer.zero_grad()
        loss_of(inputs[rows], labels[rows]).backward()
        optimizer.step()

    if mode == "graph":
        return captured(step, optimizer, workload, place)
    rng = np.random.default_rng(1)

    def burst(steps: int) -> None:
        order = pt.tensor(rng.permutation(len(Y)), device=place.device)
        for m in range(steps):
            step(order[(m % workload.minibatches) * workload.B : (m % workload.minibatches + 1) * workload.B])
        if place.on_gpu:
            pt.cuda.synchronize()

    return burst


def captured(step: Callable[[Any], None], optimizer: Any, workload: Workload, place: Place) -> Burst:
    """The step in one graph, with a cursor on the device that says which minibatch is next: the host only replays."""
    M, B = workload.minibatches, workload.B
    rng = np.random.default_rng(1)

    def permutation() -> Any:
        return pt.tensor(rng.permutation(M * B).reshape(M, B), device=place.device)

    order, cursor = permutation(), pt.zeros(1, dtype=pt.int64, device=place.device)

    def next_step() -> None:
        step(order.index_select(0, cursor).view(-1))
        cursor.add_(1)

    side = pt.cuda.Stream()
    side.wait_stream(pt.cuda.current_stream())
    with pt.cuda.stream(side):
        for _ in range(WARM_UP):
            cursor.zero_()
            next_step()
    pt.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad()  # the graph allocates gradients of its own, and writes them anew at every replay
    graph = pt.cuda.CUDAGraph()
    with pt.cuda.graph(graph):
        next_step()

    def burst(steps: int) -> None:
        order.copy_(permutation())
        for m in range(steps):
            if m % M == 0:
                cursor.zero_()
            graph.replay()
        pt.cuda.synchronize()

    return burst


def take_place(place: Place) -> None:
    """Products and convolutions in float32 or in TF32, by the algorithms that cuDNN finds fastest."""
    if place.on_gpu:  # where PyTorch takes TF32 for convolutions, and for them alone, unless it is told otherwise
        pt.cuda.set_device(place.index)
        pt.set_float32_matmul_precision("high" if place.precision == "TF32" else "highest")
        pt.backends.cudnn.allow_tf32 = place.precision == "TF32"
        pt.backends.cudnn.benchmark = True


def product(A: Any, B: Any, place: Place) -> Any:
    """`torch.matmul`."""
    take_place(place)
    return pt.matmul(pt.tensor(A, device=place.device), pt.tensor(B, device=place.device)).cpu().numpy()
