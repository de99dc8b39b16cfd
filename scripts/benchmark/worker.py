"""A process that runs one workload with one framework: told on stdin how many steps to run, it answers with times."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from importlib import import_module

from tasks import TASKS
from workloads import FRAMEWORKS, WORKLOADS, Burst

_PACKAGES = {"mathdl": "mathdl", "torch": "torch", "jax": "jax.numpy", "sklearn": "sklearn.neural_network"}


def main() -> None:
    """Warm up, say so, then time bursts until stdin ends."""
    warnings.simplefilter("ignore")
    framework, name = sys.argv[1:]
    import_module(_PACKAGES.get(framework.partition("-")[0], "numpy"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # what it takes beside the framework itself
    burst, epoch = prepared(framework, name)
    burst(epoch)
    burst(epoch)
    print(json.dumps({"epoch": epoch}), flush=True)
    for line in sys.stdin:
        steps = int(line)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        burst(steps)
        seconds = time.perf_counter() - start
        usage = resource.getrusage(resource.RUSAGE_SELF)
        answer = {"ms": 1e3 * seconds / steps, "faults": (usage.ru_minflt - faults) / steps}
        print(json.dumps(answer | {"peak_mib": (usage.ru_maxrss - before) / 1024}), flush=True)


def prepared(framework: str, name: str) -> tuple[Burst, int]:
    """The burst of a workload or task, and how many steps it makes at least."""
    if name in TASKS:
        return TASKS[name][framework](), 1
    return FRAMEWORKS[framework](WORKLOADS[name]), WORKLOADS[name].minibatches


if __name__ == "__main__":
    main()
