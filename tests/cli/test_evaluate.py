"""`mathdl evaluate`: the same figures as run.json, and tables that add up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import mathdl as md
from mathdl.cli.config import Config
from mathdl.cli.parts import cut
from mathdl.data import load


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": "diabetes", "model": "flat.toml"},
    ],
)
def test_the_figures_are_those_of_the_run(train, mathdl, report, options):
    train(**options)
    figures = report()["test"]
    done = mathdl("evaluate", "run", "--json")
    assert done.status == 0
    assert json.loads(done.out) == {"rows": report()["rows"]["test"], **figures}
    named = mathdl("evaluate", "run", "--data", options.get("data", "digits"), "--json")
    assert named.out == done.out
    text = mathdl("evaluate", "run").out
    assert f"loss {figures['loss']:.4f}, " in text


def test_tables(train, mathdl):
    train()
    lines = mathdl("evaluate", "run").out.splitlines()
    rows = cut(load("digits"), Config())["test"].table
    predicted = md.load("run/model.safetensors").predict(rows.X).argmax(axis=1)
    assert lines[3].split() == ["class", "rows", "precision", "recall", "F1"]
    columns = zip(*precision_recall_fscore_support(rows.Y, predicted, zero_division=0.0), strict=True)
    for c, (precision, recall, f1, count) in enumerate(columns):
        expected = [str(c), str(count), f"{precision:.4f}", f"{recall:.4f}", f"{f1:.4f}"]
        assert lines[4 + c].split() == expected
    matrix = [[int(entry) for entry in line.split()[1:]] for line in lines[-10:]]
    np.testing.assert_array_equal(matrix, confusion_matrix(rows.Y, predicted))


def test_classes_are_called_as_in_the_data(train, mathdl, table):
    train(data=table(), model="flat.toml")
    lines = mathdl("evaluate", "run").out.splitlines()
    assert [line.split()[0] for line in lines[4:6]] == ["no", "yes"]
    assert lines[7].split() == ["is", "\\", "predicted", "no", "yes"]


def test_two_classes_by_one_node(train, mathdl, table):
    train("--loss", "binary_cross_entropy", data=table(), model="flat.toml")
    lines = mathdl("evaluate", "run").out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["no", "yes"]
    assert sum(int(entry) for line in lines[-2:] for entry in line.split()[1:]) == 12


def test_numbers_have_no_tables(train, mathdl):
    train(data="diabetes", model="flat.toml")
    done = mathdl("evaluate", "run")
    assert (done.status, len(done.out.splitlines())) == (0, 2)


def test_other_data(train, mathdl, table):
    train(data=table(), model="flat.toml")
    done = mathdl("evaluate", "run", "--data", table("other.csv", rows=9, start=1), "--json")
    assert json.loads(done.out)["rows"] == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nothing.csv"], "unknown data set"),
        (["--data", "diabetes"], "X (B, 8, 8, 1) expected"),
        (["--part", "tests"], "unknown part 'tests'. Did you mean 'test'?"),
        (["--dat", "digits"], "unknown option '--dat'. Did you mean '--data'?"),
        (["--device", "cuda:x"], "'cuda:x'"),
    ],
)
def test_wrong_usage(train, mathdl, options, message):
    train(epochs=1)
    done = mathdl("evaluate", "run", *options)
    assert done.status == 2
    assert message in done.err
    assert done.out == ""


def test_data_without_targets(train, mathdl, table):
    train(data=table(), model="flat.toml")
    done = mathdl("evaluate", "run", "--data", table("new.csv", target=None))
    assert done.status == 2
    assert "no targets to compare with; say which they are with --target" in done.err


def test_an_unfinished_run(mathdl, train):
    train()
    Path("run/model.safetensors").unlink()
    done = mathdl("evaluate", "run")
    assert (done.status, done.out) == (2, "")
    assert "has not ended" in done.err
