"""History: rows and columns."""

from __future__ import annotations

from math import isnan

import pytest

from mathdl.errors import UnknownNameError
from mathdl.training.history import History

ROWS = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 1.0}]


def test_rows_and_columns():
    history = History(ROWS)
    assert len(history) == 2
    assert list(history) == ROWS
    assert (history[0], history[-1], history[0:1]) == (ROWS[0], ROWS[1], ROWS[:1])
    assert history["loss"] == [0.5, 0.25]
    assert history.stopped is None


def test_a_column_is_nan_where_a_row_has_no_figure():
    first, second = History(ROWS)["val_loss"]
    assert isnan(first)
    assert second == 1.0


def test_unknown_columns():
    with pytest.raises(UnknownNameError, match=r"unknown figure 'val_los'. Did you mean 'val_loss'"):
        History(ROWS)["val_los"]


def test_an_empty_history():
    history = History()
    assert history["loss"] == []
    assert repr(history) == "<History of 0 epochs: empty>"
    with pytest.raises(IndexError):
        history[0]


def test_rows_are_its_own_list():
    rows = list(ROWS)
    History(rows).rows.append({})
    assert rows == ROWS


def test_repr():
    assert repr(History(ROWS)) == "<History of 2 epochs: epoch 2, loss 0.25, val_loss 1>"
