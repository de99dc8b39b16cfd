"""mathdl against PyTorch, JAX and scikit-learn on this CPU: one run, each in its own process, in turns.

For each workload every framework runs a burst of steps, then the next one, round after round; a figure is the median
over the rounds of the milliseconds a step, and its spread is the least and the most. Written to FOLDER: cpu.json (all
figures, machine, versions, commit), cpu.md (the table) and cpu.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from statistics import median
from typing import Any

from packaging.requirements import Requirement
from tasks import TASKS
from workloads import WORKLOADS

HERE = Path(__file__).parent
PACKAGES = ("mathdl", "numpy", "torch", "jax", "scikit-learn")
_BURST_SECONDS = 1.2
_PAUSE_SECONDS = 0.3
"""Threads of the one before wait awake for up to 0.2 s, and would be in the way of the next."""


class Worker:
    """A child process that trains one workload with one framework."""

    def __init__(self, framework: str, workload: str) -> None:
        self.framework = framework
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), framework, workload],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        epoch = self.steps = int(self._answer()["epoch"])
        self.steps = epoch * max(1, round(_BURST_SECONDS * 1e3 / self.burst()["ms"] / epoch))

    def burst(self) -> dict[str, float]:
        """Milliseconds a step, page faults a step, and peak memory, of a burst."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.steps}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.framework} stopped: {self.process.stderr.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def workers(name: str, frameworks: Iterable[str], only: set[str] | None) -> Iterator[list[Worker]]:
    """A process for each framework; one that cannot start is left out, and says why."""
    started: list[Worker] = []
    try:
        for framework in frameworks:
            if only and framework not in only:
                continue
            try:
                started.append(Worker(framework, name))
            except RuntimeError as error:
                print(f"  {framework}: {error}", file=sys.stderr)
        yield started
    finally:
        for worker in started:
            worker.close()


def measure(name: str, frameworks: Iterable[str], rounds: int, only: set[str] | None) -> dict[str, Any]:
    """{framework: figures} of one workload."""
    with workers(name, frameworks, only) as running:
        figures: dict[str, list[dict[str, float]]] = {worker.framework: [] for worker in running}
        for _ in range(rounds):
            for worker in running:
                figures[worker.framework].append(worker.burst())
                time.sleep(_PAUSE_SECONDS)
    return {framework: _summary(bursts) for framework, bursts in figures.items()}


def _summary(bursts: list[dict[str, float]]) -> dict[str, float]:
    ms = [burst["ms"] for burst in bursts]
    return {
        "ms": median(ms),
        "least": min(ms),
        "most": max(ms),
        "faults": median(burst["faults"] for burst in bursts),
        "peak_mib": max(burst["peak_mib"] for burst in bursts),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model, "cores": cores, "system": platform.system(), "python": platform.python_version(),
        "versions": versions, "commit": commit, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def package(name: str) -> dict[str, float]:
    """Seconds that an import takes (beyond Python's start), and MiB installed, with all that it requires."""
    module = {"scikit-learn": "sklearn"}.get(name, name)
    start, imported = (
        median(_seconds([sys.executable, "-c", code]) for _ in range(5)) for code in ("pass", f"import {module}")
    )
    files = {path for each in _required(name, set()) for path in _files(each)}
    return {"import_seconds": imported - start, "installed_mib": sum(path.stat().st_size for path in files) / 2**20}


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _required(name: str, found: set[str]) -> set[str]:
    """The distribution and those that it needs, without extras."""
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return found
    found.add(name)
    for line in requirements:
        requirement = Requirement(line)
        if requirement.name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            _required(requirement.name, found)
    return found


def _files(name: str) -> list[Path]:
    """What is installed of a distribution; of mathdl, which may be installed from a clone, its packages."""
    if name == "mathdl":
        import mathdl
        import mathdl_backends

        folders = [Path(module.__file__ or "").parent for module in (mathdl, mathdl_backends)]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    paths = [Path(str(path.locate())) for path in distribution(name).files or []]
    return [path for path in paths if path.is_file()]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    frameworks = ["mathdl", "torch", "torch-compile", "torch-channels-last", "jax", "sklearn", "floor"]
    lines = ["| ms, median [least] | " + " | ".join(frameworks) + " |", "|---|" + "---|" * len(frameworks)]
    for name, figures in results["steps"].items():
        cells = [f"{figures[f]['ms']:.3g} [{figures[f]['least']:.3g}]" if f in figures else "–" for f in frameworks]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    packages = ["", "| | import, s | installed, MiB |", "|---|---|---|"]
    for name, figures in results["packages"].items():
        packages.append(f"| {name} | {figures['import_seconds']:.2f} | {figures['installed_mib']:.0f} |")
    m = results["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
    measured_on = f"{m['cpu']}, {m['cores']} cores, Python {m['python']}, {versions}; commit {m['commit']}."
    return "\n".join([*lines, *packages, "", measured_on])


def plot(results: dict[str, Any], path: Path) -> None:
    """Each framework's time a step, over that of mathdl."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    steps = {name: figures for name, figures in results["steps"].items() if "mathdl" in figures}
    shown = ["torch", "torch-compile", "torch-channels-last", "jax", "sklearn"]
    figure, axes = pyplot.subplots(figsize=(9, 0.75 * len(steps) + 1.2))
    for j, name in enumerate(shown):
        rows = [k for k, f in enumerate(steps.values()) if name in f]
        if not rows:
            continue
        ratios = [f[name]["ms"] / f["mathdl"]["ms"] for f in steps.values() if name in f]
        axes.barh([row + 0.15 * (j - 2) for row in rows], ratios, height=0.14, label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(steps)), list(steps))
    axes.invert_yaxis()
    axes.set_xlabel("time a step, over that of mathdl (right of the line: mathdl is faster)")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", help="workloads whose name contains one of these")
    parser.add_argument("--frameworks", nargs="*", help="these alone")
    parser.add_argument("--out", type=Path, default=HERE.parent.parent / "docs" / "benchmarks")
    arguments = parser.parse_args()
    known = {**{name: workload.frameworks for name, workload in WORKLOADS.items()}, **TASKS}
    chosen = {
        name: tuple(frameworks)
        for name, frameworks in known.items()
        if not arguments.only or any(part in name for part in arguments.only)
    }
    results: dict[str, Any] = {"machine": machine(), "rounds": arguments.rounds, "steps": {}}
    results["packages"] = {name: package(name) for name in PACKAGES if name in results["machine"]["versions"]}
    for name, frameworks in chosen.items():
        print(name, file=sys.stderr)
        only = set(arguments.frameworks) if arguments.frameworks else None
        results["steps"][name] = measure(name, frameworks, arguments.rounds, only)
        for framework, f in results["steps"][name].items():
            print(f"  {framework:20} {f['ms']:9.3f} ms  [{f['least']:.3f} … {f['most']:.3f}]  {f['peak_mib']:.0f} MiB"
                  f"  {f['faults']:.1f} faults", file=sys.stderr)  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "cpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "cpu.md").write_text(table(results) + "\n", encoding="utf-8")
    plot(results, arguments.out / "cpu.png")
    print(table(results))


if __name__ == "__main__":
    main()
