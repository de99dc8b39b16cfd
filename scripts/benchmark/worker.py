"""A process that trains one workload with one framework: told on stdin how many steps to run, it answers with times."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings

from workloads import FRAMEWORKS, WORKLOADS


def main() -> None:
    """Warm up, say so, then time bursts until stdin ends."""
    warnings.simplefilter("ignore")
    framework, workload = FRAMEWORKS[sys.argv[1]], WORKLOADS[sys.argv[2]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    burst = framework(workload)
    burst(workload.minibatches)
    burst(workload.minibatches)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        steps = int(line)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        burst(steps)
        seconds = time.perf_counter() - start
        usage = resource.getrusage(resource.RUSAGE_SELF)
        answer = {"ms": 1e3 * seconds / steps, "faults": (usage.ru_minflt - faults) / steps}
        print(json.dumps(answer | {"peak_mib": (usage.ru_maxrss - before) / 1024}), flush=True)


if __name__ == "__main__":
    main()
