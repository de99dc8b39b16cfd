"""Classes by name."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl.cli.classes import class_names, is_one_class_of_several, predicted_labels, width


def model(width, last, loss, classes=None):
    net = md.Network([md.Dense(width), *last])
    return md.Model(net, net.initialize((2,), seed=0), loss, classes=classes)


THREE = model(3, [md.Softmax()], md.CategoricalCrossEntropy())
NAMED = model(2, [md.Softmax()], md.CategoricalCrossEntropy(), ("no", "yes"))
BINARY = model(1, [md.Sigmoid()], md.BinaryCrossEntropy())
MANY = model(3, [md.Sigmoid()], md.BinaryCrossEntropy())
NUMBERS = model(3, [], md.MeanSquaredError())


def test_names():
    assert class_names(THREE) == ["0", "1", "2"]
    assert class_names(NAMED) == ["no", "yes"]
    assert class_names(BINARY) == ["0", "1"]


@pytest.mark.parametrize(
    ("of", "expected"), [(THREE, True), (NAMED, True), (BINARY, True), (MANY, False), (NUMBERS, False)]
)
def test_one_class_of_several(of, expected):
    assert is_one_class_of_several(of) is expected


def test_width():
    assert [width(of) for of in (THREE, BINARY)] == [3, 1]


@pytest.mark.parametrize(
    ("P", "labels"),
    [
        ([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], [1, 0]),
        ([0.5, 0.51, 0.0], [0, 1, 0]),
        ([[0.4], [0.6]], [0, 1]),
    ],
)
def test_predicted_labels(P, labels):
    assert predicted_labels(np.array(P)).tolist() == labels
