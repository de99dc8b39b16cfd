"""The definitions: worked by hand, held against SciPy and scikit-learn, and exact on ints and Fractions.

They are the oracle of every other test, so nothing of mathdl takes part here.
"""

from __future__ import annotations

import ast
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats
import sklearn.metrics
from hypothesis import assume, given
from hypothesis import strategies as st

from mathdl.theory import definitions as d

INF, NAN = math.inf, math.nan


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def integers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-9, 10, shape)


def close(actual, expected, rtol=1e-12, atol=1e-14):
    np.testing.assert_allclose(np.asarray(actual, dtype=float), np.asarray(expected, dtype=float), rtol=rtol, atol=atol)


def same(actual, expected):
    """Equal entry by entry, and of the same shape, NaN included."""
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


def fractions(A):
    return [fractions(part) for part in A] if isinstance(A, list) else Fraction(A, 7)


def image(rows):
    """One instance of one channel: X[0][row][column][0]."""
    return [[[[x] for x in row] for row in rows]]


def plane(X):
    """The rows of `image` again."""
    return [[pixel[0] for pixel in row] for row in X[0]]


def sequence(values):
    """One instance of one channel: X[0][row][0]."""
    return [[[x] for x in values]]


def slope(f, x, h=1e-4):
    """The derivative of f at x, by a five-point difference."""
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


# ------------------------------------------------------------------------------------------------ independence


