"""Which model and which rows are meant."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import mathdl as md
from mathdl.cli.config import Config
from mathdl.cli.model_data import open_model_and_data
from mathdl.cli.parts import cut
from mathdl.data import load
from mathdl.errors import DataError, FileFormatError, UsageError


def opened(run="run", part="test", **options):
    given = {"data": None, "target": None, "part": None, "device": "cpu", **options}
    return open_model_and_data(Namespace(run=run, **given), part)


def rows_of(name, data, **options):
    return cut(load(data), Config(**options))[name].rows


@pytest.fixture
def trained_on_a_table(train, table):
    train("--seed", 3, data=table(), model="flat.toml")


def test_the_runs_own_data(train):
    train("--seed", 3)
    for data in (None, "digits"):
        model, part, source = opened(data=data)
        np.testing.assert_array_equal(part.rows, rows_of("test", "digits", seed=3))
        np.testing.assert_array_equal(part.table.X, load("digits").X[part.rows])
        assert source.endswith("; its test rows, as cut by seed 3")
        assert model.params.input_shape == (8, 8, 1)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_part_by_name(trained_on_a_table, name):
    part = opened(**{"data": None}, part=name).part
    np.testing.assert_array_equal(part.rows, rows_of(name, "table.csv", seed=3))
    assert opened(part="all").part.rows.tolist() == list(range(60))


def test_part_is_what_the_option_says(trained_on_a_table):
    given = Namespace(run="run", data=None, target=None, part="validation", device="cpu")
    assert len(open_model_and_data(given, "test").part) == 6


def test_the_same_data_in_another_place_are_the_runs_own(trained_on_a_table):
    """Else its training rows would count as new."""
    shutil.move("table.csv", "moved.csv")
    part = opened(data="moved.csv").part
    np.testing.assert_array_equal(part.rows, rows_of("test", "moved.csv", seed=3))


def test_a_model_file_knows_its_data_as_well(trained_on_a_table):
    shutil.move("run/model.safetensors", "model.safetensors")
    assert len(opened(run="model.safetensors").part) == 12


def test_other_data_are_taken_whole(trained_on_a_table, table):
    part, source = opened(data=table("other.csv", rows=9, start=1))[1:]
    assert part.rows.tolist() == list(range(9))
    assert source.startswith("other.csv: 9 rows")
    assert source.endswith("; all rows")


def test_data_that_have_changed_cannot_be_told_apart(trained_on_a_table, table):
    table(rows=61)
    for data in (None, "table.csv"):
        with pytest.raises(DataError, match=r"not the data that run was trained on .* use --part all"):
            opened(data=data)
        assert len(opened(data=data, part="all").part) == 61


def test_only_the_runs_own_data_have_parts(trained_on_a_table, table):
    given = Namespace(run="run", data=table("other.csv", start=1), target=None, part="test", device="cpu")
    with pytest.raises(DataError, match=r"its test rows cannot be told apart"):
        open_model_and_data(given, "test")


def test_a_part_without_rows(train):
    train("--test", 0)
    with pytest.raises(UsageError, match="has no test rows: it was trained with --test 0"):
        opened()


def test_categories_and_classes_are_read_as_in_training(trained_on_a_table):
    Path("new.csv").write_text("size,colour,age,answer\n0.5,red,1.5,yes\n", encoding="utf-8")
    part = opened(data="new.csv", target="answer").part
    np.testing.assert_array_equal(part.table.X, [[1.5, 0.0, 1.0, 0.5]])
    assert part.table.Y.tolist() == [1]
    assert opened(data="new.csv").part.table.Y is None
    Path("new.csv").write_text("size,colour,age\n0.5,green,1.5\n", encoding="utf-8")
    with pytest.raises(DataError, match="expected one of blue, red, got 'green'"):
        opened(data="new.csv")


def test_the_target_of_the_run_is_that_of_its_data(train):
    np.save("table.npy", np.random.default_rng(0).normal(size=(30, 4)))
    train("--target", 1, data="table.npy", model="flat.toml")
    for data in (None, "table.npy"):
        assert opened(data=data).part.table.X.shape == (6, 3)


def test_images_may_come_as_rows(train):
    train()
    np.savez("rows.npz", X=load("digits").X.reshape(-1, 64)[:5])
    np.testing.assert_array_equal(opened(data="rows.npz").part.table.X, load("digits").X[:5])


def test_a_model_that_was_not_trained_by_a_command(tmp_path, mathdl):
    trainer = md.Trainer(md.Network([md.Dense(1)]), loss="mean_squared_error")
    trainer.fit(np.eye(3), np.arange(3.0))
    trainer.model.save("model.safetensors")
    with pytest.raises(UsageError, match="does not say what it was trained on: give --data"):
        opened(run="model.safetensors")
    np.savez("data.npz", X=np.eye(3), Y=np.arange(3.0))
    assert len(opened(run="model.safetensors", data="data.npz").part) == 3


def test_what_is_no_run(train):
    with pytest.raises(FileFormatError, match="nowhere: no such run directory"):
        opened(run="nowhere")
    with pytest.raises(FileFormatError, match="not a run directory"):
        opened(run=".")
    with pytest.raises(FileFormatError, match=r"small\.toml: not a safetensors file"):
        opened(run="small.toml")
    train()
    Path("run/model.safetensors").unlink()
    with pytest.raises(
        FileFormatError, match=r"\(small.toml on digits\) has not ended.*: mathdl train --out run --resume"
    ):
        opened()
