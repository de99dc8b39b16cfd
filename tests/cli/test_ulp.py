"""`mathdl ulp`: it measures, compares with what is assumed, and stores."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mathdl.cli import ulp
from mathdl.parity.ulp import FUNCTIONS
from mathdl_backends import permuted

SMALL = "0.00005"


def test_the_functions_are_those_that_can_be_measured():
    assert ulp.FUNCTIONS == FUNCTIONS


def test_in_words(mathdl):
    done = mathdl("ulp", "--share", SMALL, "--function", "exp", "--function", "log")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == ["function", "largest", "error", "(ulp)"]
    assert [line.split()[0] for line in lines[1:3]] == ["exp", "log"]
    assert all(line.endswith("ok") for line in lines[1:3])
    assert "every 20001th in the order of their bits · cpu: numpy" in lines[3]
    assert done.err == ""


def test_as_json(mathdl):
    done = mathdl("ulp", "--share", SMALL, "--function", "sqrt", "--json")
    found = json.loads(done.out)
    assert found["library"] == f"numpy {np.__version__}"
    assert [each["function"] for each in found["functions"]] == ["sqrt"]
    assert found["functions"][0]["holds"] is True
    assert found["functions"][0]["ulp"] <= found["functions"][0]["assumed"] == 0.5


@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_a_function_that_is_worse_than_assumed(mathdl, json_):
    with permuted.faulty(tanh=lambda tanh, x: np.where(x.values == 0.5, np.nan, x.values)):
        done = mathdl("ulp", "--device", "permuted", "--share", SMALL, "--function", "tanh", *json_)
    assert done.status == 1
    if json_:
        assert json.loads(done.out)["functions"][0]["holds"] is False
    else:
        assert "WORSE" in done.out
        assert "tanh: worse than the bounds of `mathdl parity` assume" in done.out
        assert "--store" in done.out


def test_stored(mathdl):
    shipped = resources.files("mathdl_backends.rounding").joinpath("constants.json").read_text(encoding="utf-8")
    Path("constants.json").write_text(shipped, encoding="utf-8")
    for _ in range(2):
        done = mathdl("ulp", "--device", "strict", "--share", SMALL, "--function", "log1p", "--store", "constants.json")
        assert done.status == 0
    before, after = (json.loads(text)["functions"] for text in (shipped, Path("constants.json").read_text("utf-8")))
    record = after["log1p"]["float32"]["measured"]
    assert len(record) == len(before["log1p"]["float32"]["measured"]) + 1
    assert record[-1]["device"] == "strict"
    assert after["log1p"]["float32"]["bound"] >= record[-1]["ulp"] + 1  # a share of all numbers counts one ulp more
    assert after["exp"] == before["exp"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--share", "0"), "expected all, or a number in (0, 1]"),
        (("--share", "1.5"), "expected all, or a number in (0, 1]"),
        (("--function", "expp"), "Did you mean 'exp'"),
        (("--dtype", "float16"), "unknown dtype"),
        (("--device", "cpuu"), "unknown device"),
        (("--share", SMALL, "--function", "sqrt", "--store", "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_usage(mathdl, options, message):
    done = mathdl("ulp", *options)
    assert done.status == 2
    assert message in done.err


def test_all_is_every_number():
    assert ulp.share("all") == 1.0
