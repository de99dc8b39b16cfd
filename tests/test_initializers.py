"""Initializers: moments and limits against the definitions, orthogonality, pinned bits, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mathdl import initializers, random
from mathdl.errors import UnknownNameError, UsageError
from mathdl.initializers import (
    INITIALIZERS,
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    initializer,
    lecun_normal,
    lecun_uniform,
    normal,
    orthogonal,
    uniform,
    zeros,
)
from mathdl.theory import definitions

KEY = random.fold(0, "weights", 1)
FANS = (300, 100)
SHAPE = (3, 20, 500)

NORMAL = [
    (normal(0.3), 0.3),
    (glorot_normal(), definitions.glorot_normal_deviation(*FANS)),
    (he_normal(), definitions.he_normal_deviation(FANS[0])),
    (lecun_normal(), definitions.lecun_normal_deviation(FANS[0])),
]
UNIFORM = [
    (uniform(0.3), 0.3),
    (glorot_uniform(), definitions.glorot_uniform_limit(*FANS)),
    (he_uniform(), definitions.he_uniform_limit(FANS[0])),
    (lecun_uniform(), definitions.lecun_uniform_limit(FANS[0])),
]


@pytest.mark.parametrize(("draw", "deviation"), NORMAL)
def test_normal_ones(draw, deviation):
    W = draw(SHAPE, FANS, KEY)
    assert W.shape == SHAPE
    assert 0.001 < stats.kstest(W.ravel() / deviation, "norm").pvalue < 0.999
    np.testing.assert_allclose(W.ravel(), deviation * random.normal(KEY, W.size), rtol=1e-14)


@pytest.mark.parametrize(("draw", "limit"), UNIFORM)
def test_uniform_ones(draw, limit):
    W = draw(SHAPE, FANS, KEY)
    assert W.shape == SHAPE
    assert np.abs(W).max() <= limit
    assert 0.001 < stats.kstest((W.ravel() / limit + 1) / 2, "uniform").pvalue < 0.999
    np.testing.assert_allclose(W.ravel(), limit * (2 * random.uniform(KEY, W.size) - 1), rtol=1e-14)


def test_constants():
    np.testing.assert_array_equal(zeros()((2, 3), (2, 3), KEY), np.zeros((2, 3)))
    np.testing.assert_array_equal(constant(-1.5)((2, 3), (2, 3), KEY), np.full((2, 3), -1.5))


@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    windows=st.integers(1, 3),
    gain=st.sampled_from([1.0, 1.5, -2.0]),
)
def test_orthogonal(rows, columns, windows, gain):
    W = orthogonal(gain)((windows, rows, columns), (rows, columns), KEY)
    assert W.shape == (windows, rows, columns)
    Q = W.reshape(-1, columns) / gain
    smaller = Q.T @ Q if Q.shape[0] >= Q.shape[1] else Q @ Q.T
    np.testing.assert_allclose(smaller, np.eye(len(smaller)), atol=1e-13)


def test_orthogonal_is_the_triangular_factorisation_of_the_normal_matrix():
    """Q R with a positive diagonal of R is unique, and uniformly distributed for a normal matrix."""
    N = random.normal(KEY, 12).reshape(4, 3)
    Q, R = np.linalg.qr(N)
    np.testing.assert_allclose(orthogonal()((4, 3), (4, 3), KEY), Q * np.sign(np.diag(R)), atol=1e-14)


def test_orthogonal_needs_a_matrix():
    with pytest.raises(UsageError, match=r"at least two axes, got shape \(3,\)"):
        orthogonal()((3,), (3, 3), KEY)


def test_sums_are_taken_in_the_order_of_a_tree():
    a, b, c, d, e = 1e16, 1.0, -1e16, 1.0, 3.0
    assert initializers._sum_rows(np.array([[a], [b], [c], [d], [e]]))[0] == ((a + d) + c) + (b + e)
    assert initializers._sum_rows(np.zeros((0, 2))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zeros", "constant"}))
def test_values_are_a_function_of_the_key(name):
    draw = initializer(name)
    W = draw((4, 5), (4, 5), KEY)
    assert W.dtype == np.float64
    np.testing.assert_array_equal(draw((4, 5), (4, 5), KEY), W)
    assert not np.any(draw((4, 5), (4, 5), (KEY[0], KEY[1] ^ 1)) == W)


def test_records():
    assert normal(0.1) == normal(0.1) != normal(0.2)
    assert len({glorot_normal(), glorot_normal(), he_normal()}) == 2
    assert repr(normal(0.1)) == "normal(deviation=0.1)"
    assert repr(he_uniform()) == "he_uniform()"


def test_names():
    assert initializer("he_normal") == he_normal()
    assert initializer(orthogonal(2.0)) == orthogonal(2.0)
    with pytest.raises(UnknownNameError, match=r"unknown initializer 'he_norml'.*'he_normal'"):
        initializer("he_norml")
    with pytest.raises(UsageError, match=r"constant\(value\)"):
        initializer("constant")
    with pytest.raises(UsageError, match="an initializer is a name or a function"):
        initializer(0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normal(-0.1), "normal: deviation must be a finite number ≥ 0, got -0.1"),
        (lambda: uniform(float("nan")), "uniform: limit must be a finite number ≥ 0, got nan"),
        (lambda: constant(float("-inf")), "constant: value must be a finite number, got -inf"),
        (lambda: constant(True), "constant: value must be a finite number, got True"),
        (lambda: orthogonal("1"), "orthogonal: gain must be a finite number, got '1'"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message
