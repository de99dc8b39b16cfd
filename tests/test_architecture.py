"""Layers as records: what is written is read back, and what no record may say is refused with its place."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields

import numpy as np
import pytest

from mathdl import layers as md
from mathdl.architecture import (
    KINDS,
    kinds_with,
    layer_from_dict,
    layer_to_dict,
    layers_from_dicts,
    record_from_dict,
    record_to_dict,
)
from mathdl.errors import FileFormatError, UnknownNameError, UsageError
from mathdl.initializers import INITIALIZERS, constant, he_normal, normal
from mathdl.layers.layer import Layer
from mathdl.losses import LOSSES
from mathdl.optimizers import SGD
from mathdl.schedules import Cosine, LinearWarmup

ARGUMENTS = {
    "width": 3,
    "channels": 4,
    "kernel": 3,
    "size": 2,
    "rate": 0.25,
    "shape": (2, 3),
    "activation": md.Tanh(),
    "layers": (md.Dense(2), md.ReLU()),
}
"""A value for every field of a built-in layer that has no default."""


def example(kind):
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    return kind(**{name: ARGUMENTS[name] for name in needed})


def round_trip(layer, kinds=KINDS):
    return layer_from_dict(json.loads(json.dumps(layer_to_dict(layer))), kinds)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_built_in_layer_comes_back(name):
    layer = example(KINDS[name])
    assert round_trip(layer) == layer


@pytest.mark.parametrize(
    "layer",
    [
        md.Dense(3, bias=False, l1=0.1, l2=2, trainable=False),
        md.Dense(3, initializer=he_normal()),
        md.Dense(3, initializer=normal(deviation=0.2)),
        md.Perceptron(md.LeakyReLU(0.2), initializer=constant(0.5)),
        md.Residual([md.Dense(4), md.Residual([md.ReLU()])], shortcut=[md.Dense(4)]),
        md.Conv2D(8, (3, 5), stride=2, padding=((0, 1), (2, 3)), groups=2),
        md.Conv2D(8, 3, padding="same"),
    ],
    ids=repr,
)
def test_arguments_come_back(layer):
    assert round_trip(layer) == layer


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_every_initializer_comes_back(name):
    made = INITIALIZERS[name](*([0.5] if name == "constant" else []))
    assert round_trip(md.Dense(3, initializer=made)).initializer == made


def test_record_is_readable():
    record = layer_to_dict(md.Dense(3, initializer=normal(0.2)))
    assert record == {
        "kind": "Dense",
        "width": 3,
        "bias": True,
        "initializer": {"kind": "normal", "deviation": 0.2},
        "l1": 0.0,
        "l2": 0.0,
        "trainable": True,
    }


def test_an_initializer_may_be_a_name():
    assert layer_from_dict({"kind": "Dense", "width": 3, "initializer": "he_normal"}) == md.Dense(
        3, initializer=he_normal()
    )


@dataclass(frozen=True)
class Swish(Layer):
    beta: float = 1.0

    def forward(self, params, A, context):
        return A / (1.0 + np.exp(-self.beta * A)), A

    def backward(self, dA, cache, into, input_gradient=True):
        return dA, {}


def test_a_layer_of_ones_own():
    layer = md.Residual([Swish(2.0)])
    assert round_trip(layer, kinds_with([Swish])) == layer
    with pytest.raises(UnknownNameError, match="unknown layer 'Swish'"):
        round_trip(layer)


def test_own_layers_may_not_take_a_built_in_name():
    Dense = dataclass(frozen=True)(type("Dense", (Layer,), {}))
    with pytest.raises(UsageError, match="rename yours"):
        kinds_with([Dense])
    with pytest.raises(UsageError, match="rename yours"):
        layer_to_dict(Dense())


def test_own_layers_must_be_dataclasses():
    Plain = type("Plain", (Layer,), {})
    with pytest.raises(UsageError, match="Plain must be a dataclass"):
        kinds_with([Plain])
    with pytest.raises(UsageError, match="Plain must be a dataclass"):
        layer_to_dict(Plain())


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"kind": "Dens", "width": 3}, UnknownNameError, "unknown layer 'Dens'. Did you mean 'Dense'"),
        ({"kind": "Dense", "widht": 3}, UnknownNameError, "unknown argument of Dense 'widht'. Did you mean 'width'"),
        ({"kind": "Dense"}, UsageError, "Dense needs width"),
        ({"kind": "Dense", "width": "ten"}, UsageError, "width must be an int ≥ 1, got 'ten'"),
        ({"kind": "Dense", "width": 3, "initializer": "he"}, UnknownNameError, "unknown initializer 'he'"),
        ({"kind": "Dense", "width": 3, "initializer": {"kind": "eval"}}, UnknownNameError, "unknown kind 'eval'"),
        (
            {"kind": "Dense", "width": 3, "initializer": {"kind": "normal", "sd": 1}},
            UnknownNameError,
            "unknown argument of normal 'sd'",
        ),
        ({"width": 3}, FileFormatError, "expected a table with a kind"),
        ("Dense", FileFormatError, "expected a table with a kind"),
        ({"kind": ["Dense"]}, FileFormatError, "expected a table with a kind"),
    ],
)
def test_what_no_record_may_say(record, error, message):
    with pytest.raises(error, match=message):
        layer_from_dict(record)


@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_records_of_other_things(kind):
    made = LOSSES[kind]()
    assert record_from_dict(record_to_dict(made), {type(made).__name__: type(made)}) == made


def test_records_within_records():
    made = SGD(LinearWarmup(2, then=Cosine(0.1, 10)), momentum=0.9)
    kinds = {kind.__name__: kind for kind in (SGD, LinearWarmup, Cosine)}
    assert record_from_dict(json.loads(json.dumps(record_to_dict(made))), kinds) == made


def test_errors_name_the_place():
    inside = {"kind": "Residual", "layers": [{"kind": "ReLU"}], "shortcut": [{"kind": "ReLU"}, {"kind": "Rel"}]}
    with pytest.raises(UnknownNameError, match=r"in layer l = 2\.3$"):
        layers_from_dicts([{"kind": "ReLU"}, inside])
    with pytest.raises(UnknownNameError, match=r"in layer l = 1$"):
        layers_from_dicts([{"kind": "Rel"}])


def test_layers_must_be_a_list():
    with pytest.raises(FileFormatError, match="expected a list of layers, found 3"):
        layers_from_dicts(3)
