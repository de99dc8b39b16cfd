"""Poisson loss: values, gradients, rates and counts of 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from mathdl.losses import Poisson
from mathdl.theory import definitions
from support import assert_close, check_loss, normal, run_loss


def counts(B, d):
    return np.random.default_rng([B, d]).integers(0, 4, (B, d)).astype(float)


@given(B=st.integers(1, 5), d=st.integers(1, 4))
def test_values(backend, B, d):
    P, Y, weights = np.exp(normal(B, d)), counts(B, d), np.arange(1.0, B + 1)
    J, _ = run_loss(Poisson(), P, Y, backend, weights)
    assert_close(J, definitions.poisson(P.tolist(), Y.tolist(), weights.tolist()))
    minus_log_likelihood = -stats.poisson.logpmf(Y, P) - gammaln(Y + 1)
    assert_close(J, np.average(np.mean(minus_log_likelihood, axis=1), weights=weights))


def test_gradients_weights_and_shards(backend):
    check_loss(Poisson(), np.exp(normal(4, 3)), counts(4, 3), backend)


@pytest.mark.parametrize(
    ("p", "y", "loss", "slope"), [(0.0, 0.0, 0.0, 1.0), (0.0, 2.0, np.inf, -np.inf), (2.0, 0.0, 2.0, 1.0)]
)
def test_rates_and_counts_of_0(backend, p, y, loss, slope):
    J, dP = run_loss(Poisson(), np.asarray([[p]]), np.asarray([[y]]), backend)
    assert_close(J, loss)
    assert_close(dP, [[slope]])
