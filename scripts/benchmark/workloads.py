"""What is trained: the networks, their inputs and sizes, on a CPU and on a GPU, the same for every framework.

Every framework trains the same network on the same float32 numbers with SGD (rate 0.01, momentum 0.9), and gathers each
minibatch from rows that lie in the memory of the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RATE, MOMENTUM = 0.01, 0.9

Burst = Callable[[int], float | None]
"""Runs so many training steps, and has finished its work when it returns. It may answer with the seconds that the steps
took, where what it did beside them is not to be counted."""


@dataclass(frozen=True)
class Workload:
    """A network, a batch size, an input shape, and how many minibatches make an epoch."""

    network: str
    B: int
    input: tuple[int, ...]
    widths: tuple[int, ...]
    minibatches: int


@dataclass(frozen=True)
class Place:
    """Where steps run, and how."""

    device: str = "cpu"
    precision: str = "float32"
    """How products of float32 matrices are formed on a GPU: float32 or TF32."""
    start_apart: bool = False
    """Whether a burst begins with an epoch that is not counted, where training has to be started (steps captured, data
    checked); else the start counts as a part of the burst."""

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def index(self) -> int:
        """k of cuda:k."""
        return int(self.device.partition(":")[2] or 0)


CPU = Place()


WORKLOADS = {
    "small MLP 64-128-10, B=32": Workload("mlp", 32, (64,), (128,), 200),
    **{
        f"MLP 784-512-256-10, B={B}": Workload("mlp", B, (784,), (512, 256), max(16, 16384 // B))
        for B in (32, 128, 512, 2048)
    },
    "CNN 28×28×1, B=64": Workload("cnn", 64, (28, 28, 1), (), 16),
    "residual CNN 32×32×3, B=128": Workload("residual", 128, (32, 32, 3), (), 4),
}
"""Those of a CPU."""

GPU_WORKLOADS = {
    "MLP 784-512-256-10, B=128": Workload("mlp", 128, (784,), (512, 256), 256),
    "CNN 28×28×1, B=256": Workload("cnn", 256, (28, 28, 1), (), 64),
    "residual CNN 32×32×3, B=256": Workload("residual", 256, (32, 32, 3), (), 32),
    "MLP 784-512-256-10, B=1024": Workload("mlp", 1024, (784,), (512, 256), 64),
    "MLP 784-512-256-10, B=8192": Workload("mlp", 8192, (784,), (512, 256), 8),
}
"""Those of a GPU, the most telling first."""


def rows_of(workload: Workload) -> tuple[Any, Any]:
    """X (n, …) and labels Y (n,): an epoch."""
    rng = np.random.default_rng(0)
    n = workload.B * workload.minibatches
    return rng.standard_normal((n, *workload.input), dtype=np.float32), rng.integers(0, 10, n)
