"""The relu kernel: the reference's bits, and what it leaves to it."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl.layers.relu import relu_forward
from mathdl.primitive import reference_only
from support import normal


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, 512), (4, 8, 512), (8192,), (64, 128)])
def test_as_the_reference(shape, dtype):
    Z = normal(*shape, dtype=dtype)
    Z.reshape(-1)[:6] = 0.0, -0.0, np.inf, -np.inf, np.nan, -1.0
    assert relu_forward.explain(Z) == "numpy kernel"
    with reference_only():
        expected = relu_forward(Z)
    found = relu_forward(Z)
    assert (found.shape, found.dtype) == (Z.shape, Z.dtype)
    np.testing.assert_array_equal(found.view(f"u{Z.itemsize}"), expected.view(f"u{Z.itemsize}"))


@pytest.mark.parametrize("Z", [normal(3, 4), normal(16, 513), normal(512, 64).T, np.ones((16, 512), dtype=int)])
def test_it_declines(Z):
    assert "declined, no rows of 512" in relu_forward.explain(Z)
    np.testing.assert_array_equal(relu_forward(Z), np.maximum(Z, 0))
