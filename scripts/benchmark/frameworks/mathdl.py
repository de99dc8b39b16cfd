"""mathdl: `Trainer.fit`, as a user calls it; loss, accuracy and a new permutation every epoch included.

On a GPU the steps are captured in a CUDA graph, unless MATHDL_CUDA_GRAPHS is 0; CUPY_TF32 decides on the products.
"""

from __future__ import annotations

import re
from importlib import import_module
from time import perf_counter
from typing import Any

from workloads import MOMENTUM, RATE, Burst, Place, Workload, rows_of

import mathdl as md
from mathdl import arrays


def network(workload: Workload) -> md.Network:
    """The network as mathdl layers."""
    if workload.network == "mlp":
        hidden = [layer for width in workload.widths for layer in (md.Dense(width), md.ReLU())]
        return md.Network([*hidden, md.Dense(10), md.Softmax()])
    if workload.network == "cnn":
        return md.Network(
            [md.Conv2D(32, 3, padding="same"), md.ReLU(), md.MaxPool2D(2),
             md.Conv2D(64, 3, padding="same"), md.ReLU(), md.MaxPool2D(2),
             md.Flatten(), md.Dense(128), md.ReLU(), md.Dense(10), md.Softmax()]
        )  # fmt: skip

    def block(k: int) -> Any:
        conv = md.Conv2D(k, 3, padding="same")
        return md.Residual([conv, md.BatchNorm(), md.ReLU(), conv, md.BatchNorm()])

    return md.Network(
        [md.Conv2D(32, 3, padding="same"), md.BatchNorm(), md.ReLU(), block(32), md.ReLU(),
         md.Conv2D(64, 3, stride=2, padding=1), md.BatchNorm(), md.ReLU(), block(64), md.ReLU(),
         md.GlobalAveragePool2D(), md.Dense(10), md.Softmax()]
    )  # fmt: skip


def training(workload: Workload, place: Place) -> Burst:
    """Epochs of minibatches."""
    X, Y = rows_of(workload)
    optimizer = md.SGD(RATE, momentum=MOMENTUM)
    trainer = md.Trainer(network(workload), optimizer=optimizer, batch_size=workload.B, device=place.device)
    if place.on_gpu:
        X = arrays.device(place.device).put(X)

    def burst(steps: int) -> float | None:
        epochs = max(1, steps // workload.minibatches)
        if not place.start_apart:
            trainer.fit(X, Y, epochs=epochs, verbose=False)
            return None
        ends: list[float] = []
        trainer.fit(X, Y, epochs=1 + epochs, callbacks=[lambda *_: ends.append(perf_counter())], verbose=False)
        return ends[-1] - ends[0]

    return burst


def watched_captures() -> list[int | None]:
    """A list that grows with every CUDA graph that is captured from now on: the number of its nodes.

    It is counted in what CuPy captured, so it shows that steps were captured, and what they became. None: this graph
    cannot be printed.
    """
    stream: Any = import_module("cupy").cuda.Stream
    found: list[int | None] = []
    end_capture = stream.end_capture

    def watched(self: Any) -> Any:
        graph = end_capture(self)
        try:
            found.append(len(set(re.findall(r'"graph_\d+_node_\d+"', str(graph.debug_dot_str())))))
        except Exception:  # what is watched must go on
            found.append(None)
        return graph

    stream.end_capture = watched
    return found


def product(A: Any, B: Any, place: Place) -> Any:
    """A B by the namespace that layers see."""
    device = arrays.device(place.device)
    with device.active():
        return arrays.to_host(device.namespace.matmul(device.put(A), device.put(B)))
