"""The report as text, at most 100 columns wide: what fails first, then a line for each op, then the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import NamedTuple

from mathdl.parity.report import FOOTER, Line, Report
from mathdl.parity.rows import FAIL, PASS, WARN, Entry, Row, figure

WIDTH = 100
_MOST_FAILURES = 6
"""Rows that fail and are shown one by one."""
_MOST_LINES = 8
"""Lines of a suite, where not every op is asked for."""
_COLUMNS = ("", "proposition", "rows", "ratio", "a/ref", "b/ref", "resolves", "equal", "")
_WIDTHS = (31, 19, 4, 6, 6, 6, 8, 5, 4)
_TITLES = {
    "probes": "probes: nothing is rounded, so both sides must have the exact values",
    "ops": "ops: from the same bits, against the bound of one operation",
    "step": "step: a whole update from a common state, the bound carried through the network",
    "special": "special: NaN, infinities, zeros, subnormal numbers, ties, extreme logits",
    "randomness": "randomness: the same bits",
}


class Text(NamedTuple):
    """A line of text, and how a terminal shows it."""

    text: str
    style: str = ""


def text(report: Report, every: str = "") -> str:
    """The report as one string."""
    return "\n".join(line.text for line in lines(report, every))


def lines(report: Report, every: str = "") -> Iterator[Text]:
    """The report, line by line. `every`: "op" for a line for each op, "row" for each row; else what stands out."""
    pair = report.pair
    dtypes = pair.a.dtype if pair.alike else f"{pair.a.dtype} and {pair.b.dtype}"
    machine = f", products of {pair.precision}" if pair.precision else ""
    yield Text(f"a: {pair.a.name}, b: {pair.b.name}, in {dtypes}{machine}", "bold")
    yield from (Text(wrapped) for wrapped in _wrap(", ".join(f"{k} {v}" for k, v in report.about.items())))
    failures = list({row.group: row for row in reversed(report.failures)}.values())[::-1]  # the first of each group
    for row in failures[:_MOST_FAILURES]:
        yield Text("")
        yield from _failure(row)
    rest = len(report.failures) - len(failures[:_MOST_FAILURES])
    if rest:
        yield Text("")
        yield Text(f"and {_count(rest, 'row')} more that fail: --rows prints every row, --json FILE writes them", "red")
    for suite, group in groupby(report.lines(), key=lambda line: line.suite):
        yield Text("")
        yield Text(_TITLES[suite], "bold")
        if every == "row":
            for row in report.rows:
                if row.suite == suite:
                    yield from _row(row)
        else:
            yield from _table(list(group), len(report.rows) if every else _MOST_LINES)
    yield Text("")
    style = {FAIL: "bold red", WARN: "bold yellow"}.get(report.verdict, "bold green")
    first, *others = report.sentences
    yield from (Text(wrapped, style) for wrapped in _wrap(f"{report.verdict}: {first}"))
    for sentence in others:
        yield from (Text(wrapped) for wrapped in _wrap(sentence))
    yield Text(FOOTER, "dim")


def _table(group: list[Line], most: int) -> Iterator[Text]:
    """The worst lines first, `most` of them (and all that fail); the others in one line."""
    ranked = sorted(group, key=lambda line: (line.verdict != FAIL, line.verdict != WARN, -line.ratio))
    shown = [line for k, line in enumerate(ranked) if k < most or line.verdict == FAIL]
    if all(line.verdict == PASS and line.ratio == 0 for line in group) and most < len(group):
        shown = []
    if shown:
        yield Text(_cells(_COLUMNS), "dim")
        yield from map(_line, shown)
    rest = ranked[len(shown) :]
    if rest:
        more = "and " if shown else ""
        rows, largest = sum(line.rows for line in rest), max(line.ratio for line in rest)
        above = "every difference is 0" if largest == 0 else f"ratios of {figure(largest)} and less"
        yield Text(f"{more}{_count(len(rest), 'op')}, {_count(rows, 'row')}: {above}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _line(line: Line) -> Text:
    resolves = "BLIND" if line.blind == line.rows else figure(line.resolves)
    cells = (
        line.name,
        line.proposition,
        str(line.rows),
        figure(line.ratio),
        figure(line.a_ratio),
        figure(line.b_ratio),
        resolves,
        f"{line.equal:.0%}",
        line.verdict,
    )
    return Text(_cells(cells), {FAIL: "red", WARN: "yellow"}.get(line.verdict, ""))


def _cells(cells: Sequence[str]) -> str:
    shown = [
        _cut(cell, width).ljust(width) if k < 2 or k == len(cells) - 1 else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    return " ".join(shown).rstrip()


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def _failure(row: Row) -> Iterator[Text]:
    """A row that fails: where, why, and the figures at the worst place."""
    place = "" if row.minibatch is None else f" {{{row.minibatch}}}"
    yield from (Text(wrapped, "bold red") for wrapped in _wrap(f"FAIL {row.id}{place}"))
    yield from (Text(f"     {wrapped}") for wrapped in _wrap("; ".join(row.failures), WIDTH - 5))
    c = row.comparison
    worst = c.worst if c.ratio > 1 else (c.worst_a if (c.a_ratio or 0) > 1 else c.worst_b)
    if worst is not None:
        judged = [entry for entry in (worst, c.worst_a, c.worst_b) if entry is not None and entry.index == worst.index]
        yield Text(f"     {_entry(max(judged, key=lambda entry: entry.reference is not None), c.reference)}")


def _entry(entry: Entry, kind: str) -> str:
    bound = figure(entry.bound_a + entry.bound_b)
    reference = "" if entry.reference is None else f", {kind} {entry.reference:.9g}"
    return f"at {entry.index}: a = {entry.a:.9g}, b = {entry.b:.9g}, bound {bound}{reference}"


def _row(row: Row) -> Iterator[Text]:
    c = row.comparison
    figures = f"ratio {figure(c.ratio)}, a/ref {figure(c.a_ratio) or '–'}, b/ref {figure(c.b_ratio) or '–'}"
    sees = "BLIND" if row.is_blind else f"resolves {figure(c.resolves)}"
    remarks = "".join(f", {remark}" for remark in (*row.failures, *row.warnings, *c.remarks))
    style = {FAIL: "red", WARN: "yellow"}.get(row.verdict, "")
    yield Text(f"{row.verdict} {row.id}", style)
    yield Text(f"     {figures}, {sees}, {c.equal} of {c.entries} equal{remarks}")


def _wrap(sentence: str, width: int = WIDTH) -> list[str]:
    return wrap(sentence, width, break_long_words=False, break_on_hyphens=False) or [""]
