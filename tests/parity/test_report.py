"""The verdict in a sentence, what is blind, and the JSON that holds all of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mathdl.parity.compare import Bounds, compare, failed
from mathdl.parity.ops import shipped
from mathdl.parity.report import FORMAT, Report, line
from mathdl.parity.rows import FAIL, PASS, WARN, Row
from mathdl.parity.running import open_pair
from mathdl.parity.signatures import Signature

PAIR = open_pair("cpu", "permuted")


def row(b=1.0, op="Dense", tensor="A", suite="ops", **fields):
    comparison = compare(np.array([1.0]), np.array([b]), Bounds(1e-3, 1e-3))
    return Row(suite, op, tensor, f"{op}()", "dense-forward", 0, comparison, group=op, **fields)


def report(*rows, suites=("step",), **fields):
    return Report(PAIR, rows, suites, {"NumPy": "2"}, **fields)


def test_explained_by_rounding():
    found = report(row(), row(1.001))
    assert (found.verdict, found.status) == (PASS, 0)
    assert found.sentences == ["explained by rounding: 2 rows, the largest difference 0.5 of its bound"]


def test_a_warning_is_no_failure():
    found = report(row(repeats_b=False), row(ambiguous=2))
    assert (found.verdict, found.status) == (WARN, 0)
    assert found.sentences[1:] == [
        "b does not repeat its bits: 1 rows (Dense)",
        "2 decisions (ReLU, max pooling) lie within the bound: either way is right there",
    ]


def test_the_signature_comes_first_and_then_the_first_difference():
    late = row(2.0, tensor="dW[3]", minibatch=17, order=(5, 9, 1))
    early = row(2.0, tensor="A[3]", minibatch=4, order=(5, 3, 0))
    found = report(row(), late, early, signatures=(Signature("b", "TF32", (32, 64)),))
    assert (found.verdict, found.status) == (FAIL, 1)
    assert found.sentences == [
        "TF32 is on in b (its products return A I as TF32 holds A, at n = 32 … 64)",
        "first unexplained difference: A[3], minibatch {4} (Dense())",
        "2 of 3 rows differ by more than rounding: Dense",
    ]


def test_an_error_is_named_by_its_group():
    raised = replace(row(tensor="raised", minibatch=1, order=(0, 1, 0)), comparison=failed("b raised KeyError: 'x'"))
    assert report(raised).sentences[0] == "first unexplained difference: Dense, minibatch {1} (Dense())"


def test_blind_ops_are_judged_where_ops_were_run():
    assert report(row()).blind == []
    found = report(row(), suites=("ops",))
    assert found.blind == [op for op in shipped() if op != "Dense"]
    assert found.verdict == FAIL


def test_a_precision_that_is_not_there_is_said_to_be_absent():
    pair = open_pair("cpu", "permuted", precision="tf32")
    found = Report(pair, (row(),), ("step",), {}, (Signature("b", "TF32", (32,)),))
    assert (found.verdict, found.sentences[0]) == (
        PASS,
        "TF32 is on in b (its products return A I as TF32 holds A, at n = 32)",
    )
    assert "no product of a shows tf32" in found.sentences


def test_a_line_has_the_worst_of_each_figure():
    found = line("ops", "Dense", [row(), row(1.001, tensor="dW"), row(2.0, tensor="db")])
    assert (found.name, found.rows, found.verdict) == ("Dense db", 3, FAIL)
    assert found.ratio == pytest.approx(500, rel=1e-3)
    assert found.equal == pytest.approx(1 / 3)
    lines = list(report(row(), row(op="ReLU"), row(suite="probes")).lines())
    assert [(each.suite, each.name) for each in lines] == [("probes", "Dense A"), ("ops", "Dense A"), ("ops", "ReLU A")]


def test_json():
    found = json.loads(json.dumps(report(row(), row(2.0)).to_dict(), allow_nan=False))
    assert (found["format"], found["verdict"], found["a"]) == (FORMAT, FAIL, {"device": "cpu", "dtype": "float32"})
    assert [each["verdict"] for each in found["rows"]] == [PASS, FAIL]
    assert {"inflation", "lambda", "hypotheses", "about", "blind_ops", "sentences"} <= set(found)
