"""Minibatches: every row once an epoch, the short last one, the address of the order, the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.data import Minibatches
from mathdl.errors import UsageError
from mathdl.random import fold, permutation


@given(n=st.integers(1, 60), batch_size=st.integers(1, 70), epoch=st.integers(0, 5), shuffle=st.booleans())
def test_every_row_is_in_one_minibatch(n, batch_size, epoch, shuffle):
    batches = Minibatches(n, batch_size, seed=3, shuffle=shuffle)
    rows = batches.rows(epoch)
    assert len(rows) == len(batches) == -(-n // batch_size)
    assert [len(some) for some in rows[:-1]] == [batch_size] * (len(rows) - 1)
    assert sorted(np.concatenate(rows).tolist()) == list(range(n))
    for m, place in enumerate(batches):
        assert place == batches[m]
        np.testing.assert_array_equal(batches.order(epoch)[place], rows[m])


def test_the_order_is_addressed_by_seed_and_epoch():
    batches = Minibatches(50, 8, seed=7)
    np.testing.assert_array_equal(batches.order(2), permutation(fold(7, "minibatches", 2), 50))
    assert batches.order(2).tolist() != batches.order(3).tolist() != Minibatches(50, 8, seed=8).order(3).tolist()


def test_without_shuffling_the_order_is_that_of_the_data():
    assert [some.tolist() for some in Minibatches(5, 2, shuffle=False).rows(9)] == [[0, 1], [2, 3], [4]]


def test_places():
    batches = Minibatches(10, 4)
    assert (batches[0], batches[2], batches[-1]) == (slice(0, 4), slice(8, 10), slice(8, 10))
    assert Minibatches(10, 64)[0] == slice(0, 10)
    for m in (3, -4):
        with pytest.raises(UsageError, match=r"there are 3, \{0\} … \{2\}"):
            batches[m]


def test_numpy_integers_are_taken():
    assert repr(Minibatches(np.int64(5), np.uint8(2))) == repr(Minibatches(5, 2))


@pytest.mark.parametrize("arguments", [(0, 1), (5, 0), (5, -1), (5, 2.0), (5, True)])
def test_sizes_must_be_positive_ints(arguments):
    with pytest.raises(UsageError, match="must be an int ≥ 1"):
        Minibatches(*arguments)
