"""What a device reaches at best; called by bench.py: python ceilings.py DEVICE SIZE

    {"product": floating-point operations a second, of a product of two SIZE × SIZE matrices of float32,
     "copy": bytes read and written a second,
     "node": seconds that a further node of a CUDA graph takes, "launch": seconds of a graph beside its nodes}

Whether products are formed in float32 or in TF32 is decided by CUPY_TF32 in the environment. A CPU has no graphs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

from mathdl import arrays

REPEATS = 7
FEW, MANY = 64, 1024


def main() -> None:
    """Measure and print."""
    name, size = sys.argv[1], int(sys.argv[2])
    device = arrays.device(name)
    with device.active():
        print(json.dumps(measured(device, size) | (graphs() if name.startswith("cuda") else {})))


def measured(device: Any, size: int) -> dict[str, float]:
    """The rates of a product and of a copy."""
    xp = device.namespace
    A = xp.ones((size, size), dtype=xp.float32, device=device.handle)
    A *= 0.3
    wide = xp.zeros((4 * size * size,), dtype=xp.float32, device=device.handle)
    twin = xp.zeros_like(wide)

    def copy() -> Any:
        twin[...] = wide
        return twin

    product = seconds(lambda: xp.matmul(A, A))
    return {"product": 2 * size**3 / product, "copy": 2 * 4 * wide.shape[0] / seconds(copy)}


def seconds(call: Callable[[], Any], times: int = 4) -> float:
    """Of one call, on a device that is asked for a result only at the end."""

    def once() -> float:
        start = time.perf_counter()
        for _ in range(times):
            A = call()
        arrays.to_host(A.reshape(-1)[:1])  # waits for what was asked before
        return (time.perf_counter() - start) / times

    once()
    return median(once() for _ in range(REPEATS))


def graphs() -> dict[str, float]:
    """A node and a launch, from graphs of few and of many small kernels that wait for one another."""
    cupy = import_module("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)

    def replayed(nodes: int) -> float:
        with stream:
            x = cupy.zeros(1, dtype="float32")
            cupy.add(x, 1, out=x)  # compiled before it is captured
            stream.begin_capture()
            for _ in range(nodes):
                cupy.add(x, 1, out=x)
            graph = stream.end_capture()
            graph.launch()
            stream.synchronize()
            times = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                for _ in range(10):
                    graph.launch()
                stream.synchronize()
                times.append((time.perf_counter() - start) / 10)
        return median(times)

    few, many = replayed(FEW), replayed(MANY)
    node = (many - few) / (MANY - FEW)
    return {"node": node, "launch": few - FEW * node}


if __name__ == "__main__":
    main()
