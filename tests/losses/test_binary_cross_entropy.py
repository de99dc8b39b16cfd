"""Binary cross-entropy: values, gradients, the fused form, the edges of the logarithm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import log_loss

from mathdl.errors import UsageError
from mathdl.losses import BinaryCrossEntropy
from mathdl.losses.binary_cross_entropy import BinaryCrossEntropyCache, BinaryCrossEntropyLogitsCache
from mathdl.theory import definitions
from support import assert_close, check_loss, normal, run_loss

OF_LOGITS = BinaryCrossEntropy(logits=True)


def answers(B, l):
    return np.random.default_rng([B, l]).integers(0, 2, (B, l)).astype(float)


@given(B=st.integers(1, 5), l=st.integers(1, 4), smoothing=st.sampled_from([0.0, 0.1]))
def test_values(backend, B, l, smoothing):
    Z, Y, weights = 3 * normal(B, l), answers(B, l), np.arange(1.0, B + 1)
    P, smooth = special.expit(Z), definitions.smooth_binary_labels(Y.tolist(), smoothing)
    J, _ = run_loss(BinaryCrossEntropy(label_smoothing=smoothing), P, Y, backend, weights)
    assert_close(J, definitions.binary_cross_entropy(P.tolist(), smooth, weights.tolist()))
    J, _ = run_loss(BinaryCrossEntropy(logits=True, label_smoothing=smoothing), Z, Y, backend, weights)
    assert_close(J, definitions.binary_cross_entropy_logits(Z.tolist(), smooth, weights.tolist()))


def test_value_against_scikit_learn(backend):
    P, Y, weights = special.expit(normal(7, 1)), answers(7, 1), np.arange(1.0, 8)
    expected = log_loss(Y[:, 0], P[:, 0], labels=[0, 1], sample_weight=weights)
    assert_close(run_loss(BinaryCrossEntropy(), P, Y, backend, weights)[0], expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("l", [1, 3])
def test_gradients_weights_and_shards(backend, l, logits, smoothing):
    Z = normal(4, l)
    loss = BinaryCrossEntropy(logits=logits, label_smoothing=smoothing)
    check_loss(loss, Z if logits else special.expit(Z), answers(4, l), backend)


def test_the_fused_form_is_the_loss_after_the_sigmoid(backend):
    Z, Y, weights = normal(5, 3), answers(5, 3), np.arange(5.0)
    J, dZ = run_loss(OF_LOGITS, Z, Y, backend, weights)
    P = special.expit(Z)
    J_of_P, dP = run_loss(BinaryCrossEntropy(), P, Y, backend, weights)
    assert_close(J, J_of_P)
    assert_close(dZ, dP * P * (1 - P))


def test_it_is_categorical_cross_entropy_of_the_logits_0_and_z(backend):
    Z, Y = normal(5, 1), answers(5, 1)
    pairs = np.concatenate([np.zeros_like(Z), Z], axis=1)
    expected = definitions.categorical_cross_entropy_logits(pairs.tolist(), np.concatenate([1 - Y, Y], 1).tolist())
    assert_close(run_loss(OF_LOGITS, Z, Y, backend)[0], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("z", "y", "loss", "slope"),
    [
        (1e4, 1.0, 0.0, 0.0),
        (1e4, 0.0, 1e4, 1.0),
        (-1e4, 1.0, 1e4, -1.0),
        (-1e4, 0.0, 0.0, 0.0),
        (0.0, 1.0, np.log(2), -0.5),
        (-0.0, 0.0, np.log(2), 0.5),
        (-np.inf, 0.0, 0.0, 0.0),
        (np.inf, 1.0, 0.0, 0.0),
        (np.inf, 0.0, np.inf, 1.0),
        (-np.inf, 1.0, np.inf, -1.0),
        (np.nan, 0.0, np.nan, np.nan),
    ],
)
def test_logits_at_the_edges(backend, dtype, z, y, loss, slope):
    J, dZ = run_loss(OF_LOGITS, np.asarray([[z]], dtype), np.asarray([[y]], dtype), backend)
    assert_close(J, loss, rtol=1e-6)
    assert_close(dZ, [[slope]], rtol=1e-6)


def test_small_probabilities_keep_their_digits(backend):
    _, dZ = run_loss(OF_LOGITS, np.asarray([[-80.0]]), np.asarray([[0.0]]), backend)
    assert_close(dZ, [[np.exp(-80.0)]], atol=0.0)
    J, _ = run_loss(BinaryCrossEntropy(), np.asarray([[1e-20]]), np.asarray([[0.0]]), backend)
    assert_close(J, 1e-20, atol=0.0)


@pytest.mark.parametrize(
    ("p", "y", "loss", "slope"),
    [(0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 0.0, -1.0), (0.0, 1.0, np.inf, -np.inf), (1.0, 0.0, np.inf, np.inf)],
)
def test_certain_probabilities(backend, p, y, loss, slope):
    J, dP = run_loss(BinaryCrossEntropy(), np.asarray([[p]]), np.asarray([[y]]), backend)
    assert_close(J, loss)
    assert_close(dP, [[slope]])


def test_caches():
    Z, Y = normal(2, 3), answers(2, 3)
    assert isinstance(OF_LOGITS.forward(Z, Y)[1].terms, BinaryCrossEntropyLogitsCache)
    assert isinstance(BinaryCrossEntropy().forward(special.expit(Z), Y)[1].terms, BinaryCrossEntropyCache)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_label_smoothing_lies_in_0_1(smoothing):
    with pytest.raises(UsageError, match=r"label_smoothing must lie in \[0, 1\)"):
        BinaryCrossEntropy(label_smoothing=smoothing)
