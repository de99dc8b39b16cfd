"""What `mathdl prove --self-test` prints: each mutant, the check that refused it, and how long that took."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from mathdl.cli.console import say, table
from mathdl.cli.doctor import usable_cores
from mathdl.theory.mutants import SHIPPED, read_mutants
from mathdl.theory.self_test import Verdict, self_test


def run_self_test(patch: Path | None, as_json: bool) -> int:
    """Try the mutants that ship, or those of a file of one's own; 1 if any of them survives."""
    mutants = read_mutants(SHIPPED if patch is None else patch)
    start = perf_counter()
    verdicts = []
    for verdict in self_test(mutants, usable_cores()):
        verdicts.append(verdict)
        if sys.stderr.isatty():
            end = "\n" if len(verdicts) == len(mutants) else ""
            print(f"\r{len(verdicts)} of {len(mutants)} mutants tried", end=end, file=sys.stderr, flush=True)
    seconds = perf_counter() - start
    survived = [verdict for verdict in verdicts if verdict.refusal is None]
    if as_json:
        report = {"mutants": [_record(each) for each in verdicts], "survived": len(survived), "seconds": seconds}
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print(verdicts, survived, seconds)
    return 1 if survived else 0


def _print(verdicts: Sequence[Verdict], survived: Sequence[Verdict], seconds: float) -> None:
    rows = [_row(verdict) for verdict in verdicts]
    table(("mutant", "refused by", "kind", "check", "seconds"), rows, right=("seconds",))
    for verdict in survived:
        say(f"SURVIVED {verdict.mutant.name}: {verdict.mutant.breaks}", style="bold red")
        say(f"  {verdict.note or 'every check passed; write one that refuses it'}")
    count = len(verdicts) - len(survived)
    say(f"{count} of {len(verdicts)} mutants refused, {seconds:.0f} s", style="bold" if survived else "green")


def _row(verdict: Verdict) -> tuple[str, ...]:
    name, seconds = verdict.mutant.name, f"{verdict.seconds:.1f}"
    if verdict.refusal is None:
        return name, "SURVIVED", "", "", seconds
    return name, verdict.refusal.proposition, verdict.refusal.kind, verdict.refusal.check, seconds


def _record(verdict: Verdict) -> dict[str, object]:
    """A verdict as JSON."""
    mutant, refusal = verdict.mutant, verdict.refusal
    found: dict[str, object] = {"name": mutant.name, "breaks": mutant.breaks, "modules": list(mutant.modules)}
    if refusal is not None:
        found |= {
            "refused_by": refusal.proposition,
            "kind": refusal.kind,
            "check": refusal.check,
            "reason": refusal.reason,
        }
    else:
        found |= {"refused_by": None, "note": verdict.note}
    return found | {"seconds": round(verdict.seconds, 2)}
