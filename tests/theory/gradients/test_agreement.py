"""The two witnesses: how far they are off, against figures that are known; kinks are seen, and resampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mathdl.arrays import namespace
from mathdl.theory.gradients.agreement import Examination
from mathdl.theory.gradients.report import AGREES, KINK, WRONG
from mathdl.theory.gradients.subject import Subject
from support import normal


def subject(f, gradient, x):
    """y = f(x), entry by entry, whose backward is G ∘ gradient(x)."""
    return Subject((1,), "f", {"x": x}, ("x",), lambda v: f(v["x"]), lambda v, G: {"x": G * gradient(v["x"])})


def examine(f, gradient, x, seed=0, directions=3):
    with np.errstate(all="ignore"):
        (row,) = Examination(subject(f, gradient, x), np.random.default_rng(seed)).rows(directions)
    return row


def exp(A):
    return namespace(A).exp(A)


def relu(A):
    return namespace(A).maximum(A, 0.0)


def step(A):
    return namespace(A).astype(A > 0, A.dtype)


@pytest.mark.parametrize("seed", range(20))
def test_the_true_derivative_agrees_and_one_that_is_off_by_a_little_does_not(seed):
    x = normal(50, seed=seed)
    assert examine(exp, exp, x, seed).verdict == AGREES
    off = examine(exp, lambda A: exp(A) * (1 + 1e-13), x, seed)
    assert off.verdict == WRONG
    assert off.differences.holds  # differences are coarser …
    coarse = examine(exp, lambda A: exp(A) * (1 + 1e-4), x, seed)
    assert not coarse.differences.holds  # … and see what is larger than their bound


def test_the_bound_follows_the_condition_of_the_code():
    x = normal(50)
    good = examine(exp, exp, x)
    bad = examine(lambda A: exp((A + 1e6) - 1e6), exp, x)
    assert bad.duals.tolerance > 1e3 * good.duals.tolerance
    assert bad.verdict == AGREES
    assert good.duals.tolerance < 1e-14


def test_kinks_are_avoided_and_bounds_stay_sharp():
    x = normal(5000)  # any step of 2⁻¹⁰ crosses a few of the 5000 zeros
    row = examine(relu, step, x)
    assert row.verdict == AGREES
    assert row.differences.tolerance < 1e-6
    nearest = np.min(np.abs(x))
    assert nearest < 2.0**-10


def test_on_a_kink_no_direction_is_smooth():
    x = normal(5)
    x[2] = 0.0
    row = examine(relu, step, x)
    assert row.verdict == KINK
    assert row.differences is None


def test_a_point_beside_it_is_none():
    x = normal(5)
    x[2] = 0.0
    moved = subject(relu, step, x).moved(np.random.default_rng(0))
    assert 0 < abs(moved.inputs["x"][2]) < 0.1
    (row,) = Examination(moved, np.random.default_rng(0)).rows(3)
    assert row.verdict == AGREES


def test_a_step_out_of_the_domain_is_made_shorter():
    x = np.array([1e-5, 1.0])
    row = examine(lambda A: namespace(A).log(A), lambda A: 1.0 / A, x)
    assert row.verdict == AGREES


def test_where_every_step_crosses_a_kink_nothing_is_claimed():
    def rough(A):  # flat, with a jump every 3e-12
        xp = namespace(A)
        return A + 0.0 * xp.astype(xp.sin(1e12 * A) > 0, A.dtype)

    row = examine(rough, lambda A: namespace(A).ones(A.shape, dtype=A.dtype, device=A.device), normal(20))
    assert row.verdict == KINK
    assert row.differences is None
    assert row.duals.holds


def test_a_difference_that_tells_nothing_does_not_count():
    x = normal(20)
    row = examine(lambda A: namespace(A).sin(3000.0 * A), lambda A: 3000.0 * namespace(A).cos(3000.0 * A), x)
    assert row.verdict == AGREES
    assert row.differences.tolerance < 2e-3  # at the first step it is more than 1


def test_a_wrong_derivative_is_wrong_also_where_no_difference_tells():
    def rough(A):
        xp = namespace(A)
        return A + 0.0 * xp.astype(xp.sin(1e12 * A) > 0, A.dtype)

    assert examine(rough, lambda A: 2.0 * namespace(A).ones(A.shape, dtype=A.dtype), normal(20)).verdict == WRONG


def test_witnesses_that_differ_are_no_agreement():
    hides = subject(exp, exp, normal(5))
    hidden = replace(hides, forward=lambda v: exp(v["x"]) * (1.0 if isinstance(v["x"], np.ndarray) else 2.0))
    (row,) = Examination(hidden, np.random.default_rng(0)).rows(1)
    assert not row.duals.holds
    assert row.differences.holds
    assert row.verdict == WRONG


def test_linear_functions_have_no_truncation():
    row = examine(lambda A: 3.0 * A, lambda A: namespace(A).full(A.shape, 3.0, dtype=A.dtype), normal(20))
    assert row.differences.tolerance < 1e-10


def test_nothing_to_compare_agrees():
    row = examine(lambda A: A * 0.0, lambda A: A * 0.0, normal(4))
    assert row.verdict == AGREES


def test_a_wrong_derivative_of_zero_does_not():
    assert examine(lambda A: A * 0.0, lambda A: A * 0.0 + 1e-12, normal(4)).verdict == WRONG


def test_the_backward_of_another_shape_or_none():
    x = normal(4)
    wide = replace(subject(exp, exp, x), backward=lambda v, G: {"x": np.zeros((4, 1))})
    (row,) = Examination(wide, np.random.default_rng(0)).rows(1)
    assert (row.verdict, row.note) == (WRONG, "its shape is (4, 1), expected (4,)")
    none = replace(wide, backward=lambda v, G: {})
    (row,) = Examination(none, np.random.default_rng(0)).rows(1)
    assert (row.verdict, row.note) == (WRONG, "backward returns none")
