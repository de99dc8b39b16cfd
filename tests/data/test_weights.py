"""Weights: of samples and of classes, checked against scikit-learn; the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from mathdl.data.weights import class_weights, sample_weights
from mathdl.errors import DataError, UnknownNameError, UsageError
from support import assert_close, normal


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_balanced(labels):
    assert_close(class_weights("balanced", np.array(labels), 5), compute_sample_weight("balanced", labels))


@given(labels=st.lists(st.integers(0, 2), min_size=1, max_size=20), k=st.lists(st.floats(0, 9), min_size=3, max_size=3))
def test_a_weight_for_each_class(labels, k):
    table = dict(enumerate(k))
    assert_close(class_weights(table, np.array(labels), 3), compute_sample_weight(table, labels))
    assert_close(class_weights(table, np.eye(3)[labels], 3), compute_sample_weight(table, labels))


def test_classes_that_are_left_out_count_once():
    assert class_weights({2: 3.0}, np.array([0, 2, 1]), 3).tolist() == [1, 3, 1]


def test_a_class_that_does_not_occur_may_have_a_weight():
    assert class_weights({3: 3.0}, np.array([0, 1]), 4).tolist() == [1, 1]


def test_names():
    Y = np.array([0, 1, 1])
    assert class_weights({"dog": 3.0}, Y, 2, ("cat", "dog")).tolist() == [1, 3, 3]
    assert class_weights({1: 3.0}, Y, 2, ("cat", "dog")).tolist() == [1, 3, 3]
    with pytest.raises(UsageError, match="no class 'cow'; classes are cat, dog"):
        class_weights({"cow": 1}, Y, 2, ("cat", "dog"))


def test_rows_on_the_simplex_mix_the_weights():
    Y = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert_close(class_weights({0: 1.0, 1: 3.0}, Y, 2), [2.0, 2.5])
    assert_close(class_weights("balanced", Y, 2), Y @ (2 / (2 * Y.sum(axis=0))))


@pytest.mark.parametrize("key", [3, -1, 1.5, "1", None])
def test_unknown_classes(key):
    with pytest.raises(UsageError, match=r"no class .*; classes are 0 … 2"):
        class_weights({key: 1.0}, np.array([0, 1, 2]), 3)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_class_weights_are_finite_and_not_negative(weight):
    with pytest.raises(UsageError, match="expected a finite number ≥ 0 for class 1"):
        class_weights({1: weight}, np.array([0, 1, 2]), 3)


def test_unknown_word():
    with pytest.raises(UnknownNameError, match=r"unknown class_weight 'balance'. Did you mean 'balanced'"):
        class_weights("balance", np.array([0, 1]), 2)


def test_sample_weights(backend):
    w = np.abs(normal(4, dtype="float32"))
    for given_ in (w, w.tolist(), backend.put(w)):
        found = sample_weights(given_, 4)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, w)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], r"one weight for each of 3 rows, got shape \(2,\)"),
        (np.ones((3, 1)), r"got shape \(3, 1\)"),
        ([1.0, -1.0, 2.0], "finite numbers ≥ 0, got -1.0 in row 1"),
        ([1.0, 1.0, np.nan], "got nan in row 2"),
        ([np.inf, 1.0, 1.0], "got inf in row 0"),
        ([0.0, 0.0, 0.0], "the weights sum to 0"),
    ],
)
def test_sample_weights_that_are_refused(weights, message):
    with pytest.raises(DataError, match=message):
        sample_weights(weights, 3)
