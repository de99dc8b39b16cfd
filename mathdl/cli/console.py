"""What commands print with: tables with colour on a terminal, plain aligned text anywhere else.

Text of users (names of files, columns, layers) is printed as it is: nothing in it is taken for markup. `NO_COLOR` is
honoured (by rich).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def stdout() -> Console:
    """A console on the present standard output."""
    return Console(highlight=False, soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """Print a line; `style` (``"bold"``, ``"green"``) shows on a terminal only."""
    stdout().print(Text(text, style=style))


def complain(message: str, notes: Iterable[str] = ()) -> None:
    """An error on stderr: the message, then its notes, one a line."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("mathdl: ", "bold red"), message))
    for note in notes:
        console.print(Text(f"  {note}"))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = (), total: Sequence[str] = ()
) -> None:
    """Print rows of text, and a last row `total` set apart; the columns named in `right` are aligned there."""
    lines = [list(row) for row in rows]
    right = set(right)
    if not sys.stdout.isatty():
        _plain_table(columns, [*lines, list(total)] if total else lines, right)
        return
    drawn = Table(box=box.SIMPLE, pad_edge=False, show_footer=bool(total))
    for column, figure in zip(columns, total or columns, strict=True):
        drawn.add_column(Text(column), Text(figure), justify="right" if column in right else "left")
    for row in lines:
        drawn.add_row(*map(Text, row))
    Console(highlight=False).print(drawn)


def _plain_table(columns: Sequence[str], rows: list[list[str]], right: set[str]) -> None:
    lines = [list(columns), *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
