"""`mathdl predict`: the table that it writes says what the model says."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

import mathdl as md
from mathdl.cli.config import Config
from mathdl.cli.parts import cut
from mathdl.data import load


@pytest.fixture
def predicted(mathdl):
    """The columns of the predictions, by name."""

    def run(*options):
        done = mathdl("predict", "run", *options)
        assert done.status == 0, done.err
        lines = list(csv.reader(io.StringIO(done.out)))
        return dict(zip(lines[0], zip(*lines[1:], strict=True), strict=True))

    return run


def model():
    return md.load("run/model.safetensors")


def test_classes(train, predicted):
    train()
    columns, digits = predicted(), load("digits")
    P = model().predict(digits.X)
    assert list(columns) == ["row", "predicted", *(f"p({c})" for c in range(10)), "target"]
    assert list(columns["row"]) == [str(i) for i in range(1797)]
    assert list(columns["predicted"]) == P.argmax(axis=1).astype(str).tolist()
    assert list(columns["target"]) == digits.Y.astype(str).tolist()
    for c in range(10):
        np.testing.assert_array_equal(np.array(columns[f"p({c})"], dtype="float32"), P[:, c])  # to the bit


def test_numbers_in_their_units(train, predicted):
    train(data="diabetes", model="flat.toml")
    columns, diabetes = predicted(), load("diabetes")
    assert list(columns) == ["row", "predicted", "target"]
    P = model().predict(diabetes.X)
    np.testing.assert_array_equal(np.array(columns["predicted"], dtype="float32"), P)
    assert 50 < P.mean() < 250
    np.testing.assert_array_equal(np.array(columns["target"], dtype=float), diabetes.Y)


def test_rows_are_counted_in_the_data(train, predicted):
    train(data="diabetes", model="flat.toml")
    columns, part = predicted("--part", "test"), cut(load("diabetes"), Config())["test"]
    assert list(columns["row"]) == [str(i) for i in part.rows]
    np.testing.assert_array_equal(np.array(columns["target"], dtype=float), part.table.Y)


def test_names_of_classes(train, predicted, table):
    train("--batch-size", 8, data=table(rows=200), model="flat.toml", epochs=15)
    columns = predicted("--data", table("new.csv", rows=50, start=1))
    assert list(columns) == ["row", "predicted", "p(no)", "p(yes)", "target"]
    assert set(columns["predicted"]) == set(columns["target"]) == {"no", "yes"}
    hits = np.mean(np.array(columns["predicted"]) == np.array(columns["target"]))
    assert hits > 0.7


def test_two_classes_by_one_node(train, predicted, table):
    train("--loss", "binary_cross_entropy", data=table(), model="flat.toml")
    columns = predicted()
    assert list(columns) == ["row", "predicted", "p(yes)", "target"]
    yes = np.array(columns["p(yes)"], dtype=float) > 0.5
    assert list(columns["predicted"]) == np.where(yes, "yes", "no").tolist()


def test_without_targets(train, predicted, table):
    train(data=table(), model="flat.toml")
    columns = predicted("--data", table("new.csv", rows=3, target=None))
    assert list(columns) == ["row", "predicted", "p(no)", "p(yes)"]
    assert len(columns["row"]) == 3


def test_several_numbers(train, predicted):
    random = np.random.default_rng(0)
    np.savez("data.npz", X=random.normal(size=(40, 3)), Y=random.normal(size=(40, 2)))
    train(data="data.npz", model="flat.toml")
    columns = predicted()
    assert list(columns) == ["row", "predicted_0", "predicted_1", "target_0", "target_1"]
    P = model().predict(load("data.npz").X)
    np.testing.assert_array_equal(np.array(columns["predicted_1"], dtype="float32"), P[:, 1])
    np.testing.assert_array_equal(np.array(columns["target_1"], dtype=float), load("data.npz").Y[:, 1])


def test_several_answers_of_yes_or_no(train, predicted):
    random = np.random.default_rng(0)
    X = random.normal(size=(40, 3))
    np.savez("data.npz", X=X, Y=(X > 0).astype(int))
    train("--loss", "binary_cross_entropy", data="data.npz", model="flat.toml")
    columns = predicted()
    names = [f"{what}_{j}" for what in ("predicted", "p", "target") for j in range(3)]
    assert list(columns) == ["row", *names]
    for j in range(3):
        assert [float(p) > 0.5 for p in columns[f"p_{j}"]] == [word == "1" for word in columns[f"predicted_{j}"]]


def test_to_a_file(train, mathdl, predicted):
    train()
    text = mathdl("predict", "run").out
    done = mathdl("predict", "run", "--out", "predictions.csv")
    assert Path("predictions.csv").read_text(encoding="utf-8") == text
    assert "1797 predictions in predictions.csv" in done.out


@pytest.mark.parametrize(
    ("out", "message"),
    [("run", "run is a folder: give the name of a file"), ("no/where.csv", "there is no folder no")],
)
def test_where_no_file_can_be(train, mathdl, out, message):
    train(epochs=1)
    done = mathdl("predict", "run", "--out", out)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
