"""mathdl against PyTorch and JAX on a GPU, and what captured steps must not change; called by `sh scripts/gpu/bench`.

    1. Captured steps give the bits of eager ones (captured.py).
    2. The ceilings of the device (ceilings.py): products, copies, a node of a CUDA graph.
    3. Milliseconds a step, workload by workload, the most telling first, in float32 and in TF32, and digits trained to
       97 %: each competitor in a process of its own, bursts in turns, median and spread over the rounds; the floor
       (floor.py) beside them.

FOLDER/<device>-bench.json and .md are written anew after each row, so a run that is cut off keeps what it has. What is
not installed, fails, or forms its products in another precision than the row is about is named with the reason.
Exit status 1: captured steps changed bits, or none were captured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from captured import CONSTANT
from floor import milliseconds, work
from frameworks import FRAMEWORKS
from machine import ROOT, about, about_device, file_name
from plot import plot
from report import COMPETITORS, last_line, page
from workers import FITS_TO_BE_READY, Stopped, Worker, in_turns
from workloads import GPU_WORKLOADS, Place, Workload

from mathdl import arrays

HERE = Path(__file__).parent
PACKAGES = ("mathdl", "numpy", "array-api-compat", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax")
DIGITS = "digits to 97 %"
_PRECISIONS = {"float32": "0", "TF32": "1"}
_PAUSE_SECONDS = 0.05
_LEAST_SECONDS = 5.0
"""With less than this left nothing new is begun."""


class Bench:
    """One run: its options, its clock, its competitors, and the results so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device: str = options.device
        self.on_gpu = self.device.startswith("cuda")
        self.end = time.monotonic() + 60 * options.minutes
        self.workers: dict[tuple[str, str], Worker] = {}
        self.results: dict[str, Any] = {
            "device": about_device(self.device), "machine": about(*PACKAGES),
            "rounds": options.rounds, "burst_seconds": options.burst,
            "smallest": options.smallest, "checks": {}, "doctor": None, "ceilings": {}, "rows": [], "no_time_for": [],
        }  # fmt: skip

    def run(self) -> int:
        """Everything that there is time for; 1 if a check fails."""
        self.check()
        self.find_ceilings()
        for name, what, precision in self.plan():
            if self.left() >= _LEAST_SECONDS:
                self.row(name, what, precision)
            else:
                self.results["no_time_for"].append(f"{name}, {precision}")
        for worker in self.workers.values():
            worker.close()
        self.write()
        self.draw()
        return 0 if all(check["same"] for check in self.results["checks"].values()) else 1

    def plan(self) -> list[tuple[str, Workload | str, str]]:
        """(name, workload or task, precision) of each row, the most telling first."""
        rows: list[tuple[str, Workload | str, str]] = [
            (name, smallest(workload) if self.options.smallest else workload, precision)
            for name, workload in GPU_WORKLOADS.items()
            for precision in (_PRECISIONS if self.on_gpu else ("float32",))
        ]
        rows.insert(4, (DIGITS, DIGITS, "float32"))  # after MLP and CNN in both precisions
        return [row for row in rows if not self.options.only or any(part in row[0] for part in self.options.only)]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Train each case with captured steps and with eager ones, and compare bits; ask the doctor."""
        without = {"MATHDL_CUDA_GRAPHS": "0", "MATHDL_NATIVE": "0"}
        children = [self.child("captured.py", self.device, environment=more) for more in ({}, without)]
        (captured, error), (eager, another) = (answer(child, self.left()) for child in children)
        if captured is None or eager is None:
            self.results["checks"] = failed(error or another)
        else:
            self.results["checks"] = compare(captured, eager, self.on_gpu)
        if self.on_gpu:
            asked = [sys.executable, "-m", "mathdl", "doctor", "--model", "mlp", "--device", self.device]
            said = subprocess.run(asked, capture_output=True, text=True, check=False)
            self.results["doctor"] = said.stdout or said.stderr
        self.write()

    def find_ceilings(self) -> None:
        """Measure what the device reaches at best, in each precision."""
        size = "256" if self.options.smallest else "8192"
        for precision in _PRECISIONS if self.on_gpu else ("float32",):
            child = self.child("ceilings.py", self.device, size, environment=precision_environment(precision))
            found, error = answer(child, self.left())
            self.results["ceilings"][precision] = found or {"error": error}
        self.write()

    def row(self, name: str, what: Workload | str, precision: str) -> None:
        """One workload (or the task of that name) in one precision, by all competitors."""
        print(f"{name}, {precision}", file=sys.stderr, flush=True)
        row: dict[str, Any] = {"name": name, "precision": precision, "graphs": [], "figures": {}, "left_out": {}}
        self.results["rows"].append(row)
        chosen = [f for f in COMPETITORS[what if isinstance(what, str) else what.network] if self.competes(f)]
        absent = {framework: self.why_absent(framework) for framework in chosen}
        asked = [framework for framework in chosen if absent[framework] is None]
        for framework in asked:
            self.start(framework, precision)  # all at once: importing takes seconds
        reasons = absent | {framework: self.prepare(framework, what, precision) for framework in asked}
        if "mathdl" in asked and reasons["mathdl"] is None:
            with suppress(Stopped):  # then it has no figures either
                row["graphs"] = self.workers["mathdl", precision].ask({"nodes": None}, self.options.patience)["nodes"]
        ready = [self.workers[framework, precision] for framework in chosen if reasons[framework] is None]
        row["left_out"] = {framework: reason for framework, reason in reasons.items() if reason is not None}
        row["figures"], stopped = in_turns(ready, self.options.rounds, _PAUSE_SECONDS, self.end, self.options.patience)
        row["left_out"] |= stopped
        if isinstance(what, Workload):
            self.add_floor(row, what)
        for framework, f in row["figures"].items():
            print(f"  {framework:26} {f['ms']:9.4f} ms  [{f['least']:.4f} … {f['most']:.4f}]", file=sys.stderr)
        for framework, reason in row["left_out"].items():
            print(f"  {framework:26} {last_line(reason)}", file=sys.stderr, flush=True)
        self.write()

    def why_absent(self, framework: str) -> str | None:
        """None, or why a framework cannot be asked at all."""
        if "graph" in framework and not self.on_gpu:
            return "needs a CUDA GPU"
        if find_spec(FRAMEWORKS[framework].package.partition(".")[0]) is None:
            return "not installed"
        return None

    def start(self, framework: str, precision: str) -> None:
        """A process for a competitor, unless it has one that runs."""
        worker = self.workers.get((framework, precision))
        if worker is None or not worker.runs:
            place = Place(self.device, precision, start_apart=True)
            self.workers[framework, precision] = Worker(framework, place, precision_environment(precision))

    def prepare(self, framework: str, what: Workload | str, precision: str) -> str | None:
        """Make a competitor ready for a row; None, or why it is not."""
        worker = self.workers[framework, precision]
        if self.left() < _LEAST_SECONDS:
            return "no time left"
        limit = min(self.left(), self.options.patience)
        try:
            seen = worker.ask({"product": None}, limit)["precision"]
            if seen != precision:
                return f"its products are of {seen}"
            worker.prepare(what, self.options.burst, limit)
        except Stopped as error:
            return str(error)
        return None

    def add_floor(self, row: dict[str, Any], workload: Workload) -> None:
        """The floor, at the ceilings that were measured, with the nodes of mathdl's graph."""
        ceilings = self.results["ceilings"].get(row["precision"], {})
        if "product" in ceilings:
            row["floor"] = milliseconds(work(workload), ceilings, nodes_of_a_step(row["graphs"]))

    # -- help ----------------------------------------------------------------------------------------------------------

    def competes(self, framework: str) -> bool:
        """Whether a competitor is asked for."""
        return not self.options.frameworks or framework in self.options.frameworks

    def left(self) -> float:
        """Seconds."""
        seconds: float = self.end - time.monotonic()
        return max(0.1, seconds)

    def child(self, script: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """A script of this folder, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip

    def write(self) -> None:
        """The results so far; a file is whole at any time."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        for suffix, text in (("json", json.dumps(self.results, indent=1)), ("md", page(self.results))):
            path = self.path(suffix)
            part = path.with_name(path.name + ".part")
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(path)

    def path(self, suffix: str) -> Path:
        """Where results go."""
        path: Path = self.options.out / f"{file_name(self.results['device']['device'])}-bench.{suffix}"
        return path

    def draw(self) -> None:
        """The plot, where there is matplotlib."""
        steps = {f"{row['name']}, {row['precision']}": row["figures"] for row in self.results["rows"]}
        if find_spec("matplotlib") is not None and any("mathdl" in figures for figures in steps.values()):
            shown = [f for f in COMPETITORS["cnn"] if f != "mathdl" and any(f in figures for figures in steps.values())]
            plot(steps, shown, self.path("png"), log=True)


def compare(captured: dict[str, Any], eager: dict[str, Any], on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Of each case whether the bits are the same, no other memory was touched, and (on a GPU) steps were captured."""
    checks: dict[str, dict[str, Any]] = {}
    for name, here in captured.items():
        there, faults = eager[name], []
        if name == CONSTANT:
            continue
        faults += [f"{part} differs" for part, bits in here["bits"].items() if bits != there["bits"][part]]
        faults += [] if here["intact"] and there["intact"] else ["memory that was not its own was written"]
        faults += ["no step was captured"] if on_gpu and not here["nodes"] else []
        faults += ["eager steps were captured"] if there["nodes"] else []
        checks[name] = {"same": not faults, "faults": faults, "nodes": here["nodes"]}
    other = captured[CONSTANT]["bits"] != captured["mlp, SGD with momentum"]["bits"]
    faults = [] if other else ["it gives the bits of a rate that changes"]
    checks[f"control: {CONSTANT}"] = {"same": other, "faults": faults, "nodes": captured[CONSTANT]["nodes"]}
    return checks


def failed(reason: str | None) -> dict[str, dict[str, Any]]:
    """The checks, where they could not be made."""
    return {"captured and eager steps": {"same": False, "faults": [str(reason)], "nodes": []}}


def nodes_of_a_step(graphs: Sequence[int | None]) -> int | None:
    """Of the graphs that were captured while a competitor was made ready, in as many fits as that takes."""
    if not graphs or None in graphs:
        return None
    each = len(graphs) // FITS_TO_BE_READY or len(graphs)  # all, if graphs outlive a fit
    return sum(count for count in graphs[-each:] if count is not None)


def answer(child: subprocess.Popen[str], limit: float) -> tuple[dict[str, Any] | None, str | None]:
    """(what a script printed, None), or (None, why it did not)."""
    try:
        printed, said = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return None, f"no answer in {limit:.0f} s"
    if child.returncode != 0:
        return None, said.strip()[-2000:] or f"exit status {child.returncode}"
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found, None


def precision_environment(precision: str) -> dict[str, str]:
    """CuPy reads its precision from the environment. JAX leaves the memory of the GPU to others too."""
    return {"CUPY_TF32": _PRECISIONS[precision], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def smallest(workload: Workload) -> Workload:
    """The same network with next to no work, for a dry run."""
    return replace(workload, B=4, minibatches=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, and run."""
    parser = argparse.ArgumentParser(prog="sh scripts/gpu/bench 13|12", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="3 rounds of short bursts, in 5 minutes at most")
    parser.add_argument("--rounds", type=int, help="default: 9; quick: 3")
    parser.add_argument("--burst", type=float, metavar="SECONDS", help="of steps, a round (default: 0.5; quick: 0.2)")
    parser.add_argument("--minutes", type=float, help="after which nothing new is begun (default: 9; quick: 5)")
    parser.add_argument(
        "--patience", type=float, metavar="SECONDS", help="for one to be ready (default: 120; quick: 60)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows whose name contains one of these")
    parser.add_argument("--frameworks", nargs="+", choices=list(FRAMEWORKS), metavar="NAME", help="these alone")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:k; cpu is a dry run of the same code")
    parser.add_argument("--smallest", action="store_true", help="next to no work: a dry run")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu", metavar="FOLDER")
    options = parser.parse_args(arguments)
    quick = {"rounds": 3, "burst": 0.2, "minutes": 5.0, "patience": 60.0}
    whole = {"rounds": 9, "burst": 0.5, "minutes": 9.0, "patience": 120.0}
    for name, value in (quick if options.quick else whole).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.device.startswith("cuda") and (reason := arrays.backend("cupy").why_unusable()) is not None:
        parser.exit(2, f"{reason}\n")
    bench = Bench(options)
    status = bench.run()
    print(page(bench.results))
    return status


if __name__ == "__main__":
    sys.exit(main())