def test_imports_nothing_but_math_and_types():
    tree = ast.parse(Path(d.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
        elif isinstance(node, ast.Name):
            assert node.id not in {"__import__", "eval", "exec", "importlib"}
    assert imported <= {"__future__", "math", "collections.abc", "typing"}


def test_every_definition_says_where_it_comes_from():
    tree = ast.parse(Path(d.__file__).read_text(encoding="utf-8"))
    helpers = {"largest", "_beats", "times_log", "normal_distribution", "normal_density"}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in helpers:
            text = ast.get_docstring(node)
            assert "Source: " in text, node.name
            origin = text.split("Source: ")[1]
            assert any(word in origin for word in ("stated", "headed", "ours")), node.name


# ---------------------------------------------------------------------------------------- matrices, dense layer


def test_products_by_hand():
    A, B = [[1, 2], [3, 4], [5, 6]], [[7, 8, 9], [10, 11, 12]]
    assert d.matrix_product(A, B) == [[27, 30, 33], [61, 68, 75], [95, 106, 117]]
    assert d.transpose(A) == [[1, 3, 5], [2, 4, 6]]
    assert d.dense(A, B, [100, 200, 300]) == [[127, 230, 333], [161, 268, 375], [195, 306, 417]]
    assert d.dense(A, B) == d.dense(A, B, [0, 0, 0]) == d.matrix_product(A, B)
    assert d.perceptron([1, 2, 3], [4, 5, 6], -40, d.relu) == 0
    assert d.perceptron([1, 2, 3], [4, 5, 6], 10, d.relu) == 42
    assert d.vectorwise(sorted, [[3, 1], [2, 0]]) == [[1, 3], [0, 2]]


@given(n=st.integers(1, 4), m=st.integers(1, 4), k=st.integers(1, 4))
def test_dense_is_exact(n, m, k):
    X, W, b = integers(n, m).tolist(), integers(m, k, seed=1).tolist(), integers(k, seed=2).tolist()
    same(d.dense(X, W, b), np.array(X) @ np.array(W) + np.array(b))
    exact = d.dense(fractions(X), fractions(W), b)
    assert all(isinstance(z, Fraction) for row in exact for z in row)
    same(exact, (np.array(X).astype(object) @ np.array(W) * Fraction(1, 49)) + np.array(b))


# --------------------------------------------------------------------------------------------- window geometry


@given(
    p=st.integers(1, 12), f=st.integers(1, 4), s=st.integers(1, 4), e=st.integers(1, 3),
    before=st.integers(0, 3), after=st.integers(0, 3),
)  # fmt: skip
def test_window_size_counts_the_places(p, f, s, e, before, after):
    places = [u for u in range(-before, p + after, s) if u + e * (f - 1) < p + after]
    assert d.window_size(p, f, s, (before, after), e) == len(places)


@given(p=st.integers(1, 20), f=st.integers(1, 6), s=st.integers(1, 5), e=st.integers(1, 3))
def test_same_padding(p, f, s, e):
    before, after = d.same_padding(p, f, s, e)
    assert d.window_size(p, f, s, (before, after), e) == math.ceil(p / s)
    assert after - before in (0, 1)
    if before + after > 0:
        assert d.window_size(p, f, s, (0, before + after - 1), e) < math.ceil(p / s)


def test_geometry_by_hand():
    assert d.window_size(28, 3, 1, (0, 0), 1) == 26
    assert d.window_size(28, 3, 2, (0, 1), 1) == 14
    assert d.window_size(7, 3, 2, (0, 0), 2) == 2
    assert d.window_size(2, 5, 2, (0, 0), 1) == 0
    assert d.same_padding(28, 3, 1, 1) == (1, 1)
    assert d.same_padding(28, 2, 1, 1) == (0, 1)
    assert d.same_padding(28, 3, 2, 1) == (0, 1)
    assert d.same_padding(5, 3, 1, 2) == (2, 2)
    assert d.same_padding(4, 1, 2, 1) == (0, 0)


# ------------------------------------------------------------------------------------------------- convolution


def test_conv1d_by_hand():
    X, W = sequence([1, 2, 3, 4, 5]), [[[1]], [[10]], [[100]]]
    assert d.conv1d(X, W) == sequence([321, 432, 543])
    assert d.conv1d(X, W, [7]) == sequence([328, 439, 550])
    assert d.conv1d(X, W, stride=2) == sequence([321, 543])
    assert d.conv1d(X, W, padding=(2, 1)) == sequence([100, 210, 321, 432, 543, 54])
    assert d.conv1d(X, W, dilation=2) == sequence([531])
    assert d.conv1d(X, W, padding=(1, 0), stride=3) == sequence([210, 543])


def test_conv2d_by_hand():
    X = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    W = [[[[1]], [[10]]], [[[100]], [[1000]]]]
    assert plane(d.conv2d(X, W)) == [[5421, 6532], [8754, 9865]]
    assert plane(d.conv2d(X, W, [1])) == [[5422, 6533], [8755, 9866]]
    assert plane(d.conv2d(X, W, padding=((1, 0), (0, 1)))) == [[2100, 3200, 300], [5421, 6532, 603], [8754, 9865, 906]]
    assert plane(d.conv2d(X, W, stride=(1, 2), padding=((0, 0), (0, 1)))) == [[5421, 603], [8754, 906]]
    assert plane(d.conv2d(X, W, stride=(2, 1), padding=((0, 1), (0, 0)))) == [[5421, 6532], [87, 98]]
    assert plane(d.conv2d(X, W, dilation=(2, 2))) == [[9731]]
    assert plane(d.conv2d(X, W, dilation=(1, 2))) == [[6431], [9764]]
    assert plane(d.conv2d(X, W, dilation=(2, 1))) == [[8721, 9832]]


def test_groups_by_hand():
    X = [[[1, 2, 3, 4]]]
    W = [[[1, 10], [100, 1000]]]  # two groups of two input channels, one output channel each
    assert d.conv1d(X, W, groups=2) == [[[201, 4030]]]
    assert d.conv2d([X], [W], groups=2) == [[[[201, 4030]]]]
    depthwise = [[[1, 10, 100, 1000]]]
    assert d.conv1d(X, depthwise, groups=4) == [[[1, 20, 300, 4000]]]
    twice = [[[1, 10, 100, 1000]]]  # two groups of one input channel, two output channels each
    assert d.conv1d([[[1, 2]]], twice, groups=2) == [[[1, 10, 200, 2000]]]


@given(
    p=st.integers(1, 6), q=st.integers(1, 6), k=st.integers(1, 3), o=st.integers(1, 3),
    f=st.integers(1, 3), f2=st.integers(1, 3), before=st.integers(0, 2), after=st.integers(0, 2),
)  # fmt: skip
def test_conv2d_is_scipys_correlation_exactly(p, q, k, o, f, f2, before, after):
    assume(p + before + after >= f and q + before >= f2)
    X, W, b = integers(2, p, q, k), integers(f, f2, k, o, seed=1), integers(o, seed=2)
    padded = np.pad(X, ((0, 0), (before, after), (before, 0), (0, 0)))
    expected = [
        [sum(scipy.signal.correlate(padded[i, :, :, c], W[:, :, c, j], "valid", "direct") for c in range(k)) + b[j]
         for j in range(o)]
        for i in range(2)
    ]  # fmt: skip
    padding = ((before, after), (before, 0))
    actual = d.conv2d(X.tolist(), W.tolist(), b.tolist(), (1, 1), padding, (1, 1), 1)
    same(actual, np.moveaxis(np.array(expected), 1, -1))
    exact = d.conv2d(fractions(X.tolist()), fractions(W.tolist()), None, (1, 1), padding)
    same(np.array(exact) * 49 + b, actual)


@given(
    p=st.integers(3, 7), k=st.integers(1, 2), o=st.integers(1, 2), groups=st.integers(1, 2), f=st.integers(1, 3),
    s=st.integers(1, 3), e=st.integers(1, 2), before=st.integers(0, 2), after=st.integers(0, 2),
)  # fmt: skip
def test_strides_dilation_and_groups_follow_from_stride_one(p, k, o, groups, f, s, e, before, after):
    """A stride keeps every s-th place, a dilated kernel has zeros between its taps, a grouped one is block diagonal."""
    assume(d.window_size(p, f, s, (before, after), e) > 0)
    X, W = integers(2, p, k * groups).tolist(), integers(f, k, o * groups, seed=1)
    whole = np.zeros((e * (f - 1) + 1, k * groups, o * groups), dtype=int)
    for g in range(groups):
        block = W[:, :, g * o : (g + 1) * o]
        whole[::e, g * k : (g + 1) * k, g * o : (g + 1) * o] = block
    plain = np.array(d.conv1d(X, whole.tolist(), None, 1, (before, after), 1, 1))
    same(d.conv1d(X, W.tolist(), None, s, (before, after), e, groups), plain[:, ::s])
    rows = d.conv2d(
        [[[c] for c in x] for x in X], W[:, None].tolist(), None, (s, 1), ((before, after), (0, 0)), (e, 1), groups
    )
    same(np.array(rows)[:, :, 0], plain[:, ::s])
    columns = d.conv2d([[x] for x in X], W[None].tolist(), None, (1, s), ((0, 0), (before, after)), (1, e), groups)
    same(np.array(columns)[:, 0], plain[:, ::s])


# ----------------------------------------------------------------------------------------------------- pooling


def test_pooling_by_hand():
    X = image([[1, 5, 2, 0], [3, 4, 8, 1], [-1, -2, -3, -4]])
    assert plane(d.max_pool2d(X, (2, 2), (1, 2))) == [[5, 8], [4, 8]]
    assert plane(d.max_pool2d(X, (1, 2), (2, 2))) == [[5, 2], [-1, -3]]
    assert plane(d.max_pool2d(X, (2, 2), (2, 2), ((0, 1), (0, 0)))) == [[5, 8], [-1, -3]]
    assert plane(d.average_pool2d(X, (2, 2), (2, 2), ((0, 1), (0, 0)), False)) == [[13 / 4, 11 / 4], [-3 / 2, -7 / 2]]
    assert plane(d.average_pool2d(X, (2, 2), (2, 2), ((0, 1), (0, 0)), True)) == [[13 / 4, 11 / 4], [-3 / 4, -7 / 4]]
    x = sequence([-1, -5, -2, -7])
    assert d.max_pool1d(x, 2, 2, (1, 1)) == sequence([-1, -2, -7])
    assert d.max_pool1d(x, 3, 1) == sequence([-1, -2])
    assert d.average_pool1d(x, 2, 2, (1, 1), False) == sequence([-1, -3.5, -7])
    assert d.average_pool1d(x, 2, 2, (1, 1), True) == sequence([-0.5, -3.5, -3.5])


def test_global_pooling_by_hand():
    X = [[[[1, -1], [2, -2]], [[3, -3], [6, -6]]]]
    assert d.global_max_pool2d(X) == [[6, -1]]
    assert d.global_average_pool2d(X) == [[3, -3]]
    assert d.global_max_pool1d(X[0]) == [[2, -1], [6, -3]]
    assert d.global_average_pool1d(X[0]) == [[1.5, -1.5], [4.5, -4.5]]


def test_padding_of_max_is_minus_infinity_and_nan_propagates():
    assert d.max_pool1d(sequence([-3]), 1, 1, (1, 0)) == sequence([-INF, -3])
    same(d.max_pool1d(sequence([1, NAN, 3, 4]), 2, 1), sequence([NAN, NAN, 4]))
    same(d.max_pool1d(sequence([NAN, 1]), 2, 1), sequence([NAN]))
    assert d.max_pool1d(sequence([-INF, -INF]), 2, 1) == sequence([-INF])


@given(
    p=st.integers(1, 6), q=st.integers(1, 6), f=st.integers(1, 3), f2=st.integers(1, 3),
    s=st.integers(1, 3), s2=st.integers(1, 3), before=st.integers(0, 1), after=st.integers(0, 1),
)  # fmt: skip
def test_pooling_is_exact_and_is_numpys(p, q, f, f2, s, s2, before, after):
    assume(p + before + after >= f and q >= f2)
    assume(f > max(before, after))
    X = integers(2, p, q, 2)
    padding = ((before, after), (0, 0))

    def windows(fill):
        padded = np.pad(X.astype(float), ((0, 0), (before, after), (0, 0), (0, 0)), constant_values=fill)
        return np.lib.stride_tricks.sliding_window_view(padded, (f, f2), axis=(1, 2))[:, ::s, ::s2]

    exact = d.max_pool2d(fractions(X.tolist()), (f, f2), (s, s2), padding)
    same(np.array(exact) * 7, windows(-INF).max(axis=(-1, -2)))
    exact = d.average_pool2d(fractions(X.tolist()), (f, f2), (s, s2), padding, True)
    assert all(isinstance(x, Fraction) for x in d.flatten(exact))
    close(np.array(exact) * 7, windows(0).mean(axis=(-1, -2)))
    close(d.average_pool2d(X.tolist(), (f, f2), (s, s2), padding, False), np.nanmean(windows(NAN), axis=(-1, -2)))
    lines = X[:, :, 0]
    same(
        d.max_pool1d(lines.tolist(), f, s, padding[0]),
        np.array(d.max_pool2d(X[:, :, :1].tolist(), (f, 1), (s, 1), padding))[:, :, 0],
    )
    for count in (True, False):
        close(
            d.average_pool1d(lines.tolist(), f, s, padding[0], count),
            np.array(d.average_pool2d(X[:, :, :1].tolist(), (f, 1), (s, 1), padding, count))[:, :, 0],
        )


def test_max_pool_gradient_goes_to_the_first_largest_and_adds():
    X = image([[2, 2, 1], [2, 2, 2]])
    dA = image([[10, 100]])
    assert plane(d.max_pool2d_backward(X, dA, (2, 2), (1, 1))) == [[10, 100, 0], [0, 0, 0]]
    X = image([[1, 3, 1], [0, 2, 3]])
    assert plane(d.max_pool2d_backward(X, dA, (2, 2), (1, 1))) == [[0, 110, 0], [0, 0, 0]]
    X = image([[1, 1, 0], [1, 5, 5]])
    assert plane(d.max_pool2d_backward(X, dA, (2, 2), (1, 1))) == [[0, 0, 0], [0, 110, 0]]
    X = image([[NAN, 9, NAN], [1, NAN, 1]])
    assert plane(d.max_pool2d_backward(X, dA, (2, 2), (1, 1))) == [[10, 0, 100], [0, 0, 0]]
    assert plane(d.max_pool2d_backward(image([[-5]]), image([[1, 2]]), (1, 2), (1, 1), ((0, 0), (1, 1)))) == [[3]]
    assert d.max_pool1d_backward(sequence([1, 1, 0, 4]), sequence([10, 20]), 3, 1) == sequence([10, 0, 0, 20])
    assert d.max_pool1d_backward(sequence([-1, -1]), sequence([1, 2, 4]), 2, 1, (1, 1)) == sequence([3, 4])
    assert d.max_pool1d_backward(sequence([-1]), sequence([1, 2]), 1, 1, (1, 0)) == sequence([2])
    assert d.max_pool1d_backward(sequence([-INF, -INF]), sequence([1]), 2, 1) == sequence([1, 0])


@given(p=st.integers(2, 5), q=st.integers(2, 5), s=st.integers(1, 2), before=st.integers(0, 1))
def test_max_pool_gradient_is_the_derivative_away_from_ties(p, q, s, before):
    X = np.random.default_rng(p * q).permutation(2 * p * q * 2).reshape(2, p, q, 2)  # all different, 1 apart
    padding = ((before, 0), (0, before))
    A = d.max_pool2d(X.tolist(), (2, 2), (s, s), padding)
    dA = integers(*np.shape(A))
    dX = d.max_pool2d_backward(X.tolist(), dA.tolist(), (2, 2), (s, s), padding)
    step = fractions(integers(*X.shape, seed=1).tolist())  # at most 9/7, made less than 1/2 below
    moved = X.astype(object) + np.array(step) * Fraction(1, 3)
    change = np.array(d.max_pool2d(moved.tolist(), (2, 2), (s, s), padding)) - np.array(A)
    assert np.sum(change * dA) == np.sum(np.array(step) * Fraction(1, 3) * np.array(dX))
    lines = X[:, :, 0].tolist()
    d1 = d.max_pool1d_backward(lines, integers(2, d.window_size(p, 2, s, (before, 0)), 2).tolist(), 2, s, (before, 0))
    d2 = d.max_pool2d_backward(
        X[:, :, :1].tolist(), integers(2, d.window_size(p, 2, s, (before, 0)), 2)[:, :, None].tolist(), (2, 1), (s, 1),
        ((before, 0), (0, 0)),
    )  # fmt: skip
    same(d1, np.array(d2)[:, :, 0])


def test_flatten_runs_channels_fastest():
    X = np.arange(24).reshape(2, 3, 4)
    assert d.flatten(X.tolist()) == list(range(24))
    assert d.flatten([Fraction(1, 2), (1, 2)]) == [Fraction(1, 2), 1, 2]


# ------------------------------------------------------------------------------------------------- activations

PLACES = [-700.0, -40.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 2.0, 30.0, 700.0]


@pytest.mark.parametrize("z", PLACES)
def test_activations_are_scipys(z):
    close(d.sigmoid(z), scipy.special.expit(z), atol=0)
    close(d.tanh(z), np.tanh(z), atol=0)
    close(d.softplus(z), np.logaddexp(0, z), atol=0)
    close(d.silu(z), z * scipy.special.expit(z), atol=0)
    close(d.gelu(z), z * scipy.stats.norm.cdf(z), atol=0)
    close(d.normal_distribution(z), (1 + scipy.special.erf(z / np.sqrt(2))) / 2)
    close(d.normal_density(z), scipy.stats.norm.pdf(z), atol=0)


def test_sigmoid_is_stated_by_hand_and_does_not_overflow():
    assert d.sigmoid(0) == 0.5
    assert d.sigmoid_derivative(0) == 0.25
    close(d.sigmoid(math.log(3)), 3 / 4)
    close(d.sigmoid_derivative(math.log(3)), 3 / 16)
    assert (d.sigmoid(-1e4), d.sigmoid(1e4), d.sigmoid_derivative(1e4), d.softplus(-1e4)) == (0, 1, 0, 0)
    assert d.softplus(1e4) == 1e4


SMOOTH = [
    (d.sigmoid, d.sigmoid_derivative),
    (d.tanh, d.tanh_derivative),
    (d.softplus, d.softplus_derivative),
    (d.silu, d.silu_derivative),
    (d.gelu, d.gelu_derivative),
]
KINKED = [
    (d.relu, d.relu_derivative),
    (lambda z: d.leaky_relu(z, 0.3), lambda z: d.leaky_relu_derivative(z, 0.3)),
    (lambda z: d.elu(z, 0.7), lambda z: d.elu_derivative(z, 0.7)),
]


@pytest.mark.parametrize(("f", "derivative"), SMOOTH + KINKED)
@pytest.mark.parametrize("z", [-5.0, -2.5, -1.0, -0.1, 0.1, 0.7, 3.0])
def test_derivatives(f, derivative, z):
    close(derivative(z), slope(f, z), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("f", "derivative"), SMOOTH)
def test_smooth_derivatives_at_zero(f, derivative):
    close(derivative(0.0), slope(f, 0.0), rtol=1e-10, atol=1e-11)


def test_rectifiers_and_their_kinks():
    half = Fraction(1, 2)
    assert [d.relu(z) for z in (-half, -0.0, 0, half)] == [0, 0, 0, half]
    assert [d.leaky_relu(z, half) for z in (-half, 0, half)] == [-Fraction(1, 4), 0, half]
    assert [d.elu(z, 2) for z in (0, half)] == [0, half]
    close(d.elu(-1, 2), 2 * (1 / math.e - 1))
    assert [d.relu_derivative(z) for z in (-half, -0.0, 0, 0.0, half)] == [0, 0, 0, 0, 1]
    assert [d.leaky_relu_derivative(z, half) for z in (-1, -0.0, 0, 1)] == [half, half, half, 1]
    assert [d.elu_derivative(z, 2) for z in (-0.0, 0, 1)] == [2, 2, 1]


@pytest.mark.parametrize("f", [f for f, _ in SMOOTH + KINKED])
def test_nan_stays_nan(f):
    assert math.isnan(f(NAN))


# ----------------------------------------------------------------------------------------------- output layers


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_softmax_is_scipys(row):
    close(d.softmax(row), scipy.special.softmax(row), atol=1e-300)
    close(d.log_softmax(row), scipy.special.log_softmax(row), rtol=1e-10, atol=1e-12)
    close(sum(d.softmax(row)), 1)


def test_softmax_by_hand():
    close(d.softmax([0, math.log(2), math.log(5)]), [1 / 8, 2 / 8, 5 / 8])
    close(d.log_softmax([1000, 1000]), [-math.log(2), -math.log(2)])
    assert d.softmax([-INF, 3.0]) == [0, 1]
    assert d.log_softmax([-INF, 3.0]) == [-INF, 0]


def test_softmax_jacobians():
    row = [0.3, -1.2, 2.0]
    for j in range(3):
        for k in range(3):
            for f, jacobian in ((d.softmax, d.softmax_jacobian), (d.log_softmax, d.log_softmax_jacobian)):

                def along(t, f=f, j=j, k=k):
                    return f([z + (t if n == k else 0) for n, z in enumerate(row)])[j]

                close(jacobian(row)[j][k], slope(along, 0.0), rtol=1e-9, atol=1e-11)


# ------------------------------------------------------------------------------------------- dropout, normalization


def test_dropout_by_hand():
    assert d.dropout([1, 2, 3], [True, False, True], Fraction(1, 4)) == [Fraction(4, 3), 0, 4]
    assert d.dropout([[1, 2], [3, 4]], [[0, 1], [1, 0]], Fraction(1, 2)) == [[0, 4], [6, 0]]


def test_batch_norm_by_hand():
    X = [[1, 10], [3, 10], [5, 10], [7, 10]]  # means 4 and 10, biased variances 5 and 0
    assert d.feature_means(X) == [4, 10]
    assert d.feature_variances(X) == [5, 0]
    close(d.batch_norm(X, [2, 5], [1, -1], 4), [[-1, -1], [1 / 3, -1], [5 / 3, -1], [3, -1]])
    close(d.batch_norm_inference([[3, 1]], [2, 1], [1, 0], [1, 0], [12, 0], 4), [[2, 0.5]])
    assert d.batch_norm_running([1, 2], [3, 12], Fraction(9, 10)) == [Fraction(12, 10), 3]


def test_batch_norm_statistics_are_exact_and_numpys():
    X = integers(5, 3)
    exact = d.feature_variances(fractions(X.tolist()))
    assert all(isinstance(v, Fraction) for v in exact)
    close(np.array(exact) * 49, X.var(axis=0))
    A = np.array(d.batch_norm(X.tolist(), [1, 1, 1], [0, 0, 0], 0))
    close(A.mean(axis=0), np.zeros(3))
    close(A.std(axis=0), np.ones(3))


def test_layer_norm_by_hand():
    assert d.layer_norm([1, 3, 5, 7], [1, 1, 1, 2], [0, 0, 0, 1], 4) == [-1, -1 / 3, 1 / 3, 3]
    rows = normal(3, 4)
    gamma, beta = normal(4, seed=1), normal(4, seed=2)
    expected = gamma * (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 0.1) + beta
    close(d.layer_norm(rows.tolist(), gamma.tolist(), beta.tolist(), 0.1), expected)


def test_residual_by_hand():
    assert d.residual([[1, 2], [3, 4]], [[10, 20], [30, Fraction(1, 2)]]) == [[11, 22], [33, Fraction(9, 2)]]


# ------------------------------------------------------------------------------------------------------ losses


def test_weighted_mean_and_targets_by_hand():
    assert d.weighted_mean([1, 2, 6]) == 3
    assert d.weighted_mean([1, 2, 6], [1, 0, Fraction(1, 4)]) == 2
    assert d.one_hot([2, 0], 3) == [[0, 0, 1], [1, 0, 0]]
    tenth = Fraction(1, 10)
    assert d.smooth_labels([[0, 1, 0, 0]], tenth) == [[tenth / 4, 1 - 3 * tenth / 4, tenth / 4, tenth / 4]]
    assert d.smooth_binary_labels([[0, 1]], tenth) == [[tenth / 2, 1 - tenth / 2]]


def test_regression_losses_by_hand_and_exactly():
    P, Y = fractions([[7, 14], [0, 21]]), [[0, 0], [1, 0]]  # errors 1, 2 and -1, 3
    assert d.mean_squared_error(P, Y) == Fraction(15, 4)
    assert d.mean_squared_error(P, Y, [3, 1]) == Fraction(5 * 3 + 10, 8)
    assert d.mean_absolute_error(P, Y) == Fraction(7, 4)
    assert d.mean_absolute_error(P, Y, [3, 1]) == Fraction(3 * 3 + 4, 8)
    assert d.huber(P, Y) == Fraction(1, 4) * (Fraction(1, 2) + Fraction(3, 2) + Fraction(1, 2) + Fraction(5, 2))
    assert d.huber(P, Y, [1, 0], 2) == Fraction(1, 2) * (Fraction(1, 2) + 2)
    assert isinstance(d.huber(P, Y), Fraction)


def test_huber_is_scipys():
    P, Y = 3 * normal(4, 3), normal(4, 3, seed=1)
    for delta in (0.5, 1.0, 2.5):
        close(d.huber(P.tolist(), Y.tolist(), None, delta), scipy.special.huber(delta, P - Y).mean())


def test_poisson():
    close(d.poisson([[math.e, 2.0]], [[3, 0]]), (math.e - 3 + 2) / 2)
    P, Y = np.abs(normal(4, 2)) + 0.1, np.abs(integers(4, 2))
    full = -scipy.stats.poisson.logpmf(Y, P) - scipy.special.gammaln(Y + 1)
    w = [1.0, 2.0, 0.0, 5.0]
    close(d.poisson(P.tolist(), Y.tolist(), w), np.average(full.mean(axis=1), weights=w))
    assert d.poisson([[0.0]], [[0]]) == 0
    assert d.poisson([[0.0]], [[1]]) == INF


def test_categorical_cross_entropy_by_hand_and_scikit_learns():
    P = [[1 / 2, 1 / 4, 1 / 4], [1 / 8, 1 / 8, 3 / 4]]
    close(d.categorical_cross_entropy(P, [[1, 0, 0], [0, 1, 0]]), 2 * math.log(2))
    close(d.categorical_cross_entropy(P, [[1, 0, 0], [0, 1, 0]], [3, 1]), 1.5 * math.log(2))
    close(d.categorical_cross_entropy(P[:1], [[0.5, 0.5, 0]]), 1.5 * math.log(2))
    labels, w = [0, 2, 1, 1], [1.0, 0.5, 2.0, 0.0]
    Z = normal(4, 3)
    Q = scipy.special.softmax(Z, axis=1)
    expected = sklearn.metrics.log_loss(labels, Q, sample_weight=w, labels=[0, 1, 2])
    close(d.categorical_cross_entropy(Q.tolist(), d.one_hot(labels, 3), w), expected)
    close(d.categorical_cross_entropy_logits(Z.tolist(), d.one_hot(labels, 3), w), expected)


def test_binary_cross_entropy_by_hand_and_scikit_learns():
    close(d.binary_cross_entropy([[1 / 2, 1 / 4]], [[1, 1]]), 1.5 * math.log(2))
    close(d.binary_cross_entropy([[1 / 2, 3 / 4]], [[0, 0]]), 1.5 * math.log(2))
    close(d.binary_cross_entropy([[1 / 4]], [[1 / 2]]), -(math.log(1 / 4) + math.log(3 / 4)) / 2)
    Y, w = [[1, 0], [0, 0], [1, 1]], [1.0, 3.0, 0.5]
    Z = normal(3, 2)
    Q = scipy.special.expit(Z)
    expected = np.mean([sklearn.metrics.log_loss([y[j] for y in Y], Q[:, j], sample_weight=w) for j in range(2)])
    close(d.binary_cross_entropy(Q.tolist(), Y, w), expected)
    close(d.binary_cross_entropy_logits(Z.tolist(), Y, w), expected)
    soft = np.abs(np.sin(normal(3, 2, seed=1))).tolist()
    close(d.binary_cross_entropy_logits(Z.tolist(), soft), d.binary_cross_entropy(Q.tolist(), soft))


def test_logits_and_probabilities_agree_on_any_targets():
    Z, Y = normal(4, 3), np.abs(normal(4, 3, seed=1))  # rows that do not sum to one
    P = [d.softmax(row) for row in Z.tolist()]
    close(d.categorical_cross_entropy_logits(Z.tolist(), Y.tolist()), d.categorical_cross_entropy(P, Y.tolist()))


def test_cross_entropy_at_the_edges():
    assert d.categorical_cross_entropy([[0, 1]], [[0, 1]]) == 0
    assert d.categorical_cross_entropy([[0.0, 1.0]], [[1, 0]]) == INF
    assert d.binary_cross_entropy([[0, 1]], [[0, 1]]) == 0
    assert d.binary_cross_entropy([[0.0]], [[1]]) == INF
    assert d.binary_cross_entropy([[1.0]], [[0]]) == INF
    assert d.categorical_cross_entropy_logits([[-INF, 0.0]], [[0, 1]]) == 0
    assert d.categorical_cross_entropy_logits([[-INF, 0.0]], [[1, 0]]) == INF
    assert d.categorical_cross_entropy_logits([[1000.0, 0.0]], [[0, 1]]) == 1000
    assert d.binary_cross_entropy_logits([[-1000.0, 1000.0]], [[1, 0]]) == 1000
    assert d.binary_cross_entropy_logits([[-INF, INF]], [[0, 1]]) == 0


def test_penalty_by_hand():
    assert d.penalty([[1, -2], [3, 0]], 0, 1) == 7
    assert d.penalty([[1, -2], [3, 0]], Fraction(1, 2), 0) == 3
    assert d.penalty([[1, -2], [3, 0]], Fraction(1, 2), Fraction(1, 7)) == 4


# -------------------------------------------------------------------------------------------------- optimizers


def test_sgd_by_hand_and_exactly():
    tenth, half = Fraction(1, 10), Fraction(1, 2)
    assert d.sgd_step([1], [2], [0], tenth) == ([1 - 2 * tenth], [2])
    assert d.sgd_step([1], [2], [4], tenth, half) == ([1 - 4 * tenth], [4])
    assert d.sgd_step([1], [2], [4], tenth, half, True) == ([1 - 4 * tenth], [4])
    assert d.sgd_step([1], [2], [6], tenth, half, True) == ([1 - (2 + half * 5) * tenth], [5])
    assert d.sgd_step([10], [2], [6], tenth, half, False, tenth) == ([10 - 6 * tenth], [6])
    assert d.sgd_step([10], [2], [6], tenth, half, True, tenth) == ([10 - 6 * tenth], [6])
    assert d.sgd_step([10, 1], [2, 3], [0, 0], tenth, 0, False, tenth)[1] == [3, Fraction(31, 10)]


def test_adam_by_hand():
    theta, m, v = d.adam_step([1.0], [3.0], [0.0], [0.0], 1, 0.5, 0.9, 0.99, 0.0)
    close(theta, [0.5])  # the first step is the rate, whatever the size of the gradient
    close((m, v), ([0.3], [0.09]))
    theta, m, v = d.adam_step([1.0], [2.0], [0.5], [0.25], 2, 0.1, 0.5, 0.75, 1.0)
    first, second = 1.25 / 0.75, 1.1875 / 0.4375
    close((theta, m, v), ([1 - 0.1 * first / (math.sqrt(second) + 1)], [1.25], [1.1875]))
    decayed = d.adam_step([4.0], [2.0], [0.5], [0.25], 2, 0.1, 0.5, 0.75, 1.0, 0.25)
    close(
        np.subtract(decayed[0], 4), np.subtract(d.adam_step([1.0], [3.0], [0.5], [0.25], 2, 0.1, 0.5, 0.75, 1.0)[0], 1)
    )


def test_adamw_decays_apart_from_the_gradient():
    plain = d.adam_step([4.0], [2.0], [0.5], [0.25], 2, 0.1, 0.5, 0.75, 1.0)
    decoupled = d.adamw_step([4.0], [2.0], [0.5], [0.25], 2, 0.1, 0.5, 0.75, 1.0, 0.25)
    assert decoupled[1:] == plain[1:]
    close(decoupled[0][0], plain[0][0] - 0.1 * 0.25 * 4)
    assert d.adamw_step([4.0], [2.0], [0.5], [0.25], 2, 0.1, 0.5, 0.75, 1.0) == plain


def test_rmsprop_by_hand():
    theta, s, v = d.rmsprop_step([1.0], [4.0], [0.0], [0.0], 0.1, 0.75, 0.0, 1.0)
    close((theta, s, v), ([1 - 0.1 * 4 / 3], [4.0], [4 / 3]))
    theta, s, v = d.rmsprop_step([1.0], [4.0], [16.0], [2.0], 0.1, 0.75, 0.5, 1.0)
    close((theta, s, v), ([1 - 0.1 * (1 + 4 / 5)], [16.0], [1 + 4 / 5]))
    assert d.rmsprop_step([8.0], [2.0], [16.0], [2.0], 0.1, 0.75, 0.5, 1.0, 0.25)[1:] == (s, v)


def test_clipping_by_hand():
    assert d.clip_by_value([-3, 1, 2], 2) == [-2, 1, 2]
    assert d.clip_by_norm([3, 4], 5) == [3, 4]
    assert d.clip_by_norm([3, 4], Fraction(5, 2)) == [1.5, 2]
    assert d.clip_by_norm([0, 0], 1) == [0, 0]


# ------------------------------------------------------------------------------------- initializers and metrics


def test_initial_spreads_by_hand():
    assert d.glorot_uniform_limit(10, 14) == 0.5
    close(d.glorot_normal_deviation(3, 5), 0.5)
    assert d.he_uniform_limit(24) == 0.5
    assert d.he_normal_deviation(8) == 0.5
    assert d.lecun_uniform_limit(12) == 0.5
    assert d.lecun_normal_deviation(4) == 0.5
    for limit, deviation in (
        (d.glorot_uniform_limit(3, 7), d.glorot_normal_deviation(3, 7)),
        (d.he_uniform_limit(5), d.he_normal_deviation(5)),
        (d.lecun_uniform_limit(5), d.lecun_normal_deviation(5)),
    ):
        close(limit**2 / 3, deviation**2)  # the variance of a uniform number on [-limit, limit]


@given(n=st.integers(2, 12), seed=st.integers(0, 9), weighted=st.booleans())
def test_class_metrics_are_scikit_learns(n, seed, weighted):
    rng = np.random.default_rng([n, seed])
    labels, predicted, w = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(1, 5, n)
    weights = w if weighted else None
    own = w.tolist() if weighted else None
    arguments, options = (labels.tolist(), predicted.tolist()), {"sample_weight": weights, "labels": [0, 1, 2]}
    close(d.accuracy(*arguments, own), sklearn.metrics.accuracy_score(labels, predicted, sample_weight=weights))
    close(d.confusion(*arguments, 3, own), sklearn.metrics.confusion_matrix(labels, predicted, **options))
    for name in ("precision", "recall", "f1"):
        theirs = getattr(sklearn.metrics, f"{name}_score")
        expected = theirs(labels, predicted, average=None, zero_division=0, **options)
        close(getattr(d, name)(*arguments, 3, own), expected)
    P = rng.random((n, 3))
    expected = sklearn.metrics.top_k_accuracy_score(labels, P, k=2, sample_weight=weights, labels=[0, 1, 2])
    close(d.top_k(P.tolist(), labels.tolist(), 2, own), expected)
    close(
        d.top_k(P.tolist(), labels.tolist(), 1, own),
        d.accuracy(labels.tolist(), [d.argmax(p) for p in P.tolist()], own),
    )


def test_ties_go_to_the_first_class():
    assert d.argmax([1, 3, 3]) == 1
    assert [d.top_k([[1, 3, 3]], [label], 1) for label in range(3)] == [0, 1, 0]
    assert [d.top_k([[1, 3, 3]], [label], 2) for label in range(3)] == [0, 1, 1]


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0, 1.0]])
def test_regression_metrics_are_scikit_learns(weights):
    P, Y = normal(5, 2), normal(5, 2, seed=1)
    arguments = P.tolist(), Y.tolist(), weights
    close(d.mae(*arguments), sklearn.metrics.mean_absolute_error(Y, P, sample_weight=weights))
    close(d.rmse(*arguments), math.sqrt(sklearn.metrics.mean_squared_error(Y, P, sample_weight=weights)))
    close(d.r2(*arguments), sklearn.metrics.r2_score(Y, P, sample_weight=weights))
    close(d.mean_squared_error(*arguments), sklearn.metrics.mean_squared_error(Y, P, sample_weight=weights))


def test_r2_of_a_constant():
    assert d.r2([[1], [1]], [[1], [1]]) == 1
    assert d.r2([[1], [2]], [[1], [1]]) == 0
