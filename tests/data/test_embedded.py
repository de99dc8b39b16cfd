"""The embedded data sets equal scikit-learn's, are small, and say where they are from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

import mathdl.data
from mathdl.data import EMBEDDED, diabetes, digits, load

FOLDER = Path(mathdl.data.__file__).parent


def test_digits():
    table, expected = digits(), load_digits()
    assert (table.X.shape, table.X.dtype, table.Y.dtype) == ((1797, 8, 8, 1), np.dtype("uint8"), np.dtype("int64"))
    np.testing.assert_array_equal(table.X[..., 0], expected.images)
    np.testing.assert_array_equal(table.Y, expected.target)
    assert (table.kind, table.classes, table.outputs, len(table)) == ("classification", None, 10, 1797)


def test_diabetes():
    table, expected = diabetes(), load_diabetes(scaled=False)
    np.testing.assert_array_equal(table.X, expected.data)
    np.testing.assert_array_equal(table.Y, expected.target)
    assert table.features == tuple(expected.feature_names)
    assert (table.kind, table.target, table.outputs) == ("regression", "progression", 1)


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_they_are_small_and_documented(name):
    assert (FOLDER / f"{name}.npz").stat().st_size < 100_000
    assert f"## {name}.npz" in (FOLDER / "DATASETS.md").read_text(encoding="utf-8")
    np.testing.assert_array_equal(load(name).X, EMBEDDED[name]().X)
    assert name in load(name).source
