"""Trainings whose bits no way of executing steps may change; called by bench.py, once with capture and once without.

    python captured.py DEVICE        one line of JSON: {case: {"bits": {…}, "intact": …, "nodes": […]}}

Every training ends its epochs with a short minibatch, follows a learning rate that changes at every step, and goes on
in a second `fit`. Between its epochs memory is taken, filled with NaN, and partly given back: what a replayed step
reads that is not its own is then NaN, and what it writes that is not its own is found in the memory that was kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from frameworks.mathdl import network, watched_captures
from workloads import Workload

import mathdl as md
from mathdl import arrays
from mathdl.optimizers import Optimizer
from mathdl.schedules import Exponential

B, ROWS, EPOCHS = 32, 5 * 32 + 3, 3
CONSTANT = "a constant learning rate"
"""A control: where this gives the same bits as the rate that changes, bits are not seen."""

RATE = Exponential(0.02, 0.7)
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "SGD": lambda: md.SGD(RATE),
    "SGD with momentum": lambda: md.SGD(RATE, momentum=0.9),
    "SGD with Nesterov's momentum": lambda: md.SGD(RATE, momentum=0.9, nesterov=True),
    "SGD, weights decaying": lambda: md.SGD(RATE, momentum=0.9, weight_decay=1e-3),
    "SGD, the norm clipped": lambda: md.SGD(RATE, momentum=0.9, clip_norm=0.5),
    "SGD, values clipped": lambda: md.SGD(RATE, momentum=0.9, clip_value=0.01),
    "Adam": lambda: md.Adam(RATE),
    "AdamW": lambda: md.AdamW(RATE),
    "RMSprop": lambda: md.RMSprop(RATE),
}


class Case(NamedTuple):
    """A training."""

    network: Callable[[], md.Network]
    input: tuple[int, ...]
    optimizer: Callable[[], Optimizer]


def cases() -> dict[str, Case]:
    """MLP with every optimizer, with dropout; CNN and residual CNN."""
    mlp, cnn, residual = (
        Workload("mlp", B, (64,), (96, 48), 1),
        Workload("cnn", B, (12, 12, 1), (), 1),
        Workload("residual", B, (8, 8, 3), (), 1),
    )
    momentum = OPTIMIZERS["SGD with momentum"]
    dropout = [md.Dense(96), md.ReLU(), md.Dropout(0.3), md.Dense(10), md.Softmax()]
    return {
        **{f"mlp, {name}": Case(lambda: network(mlp), mlp.input, make) for name, make in OPTIMIZERS.items()},
        "mlp with dropout": Case(lambda: md.Network(dropout), mlp.input, momentum),
        "cnn": Case(lambda: network(cnn), cnn.input, momentum),
        "residual CNN": Case(lambda: network(residual), residual.input, momentum),
        CONSTANT: Case(lambda: network(mlp), mlp.input, lambda: md.SGD(RATE.rate, momentum=0.9)),
    }


def main() -> None:
    """Train every case on the device."""
    device = sys.argv[1]
    captures = watched_captures() if device.startswith("cuda") else []
    print(json.dumps(dict(outcomes(device, captures))))


def outcomes(device: str, captures: list[int | None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(case, what came of it), one after the other."""
    for name, case in cases().items():
        captures.clear()
        bits, intact = trained(case, device)
        yield name, {"bits": bits, "intact": intact, "nodes": list(captures)}


def trained(case: Case, device: str) -> tuple[dict[str, str], bool]:
    """A digest of each part of what a training leaves, and whether the memory that was kept meanwhile is untouched."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, *case.input), dtype=np.float32)
    Y = rng.integers(0, 10, ROWS)
    trainer = md.Trainer(case.network(), optimizer=case.optimizer(), batch_size=B, device=device)
    garbage = Garbage()
    for _ in range(2):
        trainer.fit(X, Y, epochs=EPOCHS, callbacks=[garbage], verbose=False)
    garbage.look()
    parts = {"θ": trainer.params.vector, "state": trainer.params.state.vector}
    if trainer.slots is not None:
        parts["optimizer"] = trainer.slots.vector
    bits = {name: sha256(arrays.to_host(A).tobytes()).hexdigest() for name, A in parts.items()}
    return bits | {"loss": json.dumps(trainer.history["loss"])}, garbage.intact


class Garbage:
    """A callback: memory of the sizes that steps use, and of others, is taken and filled with NaN; half is kept."""

    def __init__(self) -> None:
        self.intact = True
        self._kept: list[Any] = []

    def __call__(self, trainer: md.Trainer, row: Any) -> None:
        self.look()
        if trainer.params.device.name.startswith("cuda"):
            # CuPy keeps freed memory apart by stream: given back to CUDA, it comes to whoever asks next
            import_module("cupy").get_default_memory_pool().free_all_blocks()
        device, shapes = trainer.params.device, trainer.network.shapes(trainer.params.input_shape)
        sizes = [rows * int(np.prod(shape)) for shape in shapes for rows in (B, ROWS % B)]
        with device.active():
            taken = [
                device.namespace.full((size,), float("nan"), dtype=device.namespace.float32, device=device.handle)
                for size in [*sizes, *(2**k for k in range(7, 21))]
                for _ in range(4)
            ]
        self._kept = taken[::2]

    def look(self) -> None:
        """Whether all that was kept is still NaN."""
        self.intact = self.intact and all(bool(np.all(np.isnan(arrays.to_host(A)))) for A in self._kept)


if __name__ == "__main__":
    main()
