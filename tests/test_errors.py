"""Errors: the checks that raise them."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl.errors import UsageError, integer


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2)])
def test_integers_of_python_and_numpy(value):
    found = integer("width", value)
    assert (found, type(found)) == (2, int)
    assert integer("epochs", 0 * value, least=0) == 0


@pytest.mark.parametrize("value", [0, np.int8(-1), 2.0, np.float32(2), True, np.bool_(True), "2", None, np.array([2])])
def test_what_is_no_integer(value):
    with pytest.raises(UsageError, match="width must be an int ≥ 1, got "):
        integer("width", value)
