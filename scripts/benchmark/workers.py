"""Competitors in processes of their own, and bursts of steps in turns, so that what a machine does meets all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from statistics import median
from tempfile import TemporaryFile
from threading import Thread
from typing import Any

from frameworks import FRAMEWORKS, NOTHING
from workloads import CPU, Place, Workload

WORKER = Path(__file__).with_name("worker.py")
PAUSE_SECONDS = 0.3
"""Threads of the one before wait awake for up to 0.2 s, and would be in the way of the next."""

FITS_TO_BE_READY = 3
"""Bursts before the first that counts: two to warm up, one that says how many steps a burst is."""


class Stopped(RuntimeError):
    """A worker ended, or did not answer in time; the message says why."""


class Worker:
    """A child process that trains with one framework."""

    def __init__(self, framework: str, place: Place = CPU, environment: Mapping[str, str] = NOTHING) -> None:
        self.framework = framework
        self.steps = 0
        self._said = TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), framework, place.device, place.precision, str(place.start_apart)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            env={**os.environ, **FRAMEWORKS[framework].environment, **environment},
        )  # fmt: skip
        self._lines: Queue[str] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def prepare(self, what: Workload | str, burst_seconds: float, limit: float | None = None) -> None:
        """Make a workload, or the task of that name, ready, with as many steps a burst as take `burst_seconds`."""
        question = {"task": what} if isinstance(what, str) else {"workload": asdict(what)}
        epoch = self.steps = int(self.ask(question, limit)["epoch"])
        self.steps = epoch * max(1, round(burst_seconds * 1e3 / self.burst(limit)["ms"] / epoch))

    def burst(self, limit: float | None = None) -> dict[str, float]:
        """Milliseconds a step, page faults a step, and peak memory, of a burst."""
        return self.ask({"steps": self.steps}, limit)

    def ask(self, question: Mapping[str, Any], limit: float | None = None) -> dict[str, Any]:
        """The answer to a question; raises `Stopped` if there is none within `limit` seconds."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self._lines.get(timeout=limit)
        except (BrokenPipeError, Empty) as error:
            self.kill()
            raise Stopped(f"no answer in {limit:.0f} s" if isinstance(error, Empty) else self.last_words()) from None
        if not line:
            raise Stopped(self.last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def runs(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """What it wrote to stderr last."""
        self.process.wait()
        self._said.seek(0)
        return self._said.read()[-2000:].strip() or f"exit status {self.process.returncode}"

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process, when it has answered."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self._said.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # libraries print, too
                self._lines.put(line)
        self._lines.put("")


def in_turns(
    workers: Sequence[Worker],
    rounds: int,
    pause: float = PAUSE_SECONDS,
    until: float = float("inf"),
    limit: float | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """({framework: figures}, {framework: why it has none}): a burst of each, round after round.

    `ratio`, where mathdl is one of them, is the median over the rounds of a burst's time a step over that of mathdl's
    in the same round: the machine may have been faster in one round than in another, if only it was not within one.
    No new round begins after the time `until`; who takes longer than `limit` seconds for a burst has stopped.
    """
    bursts: dict[str, list[dict[str, float]]] = {worker.framework: [] for worker in workers}
    stopped: dict[str, str] = {}
    for done in range(rounds):
        if done and time.monotonic() > until:
            break
        for worker in workers:
            if worker.framework in stopped:
                continue
            try:
                bursts[worker.framework].append(worker.burst(limit))
            except Stopped as error:
                stopped[worker.framework] = str(error)
            time.sleep(pause)
    figures = {framework: summary(found) for framework, found in bursts.items() if framework not in stopped}
    for framework, own in figures.items():
        if "mathdl" in figures:
            own["ratio"] = median(a["ms"] / b["ms"] for a, b in zip(bursts[framework], bursts["mathdl"], strict=True))
    return figures, stopped


def summary(bursts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median, least and most of the milliseconds a step, over the bursts."""
    ms = [burst["ms"] for burst in bursts]
    return {
        "ms": median(ms),
        "least": min(ms),
        "most": max(ms),
        "faults": median(burst["faults"] for burst in bursts),
        "peak_mib": max(burst["peak_mib"] for burst in bursts),
    }
