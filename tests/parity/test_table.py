"""The table: a hundred columns, what fails first, each op in a line, what passes in few words."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl.parity.compare import Bounds, Reference, compare
from mathdl.parity.report import Report
from mathdl.parity.rows import Row
from mathdl.parity.running import compared, open_pair
from mathdl.parity.table import WIDTH, lines, text

PAIR = open_pair("cpu", "permuted")


@pytest.fixture(scope="module")
def whole():
    return compared(PAIR, suites=("ops", "special", "randomness"), real_sizes=False)


def row(op, b=1.0, bound=1e-3, suite="ops", **fields):
    reference = Reference(np.array([1.0]), 0.0, "definition")
    comparison = compare(np.array([1.0]), np.array([b]), Bounds(bound, bound), reference)
    return Row(suite, op, "dX", f"{op}()", "gelu", 0, comparison, group=op, **fields)


def report(*rows):
    return Report(PAIR, rows, ("step",), {"NumPy": "2.4"})


@pytest.mark.parametrize("every", ["", "op"])
def test_no_line_is_wider_than_a_terminal(whole, every):
    assert max(len(line.text) for line in lines(whole, every)) <= WIDTH == 100


def test_it_begins_with_the_sides_and_ends_with_the_verdict(whole):
    found = text(whole).splitlines()
    assert found[0] == "a: cpu, b: permuted, in float32"
    assert found[-2].startswith("PASS: explained by rounding: ")
    assert "mathdl prove" in found[-1]
    assert text(whole) == str(whole)


def test_what_passes_is_short_and_all_of_it_there_on_demand(whole):
    short, ops = text(whole).splitlines(), text(whole, "op").splitlines()
    assert len(short) < 45 < len(ops)
    assert any(line.startswith("and ") and "ops, " in line for line in short)
    for op in ("Dense", "GELU", "RMSprop", "exp"):
        assert any(line.startswith(f"{op} ") for line in ops)
    assert text(whole, "row").count("PASS ops/") == sum(row.suite == "ops" for row in whole.rows)


def test_a_failure_says_where_why_and_with_which_figures():
    found = text(report(row("ReLU"), row("GELU", 2.0, minibatch=17)))
    assert "FAIL ops/GELU/dX/GELU() {17}" in found
    assert "5e+02 times the bound; b is off by 1e+03 times its bound" in found
    assert "at (0,): a = 1, b = 2, bound 0.002, definition 1" in found
    assert found.index("FAIL ops/GELU") < found.index("ReLU dX")


def test_one_row_of_each_op_that_fails_is_shown():
    rows = [row(f"Op{k % 9}", 2.0) for k in range(30)]
    found = text(report(*rows))
    assert found.count("FAIL ops/") == 6
    assert "and 24 rows more that fail" in found


def test_a_row_that_sees_nothing_is_blind():
    found = text(report(row("GELU", bound=1.0)))
    (line,) = [line for line in found.splitlines() if line.startswith("GELU dX")]
    assert "BLIND" in line


def test_styles_are_those_of_the_verdict():
    styles = {line.style for line in lines(report(row("GELU", 2.0), row("ReLU", ambiguous=1)))}
    assert {"bold red", "red", "yellow"} <= styles
