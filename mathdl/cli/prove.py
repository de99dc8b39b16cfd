"""Check every proposition: its derivation, and the code that ships; and whether each check can refuse.

Machine-checked by computer algebra, on the code that ships, under the hypotheses of each proposition. Exit status 1 if
a check fails, or a spoilt claim passes.

With --self-test the shipped code is spoilt in many ways, one at a time, and some check must refuse every one of them.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from mathdl.errors import MissingExtraError, UsageError, unknown_name

if TYPE_CHECKING:
    from mathdl.theory.proposition import Proposition

NAME = "prove"
HELP = "check the propositions, on the code that ships"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="propositions to check (default: all)")
    parser.add_argument("--self-test", action="store_true", help="spoil the code: every mutant must be refused")
    parser.add_argument("--patch", type=Path, metavar="FILE", help="mutants of your own for --self-test (TOML)")
    parser.add_argument("--json", action="store_true", help="print the result of --self-test as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return 1 if something was not shown."""
    if not arguments.self_test and (arguments.patch is not None or arguments.json):
        raise UsageError("--patch and --json belong to --self-test: write mathdl prove --self-test")
    if arguments.self_test and arguments.ids:
        raise UsageError(f"--self-test tries all propositions: leave out {' '.join(arguments.ids)}")
    if find_spec("sympy") is None:
        raise MissingExtraError('prove needs sympy: pip install "mathdl[theory]"')
    if arguments.self_test:
        from mathdl.cli.self_test import run_self_test

        return run_self_test(arguments.patch, arguments.json)
    return _prove(arguments.ids)


def _prove(ids: list[str]) -> int:
    from mathdl.cli.console import say, table
    from mathdl.theory.chapters import PROPOSITIONS

    for name in ids:
        if name not in PROPOSITIONS:
            raise unknown_name("proposition", name, PROPOSITIONS)
    rows, faults = [], []
    for name in ids or PROPOSITIONS:
        start, proposition = perf_counter(), PROPOSITIONS[name]
        found = _faults(proposition)
        faults += found
        verdict = "FAILED" if found else "ok"
        checks, seconds = str(len(proposition.checks)), f"{perf_counter() - start:.1f}"
        rows.append((name, proposition.title, " ".join(proposition.kinds), checks, seconds, verdict))
    table(("proposition", "title", "evidence", "checks", "seconds", "verdict"), rows, right=("checks", "seconds"))
    for fault in faults:
        say(fault, style="bold red")
    return 1 if faults else 0


def _faults(proposition: Proposition) -> list[str]:
    """What the checks refuse, and which of them do not refuse a spoilt claim."""
    from mathdl.theory.check import refusal_of

    faults = []
    for check in proposition.checks:
        if refusal := refusal_of(check.run):
            faults.append(f"{proposition.id}: {refusal}")
        if refusal_of(check.control) is None:
            faults.append(f"{proposition.id}: {check.says}: a spoilt claim is not refused")
    return faults
