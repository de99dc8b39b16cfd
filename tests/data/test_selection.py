"""Rows of a file: read when asked for, the same as the rows of an array in memory, through a whole training."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl.data.selection import SelectedRows, is_on_file, taken
from mathdl.data.table import Table
from support import normal


@pytest.fixture
def on_file(tmp_path):
    np.save(tmp_path / "X.npy", normal(40, 3, 2, dtype="float32"))
    return np.load(tmp_path / "X.npy", mmap_mode="r")


ROWS = np.array([7, 3, 30, 31, 2])


@pytest.mark.parametrize(
    "key", [slice(1, 4), np.array([4, 0]), 2, (slice(0, 2), ...), (np.array([1, 2]), 0), (1, 2, 0), slice(None)]
)
def test_reads_what_the_array_would_hold(on_file, key):
    found = SelectedRows(on_file, ROWS)[key]
    assert not isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, np.asarray(on_file)[ROWS][key])


def test_is_an_array_that_is_not_read(on_file):
    selected = SelectedRows(on_file, ROWS)
    assert (selected.shape, selected.ndim, selected.dtype, len(selected)) == ((5, 3, 2), 3, on_file.dtype, 5)
    np.testing.assert_array_equal(np.asarray(selected), on_file[ROWS])


def test_taking_rows_of_rows(on_file):
    selected = taken(taken(on_file, ROWS), np.array([4, 1]))
    assert isinstance(selected, SelectedRows)
    np.testing.assert_array_equal(selected[:], on_file[[2, 3]])
    np.testing.assert_array_equal(taken(np.asarray(on_file), ROWS), on_file[ROWS])


def test_what_lies_on_a_file(on_file):
    assert is_on_file(on_file)
    assert is_on_file(taken(on_file, ROWS))
    assert not is_on_file(np.asarray(on_file))


def test_a_table_leaves_its_rows_in_the_file(on_file):
    part = Table(on_file, np.arange(40)).take(ROWS)
    assert isinstance(part.X, SelectedRows)
    np.testing.assert_array_equal(part.Y, ROWS)


def test_trains_to_the_same_bits_as_in_memory(on_file):
    Y, rows = np.arange(40) % 3, np.arange(5, 38)

    def train(X):
        net = md.Network([md.Flatten(), md.Dense(4), md.ReLU(), md.Dense(3), md.Softmax()])
        trainer = md.Trainer(net, batch_size=7, device="cpu", standardize=True)
        trainer.fit(X, Y[rows], epochs=2, validation_data=(X, Y[rows]))
        return trainer.params.vector, trainer.predict(X), trainer.evaluate(X, Y[rows]), trainer.minibatches[1]

    for found, expected in zip(train(taken(on_file, rows)), train(np.asarray(on_file)[rows]), strict=True):
        np.testing.assert_equal(found, expected)


def test_what_is_not_finite_is_named_by_its_row(tmp_path):
    A = normal(10, 2)
    A[6, 1] = np.nan
    np.save(tmp_path / "X.npy", A)
    X = taken(np.load(tmp_path / "X.npy", mmap_mode="r"), np.array([3, 6, 7]))
    with pytest.raises(md.errors.DataError, match=r"X\[1, 1\] is nan: row 1"):
        md.data.as_arrays(X)
