"""Metrics: against the definitions and scikit-learn, weighted and not; ties, 0/0, errors."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st

from mathdl import metrics
from mathdl.errors import DataError, ShapeError, UsageError
from mathdl.theory import definitions
from support import as_inside_a_step, assert_close, host, normal

CLASSES = 5


def labels(n, seed=0):
    return np.random.default_rng([seed, n]).integers(0, CLASSES, n)


def inside(f, device, *arguments, **keywords):
    with as_inside_a_step(device):
        result = f(*arguments, **keywords)
    assert result.dtype == arguments[0].dtype
    return host(result)


# ---- inside a step


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_accuracy_per_instance(backend, dtype):
    P, y = normal(20, CLASSES, dtype=dtype), labels(20)
    expected = [float(definitions.argmax(row) == label) for row, label in zip(P.tolist(), y.tolist(), strict=True)]
    assert 0 < sum(expected) < 20
    for Y in (y, y.astype(np.int32), np.eye(CLASSES, dtype=dtype)[y]):
        assert_close(inside(metrics.accuracy_per_instance, backend, backend.put(P), backend.put(Y)), expected)


def test_of_equal_outputs_the_first_counts(backend):
    P = backend.put(np.asarray([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
    for y, expected in (([0, 1], [1.0, 1.0]), ([1, 2], [0.0, 0.0])):
        assert_close(inside(metrics.accuracy_per_instance, backend, P, backend.put(np.asarray(y))), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_accuracy_per_instance(backend, dtype):
    P = backend.put(np.asarray([[0.2, 0.5, 0.6], [0.9, 0.1, 0.4]], dtype))
    Y = backend.put(np.asarray([[0, 0, 1], [0, 0, 1]], dtype))
    assert_close(inside(metrics.binary_accuracy_per_instance, backend, P, Y), [1.0, 1 / 3], rtol=1e-6)
    assert_close(inside(metrics.binary_accuracy_per_instance, backend, P, Y, threshold=0.3), [2 / 3, 2 / 3], rtol=1e-6)


def test_errors_per_instance(backend):
    P, Y = normal(6, 3), normal(6, 3, seed=1)
    own = backend.put(P), backend.put(Y)
    assert_close(inside(metrics.absolute_error_per_instance, backend, *own), np.abs(P - Y).mean(axis=1))
    assert_close(inside(metrics.squared_error_per_instance, backend, *own), ((P - Y) ** 2).mean(axis=1))


# ---- classification


@given(n=st.integers(1, 30), weighted=st.booleans())
def test_accuracy(n, weighted):
    y, predicted, w = labels(n), labels(n, seed=1) % 3, np.arange(1.0, n + 1) if weighted else None
    mine = metrics.accuracy(y, predicted, w)
    assert isinstance(mine, float)
    assert_close(mine, theirs.accuracy_score(y, predicted, sample_weight=w))
    assert_close(mine, definitions.accuracy(y.tolist(), predicted.tolist(), None if w is None else w.tolist()))


def test_accuracy_of_several_outputs_counts_each():
    assert metrics.accuracy([[0, 1], [1, 1]], [[0, 0], [1, 1]]) == 0.75


@given(n=st.integers(5, 30), k=st.integers(1, 4), weighted=st.booleans())
def test_top_k_accuracy(n, k, weighted):
    P, y, w = normal(n, CLASSES), labels(n), np.arange(1.0, n + 1) if weighted else None
    mine = metrics.top_k_accuracy(P, y, k, w)
    assert_close(mine, theirs.top_k_accuracy_score(y, P, k=k, labels=range(CLASSES), sample_weight=w))
    assert_close(mine, definitions.top_k(P.tolist(), y.tolist(), k, None if w is None else w.tolist()))


def test_top_k_with_ties_prefers_the_first():
    P = np.ones((3, 3))
    assert metrics.top_k_accuracy(P, [0, 1, 2], k=1) == pytest.approx(1 / 3)
    assert metrics.top_k_accuracy(P, [0, 1, 2], k=2) == pytest.approx(2 / 3)
    assert metrics.top_k_accuracy(P, [0, 1, 2], k=3) == 1.0
    assert metrics.top_k_accuracy(P, [1, 1, 1], k=1) == metrics.accuracy([1, 1, 1], np.argmax(P, axis=1))


@given(n=st.integers(1, 30), weighted=st.booleans())
def test_confusion_matrix(n, weighted):
    y, predicted, w = labels(n), labels(n, seed=1), np.arange(1.0, n + 1) if weighted else None
    C = metrics.confusion_matrix(y, predicted, CLASSES, w)
    assert C.dtype.kind == ("f" if weighted else "i")
    np.testing.assert_array_equal(C, theirs.confusion_matrix(y, predicted, labels=range(CLASSES), sample_weight=w))
    np.testing.assert_array_equal(
        C, definitions.confusion(y.tolist(), predicted.tolist(), CLASSES, None if w is None else w.tolist())
    )


@pytest.mark.parametrize("average", ["macro", None])
@given(n=st.integers(1, 12), weighted=st.booleans())
def test_precision_recall_f1(average, n, weighted):
    y, predicted, w = labels(n), labels(n, seed=1) % 3, np.arange(1.0, n + 1) if weighted else None
    expected = theirs.precision_recall_fscore_support(
        y, predicted, labels=range(CLASSES), average=average, sample_weight=w, zero_division=0
    )
    mine = [f(y, predicted, CLASSES, average, w) for f in (metrics.precision, metrics.recall, metrics.f1)]
    for own, other in zip(mine, expected[:3], strict=True):
        assert_close(own, other)
    if average is None:
        arguments = (y.tolist(), predicted.tolist(), CLASSES, None if w is None else w.tolist())
        for own, definition in zip(mine, (definitions.precision, definitions.recall, definitions.f1), strict=True):
            assert_close(own, definition(*arguments))


def test_nothing_predicted_and_nothing_true_gives_0():
    assert metrics.precision([0, 0], [0, 0], 2, average=None).tolist() == [1.0, 0.0]
    assert metrics.recall([0, 0], [1, 1], 2, average=None).tolist() == [0.0, 0.0]
    assert metrics.f1([0, 0], [1, 1], 3) == 0.0


# ---- regression


@given(n=st.integers(2, 12), d=st.integers(0, 3), weighted=st.booleans())
def test_regression(n, d, weighted):
    shape = (n, d) if d else (n,)
    Y, P, w = normal(*shape), normal(*shape, seed=1), np.arange(1.0, n + 1) if weighted else None
    rows = [A.reshape(n, -1).tolist() for A in (P, Y)]
    w_list = None if w is None else w.tolist()
    assert_close(metrics.mean_absolute_error(Y, P, w), theirs.mean_absolute_error(Y, P, sample_weight=w))
    assert_close(metrics.mean_absolute_error(Y, P, w), definitions.mae(*rows, w_list))
    assert_close(metrics.root_mean_squared_error(Y, P, w), theirs.root_mean_squared_error(Y, P, sample_weight=w))
    if len(rows[0][0]) == 1:
        assert_close(metrics.root_mean_squared_error(Y, P, w), definitions.rmse(*rows, w_list))
    assert_close(metrics.r2(Y, P, w), theirs.r2_score(Y, P, sample_weight=w))
    assert_close(metrics.r2(Y, P, w), definitions.r2(*rows, w_list))


def test_r2_of_an_output_that_does_not_vary():
    Y = np.asarray([[1.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    P = np.asarray([[1.0, 2.0, 1.0], [1.0, 2.5, 3.0]])
    assert metrics.r2(Y, P) == theirs.r2_score(Y, P) == pytest.approx(2 / 3)


def test_r2_of_one_instance_is_nan():
    assert np.isnan(metrics.r2([1.0], [1.0]))


def test_float32_is_averaged_in_float64():
    Y = np.full(4, 1 / 3, np.float32)
    assert metrics.mean_absolute_error(Y, np.zeros(4, np.float32)) == float(np.float32(1 / 3))


def test_unsigned_integers_do_not_wrap():
    small, large = np.asarray([3, 250], np.uint8), np.asarray([250, 3], np.uint8)
    assert metrics.mean_absolute_error(small, large) == 247.0
    assert metrics.root_mean_squared_error(small, large) == 247.0


# ---- errors

PAIRS = [
    metrics.accuracy,
    metrics.mean_absolute_error,
    metrics.root_mean_squared_error,
    metrics.r2,
    lambda a, b, weights=None: metrics.confusion_matrix(a, b, 2, weights),
    lambda a, b, weights=None: metrics.f1(a, b, 2, weights=weights),
]


@pytest.mark.parametrize("f", PAIRS)
def test_both_sides_fit(f):
    with pytest.raises(ShapeError, match=r"same shape · true \(n,\) = \(2,\) · predicted \(n,\) = \(2, 1\)"):
        f([0, 1], [[0], [1]])
    with pytest.raises(DataError, match="no instances"):
        f([], [])


@pytest.mark.parametrize("f", PAIRS)
def test_weights_fit(f):
    with pytest.raises(ShapeError, match=r"a weight for each instance · weights \(n,\) = \(3,\)"):
        f([0, 1], [0, 1], weights=[1, 1, 1])
    with pytest.raises(DataError, match="weights sum to 0"):
        f([0, 1], [0, 1], weights=[0, 0])


@pytest.mark.parametrize("bad", [-1, 2, 0.5])
def test_labels_are_in_range(bad):
    with pytest.raises(DataError, match=rf"row 1 is {bad}, expected a label in 0 … 1"):
        metrics.confusion_matrix([0, bad], [0, 1], 2)
    with pytest.raises(DataError, match=rf"row 1 is {bad}, expected a label in 0 … 1"):
        metrics.confusion_matrix([0, 1], [0, bad], 2)
    with pytest.raises(DataError, match=rf"row 1 is {bad}"):
        metrics.top_k_accuracy(np.ones((2, 2)), [0, bad], 1)


@pytest.mark.parametrize("k", [0, 3])
def test_k_is_in_range(k):
    with pytest.raises(UsageError, match=r"k must lie in 1 … 2"):
        metrics.top_k_accuracy(np.ones((2, 2)), [0, 1], k)


def test_top_k_needs_a_label_for_each_row():
    with pytest.raises(ShapeError, match=r"a label for each row of P · P \(n, l\) = \(2, 2\)"):
        metrics.top_k_accuracy(np.ones((2, 2)), [0, 1, 1], 1)


def test_unknown_average():
    with pytest.raises(UsageError, match="average must be 'macro' or None, got 'micro'"):
        metrics.precision([0], [0], 1, average="micro")
