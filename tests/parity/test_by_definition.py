"""References by definition: they cover every shipped layer and loss, agree with float64, and see what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl import layers as md
from mathdl import losses as ml
from mathdl.parity.by_definition import ENTRIES, LAYERS, LOSSES, layer_references, loss_references
from mathdl.parity.cases import draw, spaced
from mathdl.parity.layer_runs import run_layer
from mathdl.parity.sides import open_side

CPU = open_side("cpu", "float64")


def test_every_layer_and_loss_has_a_definition():
    assert {kind.__name__ for kind in LAYERS} == set(md.__all__)
    assert set(LOSSES) == set(ml.LOSSES.values())


def dense():
    X, dA = spaced("float64", 3, 5, seed=(1,)), draw("float64", 3, 2, seed=(2,))
    return md.Dense(2), {"W": draw("float64", 5, 2, seed=(3,)), "b": draw("float64", 2, seed=(4,))}, X, dA


def test_a_linear_layer_by_differences_of_the_definition():
    layer, parameters, X, dA = dense()
    found = layer_references(layer, parameters, X, dA, True, 0)
    assert list(found) == ["A", "dX", "dW", "db"]
    exact = {"A": X @ parameters["W"] + parameters["b"], "dX": dA @ parameters["W"].T, "dW": X.T @ dA, "db": dA.sum(0)}
    for name, reference in found.items():
        expected = exact[name] if reference.where is None else [exact[name][index] for index in reference.where]
        assert np.all(np.abs(np.asarray(reference.value) - expected) <= reference.bound)
        assert np.all(np.asarray(reference.bound) < 1e-11)
    assert len(found["dX"].where) == ENTRIES


@pytest.mark.parametrize("layer", [md.GELU(), md.Softmax(), md.LayerNorm(), md.ELU(0.5)], ids=repr)
def test_other_layers_too_with_an_error_that_says_how_well(layer):
    X, dA = spaced("float64", 3, 6, seed=(1,)), draw("float64", 3, 6, seed=(2,))
    parameters = {name: draw("float64", 6, seed=(5,)) for name in layer.shapes((6,))[1]}
    found = layer_references(layer, parameters, X, dA, True, 0)
    shipped = CPU.run(lambda side: run_layer(layer, parameters, X, dA, side))
    for name, reference in found.items():
        actual = shipped[name] if reference.where is None else [shipped[name][index] for index in reference.where]
        assert np.all(np.abs(np.asarray(reference.value) - actual) <= reference.bound)
        assert np.all(np.asarray(reference.bound) < 1e-7)


def test_dropout_keeps_the_same_entries():
    X, layer = spaced("float64", 2, 50, seed=(1,)), md.Dropout(0.5)
    found = layer_references(layer, {}, X, np.ones_like(X), True, 7)
    shipped = CPU.run(lambda side: run_layer(layer, {}, X, np.ones_like(X), side, seed=7))
    np.testing.assert_array_equal(found["A"].value, shipped["A"])
    assert np.any(found["A"].value == 0)


def test_a_loss():
    P, Y = spaced("float64", 3, 4, seed=(1,)), np.array([0, 3, 1])
    found = loss_references(ml.CategoricalCrossEntropy(logits=True), P, Y, np.array([1.0, 2.0, 1.0]), 0)
    E = np.exp(P) / np.exp(P).sum(axis=1, keepdims=True)
    exact = (E - np.eye(4)[Y]) * np.array([[1.0], [2.0], [1.0]]) / 4
    for index, value, bound in zip(found["dP"].where, found["dP"].value, found["dP"].bound, strict=True):
        assert abs(value - exact[index]) <= bound < 1e-8


def test_what_is_not_of_the_house_has_no_definition():
    class Own(md.ReLU):
        pass

    assert layer_references(Own(), {}, np.ones((1, 2)), np.ones((1, 2)), True, 0) == {}


def test_a_number_of_the_layer_widens_the_reference_by_u():
    X = spaced("float32", 2, 8, seed=(1,))
    slope = layer_references(md.LeakyReLU(0.01), {}, X, np.ones_like(X), True, 0)["A"]
    exact = layer_references(md.LeakyReLU(1.0), {}, X, np.ones_like(X), True, 0)["A"]
    assert np.min(slope.bound - 2.0**-24 * np.abs(slope.value)) > 0
    assert np.max(exact.bound) < 1e-12
