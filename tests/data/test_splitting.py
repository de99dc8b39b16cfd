"""The cut: disjoint, complete, stratified by largest remainder, by the seed; the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mathdl.data import digits, split
from mathdl.errors import DataError, UsageError

fractions = st.floats(0.05, 0.4)


@given(n=st.integers(20, 200), validation=fractions, test=fractions, seed=st.integers(0, 2**64 - 1))
def test_disjoint_complete_and_of_the_right_size(n, validation, test, seed):
    cut = split(n, validation, test, seed)
    assert sorted(np.concatenate(cut).tolist()) == list(range(n))
    assert all((np.diff(part) > 0).all() for part in cut)
    assert len(cut.validation) == np.floor(validation * n + 0.5)
    assert len(cut.test) == np.floor(test * n + 0.5)


@given(sizes=st.lists(st.integers(4, 30), min_size=1, max_size=6), validation=fractions, test=fractions)
def test_every_class_keeps_its_share(sizes, validation, test):
    n = sum(sizes)
    assume(n * min(validation, test) >= 1)
    Y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    cut = split(Y, validation, test)
    assert sorted(np.concatenate(cut).tolist()) == list(range(n))
    for c, size in enumerate(sizes):
        counts = [int(np.sum(Y[part] == c)) for part in cut]
        assert counts[0] >= 1
        assert abs(counts[2] - len(cut.test) * size / n) < 1
        if counts[0] > 1:  # one row was not withheld for train
            assert counts[1] < len(cut.validation) * size / n + 1


def test_largest_remainder():
    Y = np.array(["a"] * 50 + ["b"] * 27 + ["c"] * 23)
    cut = split(Y, validation=0, test=0.1)  # quotas 5, 2.7, 2.3
    assert [int(np.sum(Y[cut.test] == c)) for c in "abc"] == [5, 3, 2]
    assert len(cut.validation) == 0


def test_the_seed_decides_and_the_classes_are_shuffled():
    Y = digits().Y
    first, again, other = split(Y, seed=1), split(Y, seed=1), split(Y, seed=2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.test.tolist() != other.test.tolist()
    ones = np.flatnonzero(Y == 1)
    assert not set(ones[:20]) <= set(first.test)
    np.testing.assert_array_equal(first.test, split(Y, validation=0.3, seed=1).test)


def test_not_stratified():
    Y = np.repeat([0, 1], 50)
    cut, by_number = split(Y, seed=3, stratify=False), split(100, seed=3)
    np.testing.assert_array_equal(cut.test, by_number.test)
    assert np.sum(Y[cut.test]) != 10
    assert len(split(np.zeros((30, 2)), stratify=False).test) == 6


def test_a_single_row_of_a_class_stays_in_train():
    Y = np.array([0] * 20 + [7])
    for seed in range(5):
        cut = split(Y, validation=0.1, test=0.55, seed=seed)  # its remainder is the largest
        assert 20 in cut.train
        assert sorted(np.concatenate(cut).tolist()) == list(range(21))


def test_a_class_too_small_for_train_is_named():
    with pytest.raises(DataError, match=r"class 'rare' has 1 of 5 rows, none is left for train"):
        split(np.array(["often"] * 4 + ["rare"]), validation=0.4, test=0.4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": -0.1}, r"validation must be a fraction in \[0, 1\), got -0.1"),
        ({"test": 1}, "test must be a fraction"),
        ({"test": True}, "test must be a fraction"),
        ({"validation": "0.1"}, "validation must be a fraction"),
        ({"validation": 0.5, "test": 0.5}, r"must be below 1, got 0.5 \+ 0.5"),
        ({"Y_or_n": 0}, "number of rows n ≥ 1, got 0"),
        ({"Y_or_n": 2.5}, "expected labels"),
        ({"Y_or_n": np.zeros((9, 2))}, r"stratify needs labels \(n,\), got shape \(9, 2\)"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        split(**{"Y_or_n": 10, **arguments})


def test_a_part_without_rows():
    with pytest.raises(DataError, match=r"validation = 0.1 of 3 rows is none"):
        split(3)
    with pytest.raises(DataError, match="there are 2 rows, none is left for train"):
        split(2, validation=0.4, test=0.4)
