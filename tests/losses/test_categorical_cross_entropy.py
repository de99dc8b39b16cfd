"""Categorical cross-entropy: values, gradients, labels and rows, the fused form, the edges of the logarithm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import log_loss

from mathdl.errors import ShapeError, UsageError
from mathdl.losses import CategoricalCrossEntropy
from mathdl.losses.categorical_cross_entropy import (
    CategoricalCrossEntropyCache,
    CategoricalCrossEntropyLabelsCache,
    CategoricalCrossEntropyLogitsCache,
)
from mathdl.theory import definitions
from support import assert_close, check_loss, normal, run_loss

OF_LOGITS = CategoricalCrossEntropy(logits=True)


def rows(B, l, seed=0):
    """Rows on the simplex, some entries 0."""
    Y = np.random.default_rng([seed, B, l]).integers(0, 3, (B, l)).astype(float)
    Y[:, 0] += 1.0
    return Y / Y.sum(axis=1, keepdims=True)


def labels(B, l):
    return np.random.default_rng([B, l]).integers(0, l, B)


@given(B=st.integers(1, 5), l=st.integers(2, 6), smoothing=st.sampled_from([0.0, 0.1]), hard=st.booleans())
def test_values(backend, B, l, smoothing, hard):
    Z, Y, weights = normal(B, l), labels(B, l) if hard else rows(B, l), np.arange(1.0, B + 1)
    full = definitions.one_hot(Y.tolist(), l) if hard else Y.tolist()
    full = definitions.smooth_labels(full, smoothing)
    P = special.softmax(Z, axis=1)
    J, _ = run_loss(CategoricalCrossEntropy(label_smoothing=smoothing), P, Y, backend, weights)
    assert_close(J, definitions.categorical_cross_entropy(P.tolist(), full, weights.tolist()))
    J, _ = run_loss(CategoricalCrossEntropy(logits=True, label_smoothing=smoothing), Z, Y, backend, weights)
    assert_close(J, definitions.categorical_cross_entropy_logits(Z.tolist(), full, weights.tolist()))


def test_value_against_scikit_learn(backend):
    P, y, weights = special.softmax(normal(7, 4), axis=1), labels(7, 4), np.arange(1.0, 8)
    expected = log_loss(y, P, labels=range(4), sample_weight=weights)
    assert_close(run_loss(CategoricalCrossEntropy(), P, y, backend, weights)[0], expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("Y", [labels(4, 3), rows(4, 3), 2 * rows(4, 3)], ids=["labels", "rows", "rows-of-mass-2"])
def test_gradients_weights_and_shards(backend, Y, logits, smoothing):
    Z = normal(4, 3)
    loss = CategoricalCrossEntropy(logits=logits, label_smoothing=smoothing)
    check_loss(loss, Z if logits else special.softmax(Z, axis=1), Y, backend)


@pytest.mark.parametrize("Y", [labels(5, 4), rows(5, 4)], ids=["labels", "rows"])
def test_the_fused_form_is_the_loss_after_softmax(backend, Y):
    Z, weights = normal(5, 4), np.arange(5.0)
    J, dZ = run_loss(OF_LOGITS, Z, Y, backend, weights)
    P = special.softmax(Z, axis=1)
    J_of_P, dP = run_loss(CategoricalCrossEntropy(), P, Y, backend, weights)
    assert_close(J, J_of_P)
    assert_close(dZ, P * (dP - np.sum(dP * P, axis=1, keepdims=True)))


def test_the_gradient_is_p_minus_y_if_and_only_if_rows_sum_to_one(backend):
    Z, Y = normal(3, 4), rows(3, 4)
    P = special.softmax(Z, axis=1)
    assert_close(run_loss(OF_LOGITS, Z, Y, backend)[1], (P - Y) / 3)
    assert_close(run_loss(OF_LOGITS, Z, 2 * Y, backend)[1], (2 * P - 2 * Y) / 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_labels_are_one_hot_rows(backend, logits, smoothing, dtype):
    P, y = special.softmax(normal(6, 5), axis=1), labels(6, 5)
    loss = CategoricalCrossEntropy(logits=logits, label_smoothing=smoothing)
    of_labels, of_rows = run_loss(loss, P, y.astype(dtype), backend), run_loss(loss, P, np.eye(5)[y], backend)
    assert_close(of_labels[0], of_rows[0])
    assert_close(of_labels[1], of_rows[1])


def test_uniform_probabilities_give_log_l_and_certainty_gives_0(backend):
    assert_close(run_loss(OF_LOGITS, np.zeros((3, 8)), labels(3, 8), backend)[0], np.log(8))
    assert_close(run_loss(CategoricalCrossEntropy(), np.eye(3), np.arange(3), backend)[0], 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_are_exact(backend, dtype):
    Z = np.asarray([[1e4, 0.0, -1e4]] * 3, dtype)
    for Y in (np.arange(3), np.eye(3, dtype=dtype)):
        for i, expected in enumerate([0.0, 1e4, 2e4]):
            J, dZ = run_loss(OF_LOGITS, Z[i : i + 1], Y[i : i + 1], backend)
            assert_close(J, expected)
            assert_close(dZ, np.asarray([[1.0, 0.0, 0.0]]) - np.eye(3)[i])


@pytest.mark.parametrize("Y", [np.asarray([0, 1]), np.eye(2)], ids=["labels", "rows"])
def test_every_row_has_a_shift_of_its_own(backend, Y):
    J, dZ = run_loss(OF_LOGITS, np.asarray([[1e4, 1e4], [-1e4, -1e4]]), Y, backend)
    assert_close(J, np.log(2))
    assert_close(dZ, (0.5 - np.eye(2)) / 2)


@pytest.mark.parametrize("Y", [np.asarray([0, 2]), np.eye(3)[[0, 2]]], ids=["labels", "rows"])
def test_a_logit_of_minus_infinity_masks_its_class(backend, Y):
    Z = np.asarray([[1.0, -np.inf, 2.0], [0.5, -np.inf, -1.0]])
    J, dZ = run_loss(OF_LOGITS, Z, Y, backend)
    J_without, dZ_without = run_loss(OF_LOGITS, Z[:, [0, 2]], np.asarray([0, 1]), backend)
    assert_close(J, J_without)
    assert_close(dZ[:, [0, 2]], dZ_without)
    np.testing.assert_array_equal(dZ[:, 1], 0.0)


@pytest.mark.parametrize("Y", [np.asarray([1]), np.eye(3)[[1]], np.asarray([[0.5, 0.25, 0.25]])])
def test_a_masked_class_that_is_true_costs_infinity(backend, Y):
    J, dZ = run_loss(OF_LOGITS, np.asarray([[1.0, -np.inf, 2.0]]), Y, backend)
    assert_close(J, np.inf)
    assert np.all(np.isfinite(dZ))


def test_zero_times_log_zero_is_zero(backend):
    P, Y = np.asarray([[0.0, 0.25, 0.75]]), np.asarray([[0.0, 0.5, 0.5]])
    J, dP = run_loss(CategoricalCrossEntropy(), P, Y, backend)
    assert_close(J, -0.5 * np.log(0.25) - 0.5 * np.log(0.75))
    assert_close(dP, [[0.0, -2.0, -2 / 3]])


def test_probability_zero_of_what_is_true_is_infinite_and_never_clipped(backend):
    J, dP = run_loss(CategoricalCrossEntropy(), np.asarray([[0.0, 1.0]]), np.asarray([0]), backend)
    assert_close(J, np.inf)
    np.testing.assert_array_equal(dP, [[-np.inf, 0.0]])


@pytest.mark.parametrize("Y", [np.asarray([0]), np.eye(2)[[0]]], ids=["labels", "rows"])
def test_nan_is_not_swallowed(backend, Y):
    Z = np.asarray([[0.0, np.nan]])
    assert np.isnan(run_loss(OF_LOGITS, Z, Y, backend)[0])


def test_caches():
    Z, y = normal(2, 3), np.asarray([0, 2])
    assert isinstance(OF_LOGITS.forward(Z, y)[1].terms, CategoricalCrossEntropyLabelsCache)
    assert isinstance(OF_LOGITS.forward(Z, np.eye(3)[y])[1].terms, CategoricalCrossEntropyLogitsCache)
    assert isinstance(CategoricalCrossEntropy().forward(np.exp(Z), y)[1].terms, CategoricalCrossEntropyCache)


@pytest.mark.parametrize(
    ("P", "Y"), [((3, 2), (2,)), ((3, 2), (3, 1)), ((3, 2), (3, 3)), ((3, 2), ()), ((3,), (3,)), ((3, 2, 4), (3, 2, 4))]
)
def test_shapes_must_fit(backend, P, Y):
    with pytest.raises(ShapeError, match=r"either labels \(B,\) or rows \(B, l\) · P \(B, l\) = "):
        CategoricalCrossEntropy().forward(backend.put(np.ones(P)), backend.put(np.ones(Y)))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_label_smoothing_lies_in_0_1(smoothing):
    with pytest.raises(UsageError, match=r"label_smoothing must lie in \[0, 1\)"):
        CategoricalCrossEntropy(label_smoothing=smoothing)
