"""Mean absolute error: values, gradients, and the slope 0 at 0."""

from __future__ import annotations

import numpy as np
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from mathdl.losses import MeanAbsoluteError
from mathdl.theory import definitions
from support import assert_close, check_loss, normal, run_loss


@given(B=st.integers(1, 5), d=st.integers(1, 4))
def test_values(backend, B, d):
    P, Y, weights = normal(B, d), normal(B, d, seed=1), np.arange(1.0, B + 1)
    J, _ = run_loss(MeanAbsoluteError(), P, Y, backend, weights)
    assert_close(J, definitions.mean_absolute_error(P.tolist(), Y.tolist(), weights.tolist()))
    assert_close(J, sklearn.metrics.mean_absolute_error(Y, P, sample_weight=weights))


def test_gradients_weights_and_shards(backend):
    check_loss(MeanAbsoluteError(), normal(4, 3), normal(4, 3, seed=1), backend)


def test_the_slope_at_0_is_0(backend):
    _, dP = run_loss(MeanAbsoluteError(), np.asarray([[1.0, -0.0, -3.0, 2.0]]), np.asarray([[1.0, 0, 0, 0]]), backend)
    np.testing.assert_array_equal(dP, [[0.0, 0.0, -0.25, 0.25]])
