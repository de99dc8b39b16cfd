"""Probes: their inputs are what they say, nothing is rounded in them, and they see TF32 at every length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mathdl import layers as md
from mathdl.parity.checking import check
from mathdl.parity.faults import built_in
from mathdl.parity.ops import functions
from mathdl.parity.probes import (
    LENGTHS,
    full_significands,
    odd_numbers,
    probes,
    scaling,
    signs_and_zeros,
    whole_numbers,
)
from mathdl.parity.rows import FAIL, PASS
from mathdl.parity.running import open_pair
from mathdl.parity.signatures import rounded


def with_fault(name):
    fault = next(fault for fault in built_in() if fault.name == name)
    pair = open_pair("cpu", "permuted")
    return replace(pair, b=replace(pair.b, spoilt=fault.in_place))


def test_whole_significands_lose_something_in_fewer_bits():
    A = full_significands("float32", 40, 50, seed=(0,))
    assert np.all(rounded(A, 24) == A)
    assert not np.any(rounded(A, 23) == A)
    assert np.min(np.abs(A)) < 2.0**-18
    assert np.max(np.abs(A)) > 2.0**18
    double = full_significands("float64", 40, seed=(0,))
    assert not np.any(double.astype(np.float32) == double)


@pytest.mark.parametrize("length", [9, 784, 4096])
def test_whole_numbers_add_exactly(length):
    N = odd_numbers("float32", length, 1000, seed=(1,))
    assert np.all(N % 2 == 1)
    assert length * np.max(np.abs(N)) <= 2**24
    assert np.max(np.abs(N)) > 2**10  # more than ten bits: TF32 does not hold them
    assert set(np.unique(signs_and_zeros("float32", 50, seed=(2,)))) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_correct_sides_pass(dtype):
    for b in ("permuted", "strict") if dtype == "float32" else ("permuted",):
        pair = open_pair("cpu", b, dtype)
        rows = [row for case in probes(dtype, 5) for row in check(case, pair)]
        assert [row.id for row in rows if row.verdict != PASS] == []
        assert len({row.id for row in rows}) == len(rows)
        assert all(row.exact for row in rows)


def test_tf32_is_found_at_every_length_and_by_no_bound_at_the_greatest():
    pair = with_fault("TF32")
    found = {}
    for case in probes("float32", 0):
        if case.op in ("matmul", "sum_outer"):
            for row in check(case, pair):
                found.setdefault(row.length, []).append(row.verdict)
    assert set(found) == set(LENGTHS) >= {32, 64, 128, 256, 512, 1024, 2048, 4096}
    assert all(verdict == FAIL for verdicts in found.values() for verdict in verdicts)
    bounds = [row for case in functions("float32", 0, 4096) if case.op == "matmul" for row in check(case, pair)]
    assert {row.length: row.verdict == FAIL for row in bounds if row.tensor == "A B"} == {
        64: True,
        784: True,
        4096: False,
    }


def test_layers_are_probed_at_sizes_of_real_networks_and_tf32_is_seen_in_each_product():
    pair = with_fault("TF32")
    for layer, input in ((md.Dense(64), (784,)), (md.Conv2D(16, 3, padding="same"), (28, 28, 1))):
        verdicts = {row.tensor: row.verdict for row in check(whole_numbers(layer, input, "float32", 0), pair)}
        assert {name for name, verdict in verdicts.items() if verdict == FAIL} >= {"A", "dX", "dW"}


def test_scaling_by_two_is_exact_for_what_is_linear_and_not_otherwise():
    pair = open_pair("cpu", "permuted")
    assert {row.verdict for row in check(scaling(md.Dense(64), (784,), "float32", 0), pair)} == {PASS}
    assert FAIL in {row.verdict for row in check(scaling(md.Tanh(), (10,), "float32", 0), pair)}
