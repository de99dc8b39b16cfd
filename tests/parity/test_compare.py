"""Two arrays against a bound: the ratio and where it is, what a reference says, and what no rounding makes."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from mathdl.parity.compare import ANYTHING, EXACT, INFLATION, Bounds, Reference, compare, failed, quotient
from support import normal

U = 2.0**-24


def test_the_ratio_is_the_largest_and_its_place_is_given():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    b = a + np.array([[0.1, 0.0], [0.4, 0.2]])
    found = compare(a, b, Bounds(0.25, np.full((2, 2), 0.25)))
    assert found.ratio == pytest.approx(0.8, rel=1e-5)
    assert found.worst.index == (1, 0)
    assert (found.worst.a, found.worst.b) == (3.0, 3.4)
    assert found.worst.bound_a == 0.25 * INFLATION
    assert (found.equal, found.entries, found.shape) == (1, 4, (2, 2))


def test_nothing_rounded_means_every_value():
    a = np.array([1.0, 2.0, 0.0])
    assert compare(a, a).ratio == 0
    found = compare(a, np.nextafter(a, 10.0))
    assert found.ratio == inf
    assert found.worst.index == (0,)


def test_quotient():
    np.testing.assert_array_equal(
        quotient(np.array([0.0, 1.0, 1.0, nan, 3.0]), np.array([0.0, 0.0, 2.0, 1.0, inf])), [0.0, inf, 0.5, inf, 0.0]
    )


@pytest.mark.parametrize("n", [1, 7, 64, 500])
def test_two_orders_of_a_product_stay_within_gamma(n):
    """γ_n |A||B|, in closed form, holds for BLAS and for sums from left to right, and sees a TF32 product."""
    A, B = normal(20, n, seed=1, dtype="float32"), normal(n, 20, seed=2, dtype="float32")
    by_hand = np.zeros((20, 20), np.float32)
    for k in range(n):
        by_hand += np.outer(A[:, k], B[k])
    wide = A.astype(np.float64), B.astype(np.float64)
    e = n * U / (1 - n * U) * (np.abs(wide[0]) @ np.abs(wide[1]))
    found = compare(A @ B, by_hand, Bounds(e, e), Reference(wide[0] @ wide[1], 0.0, "float64"))
    assert found.ratio <= 1
    assert found.a_ratio <= 1
    assert found.b_ratio <= 1
    assert found.resolves < 1e-2
    spoilt = (np.float32(1 + 2.0**-9) * A) @ B
    assert compare(A @ B, spoilt, Bounds(e, e)).ratio > 1


def test_each_side_is_held_against_the_reference():
    a, b = np.array([1.0, 2.0]), np.array([1.0, 2.2])
    found = compare(a, b, Bounds(0.1, 0.1), Reference(np.array([1.0, 2.0]), 0.1, "definition"))
    assert (found.a_ratio, found.reference) == (0.0, "definition")
    assert found.b_ratio == pytest.approx(1.0, rel=1e-5)
    assert found.worst_b.index == (1,)
    assert (found.worst_b.reference, found.worst_b.bound_reference) == (2.0, 0.1 * INFLATION)


def test_a_reference_may_know_a_few_entries():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = compare(
        a, a, Bounds(0.1, 0.1), Reference(np.array([4.0, 2.3]), np.zeros(2), "definition", ((1, 1), (0, 1)))
    )
    assert found.a_ratio == pytest.approx(3.0, rel=1e-5)
    assert found.worst_a.index == (0, 1)


def test_the_median_leaves_out_what_has_no_relative_error():
    a = np.array([0.0, 1.0, 100.0, inf])
    found = compare(a, a, Bounds(0.5, 0.5), Reference(a, 0.0, "definition"))
    assert found.resolves == pytest.approx(0.01, rel=1e-5)
    assert found.median.index == (2,)
    zeros = np.zeros(3)
    assert compare(zeros, zeros, Bounds(0.1, 0.1)).resolves == inf
    assert compare(zeros, zeros).resolves == 0


def test_the_same_infinity_and_nan_are_no_difference():
    a = np.array([nan, inf, -inf, 1.0])
    found = compare(a, a.copy(), Bounds(0.1, 0.1))
    assert (found.ratio, found.patterns, found.equal) == (0, (), 4)


@pytest.mark.parametrize(
    ("a", "b", "pattern"),
    [
        ((1.0, nan), (1.0, 2.0), "NaN on a alone: 1 of 2, first at (1,)"),
        ((1.0, 2.0), (nan, nan), "NaN on b alone: 2 of 2, first at (0,)"),
        ((1.0, inf), (1.0, -inf), "+∞ on a alone: 1 of 2, first at (1,)"),
    ],
)
def test_patterns_of_values(a, b, pattern):
    found = compare(np.array(a), np.array(b), ANYTHING)
    assert pattern in found.patterns


def test_patterns_of_form():
    assert compare(np.zeros(3), np.zeros(4)).patterns == ("shape (3,) on a, (4,) on b",)
    double, single = np.zeros(2), np.zeros(2, np.float32)
    assert compare(single, double).patterns == ("dtype float32 on a, float64 on b",)
    assert compare(single, double, same_dtype=False).patterns == ()


def test_zeros_of_another_sign_are_a_remark():
    found = compare(np.array([0.0, 1.0]), np.array([-0.0, 1.0]))
    assert (found.ratio, found.patterns, found.remarks) == (0, (), ("1 zeros of another sign",))
    assert found.equal == 1


def test_integers_and_booleans_are_compared_as_such():
    words = np.array([1, 2**32 - 1], dtype=np.uint32)
    assert compare(words, words.copy(), EXACT).ratio == 0
    assert compare(words, words ^ 1, EXACT).ratio == inf
    assert compare(np.array([True]), np.array([False])).ratio == inf


def test_the_probable_bound_has_a_ratio_of_its_own():
    found = compare(np.array([1.0]), np.array([1.1]), Bounds(1.0, 1.0, 0.2))
    assert found.probable_ratio == pytest.approx(0.5, rel=1e-5)


def test_nothing_to_compare():
    empty = np.zeros((0, 3))
    found = compare(empty, empty)
    assert (found.ratio, found.worst, found.resolves) == (0.0, None, 0.0)


def test_what_could_not_be_compared_fails():
    assert failed("b raised").ratio == inf
