"""A layer by itself, as it runs inside of a network: the same address of randomness, the same state."""

from __future__ import annotations

import numpy as np

import mathdl as md
from mathdl.parity.layer_runs import Address, nested, run_layer, run_loss
from mathdl.parity.sides import open_side

CPU = open_side("cpu", "float64")


def test_the_address_is_that_of_the_network():
    net, X = md.Network([md.Flatten(), md.Dropout(0.5)]), np.ones((4, 30))
    params = net.initialize((30,), dtype="float64")
    A, _ = net.forward(params, X, training=True, seed=9, epoch=3, m=5)
    found = CPU.run(lambda side: run_layer(md.Dropout(0.5), {}, X, None, side, seed=9, at=Address(2, 3, 5)))
    np.testing.assert_array_equal(found["A"], A)
    elsewhere = CPU.run(lambda side: run_layer(md.Dropout(0.5), {}, X, None, side, seed=9, at=Address(2, 3, 6)))
    assert not np.array_equal(elsewhere["A"], A)


def test_a_state_is_used_outside_of_training():
    X = np.arange(6.0).reshape(3, 2)
    parameters = {"gamma": np.ones(2), "beta": np.zeros(2)}
    state = {"mean": np.array([1.0, 2.0]), "variance": np.full(2, 4.0)}
    layer = md.BatchNorm()
    found = CPU.run(lambda side: run_layer(layer, parameters, X, X, side, training=False, state=state))
    np.testing.assert_allclose(found["A"], (X - state["mean"]) / np.sqrt(4.0 + 1e-5))
    assert set(found) == {"A", "dX", "dgamma", "dbeta"}


def test_parameters_inside_a_residual_layer_go_by_their_path():
    layer, X = md.Residual([md.Dense(2)]), np.ones((1, 2))
    parameters = {"W[1]": np.eye(2), "b[1]": np.array([5.0, 7.0])}
    found = CPU.run(lambda side: run_layer(layer, parameters, X, X, side))
    np.testing.assert_array_equal(found["A"], [[7.0, 9.0]])
    assert set(found) == {"A", "dX", "dW[1]", "db[1]"}
    assert nested({1: {"W": (2, 2)}}, {"W[1]": 3}) == {1: {"W": 3}}


def test_a_loss_takes_the_weights_of_its_instances():
    P, Y, w = np.array([[1.0], [3.0]]), np.zeros((2, 1)), np.array([1.0, 3.0])
    found = CPU.run(lambda side: run_loss(md.MeanSquaredError(), P, Y, w, side))
    assert found["J"] == (1.0 + 3 * 9.0) / 4
    np.testing.assert_allclose(found["dP"], [[2 / 4], [3 * 6 / 4]])
