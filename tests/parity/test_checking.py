"""A case on two sides: its rows, its bounds in one dtype or two, runs that do not repeat, sides that raise."""

from __future__ import annotations

from itertools import count
from math import inf

import numpy as np
import pytest

from mathdl.parity.cases import Case
from mathdl.parity.checking import FLOAT64_OF_CODE, Pair, analyse, check
from mathdl.parity.compare import Bounds, Reference
from mathdl.parity.rows import FAIL, PASS, WARN
from mathdl.parity.sides import open_side
from support import normal

X = normal(6, 9, seed=3, dtype="float32")
W = normal(9, 4, seed=4, dtype="float32")


def pair(a="cpu", b="permuted", dtype="float32", **options):
    return Pair(open_side(a, dtype), open_side(b, dtype), **options)


def product(side):
    return {"A": side.device.namespace.matmul(side.put(X), side.put(W))}


def only(case, sides=None):
    (row,) = check(case, pair() if sides is None else sides)
    return row


@pytest.mark.parametrize("sides", [("cpu", "permuted"), ("permuted", "strict"), ("cpu", "float64"), ("float64", "cpu")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_correct_sides_pass(sides, dtype):
    row = only(Case("ops", "matmul", "n = 9", product, {"A": "dense-forward"}, lengths={"A": 9}), pair(*sides, dtype))
    assert row.verdict == PASS
    assert (row.proposition, row.length, row.comparison.reference) == ("dense-forward", 9, FLOAT64_OF_CODE)
    assert 0 < row.comparison.resolves < 1e-4


def test_inputs_are_in_the_dtype_that_both_hold():
    assert pair("cpu", "float64").inputs == "float32"
    assert pair("cpu", "float64", "float64").inputs == "float64"
    assert pair().alike
    assert not pair("cpu", "float64").alike


def test_numbers_of_the_code_may_differ_between_dtypes():
    """0.1 is another number in float32 and in float64: what that makes of the values is part of the bound."""
    case = Case("ops", "scale", "", lambda side: {"A": 0.1 * side.put(X)})
    assert only(case, pair("cpu", "float64")).verdict == PASS
    shift = np.abs(np.float64(np.float32(0.1)) - 0.1) * np.abs(X)
    bounds, _, _ = analyse(case, pair("cpu", "float64"))["A"]
    assert np.all(bounds.a >= shift)


def test_what_is_wrong_on_one_side_fails():
    case = Case("ops", "x", "", lambda side: {"A": side.put(X) * (1.0 if side.name == "cpu" else 1.0 + 1e-4)})
    row = only(case)
    assert row.verdict == FAIL
    assert any(failure.startswith("b is off") or failure.endswith("the bound") for failure in row.failures)


def test_an_exact_case_takes_its_reference_from_float64():
    row = only(Case("probes", "x", "", lambda side: {"A": 2.0 * side.put(X)}, exact=True))
    assert (row.verdict, row.comparison.reference, row.comparison.ratio) == (PASS, FLOAT64_OF_CODE, 0)


def test_bounds_in_closed_form_are_used_as_they_are():
    bounds = {"A": Bounds(1e-3, 1e-3)}
    row = only(Case("special", "x", "", lambda side: {"A": side.put(X)}, bounds=bounds))
    assert row.comparison.worst.bound_a == pytest.approx(1e-3)


def test_own_references_come_before_those_of_the_code():
    wrong = {"A": Reference(X + 1.0, 0.0, "definition")}
    row = only(Case("ops", "x", "", lambda side: {"A": side.put(X) * 1.5}, references=lambda: wrong))
    assert row.verdict == FAIL
    assert row.comparison.reference == "definition"


def test_runs_that_do_not_repeat_warn():
    runs = count()

    def unsteady(side):
        return {"A": side.put(X) * (1.0 + 2.0**-23 * (next(runs) % 2) if side.name == "permuted" else 1.0)}

    row = only(Case("ops", "x", "", unsteady, bounds={"A": Bounds(1e-5, 1e-5)}))
    assert row.verdict == WARN
    assert row.warnings == ("b does not repeat its bits",)


def test_what_needs_repetition_is_not_judged_without():
    runs = count()

    def drifting(side):
        return {"A": side.put(np.full(3, float(next(runs))))}

    case = Case("probes", "x", "", drifting, exact=True, references=dict)
    assert only(case).verdict == FAIL
    free = Case("probes", "x", "", drifting, exact=True, needs_repetition=True, references=dict)
    assert only(free).verdict == WARN


def test_a_side_that_raises_is_a_row_that_fails():
    def raises(side):
        if side.name == "permuted":
            raise ValueError("no such kernel")
        return product(side)

    row = only(Case("ops", "matmul", "", raises))
    assert (row.verdict, row.tensor) == (FAIL, "raised")
    assert row.failures == ("b raised ValueError: no such kernel",)
    assert row.comparison.ratio == inf


def test_decisions_are_counted_once_for_a_case():
    def chosen(side):
        xp = side.device.namespace
        Z = xp.matmul(side.put(X), side.put(W))
        Z = Z - xp.matmul(side.put(X), side.put(W))  # 0, but for rounding
        return {"A": Z * xp.astype(Z > 0, Z.dtype), "B": Z}

    rows = list(check(Case("step", "x", "", chosen), pair()))
    assert [row.ambiguous for row in rows] == [24, 0]
    assert rows[0].verdict == WARN


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_a_precision_widens_the_bounds_of_products_and_frees_the_probes(precision):
    tight, _, _ = analyse(Case("ops", "matmul", "", product), pair())["A"]
    wide, _, _ = analyse(Case("ops", "matmul", "", product), pair(precision=precision))["A"]
    assert np.all(wide.a > 100 * tight.a)
    probe = Case("probes", "matmul", "", product, exact=True)
    assert only(probe, pair(precision=precision)).verdict == PASS
