from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from mathdl.arrays import device
from mathdl.layers import Conv1D, Dense
from mathdl.primitive import PRIMITIVES
from mathdl.theory.check import Refused, refusal_of
from mathdl.theory.exact import both_ways, closely, exactly, gradients_of, number_values, same
from mathdl.theory.subject import of_layer


@pytest.mark.parametrize(
    ("found", "expected", "is_same"),
    [(1.0, 1, True), (nan, nan, True), (inf, inf, True), (1.0, 2.0, False), (nan, 1.0, False)],
)
def test_two_numbers_are_the_same_or_both_nan(found, expected, is_same):
    assert same(found, expected) is is_same


def test_exactly_names_what_differs():
    check = exactly("X", "forward", "a claim", ["x"], lambda: [("x", [1.0, nan, 3.0], [1.0, nan, 2.0])])
    with pytest.raises(Refused, match=r"a claim: x, entry \(2,\)\n  expected  2.0\n  found     3.0"):
        check.run()


def test_closely_allows_for_rounding_and_no_more():
    pair = lambda difference: lambda: [("x", 1.0 + difference, 1.0)]  # noqa: E731
    closely("N", "forward", "a claim", ["x"], pair(1e-15)).run()
    assert refusal_of(closely("N", "forward", "a claim", ["x"], pair(1e-9)).run)
    assert refusal_of(closely("N", "forward", "a claim", ["x"], pair(1e-15)).control)


def test_number_values_compare_with_the_definition():
    right = of_layer(Dense(3), (4,), lambda d, x: d.dense(x["A"], x["W"], x["b"]))
    wrong = of_layer(Dense(3), (4,), lambda d, x: d.dense(x["A"], x["W"]))
    number_values("A", right).run()
    assert refusal_of(number_values("A", right).control)
    assert refusal_of(number_values("A", wrong).run)


def test_the_second_way_runs_no_kernel(monkeypatch):
    ran = []
    convolve = PRIMITIVES["convolve"]
    body = convolve.__wrapped__
    monkeypatch.setattr(convolve, "__wrapped__", lambda *arguments: ran.append("reference") or body(*arguments))
    subject = of_layer(Conv1D(2, 2), (4, 2), B=1)
    inputs = {name: np.ones(shape) for name, shape in subject.shapes.items()}
    for way, runs in zip(both_ways([subject]), ([], ["reference"]), strict=True):
        way.forward(device("cpu"), inputs)
        assert ran == runs
    assert "without kernels" in way.name


def test_some_gradients_alone():
    (subject,) = gradients_of("Wb", [of_layer(Dense(2), (3,))])
    inputs = {name: np.ones(shape) for name, shape in subject.shapes.items()}
    value, cache = subject.forward(device("cpu"), inputs)
    assert set(subject.backward(value, cache)) == {"W", "b"}
