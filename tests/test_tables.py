"""Rows of a table where a cursor stands, against NumPy's indexing; kernels write the same."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from mathdl.primitive import reference_only
from mathdl.tables import put_row, take_row
from support import as_inside_a_step, host, normal


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("kernels", [True, False])
def test_rows_of_a_table(backend, at, kernels):
    values, new = normal(5, 3), np.array([1.0, np.nan, -2.0])
    T, cursor, row = backend.put(values.copy()), backend.put(np.array([at])), backend.put(new)
    taken = backend.put(np.zeros(3))
    with as_inside_a_step(backend), nullcontext() if kernels else reference_only():
        take_row(T, cursor, taken)
        put_row(T, cursor, row)
    np.testing.assert_array_equal(host(taken), values[at])
    expected = values.copy()
    expected[at] = new
    np.testing.assert_array_equal(host(T), expected)


def test_a_row_of_a_table_of_tables(backend):
    values = np.arange(24, dtype=np.uint32).reshape(4, 3, 2)
    row = backend.put(np.zeros((3, 2), dtype=np.uint32))
    take_row(backend.put(values), backend.put(np.array([3])), row)
    np.testing.assert_array_equal(host(row), values[3])
