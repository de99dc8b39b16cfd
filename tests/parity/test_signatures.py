"""From A I alone: which format the operands of a product were cut to."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl.parity.faults import Fault
from mathdl.parity.probes import LENGTHS, full_significands
from mathdl.parity.running import open_pair
from mathdl.parity.self_test import with_fault
from mathdl.parity.signatures import cut_to, rounded, signatures, truncated


def seen(expression):
    fault = Fault("x", "", {"matmul": f"lambda healthy, A, B: {expression}"}, ())
    return signatures(with_fault(open_pair("cpu", "permuted"), fault))


@pytest.mark.parametrize(
    ("expression", "format"),
    [
        ("healthy(rounded(A, 11), rounded(B, 11))", "TF32"),
        ("healthy(truncated(A, 11), truncated(B, 11))", "TF32"),
        ("healthy(rounded(A, 8), rounded(B, 8))", "bfloat16"),
        ("healthy(half(A), half(B))", "float16"),
    ],
)
def test_a_format_is_recognized_at_every_length(expression, format):
    (found,) = seen(expression)
    assert (found.side, found.format, found.lengths) == ("b", format, LENGTHS)
    assert str(found).startswith(f"{format} is on in b (")


def test_only_at_some_lengths():
    (found,) = seen("healthy(rounded(A, 11), rounded(B, 11)) if A.shape[1] >= 1024 else healthy(A, B)")
    assert found.lengths == (1024, 2048, 4096)
    assert "n = 1024 … 4096" in str(found)


@pytest.mark.parametrize("expression", ["healthy(A, B)", "healthy(A * 1.001, B)", "healthy(rounded(A, 15), B)"])
def test_what_is_exact_or_wrong_in_another_way_has_none(expression):
    assert seen(expression) == []


def test_a_product_that_raises_has_none():
    assert seen("[][0]") == []


def test_float64_is_not_asked():
    assert signatures(open_pair("cpu", "permuted", "float64")) == []
    assert cut_to(open_pair("cpu", "cpu").a, 32) is None


def test_rounded_and_truncated():
    x = np.array([1.0 + 2.0**-11, 1.0 + 2.0**-10, -(1.0 + 3 * 2.0**-11), 2.0**-140], np.float32)
    np.testing.assert_array_equal(
        rounded(x, 11), np.array([1.0, 1.0 + 2.0**-10, -(1.0 + 2.0**-9), 2.0**-140], np.float32)
    )
    np.testing.assert_array_equal(
        truncated(x, 11), np.array([1.0, 1.0 + 2.0**-10, -(1.0 + 2.0**-10), 2.0**-140], np.float32)
    )
    A = full_significands("float32", 30, seed=(1,))
    assert np.all(np.abs(rounded(A, 11) - A) <= 2.0**-11 * np.abs(A))
