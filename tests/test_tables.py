"""Rows of a table where a cursor stands, against NumPy's indexing; kernels write the same."""

from __future__ import annotations

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
    with as_inside_a_step(backend):
        np.testing.assert_array_equal(host(take_row(T, cursor)), values[at])
        if kernels:
            put_row(T, cursor, row)
        else:
            with reference_only():
                put_row(T, cursor, row)
    expected = values.copy()
    expected[at] = new
    np.testing.assert_array_equal(host(T), expected)


def test_a_row_of_a_table_of_tables(backend):
    values = np.arange(24, dtype=np.uint32).reshape(4, 3, 2)
    np.testing.assert_array_equal(host(take_row(backend.put(values), backend.put(np.array([3])))), values[3])
