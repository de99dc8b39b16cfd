"""The NumPy kernels for windows: each is the reference, wherever it does not decline."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import geometries, pools
from mathdl.layers.average_pool import sum_line_backward
from mathdl.layers.convolution import convolve, convolve_dA_by_taps, convolve_dW
from mathdl.layers.max_pool import max_line, max_line_backward, max_line_forward
from mathdl.layers.pooling import Line
from mathdl.primitive import reference_only
from mathdl.windows import Gather, Window, gather_table
from mathdl_backends.numpy import pieces, windows
from support import normal

SAME = Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))


def gather_for(window, input):
    return Gather(window, input, gather_table(window, input))


@contextmanager
def cut_finely(piece, shuffled=True):
    """Pieces of so many numbers, computed last first, as a team of threads may."""

    def backwards(task, count):
        for j in reversed(range(count)):
            task(j)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", piece)
        if shuffled:
            patch.setattr(pieces.team, "map", backwards)
        yield


@pytest.mark.parametrize("piece", [1, 16, pieces.PIECE])
@given(
    geometry=geometries(),
    adjoint=st.booleans(),
    B=st.integers(1, 3),
    k=st.sampled_from([1, 3, 5]),
    n=st.integers(1, 3),
    bias=st.booleans(),
)
def test_convolutions_are_the_references(piece, geometry, adjoint, B, k, n, bias):
    window, input = geometry.window, geometry.input
    if adjoint:  # its padding is negative where the window is padded by more than it reaches
        window = window._replace(stride=(1, 1))
        window, input = window.adjoint(), window.output(input)
    gather = gather_for(window, input)
    A, W = normal(B, *input, k), normal(window.kernel[0] * window.kernel[1], k, n)
    b = normal(n) if bias else None
    Z = convolve.reference(A, W, b, gather, 1)
    before = A.copy()
    with cut_finely(piece):
        found = windows.convolve(A, W, b, gather, 1)
        dW = windows.convolve_dW(A, Z, gather, 1)
    np.testing.assert_allclose(found, Z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dW, convolve_dW.reference(A, Z, gather, 1), rtol=1e-11, atol=1e-11)
    with cut_finely(piece, shuffled=False):
        into = np.full_like(W, np.nan)
        assert windows.convolve_dW(A, Z, gather, 1, into) is into
        np.testing.assert_array_equal(windows.convolve(A, W, b, gather, 1), found)  # whoever computes the pieces
    np.testing.assert_array_equal(into, dW)
    np.testing.assert_array_equal(A, before)


@pytest.mark.parametrize("piece", [1, pieces.PIECE])
@given(geometry=geometries(), B=st.integers(1, 3), k=st.sampled_from([1, 5]), n=st.integers(1, 3))
def test_gradients_sent_back_by_taps_are_the_references(piece, geometry, B, k, n):
    window, input = geometry.window, geometry.input
    dZ = normal(B, *window.output(input), n)
    W = normal(window.kernel[0] * window.kernel[1], k, n)
    assert convolve_dA_by_taps.explain(dZ, W, window, input, 1) == "numpy kernel"
    expected = convolve_dA_by_taps.reference(dZ, W, window, input, 1)
    with cut_finely(piece):
        np.testing.assert_allclose(convolve_dA_by_taps(dZ, W, window, input, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [2, 6])
def test_images_may_be_views(k):
    A, W, gather = normal(2, 12, 10, 2 * k)[:, ::2, 1:9, ::2], normal(9, k, 4), gather_for(SAME, (6, 8))
    valid = gather_for(SAME._replace(padding=((0, 0), (0, 0))), (6, 8))
    for each in (gather, valid):
        Z = convolve.reference(A, W, None, each, 1)
        np.testing.assert_allclose(convolve(A, W, None, each, 1), Z, rtol=1e-12)


def test_nan_stays_in_the_windows_that_see_it():
    A, W = np.ones((1, 5, 5, 1)), np.ones((9, 1, 1))
    A[0, 0, 0, 0] = np.nan
    Z = convolve(A, W, None, gather_for(SAME, (5, 5)), 1).reshape(5, 5)
    assert np.argwhere(np.isnan(Z)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_float32_stays_float32():
    A, W, b = normal(2, 5, 5, 2, dtype="float32"), normal(9, 2, 3, dtype="float32"), normal(3, dtype="float32")
    Z = windows.convolve(A, W, b, gather_for(SAME, (5, 5)), 1)
    assert Z.dtype == windows.convolve_dW(A, Z, gather_for(SAME, (5, 5)), 1).dtype == np.float32


def test_results_do_not_share_the_buffers():
    A, W, gather = normal(2, 5, 5, 2), normal(9, 2, 3), gather_for(SAME, (5, 5))
    Z = convolve(A, W, None, gather, 1)
    dW = convolve_dW(A, Z, gather, 1)
    kept = Z.copy(), dW.copy()
    convolve_dW(-A, convolve(-A, W, None, gather, 1) + 1.0, gather, 1)
    np.testing.assert_array_equal(Z, kept[0])
    np.testing.assert_array_equal(dW, kept[1])


@given(size=st.integers(2, 4), places=st.integers(1, 3), axis=st.sampled_from([1, 2]), channels=st.integers(1, 3))
def test_pooling_is_the_reference_with_ties(size, places, axis, channels):
    shape = [2, 3, 3, channels]
    shape[axis] = size * places
    line = Line(axis, size, size, (0, 0))
    A = np.random.default_rng(0).integers(-1, 2, shape).astype("float64")
    A[0, 0, 0, 0] = np.nan
    Z, cache = max_line_forward(A, line)
    expected, beats = max_line.reference(A, line)
    np.testing.assert_array_equal(Z, expected)
    np.testing.assert_array_equal(cache.beats, np.stack(beats))
    dZ = normal(*Z.shape)
    dZ[1, 0, 0, 0] = np.nan
    assert "numpy kernel" in max_line_backward.explain(dZ, cache)
    np.testing.assert_array_equal(max_line_backward(dZ.copy(), cache), max_line_backward.reference(dZ.copy(), cache))
    np.testing.assert_array_equal(
        sum_line_backward(dZ.copy(), line, size * places), sum_line_backward.reference(dZ.copy(), line, size * places)
    )


@given(geometry=pools(), B=st.integers(1, 3))
def test_maxima_where_windows_overlap_or_leave_gaps(geometry, B):
    """Strides of every size; the backward pass of such is the reference's, on this kernel's cache."""
    for axis, (f, s, padding) in enumerate(zip(*geometry.window[:3], strict=True)):
        if f == 1:
            continue
        line = Line(1 + axis, f, s, padding)
        A = np.random.default_rng(B).integers(-1, 2, (B, *geometry.input, 2)).astype("float32")
        with cut_finely(1):
            Z, cache = max_line_forward(A, line)
        with reference_only():
            expected, like = max_line_forward(A, line)
        np.testing.assert_array_equal(Z, expected)
        dZ = normal(*Z.shape, dtype="float32")
        np.testing.assert_array_equal(max_line_backward(dZ.copy(), cache), max_line_backward.reference(dZ, like))


@pytest.mark.parametrize(("rows", "runs"), [(8, []), (16, [4, 4])])
def test_images_of_a_large_pool_are_taken_by_others(monkeypatch, rows, runs):
    A, line = normal(6, rows, 64, 64, dtype="float32"), Line(1, 2, 2, (0, 0))
    Z, cache = max_line_forward(A, line)
    dA, counts = max_line_backward(Z, cache), []

    def count(task, count):
        counts.append(count)
        for j in reversed(range(count)):
            task(j)

    monkeypatch.setattr(pieces.team, "map", count)
    again = max_line_forward(A, line)
    np.testing.assert_array_equal(again[0], Z)
    np.testing.assert_array_equal(again[1].beats, cache.beats)
    np.testing.assert_array_equal(max_line_backward(Z, cache), dA)
    assert counts == runs


def test_what_is_declined_and_why():
    A, W, gather = normal(2, 5, 5, 4), normal(9, 2, 4), gather_for(SAME, (5, 5))
    assert "one product for each group" in convolve.explain(A, W, None, gather, 2)
    assert convolve.explain(A, normal(9, 4, 4), None, gather, 1) == "numpy kernel"
    assert convolve_dW.explain(A, normal(50, 4), gather, 1) == "numpy kernel"
    point = Gather(Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)), (5, 5), None)
    assert "a point gathers nothing" in convolve_dW.explain(A, normal(50, 4), point, 1)
    assert "no instances" in convolve.explain(A[:0], normal(9, 4, 4), None, gather, 1)
    assert "one product for each group" in convolve_dA_by_taps.explain(A, normal(9, 2, 4), SAME, (5, 5), 2)
    assert "no instances" in convolve_dA_by_taps.explain(A[:0], normal(9, 4, 4), SAME, (5, 5), 1)
    assert "one tap is the maximum" in max_line.explain(A, Line(1, 1, 2, (0, 0)))
    assert "int64" in max_line.explain(A.astype(np.int64), Line(1, 2, 2, (0, 0)))
    with reference_only():
        Z, cache = max_line_forward(A[:, :4], Line(1, 2, 2, (0, 0)))
    assert "the reference's cache" in max_line_backward.explain(Z, cache)
    for stride, rows in ((1, 4), (3, 4), (2, 5)):
        line = Line(1, 2, stride, (0, 0))
        Z, cache = max_line_forward(A[:, :rows], line)
        assert "in no window, or in more than one" in max_line_backward.explain(Z, cache)
        assert "in no window, or in more than one" in sum_line_backward.explain(Z, line, rows)


def test_no_instances_have_no_gradient():
    gather = gather_for(SAME, (5, 5))
    A = np.empty((0, 5, 5, 4))
    Z = convolve(A, normal(9, 4, 2), None, gather, 1)
    assert Z.shape == (0, 2)
    np.testing.assert_array_equal(convolve_dW(A, Z, gather, 1), np.zeros((9, 4, 2)))
