"""The page docs/theory.md, made from the propositions: `python -m mathdl.theory.page` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sympy as sp

from mathdl.theory.chapters import CHAPTERS, PROPOSITIONS
from mathdl.theory.check import KINDS
from mathdl.theory.cover import covered_kinds
from mathdl.theory.derivation import Derivation, Prose
from mathdl.theory.proposition import Proposition

PAGE = Path(__file__).parents[2] / "docs" / "theory.md"


def page() -> str:
    """The text of the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    checks = sum(len(proposition.checks) for proposition in PROPOSITIONS.values())
    unchecked = sum(len(proposition.unchecked) for proposition in PROPOSITIONS.values())
    yield "# Theory"
    yield ""
    yield "Written by `python -m mathdl.theory.page` from the objects that `mathdl prove` checks; do not edit."
    yield ""
    yield (
        f"{len(PROPOSITIONS)} propositions, machine-checked by computer algebra, on the code that ships, under the "
        f"hypotheses that each states: {checks} checks, every one with a spoilt claim that it must refuse. "
        f"{unchecked} steps are prose, which no machine checks; they are marked so."
    )
    yield ""
    yield from ("| evidence | |", "|---|---|", *(f"| **{kind}** | {words} |" for kind, words in KINDS.items()))
    yield ""
    yield (
        "Trusted are SymPy, NumPy, Python, the checker, and `mathdl/theory/definitions.py`, which is plain loops, read "
        "beside the texts. Only G holds at all dimensions; C and X hold at the small shapes that were tried, N at the "
        "points that were tried. Nothing here speaks of rounding."
    )
    for chapter in CHAPTERS:
        yield from ("", f"## {chapter.title}", "", chapter.introduction)
        for proposition in chapter.propositions:
            yield from ("", f"### {proposition.title}", "", *_proposition(proposition))
    yield from ("", "## What covers what", "", *_cover())


def _cover() -> Iterator[str]:
    """Every class that ships, with links to its propositions; and those that have none."""
    named = {kind.__name__: getattr(kind, "propositions", ()) for kind in covered_kinds()}
    yield from ("| what ships | propositions |", "|---|---|")
    for name, ids in named.items():
        if ids:
            yield f"| `{name}` | {', '.join(f'[{each}](#{each})' for each in ids)} |"
    yield ""
    yield f"Without a proposition: {', '.join(f'`{name}`' for name, ids in named.items() if not ids)}."


def _proposition(proposition: Proposition) -> Iterator[str]:
    yield f'<a id="{proposition.id}"></a>`{proposition.id}` · evidence {" ".join(proposition.kinds)}'
    yield from ("", f"$${proposition.statement}$$", "")
    for source in proposition.sources:
        yield f"- Source: {', '.join(filter(None, (source.text, source.place)))} (*{source.status}*)."
    for hypothesis in proposition.hypotheses:
        yield f"- Supposed: {hypothesis.says}. Enforced: {hypothesis.enforced}."
    if proposition.convention:
        yield f"- Convention: {proposition.convention}."
    if proposition.without_generic:
        yield f"- Without G: {proposition.without_generic}."
    for prose in proposition.prose:
        yield f"- Not checked by a machine: {prose.says}"
    for derivation in proposition.derivations:
        yield from ("", *_derivation(derivation))
    if proposition.evidence:
        yield ""
        yield from (f"- **{check.kind}** {check.says}" for check in proposition.evidence)


def _derivation(derivation: Derivation) -> Iterator[str]:
    yield f"**G** {derivation.title}"
    yield ""
    shown = [(short, long) for short, long in derivation.where.items() if not _is_matrix(long)]
    if shown:
        yield from (f"With {', '.join(f'${sp.latex(short)} = {sp.latex(long)}$' for short, long in shown)}:", "")
    relation = ""
    for line in derivation.lines:
        if isinstance(line, Prose):
            yield f"- Not checked by a machine: {line.says}"
            continue
        why = f" — {line.why}" if line.why else ""
        yield f"- ${relation}{sp.latex(line.expression)}${why}"
        relation = "= "


def _is_matrix(expression: object) -> bool:
    return isinstance(expression, sp.MatrixExpr)  # 1_n and φ(Z) print as what they are


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
