"""The self-test: every fault is caught by the row that is named for it, and what is not caught survives."""

from __future__ import annotations

import pytest

from mathdl.parity.faults import Fault, built_in
from mathdl.parity.running import open_pair
from mathdl.parity.self_test import rows, self_test, try_fault

PAIR = open_pair("cpu", "permuted")


@pytest.mark.parametrize("fault", built_in(), ids=lambda fault: fault.name)
def test_every_fault_is_found_by_the_row_that_is_named(fault):
    outcome = try_fault(fault, PAIR)
    assert outcome.passed, outcome
    assert outcome.row.startswith(fault.expected)


def test_the_healthy_sides_are_the_control():
    (outcome,) = self_test([])
    assert (outcome.fault, outcome.found, outcome.passed) == ("none", "PASS", True)


def test_a_fault_that_nobody_sees_survives():
    outcome = try_fault(Fault("harmless", "", {"exp": "lambda healthy, x: healthy(x)"}, (), "ops/exp"), PAIR)
    assert (outcome.found, outcome.row, outcome.passed) == ("survives", "", False)


def test_a_fault_that_raises_shows_nothing():
    outcome = try_fault(Fault("raises", "", {"exp": "lambda healthy, x: no_such_name"}, (), "ops/exp"), PAIR)
    assert (outcome.found, outcome.passed) == ("an error", False)
    assert "no_such_name" in outcome.row


def test_what_must_only_be_reported_may_not_fail():
    wrong = Fault("wrong", "", {"exp": "lambda healthy, x: healthy(x) * 1.01"}, (), "ops/exp", "WARN")
    assert not try_fault(wrong, PAIR).passed


def test_without_a_named_row_every_row_is_looked_at():
    outcome = try_fault(
        Fault("late", "", {"bits": "lambda healthy, *where: host(healthy(*where)) ^ np.uint32(1)"}, ()), PAIR
    )
    assert outcome.row.startswith("randomness/bits")


def test_float64_too():
    for name in ("dropped bias", "flipped kernel", "missing 1/B"):
        fault = next(fault for fault in built_in() if fault.name == name)
        assert try_fault(fault, open_pair("cpu", "permuted", "float64")).passed


def test_only_rows_of_that_name_are_run():
    assert {row.op for row in rows(PAIR, "ops/Dense/A")} == {"Dense"}
    assert {row.tensor for row in rows(PAIR, "ops/Dense/A/")} == {"A"}
