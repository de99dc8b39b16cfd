"""The cut of the data into parts, each of which knows its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mathdl.cli.config import Config
from mathdl.cli.parts import PARTS, cut, own_test, whole
from mathdl.data import Encoding, Table, load
from mathdl.errors import DataError

PUBLISHED = Table(np.ones((5, 2)), np.arange(5.0), Encoding(kind="regression"))
NUMBERS = Table(np.arange(40.0).reshape(20, 2), np.arange(20.0), Encoding(kind="regression"))


def test_each_row_is_in_one_part_and_the_part_knows_it():
    parts = cut(NUMBERS, Config(validation=0.2, test=0.3))
    assert {name: len(part) for name, part in parts.items()} == {"train": 10, "validation": 4, "test": 6}
    assert sorted(np.concatenate([part.rows for part in parts.values()]).tolist()) == list(range(20))
    for part in parts.values():
        np.testing.assert_array_equal(part.table.X, NUMBERS.X[part.rows])
        np.testing.assert_array_equal(part.table.Y, NUMBERS.Y[part.rows])


def test_classes_keep_their_share():
    table = load("digits")
    for part in cut(table, Config()).values():
        shares = np.bincount(part.table.Y, minlength=10) / len(part)
        assert np.abs(shares - np.bincount(table.Y) / len(table)).max() < 0.01


def test_the_seed_decides():
    rows = [cut(NUMBERS, Config(seed=seed))["test"].rows.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_a_published_test_part_is_kept():
    parts = cut(replace(NUMBERS, test=PUBLISHED), Config(validation=0.25, test=0.5))
    assert {name: len(part) for name, part in parts.items()} == {"train": 15, "validation": 5, "test": 5}
    assert parts["test"].table is PUBLISHED
    assert tuple(parts) == PARTS


def test_a_published_part_without_targets_cannot_be_tested_on():
    table = replace(NUMBERS, test=replace(PUBLISHED, Y=None))
    assert own_test(table) is None
    assert len(cut(table, Config(test=0.5))["test"]) == 10


def test_no_part_is_empty_unless_asked():
    parts = cut(NUMBERS, Config(validation=0.0, test=0.0))
    assert [len(parts[name]) for name in PARTS] == [20, 0, 0]


def test_all_rows():
    assert whole(NUMBERS).rows.tolist() == list(range(20))
    assert len(whole(NUMBERS)) == 20


def test_no_targets():
    with pytest.raises(DataError, match="no targets to train on; say which they are with --target"):
        cut(replace(NUMBERS, Y=None), Config())
