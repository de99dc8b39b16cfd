"""Dropout: masks by address, the same for any cut into shards; scaling; identity outside of training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import UsageError
from mathdl.layers.dropout import Dropout
from mathdl.layers.layer import Context
from mathdl.random import bits
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, host, normal, run_layer

KEY = np.array([17, 3], dtype="uint32")


def words(backend, first, B, n):
    return host(bits(backend.put(KEY), first, B, n))


@given(B=st.integers(1, 4), shape=st.sampled_from([(7,), (3, 2), (2, 3, 4)]), rate=st.floats(0.05, 0.95))
def test_values_and_gradients(backend, B, shape, rate):
    X = normal(B, *shape)
    training = {"training": True, "key": backend.put(KEY), "first": 5}
    A, _, _ = run_layer(Dropout(rate), {}, X, backend, **training)
    keep = (words(backend, 5, B, X[0].size) >= np.floor(rate * 2**32)).reshape(X.shape)
    assert_close(A, definitions.dropout(X.tolist(), keep.tolist(), rate), rtol=1e-15)
    check_layer_gradient(Dropout(rate), {}, X, backend, **training)


def test_the_share_dropped_is_the_rate(backend):
    X, rate = np.ones((100, 1000)), 0.3
    A, dX, _ = run_layer(Dropout(rate), {}, X, backend, dA=X, training=True, key=backend.put(KEY))
    dropped = np.mean(A == 0)
    assert abs(dropped - rate) < 4 * np.sqrt(rate * (1 - rate) / X.size)
    assert_close(A.mean(), 1, rtol=0.01)
    np.testing.assert_array_equal(dX, A)


def test_the_threshold_is_compared_as_an_integer(backend):
    word = int(words(backend, 0, 1, 1)[0, 0])
    X, key = np.ones((1, 1)), backend.put(KEY)
    for rate, kept in ((word / 2**32, True), ((word + 1) / 2**32, False)):
        A, _, _ = run_layer(Dropout(rate), {}, X, backend, training=True, key=key)
        assert (A[0, 0] > 0) is np.bool_(kept)


@given(cut=st.integers(0, 6))
def test_shards_have_the_rows_of_the_whole(backend, cut):
    X, key = normal(6, 5), backend.put(KEY)
    whole, _, _ = run_layer(Dropout(0.5), {}, X, backend, training=True, key=key, first=2)
    parts = [
        run_layer(Dropout(0.5), {}, X[rows], backend, training=True, key=key, first=2 + rows.start)[0]
        for rows in (slice(0, cut), slice(cut, 6))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True), (0, True)])
def test_nothing_is_dropped_outside_of_training_or_at_rate_zero(backend, rate, training):
    A, dA = backend.put(normal(2, 3)), backend.put(normal(2, 3, seed=1))
    out, cache = Dropout(rate).forward({}, A, Context(training=training))
    assert out is A
    assert cache is None
    assert Dropout(rate).backward(dA, cache) == (dA, {})


def test_the_cache_is_one_byte_an_entry(backend):
    A = backend.put(normal(2, 3))
    _, cache = Dropout(0.5).forward({}, A, Context(training=True, key=backend.put(KEY)))
    assert host(cache).dtype == bool
    assert cache.shape == (2, 3)


def test_float32_stays_float32_and_draws_the_same(backend):
    X, R = normal(3, 4), normal(3, 4, seed=1)
    fields = {"training": True, "key": backend.put(KEY)}
    A, dX, _ = run_layer(Dropout(0.4), {}, X, backend, dA=R, **fields)
    A32, dX32, _ = run_layer(Dropout(0.4), {}, X.astype("float32"), backend, dA=R.astype("float32"), **fields)
    assert A32.dtype == dX32.dtype == np.float32
    assert_close(A32, A, rtol=1e-6)
    assert_close(dX32, dX, rtol=1e-6)


def test_declares_that_it_draws():
    assert Dropout.draws
    assert Dropout(0.5).shapes((3, 4)) == ((3, 4), {})


@pytest.mark.parametrize("rate", [1, -0.1, 1.5, np.nan, "0.5", True])
def test_the_rate_lies_in_the_unit_interval(rate):
    with pytest.raises(UsageError, match=r"Dropout: rate must lie in \[0, 1\)"):
        Dropout(rate)
