"""Huber's loss: values, gradients, both sides of delta."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from mathdl.errors import UsageError
from mathdl.losses import Huber
from mathdl.theory import definitions
from support import assert_close, check_loss, normal, run_loss


@given(B=st.integers(1, 5), d=st.integers(1, 4), delta=st.sampled_from([0.25, 1.0, 3.0]))
def test_values(backend, B, d, delta):
    P, Y, weights = normal(B, d), normal(B, d, seed=1), np.arange(1.0, B + 1)
    J, _ = run_loss(Huber(delta), P, Y, backend, weights)
    assert_close(J, definitions.huber(P.tolist(), Y.tolist(), weights.tolist(), delta))
    assert_close(J, np.average(np.mean(special.huber(delta, P - Y), axis=1), weights=weights))


@pytest.mark.parametrize("delta", [0.5, 1.0, 10.0])
def test_gradients_weights_and_shards(backend, delta):
    check_loss(Huber(delta), normal(4, 3), normal(4, 3, seed=1), backend)


def test_at_and_around_delta(backend):
    P = np.asarray([[0.0, 1.0, 2.0, 5.0, -2.0, -5.0]])
    for j, value in enumerate([0.0, 0.5, 2.0, 8.0, 2.0, 8.0]):
        assert_close(run_loss(Huber(2.0), P[:, [j]], np.zeros((1, 1)), backend)[0], value)
    assert_close(run_loss(Huber(2.0), P, np.zeros((1, 6)), backend)[1], np.asarray([[0, 1, 2, 2, -2, -2]]) / 6)


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan"), float("inf")])
def test_delta_is_positive(delta):
    with pytest.raises(UsageError, match="delta must be a finite number > 0"):
        Huber(delta)
