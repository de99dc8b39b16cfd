"""The package: its public names, what `import mathdl` imports, its typing marks, its version."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import is_dataclass
from importlib import resources
from importlib.metadata import metadata, version

import pytest

import mathdl as md
import mathdl_backends
from mathdl import layers, losses
from mathdl.architecture import KINDS

NAMES = [
    "Network",
    "Parameters",
    "Trainer",
    "Model",
    "EarlyStopping",
    "load",
    "Layer",
    "Context",
    "Dense",
    "Perceptron",
    "Conv1D",
    "Conv2D",
    "MaxPool1D",
    "MaxPool2D",
    "AveragePool1D",
    "AveragePool2D",
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "Sigmoid",
    "Tanh",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softplus",
    "SiLU",
    "GELU",
    "Softmax",
    "LogSoftmax",
    "Flatten",
    "Reshape",
    "Dropout",
    "BatchNorm",
    "LayerNorm",
    "Residual",
    "CategoricalCrossEntropy",
    "BinaryCrossEntropy",
    "MeanSquaredError",
    "MeanAbsoluteError",
    "Huber",
    "Poisson",
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "check_gradients",
    "data",
    "errors",
    "initializers",
    "metrics",
    "parity",
    "schedules",
]


def imported_by(statement):
    """The top-level modules that a fresh interpreter has imported after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    return set(json.loads(done.stdout))


def test_public_names():
    assert set(md.__all__) == set(NAMES)
    assert all(hasattr(md, name) for name in NAMES)


def test_every_layer_and_loss_is_public():
    assert set(layers.__all__) == set(KINDS) <= set(NAMES)
    assert all(is_dataclass(KINDS[name]) for name in KINDS)
    assert {kind.__name__ for kind in losses.LOSSES.values()} <= set(NAMES)


def test_public_things_say_what_they_are():
    assert [name for name in NAMES if not getattr(md, name).__doc__] == []


@pytest.mark.parametrize(
    "absent",
    ["cupy", "array_api_strict", "scipy", "sklearn", "hypothesis", "pytest", "rich", "safetensors", "sympy", "tomli_w"],
)
def test_import_brings_nothing_that_it_does_not_need(absent):
    assert absent not in EXTRA_MODULES


EXTRA_MODULES = imported_by("import mathdl") - imported_by("import numpy")


@pytest.mark.parametrize("package", [md, mathdl_backends])
def test_marked_as_typed(package):
    assert resources.files(package).joinpath("py.typed").is_file()


def test_version():
    assert md.__version__ == "0.1.0"


def test_the_installed_package_has_this_version():
    assert version("mathdl") == md.__version__
    assert metadata("mathdl")["Requires-Python"] == ">=3.11"
