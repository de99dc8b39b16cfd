"""Windows: sizes, "same", tables against loops, the adjoint window, padding, and what the errors say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import geometries
from mathdl.errors import ShapeError, UnknownNameError, UsageError
from mathdl.theory import definitions
from mathdl.windows import (
    Gather,
    Window,
    check_window,
    cropped,
    fit,
    gather_table,
    no_window_in_padding,
    padded,
    patches,
    rows_and_columns,
    spatial,
)
from support import host, normal

POINT = Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))


@given(geometries())
def test_output_is_the_number_of_places(geometry):
    sizes = map(
        definitions.window_size, geometry.input, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation
    )
    assert geometry.window.output(geometry.input) == tuple(sizes)


@given(p=st.integers(1, 12), f=st.integers(1, 5), s=st.integers(1, 4), d=st.integers(1, 3))
def test_same_keeps_the_size_over_the_stride(p, f, s, d):
    window = fit("Conv2D", (p, 7), (f, 1), (s, 1), "same", (d, 1))
    (before, after), columns = window.padding
    assert window.output((p, 7)) == (-(-p // s), 7)
    assert after - before in (0, 1)
    assert columns == (0, 0)
    assert (before, after) == definitions.same_padding(p, f, s, d)


def test_the_forms_of_padding():
    def sides(padding):
        return fit("Conv2D", (5, 6), 2, 1, padding).padding

    assert sides("valid") == ((0, 0), (0, 0))
    assert sides("same") == ((0, 1), (0, 1))
    assert sides(2) == ((2, 2), (2, 2))
    assert sides((1, 2)) == ((1, 1), (2, 2))
    assert sides(((1, 2), (3, 4))) == ((1, 2), (3, 4))


def test_a_sequence_is_an_image_of_one_column():
    assert fit("Conv1D", (9,), 3, 2, (1, 2), 2) == Window((3, 1), (2, 1), ((1, 2), (0, 0)), (2, 1))
    assert fit("Conv1D", (9,), 3, 2, 1).padding == ((1, 1), (0, 0))
    assert rows_and_columns((9, 4), 1) == (9, 1)
    assert rows_and_columns((9, 4), 2) == (9, 4)


@given(geometries())
def test_table_is_where_each_tap_lies(geometry):
    window, (p, q) = geometry.window, geometry.input
    (s, t), ((top, _), (left, _)), (d, e) = window.stride, window.padding, window.dilation
    places, taps = window.output((p, q)), window.kernel
    expected = []
    for i, j in np.ndindex(*places):
        for a, b in np.ndindex(*taps):
            u, v = i * s + a * d - top, j * t + b * e - left
            expected.append(u * q + v if 0 <= u < p and 0 <= v < q else p * q)
    table = gather_table(window, (p, q))
    assert table.dtype == np.int64
    assert table.tolist() == expected


@given(geometries())
def test_adjoint_window_sees_the_places_that_saw_a_pixel(geometry):
    window, input = geometry.window._replace(stride=(1, 1)), geometry.input
    output, taps = window.output(input), window.kernel[0] * window.kernel[1]
    forward = gather_table(window, input).reshape(-1, taps)
    adjoint = gather_table(window.adjoint(), output).reshape(-1, taps)[:, ::-1]
    pixels, places = input[0] * input[1], output[0] * output[1]
    assert window.adjoint().output(output) == input
    assert {(u, t, i) for (i, t), u in np.ndenumerate(forward) if u < pixels} == {
        (u, t, i) for (u, t), i in np.ndenumerate(adjoint) if i < places
    }


def test_tables_are_made_once_and_cannot_be_written():
    table = gather_table(POINT, (2, 2))
    assert gather_table(POINT, (2, 2)) is table
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


@given(geometry=geometries(), B=st.integers(1, 3), k=st.integers(1, 3))
def test_patches_are_what_the_table_says(backend, geometry, B, k):
    window, (p, q) = geometry.window, geometry.input
    A, table = normal(B, p, q, k), gather_table(window, (p, q))
    pixels = np.concatenate([A.reshape(B, p * q, k), np.zeros((B, 1, k))], axis=1)
    P = patches(backend.put(A), Gather(window, (p, q), backend.put(table)))
    taps = window.kernel[0] * window.kernel[1]
    np.testing.assert_array_equal(host(P), pixels[:, table].reshape(-1, taps, k))


@pytest.mark.parametrize("axis", [1, 2])
def test_cropped_takes_away_what_padded_adds(backend, axis):
    A = backend.put(normal(2, 3, 4, 1))
    larger = padded(A, axis, (1, 2), -np.inf)
    assert larger.shape[axis] == A.shape[axis] + 3
    assert np.isneginf(host(larger)).sum() == 3 * A.size / A.shape[axis]
    np.testing.assert_array_equal(host(cropped(larger, axis, (1, 2))), host(A))
    assert padded(A, axis, (0, 0)) is A


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", (3,), (3, 0), (1, 2, 3), [3, 3]])
def test_sizes_are_positive(value):
    with pytest.raises(UsageError, match=r"Conv2D: stride must be an int ≥ 1 or a tuple \(rows, columns\) of two"):
        check_window("Conv2D", 2, "valid", stride=value)
    with pytest.raises(UsageError, match=r"Conv1D: stride must be an int ≥ 1, got"):
        check_window("Conv1D", 1, "valid", stride=value)


def test_a_pair_is_no_size_of_a_sequence():
    with pytest.raises(UsageError, match=r"Conv1D: kernel must be an int ≥ 1, got \(3, 3\)"):
        check_window("Conv1D", 1, "valid", kernel=(3, 3))
    check_window("Conv2D", 2, "valid", kernel=(3, 3))


@pytest.mark.parametrize("padding", [-1, 1.5, (1, -1), (1,), ((1, 2), 3), ((0, 0), (0, -1)), None])
def test_padding_has_one_of_its_forms(padding):
    with pytest.raises(UsageError, match=r"padding must be .* \(\(top, bottom\), \(left, right\)\), got"):
        check_window("MaxPool2D", 2, padding)
    with pytest.raises(UsageError, match=r"padding must be .*\(before, after\), got"):
        check_window("MaxPool1D", 1, padding)


def test_sides_of_an_image_are_no_padding_of_a_sequence():
    check_window("Conv2D", 2, ((1, 2), (3, 4)))
    with pytest.raises(UsageError, match="got"):
        check_window("Conv1D", 1, ((1, 2), (3, 4)))


def test_unknown_padding_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'sam'.*Did you mean 'same'"):
        check_window("Conv2D", 2, "sam")


def test_a_window_larger_than_the_padded_input():
    with pytest.raises(ShapeError, match=r"Conv2D: the window .* = \(5, 3\) · padded .* = \(4, 9\)"):
        fit("Conv2D", (2, 7), (3, 2), 1, 1, 2)
    assert fit("Conv2D", (3, 7), (3, 2), 1, 1, 2).output((3, 7)) == (1, 7)


@pytest.mark.parametrize(
    ("padding", "p", "fits"),
    [((1, 1), 4, True), ((2, 0), 4, False), ((0, 2), 4, False), ((0, 2), 5, True), ((1, 3), 4, False)],
)
def test_no_window_may_lie_in_the_padding(padding, p, fits):
    window = Window((2, 1), (2, 1), (padding, (0, 0)), (1, 1))
    if fits:
        no_window_in_padding("MaxPool1D", window, (p, 1))
    else:
        with pytest.raises(ShapeError, match=r"MaxPool1D: a window lies wholly in the padding.* size 2, stride 2"):
            no_window_in_padding("MaxPool1D", window, (p, 1))


def test_channels_are_not_optional():
    assert spatial("Conv2D", 2, (28, 27, 1)) == (28, 27)
    assert spatial("Conv1D", 1, (28, 3, 2)) == (28,)
    with pytest.raises(ShapeError, match=r"Conv2D: .* an image with an axis of channels; .*X\[\.\.\., None\] .*28\)"):
        spatial("Conv2D", 2, (28, 28))
    with pytest.raises(ShapeError, match=r"Conv1D: .* a sequence .* \(28,\)"):
        spatial("Conv1D", 1, (28,))
