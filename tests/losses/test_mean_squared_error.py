"""Mean squared error: values, gradients, and what the average is over."""

from __future__ import annotations

import numpy as np
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from mathdl.losses import MeanSquaredError
from mathdl.theory import definitions
from support import assert_close, check_loss, normal, run_loss


@given(B=st.integers(1, 5), d=st.integers(1, 4))
def test_values(backend, B, d):
    P, Y, weights = normal(B, d), normal(B, d, seed=1), np.arange(1.0, B + 1)
    J, _ = run_loss(MeanSquaredError(), P, Y, backend, weights)
    assert_close(J, definitions.mean_squared_error(P.tolist(), Y.tolist(), weights.tolist()))
    assert_close(J, sklearn.metrics.mean_squared_error(Y, P, sample_weight=weights))


def test_gradients_weights_and_shards(backend):
    check_loss(MeanSquaredError(), normal(4, 3), normal(4, 3, seed=1), backend)


def test_the_average_is_over_instances_and_outputs_without_a_half(backend):
    P = np.asarray([[1.0, 2.0], [3.0, 4.0]])
    J, dP = run_loss(MeanSquaredError(), P, np.zeros((2, 2)), backend)
    assert_close(J, (1 + 4 + 9 + 16) / 4)
    assert_close(dP, 2 * P / 4)
