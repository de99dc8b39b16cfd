"""mathdl against PyTorch, JAX and scikit-learn on this CPU: one run, each in its own process, in turns.

For each workload every framework runs a burst of steps, then the next one, round after round; a figure is the median
over the rounds of the milliseconds a step, and its spread is the least and the most. A ratio is the median over the
rounds of the time beside that of mathdl in the same round. Written to FOLDER: cpu.json (all figures, machine, versions,
commit), cpu.md (the table) and cpu.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any

from machine import about
from packaging.requirements import Requirement
from plot import plot
from tasks import TASKS
from workers import Stopped, Worker, in_turns
from workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
PACKAGES = ("mathdl", "numpy", "torch", "jax", "scikit-learn")
_BURST_SECONDS = 1.0
"""Short, for many rounds: a machine that is shared is now fast, now slow, and all of a round should find it alike."""
_MLP = ("mathdl", "torch", "torch-compile", "jax", "sklearn", "floor")
_CNN = ("mathdl", "torch", "torch-channels-last", "jax", "floor")
COMPETITORS = {"mlp": _MLP, "cnn": _CNN, "residual": _CNN[:-1]}
"""Network → the frameworks that train it."""
SHOWN = ("torch", "torch-compile", "torch-channels-last", "jax", "sklearn")
"""What the plot compares mathdl with."""


@contextmanager
def workers(what: Workload | str, frameworks: Iterable[str], only: set[str] | None) -> Iterator[list[Worker]]:
    """A process for each framework; one that cannot start is left out, and says why."""
    started: list[Worker] = []
    try:
        for framework in frameworks:
            if only and framework not in only:
                continue
            started.append(Worker(framework))
            try:
                started[-1].prepare(what, _BURST_SECONDS)
            except Stopped as error:
                print(f"  {framework} stopped: {error}", file=sys.stderr)
                started.pop().close()
        yield started
    finally:
        for worker in started:
            worker.close()


def measure(what: Workload | str, frameworks: Iterable[str], rounds: int, only: set[str] | None) -> dict[str, Any]:
    """{framework: figures} of one workload, or of the task of that name."""
    with workers(what, frameworks, only) as running:
        figures, stopped = in_turns(running, rounds)
    for framework, reason in stopped.items():
        print(f"  {framework} stopped: {reason}", file=sys.stderr)
    return figures


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


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    frameworks = ["mathdl", "torch", "torch-compile", "torch-channels-last", "jax", "sklearn", "floor"]
    head = ["| ms, median [least] · over mathdl's, median of the rounds | " + " | ".join(frameworks) + " |"]
    lines = [*head, "|---|" + "---|" * len(frameworks)]
    for name, figures in results["steps"].items():
        cells = [_cell(figures[f]) if f in figures else "–" for f in frameworks]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    packages = ["", "| | import, s | installed, MiB |", "|---|---|---|"]
    for name, figures in results["packages"].items():
        packages.append(f"| {name} | {figures['import_seconds']:.2f} | {figures['installed_mib']:.0f} |")
    m = results["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
    measured_on = f"{m['cpu']}, {m['cores']} cores, Python {m['python']}, {versions}; commit {m['commit']}."
    return "\n".join([*lines, *packages, "", measured_on])


def _cell(figures: dict[str, float]) -> str:
    ratio = figures.get("ratio", 1.0)
    beside = "" if ratio == 1.0 else f" · {ratio:.2f}"
    return f"{figures['ms']:.3g} [{figures['least']:.3g}]{beside}"


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", help="workloads whose name contains one of these")
    parser.add_argument("--frameworks", nargs="*", help="these alone")
    parser.add_argument("--out", type=Path, default=HERE.parent.parent / "docs" / "benchmarks")
    arguments = parser.parse_args()
    known: dict[str, tuple[Workload | str, tuple[str, ...]]] = {
        **{name: (workload, COMPETITORS[workload.network]) for name, workload in WORKLOADS.items()},
        **{name: (name, tuple(frameworks)) for name, frameworks in TASKS.items()},
    }
    chosen = {
        name: what for name, what in known.items() if not arguments.only or any(part in name for part in arguments.only)
    }
    results: dict[str, Any] = {"machine": about(*PACKAGES), "rounds": arguments.rounds, "steps": {}}
    results["packages"] = {name: package(name) for name in PACKAGES if name in results["machine"]["versions"]}
    for name, (what, frameworks) in chosen.items():
        print(name, file=sys.stderr)
        only = set(arguments.frameworks) if arguments.frameworks else None
        results["steps"][name] = measure(what, frameworks, arguments.rounds, only)
        for framework, f in results["steps"][name].items():
            print(f"  {framework:20} {f['ms']:9.3f} ms  [{f['least']:.3f} … {f['most']:.3f}]  {f['peak_mib']:.0f} MiB"
                  f"  {f['faults']:.1f} faults", file=sys.stderr)  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "cpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "cpu.md").write_text(table(results) + "\n", encoding="utf-8")
    plot(results["steps"], SHOWN, arguments.out / "cpu.png")
    print(table(results))


if __name__ == "__main__":
    main()
