"""The two sums that every parameter gradient is made of: values, dtypes, and where they are written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.sums import stored, sum_outer, sum_rows
from support import assert_close, host, normal


def loops(A, D):
    outer = [[sum(A[i][j] * D[i][k] for i in range(len(A))) for k in range(D.shape[1])] for j in range(A.shape[1])]
    return np.array(outer).reshape(A.shape[1], D.shape[1])


@given(B=st.integers(0, 5), j=st.integers(1, 4), k=st.integers(1, 4))
def test_values(backend, B, j, k):
    A, D = normal(B, j), normal(B, k, seed=1)
    assert_close(sum_outer(backend.put(A), backend.put(D)), loops(A, D))
    assert_close(sum_rows(backend.put(D)), [sum(D[i][c] for i in range(B)) for c in range(k)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_into_is_written_and_returned(backend, dtype):
    A, D = backend.put(normal(4, 3, dtype=dtype)), backend.put(normal(4, 2, dtype=dtype))
    xp = backend.namespace
    vector = xp.zeros((8,), dtype=D.dtype, device=backend.handle)
    dW, db = xp.reshape(vector[:6], (3, 2), copy=False), vector[6:]
    vector[...] = float("nan")
    assert sum_outer(A, D, dW) is dW
    assert sum_rows(D, db) is db
    expected = np.concatenate([np.ravel(host(sum_outer(A, D))), host(sum_rows(D))])
    assert expected.dtype == dtype
    np.testing.assert_array_equal(host(vector), expected)


def test_stored(backend):
    value, into = backend.put(normal(3)), backend.put(np.zeros(3))
    assert stored(value, None) is value
    assert stored(value, into) is into
    np.testing.assert_array_equal(host(into), host(value))
