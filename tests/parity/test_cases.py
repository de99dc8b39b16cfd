"""Inputs that anybody can make again, and the propositions that say what a result is."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl import layers as md
from mathdl.losses import CategoricalCrossEntropy
from mathdl.parity.cases import draw, kind, propositions, spaced


def test_draws_are_those_of_the_docstring():
    expected = np.random.default_rng((3, 1)).standard_normal((2, 5)).astype("float32")
    np.testing.assert_array_equal(draw("float32", 2, 5, seed=(3, 1)), expected)


def test_spaced_numbers_have_no_ties_and_stay_away_from_zero():
    X = spaced("float64", 4, 5, seed=(0,))
    gaps = np.diff(np.sort(X.ravel()))
    np.testing.assert_allclose(gaps, 4.0 / 20)
    assert np.min(np.abs(X)) == pytest.approx(0.1)
    assert np.max(np.abs(X)) < 2


@pytest.mark.parametrize(
    ("computed", "result", "id"),
    [
        (md.Dense(2), "A", "dense-forward"),
        (md.Dense(2), "dW", "dense-backward"),
        (md.Dense(2), "db", "broadcast-adjoint"),
        (md.Conv2D(2, 3), "dX", "conv-input-grad"),
        (md.Conv2D(2, 3), "dW", "conv-kernel-grad"),
        (md.Conv2D(2, 3), "A", "conv-forward"),
        (md.Softmax(), "dX", "softmax-vjp"),
        (md.BatchNorm(), "dgamma", "batch-norm-backward"),
        (CategoricalCrossEntropy(), "dP", "softmax-cce"),
        (CategoricalCrossEntropy(), "J", "cce"),
    ],
)
def test_the_proposition_of_a_result(computed, result, id):
    assert propositions(computed, [result]) == {result: id}


def test_kind():
    assert kind(md.Dense(2)) == "Dense"
