"""Hashes of data and weights: anything that is another thing has another hash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mathdl as md
from mathdl.cli import hashes
from mathdl.cli.hashes import data_hash, weights_hash
from mathdl.data import Table

TABLE = Table(np.arange(12.0).reshape(6, 2), np.arange(6))


@pytest.mark.parametrize(
    "other",
    [
        replace(TABLE, X=TABLE.X[::-1]),
        replace(TABLE, X=TABLE.X.reshape(6, 1, 2)),
        replace(TABLE, X=TABLE.X.astype("float32")),
        replace(TABLE, Y=TABLE.Y[::-1]),
        replace(TABLE, Y=None),
        replace(TABLE, test=TABLE),
        replace(TABLE, test=replace(TABLE, Y=None)),
    ],
)
def test_other_data_have_another_hash(other):
    assert data_hash(other) != data_hash(TABLE)


def test_the_same_data_have_the_same_hash(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", TABLE.X)
    mapped = replace(TABLE, X=np.load(tmp_path / "X.npy", mmap_mode="r"), source="elsewhere")
    expected = data_hash(TABLE)
    monkeypatch.setattr(hashes, "_ROWS_AT_A_TIME", 4)
    assert data_hash(mapped) == expected


def test_weights():
    net = md.Network([md.Dense(3), md.BatchNorm()])
    a, b = net.initialize((2,), seed=0), net.initialize((2,), seed=0)
    assert weights_hash(a) == weights_hash(b)
    b.state.vector[0] += 1
    assert weights_hash(a) != weights_hash(b)
    assert weights_hash(a) != weights_hash(net.initialize((2,), seed=1))
