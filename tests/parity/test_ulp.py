"""The errors of elementary functions, measured on a small share of all numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mathdl import arrays
from mathdl.parity import ulp
from mathdl.parity.ulp import Measurement, bound_of, measure, numbers, stored, stride_of, ulp_errors
from mathdl_backends import permuted

CPU, PERMUTED = arrays.device("cpu"), arrays.device("permuted")
STRIDE = stride_of(0.00005)


@pytest.mark.parametrize("name", ulp.FUNCTIONS)
def test_functions_are_as_good_as_assumed(name):
    told = []
    found = measure(name, CPU, stride=STRIDE, tick=told.append)
    assert found.holds
    assert 0.4 < found.ulp <= found.bound
    assert found.inputs == sum(told) == math.ceil(2**32 / STRIDE)
    assert ulp_errors(ulp.evaluate(name, CPU, at := np.float32([found.at])), ulp.reference(name, at)) == found.ulp


def test_a_correctly_rounded_function_is_off_by_half_an_ulp():
    assert 0.49 < measure("exp", PERMUTED, stride=STRIDE).ulp <= 0.5


def test_a_fast_function_is_caught():
    with permuted.faulty(exp=lambda exp, x: np.exp2(x.values * np.float32(1.4426950408889634))):
        assert not measure("exp", PERMUTED, stride=STRIDE).holds


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_what_is_no_number_is_caught(spoil):
    with permuted.faulty(tanh=lambda tanh, x: np.where(x.values == np.float32(0.5), spoil, tanh(x).values)):
        found = measure("tanh", PERMUTED, stride=2**21)  # 0.5 is a multiple
    assert (found.ulp, found.at, found.holds) == (math.inf, 0.5, False)


def test_errors_in_units_in_the_last_place():
    next_to_1 = 1 + 2.0**-23
    y = np.float32([1.0, next_to_1, 1.0, 2.0**-149, 0.0, -4.0])
    exact = np.array([1.0, 1.0, next_to_1, 2.0**-150, 2.0**-149, -4 - 2.0**-22])
    np.testing.assert_array_equal(ulp_errors(y, exact), [0, 1, 1, 0.5, 1, 0.5])
    largest = float(np.finfo(np.float32).max)
    y = np.float32([np.nan, np.inf, -np.inf, np.inf, np.nan, 1.0, np.inf, np.inf])
    exact = np.array([np.nan, np.inf, np.inf, 1.0, 1.0, np.nan, 1e39, largest])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(ulp_errors(y, exact), [0, 0, np.inf, np.inf, np.inf, np.inf, 0, np.inf])
    wide = np.array([1.0, 2.0, 2.0**-1074])
    exact = wide.astype(np.longdouble) * (1 + np.longdouble(2.0) ** -53)
    np.testing.assert_allclose(ulp_errors(wide, exact), [0.5, 0.5, 2.0**-53], rtol=1e-3)


def test_the_numbers_of_a_share():
    bits = np.concatenate([x.view(np.uint32) for x in numbers("float32", STRIDE)])
    np.testing.assert_array_equal(bits, np.arange(0, 2**32, STRIDE))
    assert len(set((bits & 0xFFF).tolist())) > 3900  # the last bits take all values
    assert [stride_of(share) for share in (1.0, 0.5, 0.01, 0.001)] == [1, 3, 101, 1001]
    first, second = next(numbers("float64", 2**12)), next(numbers("float64", 2**12))
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["exp", "tanh", "sqrt"])
def test_float64(name):
    found = measure(name, CPU, "float64", 2**16)
    assert found.dtype == "float64"
    assert 0.3 < found.ulp <= found.bound


def test_erf_by_its_series():
    x = np.concatenate([np.linspace(-7, 7, 301), [1e-30, -np.inf, np.inf, 0.0]])
    found = ulp.erf_by_series(x.astype(np.longdouble))
    np.testing.assert_allclose(np.float64(found), [math.erf(each) for each in x], rtol=3e-16)


def test_the_reference_of_erf_is_near_that_of_the_c_library():
    x = np.linspace(-6, 6, 2001, dtype=np.float32)
    np.testing.assert_allclose(ulp.reference("erf", x), [math.erf(each) for each in x], rtol=1e-15)


@pytest.mark.parametrize(
    ("measured", "documented", "bound"),
    [([(2.54, 2**32)], [2], 3), ([(0.5, 2**32)], [0], 0.5), ([(1.2, 2**32)], [2], 3), ([(1.2, 10)], [1], 3)],
)
def test_the_bound_of_a_record(measured, documented, bound):
    record = {
        "measured": [{"ulp": each, "inputs": inputs} for each, inputs in measured],
        "documented": [{"ulp": each} for each in documented],
    }
    assert bound_of(record) == bound


def test_a_measurement_takes_the_place_of_an_earlier_one():
    table = {"exp": {"float32": {"bound": 3.0, "measured": [], "documented": [{"ulp": 1}]}}}
    here, there = {"device": "cpu", "library": "a 1"}, {"device": "cpu", "library": "b 1"}
    for made_by, worst in ((here, 2.5), (there, 1.5), (here, 3.5)):
        stored(table, Measurement("exp", "float32", worst, 1.0, 2**32, 1.0), made_by)
    record = table["exp"]["float32"]
    assert [(each["library"], each["ulp"]) for each in record["measured"]] == [("b 1", 1.5), ("a 1", 3.5)]
    assert record["bound"] == 4.0
