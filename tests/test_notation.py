"""Notation: names of parameters, addresses of activations, shapes, and a glossary that stays true."""

from __future__ import annotations

import pytest

from mathdl.notation import GLOSSARY, A_text, activation, flat_name, shape_text, split_name


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [("W", (3, 1), "W[3.1]"), ("b", (2,), "b[2]"), ("W", (), "W"), ("mean", (10, 2, 1), "mean[10.2.1]")],
)
def test_flat_name(name, path, text):
    assert flat_name(name, path) == text
    assert split_name(text) == (name, path)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ((2, 17, 4), "A[2]{17}(4)"),
        ((2, 17), "A[2]{17}"),
        ((2,), "A[2]"),
        ((0, 0, 0), "A[0]{0}(0)"),
        (((3, 1), 17, 4), "A[3.1]{17}(4)"),
        ((2, None, 4), "A[2](4)"),
    ],
)
def test_activation(address, text):
    assert activation(*address) == text


def test_activation_of_another_name():
    assert activation(2, 17, name="dA") == "dA[2]{17}"


@pytest.mark.parametrize(
    ("shape", "text"), [((28, 28, 1), "28 × 28 × 1"), ((784,), "784"), ((4, 4, 2, 3), "4 × 4 × 2 × 3"), ((), "1")]
)
def test_shape_text(shape, text):
    assert shape_text(shape) == text


def test_A_text():
    assert A_text(1, (28, 28, 32)) == "A^[1] 28 × 28 × 32"
    assert A_text((3, 1), (10,)) == "A^[3.1] 10"


def test_glossary_says_each_thing_once():
    assert len({entry.written for entry in GLOSSARY}) == len(GLOSSARY)
    assert all(all(entry) for entry in GLOSSARY)
    assert {"A^{[l]{m}(i)}", "L", "n^{[l]}", "∂J/∂X", "B"} <= {entry.written for entry in GLOSSARY}
