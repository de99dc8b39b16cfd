"""`mathdl summary`: the figures of every layer, those of inner layers, and the totals."""

from __future__ import annotations

import json

import pytest

from mathdl import cli
from mathdl import layers as md
from mathdl.cli.summary import describe, memory

RESIDUAL = """
[[layers]]
kind = "Residual"
[[layers.layers]]
kind = "Dense"
width = 20
[[layers.layers]]
kind = "ReLU"
[[layers.shortcut]]
kind = "Dense"
width = 20
bias = false
"""


@pytest.fixture
def residual(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text(RESIDUAL)
    return str(path)


def summary(capsys, *argv):
    assert cli.main(["summary", *argv]) == 0
    return capsys.readouterr().out


def test_figures(capsys):
    lines = json.loads(summary(capsys, "mlp", "--input-shape", "8,8,1", "--outputs", "10", "--json"))
    assert [line["layer"] for line in lines[:2]] == ["Flatten()", "Dense(256)"]
    dense = lines[1]
    assert dense["path"] == [2]
    assert dense["shape"] == [256]
    assert dense["n"] == 256
    assert dense["parameters"] == 64 * 256 + 256
    assert dense["multiply_adds"] == 64 * 256
    assert dense["bytes"] == 4 * 256


def test_layout(capsys):
    out = summary(capsys, "mlp", "--input-shape", "8x8x1", "--outputs", "10", "--batch-size", "64").splitlines()
    assert out[0].split() == ["l", "layer", "A^[l]", "n^[l]", "parameters", "multiply-adds", "memory"]
    assert out[1].split() == ["0", "X", "A^[0]", "8", "×", "8", "×", "1", "64", "256", "B"]
    assert out[3].split() == ["2", "Dense(256)", "A^[2]", "256", "256", "16,640", "16,384", "1.0", "KiB"]
    parameters = 64 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
    assert out[-2].split()[:4] == ["L", "=", "9", f"{parameters:,}"]
    assert out[-1].startswith("B = 64: activations ")


def test_float64_takes_twice_the_memory(capsys):
    argv = ("mlp", "--input-shape", "16", "--outputs", "2", "--json")
    single, double = (json.loads(summary(capsys, *argv, "--dtype", dtype)) for dtype in ("float32", "float64"))
    assert [2 * line["bytes"] for line in single] == [line["bytes"] for line in double]


def test_inner_layers_are_listed_and_counted_once(residual, capsys):
    lines = json.loads(summary(capsys, residual, "--input-shape", "7", "--json"))
    assert [line["path"] for line in lines] == [[1], [1, 1], [1, 2], [1, 3]]
    assert [line["parameters"] for line in lines] == [160 + 140, 160, 0, 140]
    assert [line["shape"] for line in lines] == [[20]] * 4
    out = summary(capsys, residual, "--input-shape", "7").splitlines()
    assert out[-1].split()[:4] == ["L", "=", "1", "300"]
    assert out[3].split()[:2] == ["1.1", "Dense(20)"]


def test_shapes_that_do_not_fit_name_the_layer(residual, capsys):
    assert cli.main(["summary", residual, "--input-shape", "7,7,1"]) == 2
    assert "in layer l = 1" in capsys.readouterr().err


def test_an_unknown_task_is_met_with_the_nearest(capsys):
    assert cli.main(["summary", "mlp", "--input-shape", "4", "--task", "categorial"]) == 2
    assert "unknown task 'categorial'. Did you mean 'categorical'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (md.ReLU(), "ReLU()"),
        (md.Dense(3), "Dense(3)"),
        (md.Dense(3, bias=False, l2=0.1), "Dense(3, bias=False, l2=0.1)"),
        (md.Residual([md.ReLU()]), "Residual(…)"),
    ],
    ids=repr,
)
def test_describe(layer, text):
    assert describe(layer) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (2**42, "4096.0 GiB")],
)
def test_memory(count, text):
    assert memory(count) == text
