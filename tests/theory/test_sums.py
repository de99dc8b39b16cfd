from __future__ import annotations

import sympy as sp

from mathdl.theory.sums import normal_form, total

k, i = (sp.Dummy(name, integer=True, positive=True) for name in "ki")
j, l, s = sp.symbols("j l s", integer=True, positive=True)
r = sp.Symbol("r", integer=True, nonnegative=True)
x, c = sp.IndexedBase("x", real=True), sp.Symbol("c", real=True)


def test_sums_split_and_constants_leave_them():
    assert normal_form(total(lambda k: c * x[k] + 1, l)) == normal_form(c * total(lambda i: x[i], l) + l)


def test_the_derivative_of_a_sum_is_the_term_of_that_index():
    assert normal_form(sp.Derivative(total(lambda k: x[k] ** 2, j + r), x[j])) == 2 * x[j]


def test_a_shifted_delta_may_lie_outside_of_the_bounds():
    found = normal_form(sp.Sum(sp.KroneckerDelta(j, k + s) * x[k], (k, 1, l)))
    assert found == sp.Piecewise((x[j - s], (j - s >= 1) & (j - s <= l)), (0, True))


def test_a_delta_of_a_multiple_of_the_index_stays():
    assert normal_form(sp.Sum(sp.KroneckerDelta(j, k * s) * x[k], (k, 1, l))).has(sp.KroneckerDelta)


def test_a_sum_of_one_term_is_the_term():
    assert normal_form(sp.Sum(x[k], (k, j, j))) == x[j]
