"""A process that trains with one framework on one device: python worker.py FRAMEWORK DEVICE PRECISION START_APART.

It reads questions on stdin, a line of JSON each, and answers each with a line of JSON:

    {"workload": {…}} or {"task": NAME}   prepare it and warm up: {"epoch": the least steps of a burst}
    {"steps": n}                          a burst: {"ms": a step, "faults": a step, "peak_mib": …}
    {"product": null}                     {"precision": what a product of float32 matrices is formed in}
    {"nodes": null}                       {"nodes": of each CUDA graph that mathdl captured since the last time}
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from importlib import import_module
from typing import Any

import numpy as np
from frameworks import FRAMEWORKS, module_of, training
from tasks import TASKS
from workloads import Burst, Place, Workload


def main() -> None:
    """Answer until stdin ends."""
    warnings.simplefilter("ignore")
    framework, device, precision, start_apart = sys.argv[1:]
    place = Place(device, precision, start_apart == "True")
    import_module(FRAMEWORKS[framework].package)
    before = peak_mib()  # what it takes beside the framework itself
    burst: Burst | None = None
    captures = module_of(framework).watched_captures() if framework == "mathdl" and place.on_gpu else []
    for line in sys.stdin:
        question = json.loads(line)
        if "product" in question:
            answer: dict[str, Any] = {"precision": precision_of_products(framework, place)}
        elif "nodes" in question:
            answer = {"nodes": list(captures)}
            captures.clear()
        elif "steps" in question:
            assert burst is not None
            answer = timed(burst, question["steps"])
            answer["peak_mib"] = peak_mib() - before
        else:
            burst = None  # the memory of the one before is free again
            burst, epoch = prepared(framework, place, question)
            burst(epoch)
            burst(epoch)
            answer = {"epoch": epoch}
        print(json.dumps(answer), flush=True)


def prepared(framework: str, place: Place, question: dict[str, Any]) -> tuple[Burst, int]:
    """The burst of a workload or task, and how many steps it makes at least."""
    if "task" in question:
        return TASKS[question["task"]][FRAMEWORKS[framework].module](place), 1
    workload = Workload(**{k: tuple(v) if isinstance(v, list) else v for k, v in question["workload"].items()})
    return training(framework, workload, place), workload.minibatches


def timed(burst: Burst, steps: int) -> dict[str, float]:
    """Milliseconds and page faults a step."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.perf_counter()
    counted = burst(steps)
    seconds = time.perf_counter() - start if counted is None else counted
    return {
        "ms": 1e3 * seconds / steps,
        "faults": (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / steps,
    }


def peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def precision_of_products(framework: str, place: Place) -> str:
    """TF32 keeps 10 bits of a fraction, so 1 + 2⁻¹² times the identity comes out as 1."""
    A = np.full((256, 256), 1 + 2.0**-12, dtype=np.float32)
    found = np.asarray(module_of(framework).product(A, np.eye(256, dtype=np.float32), place))
    if np.array_equal(found, A):
        return "float32"
    return "TF32" if np.all(found == 1) else "neither float32 nor TF32"


if __name__ == "__main__":
    main()
