"""Check every proposition: its derivation, and the code that ships; and whether each check can refuse.

Machine-checked by computer algebra, on the code that ships, under the hypotheses of each proposition. Exit status 1 if
a check fails or falls over, or a spoilt claim passes.

With --self-test the shipped code is spoilt in many ways, one at a time, and some check must refuse every one of them.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

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
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return 1 if something was not shown."""
    if not arguments.self_test and arguments.patch is not None:
        raise UsageError("--patch gives mutants to --self-test: write mathdl prove --self-test --patch FILE")
    if arguments.self_test and arguments.ids:
        raise UsageError(f"--self-test tries all propositions: leave out {' '.join(arguments.ids)}")
    if find_spec("sympy") is None:
        raise MissingExtraError('prove needs sympy: pip install "mathdl[theory]"')
    if arguments.self_test:
        from mathdl.cli.self_test import run_self_test

        return run_self_test(arguments.patch, arguments.json)
    return _prove(arguments.ids, arguments.json)


class Verdict(NamedTuple):
    """What was found of a proposition."""

    id: str
    title: str
    evidence: str
    """The letters of the kinds of evidence."""
    checks: int
    prose: int
    """Steps that no machine checks."""
    seconds: float
    faults: list[str]


def _prove(ids: list[str], as_json: bool) -> int:
    from mathdl.theory.chapters import PROPOSITIONS

    for name in ids:
        if name not in PROPOSITIONS:
            raise unknown_name("proposition", name, PROPOSITIONS)
    verdicts = [_verdict(PROPOSITIONS[name]) for name in ids or PROPOSITIONS]
    cover = {} if ids else covered()
    if as_json:
        shown = [verdict._asdict() for verdict in verdicts]
        print(json.dumps({"propositions": shown, "cover": cover}, ensure_ascii=False, indent=2))
    else:
        _print(verdicts, cover)
    return 1 if any(verdict.faults for verdict in verdicts) else 0


def covered() -> dict[str, list[str]]:
    """Every layer, loss, optimizer …, with the propositions that say what it computes; all that name some."""
    from mathdl.theory.cover import covered_kinds

    named = {kind.__name__: list(getattr(kind, "propositions", ())) for kind in covered_kinds()}
    return {name: ids for name, ids in named.items() if ids}


def _print(verdicts: list[Verdict], cover: dict[str, list[str]]) -> None:
    from mathdl.cli.console import say, table

    rows = [
        (
            each.id,
            each.title,
            each.evidence,
            str(each.checks),
            str(each.prose or ""),
            f"{each.seconds:.1f}",
            "FAILED" if each.faults else "ok",
        )
        for each in verdicts
    ]
    columns = ("proposition", "title", "evidence", "checks", "prose", "seconds", "verdict")
    table(columns, rows, right=("checks", "prose", "seconds"))
    if cover:
        say("")
        table(("what ships", "is covered by"), [(name, ", ".join(ids)) for name, ids in cover.items()])
        say("")
    for fault in (fault for each in verdicts for fault in each.faults):
        say(fault, style="bold red")
    checks, prose = sum(each.checks for each in verdicts), sum(each.prose for each in verdicts)
    failed = [each.id for each in verdicts if each.faults]
    if failed:
        say(f"not shown: {', '.join(failed)}", style="bold red")
    else:
        counted = f"{len(verdicts)} propositions, {checks} checks, each of which also refused a spoilt claim"
        steps = "1 step is" if prose == 1 else f"{prose} steps are"
        say(f"{counted}; {steps} prose, checked by no machine", style="bold green")


def _verdict(proposition: Proposition) -> Verdict:
    start = perf_counter()
    faults = _faults(proposition)
    return Verdict(
        proposition.id,
        proposition.title,
        " ".join(proposition.kinds),
        len(proposition.checks),
        len(proposition.unchecked),
        perf_counter() - start,
        faults,
    )


def _faults(proposition: Proposition) -> list[str]:
    """What the checks refuse, which of them fall over, and which do not refuse a spoilt claim."""
    from mathdl.theory.check import refusal_of

    faults = []
    for check in proposition.checks:
        try:
            if refusal := refusal_of(check.run):
                faults.append(f"{proposition.id}: {refusal}")
            if refusal_of(check.control) is None:
                faults.append(f"{proposition.id}: {check.says}: a spoilt claim is not refused")
        except Exception as error:  # of the code that ships: no wrong usage, and the other checks are asked
            faults.append(f"{proposition.id}: {check.says}: fell over with {type(error).__name__}: {error}")
    return faults
