"""The self-test of the proofs: the shipped code is spoilt in many ways, and some check must refuse every one of them.

Each mutant is tried in a process of its own, against the propositions that speak of the modules it spoils
(`theory/cover.py`). A refusal counts only if the same check passes on the code as it ships.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any

from mathdl.errors import UsageError
from mathdl.theory import trial
from mathdl.theory.chapters import PROPOSITIONS
from mathdl.theory.check import Refused
from mathdl.theory.cover import concerned
from mathdl.theory.mutants import Mutant, spoilt_sources

LIMIT = 300
"""Seconds after which a trial is given up: spoilt code may run for ever."""


@dataclass(frozen=True)
class Refusal:
    """The check that refused a mutant, and what it said."""

    proposition: str
    kind: str
    check: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: it was refused, or it survived."""

    mutant: Mutant
    refusal: Refusal | None
    seconds: float
    note: str = ""
    """Why it survived, if there is more to say than that every check passed."""


def self_test(mutants: Sequence[Mutant], workers: int | None = None) -> Iterator[Verdict]:
    """The verdict on each mutant, in their order, tried `workers` at a time (default: one a core).

    Raises `UsageError` that names the mutant: for an edit that does not apply, before any is tried, and for spoilt code
    that cannot even be imported.
    """
    sources = [spoilt_sources(mutant) for mutant in mutants]
    for mutant in mutants:
        if mutant.expected is not None and mutant.expected not in PROPOSITIONS:
            raise UsageError(f"mutant {mutant.name}: expected names no proposition: {mutant.expected!r}")
    # Found before the threads start: `concerned` parses modules, and ast.parse of Python 3.11 is not safe in threads.
    propositions = [_propositions(mutant) for mutant in mutants]
    pool = ThreadPoolExecutor(workers or os.cpu_count())
    try:
        for verdict in pool.map(_try, mutants, sources, propositions):
            yield _if_the_code_passes(verdict)
    finally:
        pool.shutdown(cancel_futures=True)


def _propositions(mutant: Mutant) -> list[str]:
    """What the mutant is tried against: the proposition expected to refuse it first."""
    ids = concerned(mutant.modules, PROPOSITIONS)
    return ids if mutant.expected is None else list(dict.fromkeys([mutant.expected, *ids]))


def _try(mutant: Mutant, sources: dict[str, str], ids: Sequence[str]) -> Verdict:
    start = perf_counter()
    if not ids:
        return Verdict(mutant, None, 0.0, f"no proposition speaks of {', '.join(mutant.modules)}")
    try:
        done = _run_trial({"sources": sources, "propositions": list(ids)})
    except subprocess.TimeoutExpired:
        return Verdict(mutant, None, perf_counter() - start, f"given up after {LIMIT} s")
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise UsageError(f"mutant {mutant.name}: the spoilt code cannot be tried: {last[0]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Verdict(mutant, None if found is None else Refusal(**found), perf_counter() - start)


def _run_trial(request: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """A process that answers the request, with the modules of this one on its path, and one thread for BLAS."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-P", str(trial.__file__)],
        input=json.dumps(request),
        env=os.environ | one_thread | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def _if_the_code_passes(verdict: Verdict) -> Verdict:
    """The verdict, if the check that refused the mutant passes on the code as it ships."""
    refusal = verdict.refusal
    if refusal is None or _passes(refusal.proposition, refusal.check):
        return verdict
    note = f"{refusal.proposition} ({refusal.check}) refuses the code as it ships, too"
    return replace(verdict, refusal=None, note=note)


@cache
def _passes(proposition: str, says: str) -> bool:
    try:
        for check in PROPOSITIONS[proposition].evidence:
            if check.says == says:
                check.run()
    except Refused:
        return False
    return True
