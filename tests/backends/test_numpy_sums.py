"""The NumPy kernels for sums over instances equal their references, write into views, and decline what is no matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.primitive import reference_only
from mathdl.sums import sum_outer, sum_rows
from mathdl_backends.numpy.pieces import team
from support import normal


@given(B=st.integers(1, 70), j=st.integers(1, 9), k=st.integers(1, 40), dtype=st.sampled_from(["float32", "float64"]))
def test_kernels_equal_their_references(B, j, k, dtype):
    A, D = normal(B, j, dtype=dtype), normal(B, k, seed=1, dtype=dtype)
    tolerance = {"rtol": 0, "atol": B * 16 * np.finfo(dtype).eps}
    for run, shape in ((lambda into=None: sum_rows(D, into), (k,)), (lambda into=None: sum_outer(A, D, into), (j, k))):
        with reference_only():
            expected = run()
        np.testing.assert_allclose(run(), expected, **tolerance)
        flat = np.full(shape[0] * (shape[1] if len(shape) > 1 else 1) + 2, 7.0, dtype=dtype)
        view = flat[1:-1].reshape(shape)
        assert run(view) is view
        np.testing.assert_array_equal(view, run())
        assert flat[0] == flat[-1] == 7.0


def test_what_is_not_finite_stays_so():
    D = np.array([[1.0, np.nan, np.inf], [2.0, 1.0, 1.0]])
    np.testing.assert_array_equal(sum_rows(D), [3.0, np.nan, np.inf])


@pytest.mark.parametrize("D", [np.ones((2, 3, 4)), np.ones((2, 3), dtype=np.int64)])
def test_what_is_no_matrix_of_floats_goes_by_the_reference(D):
    assert "declined" in sum_rows.explain(D)
    np.testing.assert_array_equal(sum_rows(D), D.sum(axis=0))


def test_the_kernels_are_taken():
    assert sum_rows.explain(np.ones((2, 3))) == "numpy kernel"
    assert sum_outer.explain(np.ones((2, 3)), np.ones((2, 4))) == "numpy kernel"


@pytest.mark.parametrize("shape", [(8, 9000), (5, 20_000), (3000, 30), (70_000, 1), (2, 100_000)])
def test_large_matrices_are_summed_in_pieces(monkeypatch, shape):
    """Pieces that are single rows would be as many as the rows."""
    D = normal(*shape)
    found = sum_rows(D)
    np.testing.assert_allclose(found, D.sum(axis=0), rtol=1e-11, atol=1e-11)
    monkeypatch.setattr(team, "map", lambda task, count: [task(j) for j in reversed(range(count))])
    np.testing.assert_array_equal(sum_rows(D), found)
