"""Every shipped layer, loss and optimizer has a row that sees something, and correct sides pass all of them."""

from __future__ import annotations

import pytest

from mathdl import layers as md
from mathdl.losses import LOSSES
from mathdl.optimizers import OPTIMIZERS
from mathdl.parity import ops as module
from mathdl.parity.by_definition import KIND
from mathdl.parity.checking import check
from mathdl.parity.ops import LOSS_EXAMPLES, OPTIMIZER_EXAMPLES, SMALL, ops, shipped
from mathdl.parity.rows import BLIND, PASS
from mathdl.parity.running import compared, open_pair

LAYERS = md.__all__


def test_the_list_is_that_of_what_mathdl_exports():
    assert shipped() == [*LAYERS, *(loss.__name__ for loss in LOSSES.values()), "SGD", "Adam", "AdamW", "RMSprop"]
    assert set(SMALL) == set(LAYERS)
    assert set(LOSS_EXAMPLES) == set(LOSSES)
    assert set(OPTIMIZER_EXAMPLES) == set(OPTIMIZERS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("b", ["permuted", "strict", "float64"])
def test_correct_sides_pass_and_every_op_is_seen(b, dtype):
    pair = open_pair("cpu", b, dtype)
    rows = [row for case in ops(dtype, 2, real_sizes=b == "permuted") for row in check(case, pair)]
    assert [(row.id, row.failures) for row in rows if row.verdict != PASS] == []
    assert len({row.id for row in rows}) == len(rows)
    sharpest = {op: min(row.comparison.resolves for row in rows if row.op == op) for op in shipped()}
    assert max(sharpest.values()) < BLIND


def test_small_shapes_are_held_against_the_definition():
    for case in ops("float32", 0, real_sizes=False):
        if case.op in LAYERS or case.op in {loss.__name__ for loss in LOSSES.values()}:
            assert {reference.kind for reference in case.references().values()} == {KIND}, case.op


def test_every_layer_is_run_backward_too():
    pair = open_pair("cpu", "permuted")
    tensors = {}
    for case in ops("float32", 0, real_sizes=False):
        tensors.setdefault(case.op, set()).update(row.tensor for row in check(case, pair))
    for name in LAYERS:
        assert {"A", "dX"} <= tensors[name], name
    for loss in LOSSES.values():
        assert tensors[loss.__name__] == {"J", "dP"}


def test_a_layer_without_a_row_is_a_blind_op(monkeypatch):
    monkeypatch.setattr(module, "SMALL", {name: examples for name, examples in SMALL.items() if name != "Reshape"})
    report = compared(open_pair("cpu", "permuted"), suites=("ops",), real_sizes=False)
    assert (report.blind, report.verdict, report.status) == (["Reshape"], "FAIL", 1)
    assert "blind op: no row of Reshape" in " ".join(report.sentences)


def test_the_user_who_adds_a_layer_is_told(monkeypatch):
    monkeypatch.setattr(md, "__all__", [*md.__all__, "Maxout"])
    assert "Maxout" in compared(open_pair("cpu", "permuted"), suites=("ops",), real_sizes=False).blind
