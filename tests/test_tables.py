"""Rows of a table where a cursor stands, against NumPy's indexing; kernels write the same."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from mathdl.primitive import reference_only
from mathdl.tables import leave_row, put_numbers, put_row, take_row, take_rows
from support import as_inside_a_step, host, normal


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("kernels", [True, False])
def test_rows_of_a_table(backend, at, kernels):
    values, new = normal(5, 3), np.array([1.0, np.nan, -2.0])
    T, cursor, row = backend.put(values.copy()), backend.put(np.array([at])), backend.put(new)
    taken = backend.put(np.zeros(3))
    expected = values.copy()
    expected[at] = new
    with as_inside_a_step(backend), nullcontext() if kernels else reference_only():
        take_row(T, cursor, taken)
        put_row(T, cursor, row)
    np.testing.assert_array_equal(host(taken), values[at])
    np.testing.assert_array_equal(host(T), expected)


@pytest.mark.parametrize("kernels", [True, False])
def test_rows_of_many_tables_and_a_row_that_is_left(backend, kernels):
    values, words = normal(5, 3), np.arange(10, dtype=np.uint32).reshape(5, 2)
    T, cursor = backend.put(values.copy()), backend.put(np.array([3]))
    taken, word = backend.put(np.zeros(3)), backend.put(np.zeros(2, dtype=np.uint32))
    with as_inside_a_step(backend), nullcontext() if kernels else reference_only():
        take_rows(cursor, (T, taken), (backend.put(words), word))
        leave_row(cursor, T, backend.put(np.ones(3)))
    np.testing.assert_array_equal(host(taken), values[3])
    np.testing.assert_array_equal(host(word), words[3])
    np.testing.assert_array_equal(host(cursor), [4])
    np.testing.assert_array_equal(host(T), np.where(np.arange(5)[:, None] == 3, 1.0, values))


@pytest.mark.parametrize("kernels", [True, False])
def test_numbers_are_put_into_a_row(backend, kernels):
    row, A = backend.put(np.zeros(3)), backend.put(normal(4))
    xp = backend.namespace
    with as_inside_a_step(backend), nullcontext() if kernels else reference_only():
        put_numbers(row, xp.sum(A), xp.max(A), xp.sum(A * A))
    found = host(A)
    np.testing.assert_allclose(host(row), [found.sum(), found.max(), found @ found])


def test_a_row_of_a_table_of_tables(backend):
    values = np.arange(24, dtype=np.uint32).reshape(4, 3, 2)
    row = backend.put(np.zeros((3, 2), dtype=np.uint32))
    take_row(backend.put(values), backend.put(np.array([3])), row)
    np.testing.assert_array_equal(host(row), values[3])
