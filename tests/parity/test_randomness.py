"""The same bits on every side, or a row that fails."""

from __future__ import annotations

import pytest

from mathdl.parity.checking import check
from mathdl.parity.faults import Fault
from mathdl.parity.randomness import randomness
from mathdl.parity.rows import FAIL, PASS
from mathdl.parity.running import open_pair
from mathdl.parity.self_test import with_fault


@pytest.mark.parametrize("b", ["permuted", "strict", "float64"])
def test_the_same_bits_everywhere(b):
    rows = [row for case in randomness("float32", 3) for row in check(case, open_pair("cpu", b))]
    assert [row.op for row in rows] == ["bits", "Dropout", "initialize"]
    assert {row.verdict for row in rows} == {PASS}
    assert all(row.comparison.equal == row.comparison.entries for row in rows)


def test_one_bit_that_differs_is_found():
    fault = Fault("x", "", {"bits": "lambda healthy, *where: host(healthy(*where)) ^ np.uint32(1 << 31)"}, ())
    pair = with_fault(open_pair("cpu", "permuted"), fault)
    verdicts = {row.op: row.verdict for case in randomness("float32", 3) for row in check(case, pair)}
    assert verdicts == {"bits": FAIL, "Dropout": FAIL, "initialize": PASS}  # weights are drawn on the host
