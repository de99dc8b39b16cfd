"""Faults as data: what a file may hold, what is wrong with one, and that a fault is there in its context alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mathdl import arrays
from mathdl.errors import FileFormatError, UnknownNameError, UsageError
from mathdl.layers.dense import dense_forward
from mathdl.parity.faults import Edit, Fault, built_in, read_faults


def fault(functions=None, edits=()):
    return Fault("x", "", functions or {}, tuple(Edit(*edit) for edit in edits))


def test_those_that_ship():
    names = [fault.name for fault in built_in()]
    for name in (
        "TF32",
        "bfloat16",
        "float16 sums",
        "fast exp",
        "flush to zero",
        "last tie",
        "ties shared",
        "wrong stride",
    ):
        assert name in names
    for name in ("flipped kernel", "missing 1/B", "dropped bias", "stale tensor", "silent float64", "reordered runs"):
        assert name in names
    assert {fault.name for fault in built_in() if fault.verdict == "WARN"} == {"reordered runs"}
    assert all(fault.breaks and fault.expected for fault in built_in())


def test_an_edit_is_there_for_everybody_who_holds_the_function_and_then_undone():
    A, W, b = np.ones((1, 2)), np.ones((2, 1)), np.array([5.0])
    with fault(edits=[("mathdl.layers.dense", "Z += b", "Z -= b")]).in_place():
        assert dense_forward(A, W, b)[0] == -3
    assert dense_forward(A, W, b)[0] == 7


def test_an_edit_reaches_primitives_and_methods():
    from mathdl import layers as md
    from mathdl.layers.relu import relu_forward

    Z = np.array([-1.0, 2.0])
    with fault(edits=[("mathdl.layers.relu", "xp.maximum(Z, 0.0)", "xp.maximum(Z, 1.0)")]).in_place():
        np.testing.assert_array_equal(relu_forward(Z), [1.0, 2.0])
    with fault(edits=[("mathdl.layers.dense", "return (self.width,), {", "return (1 + self.width,), {")]).in_place():
        assert md.Dense(3).shapes((2,))[0] == (4,)
    assert md.Dense(3).shapes((2,))[0] == (3,)


def test_an_edit_is_undone_after_an_error():
    with (
        pytest.raises(ZeroDivisionError),
        fault(edits=[("mathdl.layers.dense", "Z += b", "Z /= 0 // 0")]).in_place(),
    ):
        dense_forward(np.ones((1, 2)), np.ones((2, 1)), np.array([5.0]))
    assert dense_forward(np.ones((1, 2)), np.ones((2, 1)), np.array([5.0]))[0] == 7


def test_functions_are_replaced_on_permuted_arrays_alone():
    permuted = arrays.device("permuted")
    with fault({"exp": "lambda healthy, x: healthy(x) * 2.0"}).in_place():
        assert arrays.to_host(permuted.namespace.exp(permuted.put(np.zeros(1)))) == 2
        assert arrays.device("cpu").namespace.exp(np.zeros(1)) == 1
    assert arrays.to_host(permuted.namespace.exp(permuted.put(np.zeros(1)))) == 1


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (fault({"exp": "lambda healthy, x: ("}), "not an expression that Python can read"),
        (fault({"exp": "3"}), "expected an expression for a function"),
        (fault({"expo": "lambda healthy, x: x"}), "unknown function or primitive 'expo'"),
        (fault(edits=[("mathdl.nowhere", "a", "b")]), "there is no module 'mathdl.nowhere'"),
        (fault(edits=[("mathdl.layers.dense", "no such text", "b")]), "this stands 0 times: no such text"),
        (fault(edits=[("mathdl.layers.dense", "dZ", "b")]), "times: dZ"),
        (fault(edits=[("mathdl.layers.dense", "Z += b", "Z += (")]), "is no Python"),
        (fault(edits=[("mathdl.layers.dense", "couples_instances", "width")]), "this stands 0 times"),
        (fault(edits=[("mathdl.layers.dense", "Z += b", "Z += b  # a comment")]), "changes no function"),
    ],
)
def test_a_fault_that_does_not_fit_says_why(broken, message):
    with pytest.raises((UsageError, UnknownNameError), match=message.replace("(", r"\(")), broken.in_place():
        pass


def read(tmp_path: Path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_faults(path)


def test_a_file_of_ones_own(tmp_path):
    (found,) = read(
        tmp_path, '[[faults]]\nname = "mine"\nfunctions = { exp = "lambda healthy, x: x" }\nverdict = "WARN"\n'
    )
    assert found == Fault("mine", "", {"exp": "lambda healthy, x: x"}, (), "", "WARN")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[faults]", "not a TOML file"),
        ("x = 1", "expected tables"),
        ("faults = []", "expected tables"),
        ('[[faults]]\nbreaks = "x"', "fault 1: expected a table with a name"),
        ('[[faults]]\nname = "a"', "expected functions or edits, got neither"),
        ('[[faults]]\nname = "a"\nfunctions = { exp = 3 }', "functions must be"),
        ('[[faults]]\nname = "a"\nedits = [{ module = "m" }]', "an edit must be"),
        ('[[faults]]\nname = "a"\nedits = "x"', "edits must be a list"),
        ('[[faults]]\nname = "a"\nfunction = {}', "unknown key 'function'"),
        ('[[faults]]\nname = "a"\nfunctions = { exp = "x" }\nverdict = "PASS"', "verdict must be FAIL or WARN"),
        ('[[faults]]\nname = "a"\nfunctions = { exp = "x" }\n' * 2, "two faults are called 'a'"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path, text, message):
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path, text)


def test_no_file(tmp_path):
    with pytest.raises(FileFormatError, match="no such file of faults"):
        read_faults(tmp_path / "none.toml")
