"""Standardize: against scikit-learn, over chunks and memory maps, constant features, round trips, the errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from mathdl.data import Standardize, chunks, diabetes
from mathdl.errors import DataError, FileFormatError, ShapeError
from support import normal


def test_as_scikit_learn_does():
    X = diabetes().X
    scaler, own = StandardScaler().fit(X), Standardize.learn(X)
    np.testing.assert_allclose(own.mean, scaler.mean_, rtol=1e-13)
    np.testing.assert_allclose(own.deviation, scaler.scale_, rtol=1e-13)
    np.testing.assert_allclose(own.apply(X, "float64"), scaler.transform(X), rtol=1e-10, atol=1e-12)
    assert own.apply(X).dtype == np.float32


@given(n=st.integers(1, 40), d=st.integers(1, 4), offset=st.floats(-1e6, 1e6), entries=st.integers(1, 30))
def test_chunks_do_not_matter_beyond_rounding(n, d, offset, entries):
    X = normal(n, d) + offset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks.row_chunks, "__defaults__", (entries,))
        own = Standardize.learn(X)
        Z = own.apply(X, "float64")
    np.testing.assert_allclose(own.mean, X.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(own.deviation, X.std(axis=0) if n > 1 else np.ones(d), rtol=1e-8)
    np.testing.assert_allclose(Z, (X - own.mean) / own.deviation, rtol=1e-12, atol=0)
    np.testing.assert_allclose(own.invert(Z), X, rtol=1e-12, atol=1e-9)


def test_images_have_one_mean_for_a_channel():
    X = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 2), dtype=np.uint8)
    own = Standardize.learn(X)
    np.testing.assert_allclose(own.mean, X.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(own.deviation, X.std(axis=(0, 1, 2)), rtol=1e-12)
    assert own.apply(X[:2]).shape == (2, 4, 3, 2)


def test_targets_have_one_mean():
    y = np.array([1.0, 2.0, 3.0, 6.0])
    own = Standardize.learn(y)
    assert own.mean == (3.0,)
    assert own.invert(own.apply(y, "float64")).tolist() == y.tolist()
    assert own.invert(np.array([0, 1])).dtype == np.float64
    assert own.invert(np.float32([0.5])).dtype == np.float32


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.1, -1e-300, 0.0])
def test_a_constant_feature_gets_deviation_1(value):
    X = np.column_stack([np.full(1001, value), np.arange(1001.0)])
    own = Standardize.learn(X)
    assert own.mean[0] == value
    assert own.deviation[0] == 1.0
    assert not own.apply(X)[:, 0].any()


def test_a_memory_map_is_read_in_chunks(tmp_path):
    X = normal(300, 3)
    np.save(tmp_path / "X.npy", X)
    assert Standardize.learn(np.load(tmp_path / "X.npy", mmap_mode="r")) == Standardize.learn(X)
    assert [*chunks.row_chunks((10, 3), 9)] == [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 10)]
    assert [*chunks.row_chunks((2, 100), 9)] == [slice(0, 1), slice(1, 2)]


def test_the_record_survives_json():
    own = Standardize.learn(diabetes().X)
    assert Standardize.from_dict(json.loads(json.dumps(own.to_dict()))) == own
    for record in ({"mean": [1.0]}, {"mean": [1.0], "deviation": [0.0]}, {"mean": [1.0, 2.0], "deviation": [1.0]}):
        with pytest.raises(FileFormatError, match="not the record"):
            Standardize.from_dict(record)


def test_errors():
    with pytest.raises(DataError, match=r"empty, its shape is \(0, 3\)"):
        Standardize.learn(np.zeros((0, 3)))
    for bad in (np.nan, np.inf, 1e308):
        X = np.ones((4, 2))
        X[2, 1], X[3, 1] = bad, -bad
        with pytest.raises(DataError, match="column 1 of X holds NaN, infinite or huge numbers"):
            Standardize.learn(X)
    with pytest.raises(ShapeError, match=r"X \(n, …, k\) = \(2, 3\) · mean \(k,\) = \(2,\)"):
        Standardize((0.0, 0.0), (1.0, 1.0)).apply(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"\(n,\) counts as 1"):
        Standardize((0.0, 0.0), (1.0, 1.0)).invert(np.zeros(2))
