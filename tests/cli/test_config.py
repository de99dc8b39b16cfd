"""The options of a run: types, defaults, and the way to config.toml and back."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest
import tomli_w

from mathdl.cli.config import Config
from mathdl.errors import FileFormatError, UnknownNameError

ANOTHER = Config(
    data="table.csv",
    target="price",
    categorical=("zip", "year"),
    validation=0.25,
    test=0.5,
    no_standardize=True,
    model="net.toml",
    loss="huber",
    label_smoothing=0.1,
    class_weight="balanced",
    epochs=7,
    batch_size=8,
    optimizer="sgd",
    learning_rate=0.25,
    schedule="step",
    warmup=1.5,
    momentum=0.5,
    weight_decay=0.125,
    clip_norm=2.0,
    patience=3,
    device="cpu",
    dtype="float64",
    seed=2**63 - 1,
    workers=2,
)


@pytest.mark.parametrize("config", [Config(), ANOTHER])
def test_to_toml_and_back(config):
    assert Config.from_dict(tomllib.loads(tomli_w.dumps(config.to_dict()))) == config


def test_the_other_config_differs_in_every_option():
    assert [f.name for f in fields(Config) if getattr(ANOTHER, f.name) == getattr(Config(), f.name)] == []


def test_an_unknown_option():
    with pytest.raises(UnknownNameError, match=r"unknown option 'epoch'\. Did you mean 'epochs'\?"):
        Config.from_dict({"epoch": 3})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "3", "an int"),
        ("epochs", 3.0, "an int"),
        ("epochs", True, "an int"),
        ("validation", "0.1", "a number"),
        ("data", 3, "a string"),
        ("no_standardize", 1, "true or false"),
        ("categorical", "zip", "a list of strings"),
        ("categorical", [1], "a list of strings"),
    ],
)
def test_a_wrong_type(name, value, expected):
    with pytest.raises(FileFormatError, match=f"option {name}: expected {expected}, found"):
        Config.from_dict({name: value})


def test_a_whole_number_is_a_number():
    assert Config.from_dict({"warmup": 2}).warmup == 2


@pytest.mark.parametrize(
    ("given", "decided"),
    [
        ({}, {"epochs": 40, "learning_rate": 0.002, "momentum": 0.0, "weight_decay": 1.5}),
        ({"model": "cnn"}, {"epochs": 25, "learning_rate": 0.002, "weight_decay": 0.0}),
        ({"optimizer": "sgd"}, {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0}),
        ({"optimizer": "adam"}, {"learning_rate": 0.002, "momentum": 0.0, "weight_decay": 0.0}),
        ({"learning_rate": 0.5}, {"learning_rate": 0.5, "weight_decay": 0.006}),
        ({"optimizer": "sgd", "momentum": 0.0}, {"momentum": 0.0}),
        ({"weight_decay": 0.0}, {"weight_decay": 0.0}),
        ({"epochs": 3, "loss": "huber"}, {"epochs": 3, "loss": "huber"}),
    ],
)
def test_defaults(given, decided):
    config = Config(**given).with_defaults(is_classification=True, rows=1000)
    assert {name: getattr(config, name) for name in decided} == decided


def test_the_data_decide_the_loss():
    assert Config().with_defaults(is_classification=True, rows=9).loss == "categorical_cross_entropy"
    assert Config().with_defaults(is_classification=False, rows=9).loss == "mean_squared_error"


@pytest.mark.parametrize("rows", [1, 2, 20])
@pytest.mark.parametrize("rate", [0.002, 1.0, 30.0])
def test_no_step_takes_more_than_a_tenth_of_a_weight(rows, rate):
    config = Config(learning_rate=rate).with_defaults(is_classification=True, rows=rows)
    assert config.learning_rate * config.weight_decay <= 0.1 + 1e-4
