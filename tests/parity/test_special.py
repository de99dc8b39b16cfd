"""Special values: correct sides pass, in both dtypes, and each kind of carelessness is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mathdl import arrays
from mathdl.parity.checking import check
from mathdl.parity.faults import Fault
from mathdl.parity.rows import FAIL, PASS
from mathdl.parity.running import open_pair
from mathdl.parity.special import special


def rows(pair, dtype="float32", flushes=False):
    return [row for case in special(dtype, flushes) for row in check(case, pair)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("b", ["permuted", "strict"])
def test_correct_sides_pass(b, dtype):
    found = rows(open_pair("cpu", b, dtype), dtype)
    assert [(row.id, row.failures) for row in found if row.verdict != PASS] == []
    assert len({row.id for row in found}) == len(found)
    ops = {row.op for row in found}
    assert ops >= {
        "ReLU",
        "Softmax",
        "LogSoftmax",
        "MaxPool2D",
        "CategoricalCrossEntropy",
        "BatchNorm",
        "exp",
        "argmax",
    }


def spoilt(**functions):
    pair = open_pair("cpu", "permuted")
    fault = Fault("x", "", functions, ())
    return replace(pair, b=replace(pair.b, spoilt=fault.in_place))


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ({"maximum": "lambda healthy, x, y: np.fmax(host(x), host(y))"}, "special/ReLU/A"),
        ({"exp": "lambda healthy, x: flushed(healthy(x))"}, "special/exp/f(x)"),
        (
            {"add": "lambda healthy, x, y: flushed(healthy(x, y))", "sum": "lambda h, x, **k: flushed(h(x, **k))"},
            "special/sum",
        ),
        ({"argmax": "lambda healthy, x, axis: 4 - np.argmax(host(x)[:, ::-1], axis=axis)"}, "special/argmax"),
        ({"max": "lambda healthy, x, **k: healthy(x, **k) * 0.0"}, "special/Softmax/A"),
        ({"where": "lambda healthy, c, x, y: healthy(c, x, y) + 0.0 * x"}, "special/CategoricalCrossEntropy"),
        ({"matmul": "lambda healthy, A, B: np.nan_to_num(host(healthy(A, B)))"}, "special/matmul"),
    ],
    ids=["NaN swallowed", "exp flushed", "sums flushed", "last argmax", "no shift", "0 · ∞", "NaN replaced"],
)
def test_what_is_careless_is_seen(functions, expected):
    failing = [row.id for row in rows(spoilt(**functions)) if row.verdict == FAIL]
    assert any(id.startswith(expected) for id in failing), failing


def test_a_machine_that_flushes_passes_where_that_is_allowed():
    pair = replace(spoilt(exp="lambda healthy, x: flushed(healthy(x))"), flushes=True)
    exp = [row for row in rows(pair, flushes=True) if row.op == "exp"]
    assert [row.verdict for row in exp] == [PASS]


def test_what_must_come_out_is_stated_and_not_taken_from_a_side():
    """Both sides wrong in the same way: the reference says so."""
    with arrays.backend("permuted").faulty(maximum=lambda healthy, x, y: np.fmax(x.values, getattr(y, "values", y))):
        failing = [row for row in rows(open_pair("permuted", "permuted")) if row.verdict == FAIL]
    assert {row.op for row in failing} >= {"ReLU"}
    assert all(row.comparison.ratio <= 1 for row in failing)
