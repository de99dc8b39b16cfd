"""A side: where it computes, what it takes, and the context in which it does."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mathdl.errors import DeviceError, MissingExtraError, UnknownNameError
from mathdl.parity.sides import open_side


def test_float64_is_the_cpu():
    side = open_side("float64", "float32")
    assert (side.dtype, side.device.name, side.name) == ("float64", "cpu", "float64")


@pytest.mark.parametrize("name", ["cpu", "strict", "permuted"])
def test_what_it_puts_has_its_dtype_and_is_its_own(name):
    side, X = open_side(name, "float32"), np.array([1.0, 2.0])
    found = side.run(lambda side: {"X": side.put(X), "i": side.put(np.array([3]))})
    assert (found["X"].dtype, found["i"].dtype) == (np.float32, np.int64)

    def changes(side):
        A = side.put(X)
        A[...] = 7.0
        return {"A": A}

    np.testing.assert_array_equal(side.run(changes)["A"], [7.0, 7.0])
    np.testing.assert_array_equal(X, [1.0, 2.0])


def test_a_fault_is_there_while_it_runs_and_then_no_more():
    events = []

    @contextmanager
    def spoilt():
        events.append("in")
        yield
        events.append("out")

    side = replace(open_side("cpu", "float64"), spoilt=spoilt)
    side.run(lambda side: {"x": side.put(np.array([float(len(events))]))})
    assert events == ["in", "out"]


def test_floating_point_warnings_are_off():
    side = open_side("cpu", "float64")
    assert np.isnan(side.run(lambda side: {"x": side.put(np.zeros(1)) / 0.0})["x"][0])


def test_errors():
    with pytest.raises(UnknownNameError, match="unknown dtype 'float16'"):
        open_side("cpu", "float16")
    with pytest.raises(UnknownNameError, match="unknown device 'cpx'"):
        open_side("cpx", "float32")


def test_cuda_where_there_is_none(monkeypatch):
    from mathdl import arrays

    if arrays.backend("cupy").why_unusable() is not None:
        with pytest.raises((DeviceError, MissingExtraError), match='device "cuda"'):
            open_side("cuda", "float32")
