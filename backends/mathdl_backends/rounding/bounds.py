"""The rules: how far every result may be off, from how far its operands may be.

A ball (v, e) holds every number that a machine within the hypotheses may have in its place: |fl(x) − v| ≤ e, and the
exact x as well. A rule answers what the ball of f(x, y) is: how far f takes the balls of x and y, plus the rounding of
f itself, u (|v| + e) and an underflow. So two machines differ by 2 e at most.

v is evaluated in float64, which is one machine more: every u below has float64's added to it. The bounds themselves are
evaluated in float64 too; `results` makes up for that.

Source: running error analysis, Higham, Accuracy and Stability of Numerical Algorithms (2nd ed., 2002), section 3.3.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from mathdl_backends.rounding.machine import PRODUCTS, U64, Format, Machine

Numbers = Any
"""A NumPy array of float64."""


class Ball(NamedTuple):
    """All numbers within `error` of `value`."""

    value: Numbers
    error: Numbers

    @property
    def reach(self) -> Numbers:
        """The largest magnitude in the ball."""
        return np.abs(self.value) + self.error


class Context(NamedTuple):
    """The format of a result, and the machine that computes it."""

    format: Format
    machine: Machine

    @property
    def unit(self) -> float:
        """u of one operation."""
        return self.format.u + U64

    @property
    def tiny(self) -> float:
        """|η| of a multiplication, a division or a function."""
        return self.format.normal if self.machine.flushes else self.format.tiny

    @property
    def tiny_sum(self) -> float:
        """|η| of an addition."""
        return self.format.normal if self.machine.flushes else 0.0

    def gamma(self, n: int, u: float = 0.0) -> float:
        """γ_n of the machine (at its own u unless another is given), and of the evaluation in float64."""
        return self.machine.gamma(n, u or self.format.u) + self.machine.gamma(n, U64)

    def is_number(self, value: Numbers) -> Numbers:
        """Where the values, if they were evaluated without an error, are numbers of the format.

        In float64 nothing is known to be: whether its evaluation was rounded cannot be seen.
        """
        if self.format.u == U64:
            return np.zeros(np.shape(value), dtype=bool)
        return value.astype(np.float32) == value


def seen(x: Ball, at: Context) -> Ball:
    """x as an operand: a machine that flushes may take a subnormal number for 0."""
    if not at.machine.flushes:
        return x
    return Ball(x.value, x.error + np.where(np.abs(x.value) < at.format.normal, np.abs(x.value), 0.0))


def rounded(value: Numbers, error: Numbers, at: Context, tiny: float, exact: Numbers) -> Ball:
    """The ball of an operation that is rounded once, but where it is `exact`."""
    if at.machine.flushes:
        exact = exact & ((np.abs(value) - error >= at.format.normal) | ((value == 0) & (error == 0)))
    return Ball(value, error + np.where(exact, 0.0, at.unit * (np.abs(value) + error) + tiny))


# -- arithmetic ------------------------------------------------------------------------------------------------------


def add(x: Ball, y: Ball, at: Context) -> Ball:
    """x + y. With 0 it is exact."""
    value, error = x.value + y.value, x.error + y.error
    back = value - x.value  # as Knuth's TwoSum finds what the evaluation itself rounded off
    rest = (x.value - (value - back)) + (y.value - back)
    exact = (error == 0) & (rest == 0) & at.is_number(value)
    return rounded(value, error, at, at.tiny_sum, _is_zero(x) | _is_zero(y) | exact)


def subtract(x: Ball, y: Ball, at: Context) -> Ball:
    """x − y."""
    return add(x, Ball(-y.value, y.error), at)


def multiply(x: Ball, y: Ball, at: Context) -> Ball:
    """x y: off by |x| e_y + e_x |y| + e_x e_y. By 0 and by powers of two from 1 on it is exact."""
    value = x.value * y.value
    error = x.reach * y.error + x.error * np.abs(y.value)
    return rounded(value, error, at, at.tiny, _scales(x) | _scales(y) | ((error == 0) & at.is_number(value)))


def divide(x: Ball, y: Ball, at: Context) -> Ball:
    """x / y: off by (e_x + |x / y| e_y) / (|y| − e_y), and by ∞ where y may be 0."""
    value, least = x.value / y.value, np.abs(y.value) - y.error
    error = np.where(
        least > 0, (x.error + np.abs(value) * y.error) / least, np.where(y.error + x.error == 0, 0.0, np.inf)
    )
    return rounded(value, error, at, at.tiny, (error == 0) & at.is_number(value))


def _is_zero(x: Ball) -> Numbers:
    return (x.value == 0) & (x.error == 0)


def _scales(x: Ball) -> Numbers:
    """Where x is exactly 0 or ±2ᵏ, k ≥ 0."""
    fraction = np.abs(np.frexp(x.value)[0])
    return (x.error == 0) & ((x.value == 0) | ((fraction == 0.5) & (np.abs(x.value) >= 1)))


# -- sums ------------------------------------------------------------------------------------------------------------


def add_up(x: Ball, axis: Any, keepdims: bool, at: Context) -> Ball:
    """Σ x over n terms, in any order: Σ e + γ_{n−1} Σ (|x| + e)."""
    n = terms(x.value.shape, axis)
    error = np.sum(x.error, axis=axis, keepdims=keepdims)
    if n > 1:
        error = error + at.gamma(n - 1) * np.sum(x.reach, axis=axis, keepdims=keepdims) + n * at.tiny_sum
    return Ball(np.sum(x.value, axis=axis, keepdims=keepdims), error)


def mean(x: Ball, axis: Any, keepdims: bool, at: Context) -> Ball:
    """1/n Σ x: γ_{n+1}, since a machine may divide by n, or multiply by a rounded 1/n."""
    n = terms(x.value.shape, axis)
    total, error = (np.sum(each, axis=axis, keepdims=keepdims) for each in x)
    if n > 1:
        error = error + at.gamma(n + 1) * np.sum(x.reach, axis=axis, keepdims=keepdims) + n * (at.tiny_sum + at.tiny)
    return Ball(total / max(n, 1), error / max(n, 1))


def matmul(x: Ball, y: Ball, at: Context) -> Ball:
    """X Y with n terms a sum, in any order, fused or not: e_x |Y| + (|X| + e_x) e_y + γ_n (|X| + e_x) (|Y| + e_y).

    Where the machine rounds the operands of products first, these have that error too, and its sums may be cut off
    instead of rounded: twice the u.
    """
    u = at.format.u
    value = np.matmul(x.value, y.value)
    if at.machine.products is not None and u > U64:
        x, y, u = (*(_operand(each, PRODUCTS[at.machine.products]) for each in (x, y)), 2 * u)
    n = x.value.shape[-1]
    error = at.gamma(n, u) * np.matmul(x.reach, y.reach) + 2 * n * at.tiny
    if np.any(x.error):
        error += np.matmul(x.error, np.abs(y.value))
    if np.any(y.error):
        error += np.matmul(x.reach, y.error)
    return Ball(value, error)


def _operand(x: Ball, to: Format) -> Ball:
    """x, rounded to the format in which a product takes it."""
    error = x.error + np.where(_is_zero(x), 0.0, to.u * x.reach + to.tiny)
    return Ball(x.value, np.where(x.reach + error > to.largest, np.inf, error))


def terms(shape: tuple[int, ...], axis: Any) -> int:
    """How many numbers a reduction along these axes makes one of."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return prod(shape[k] for k in axes)


# -- order -----------------------------------------------------------------------------------------------------------


def maximum(x: Ball, y: Ball) -> Ball:
    """max(x, y), never rounded: off by the error of whichever may be the larger."""
    lead, slack = x.value - y.value, x.error + y.error
    both = np.maximum(x.error, y.error)
    return Ball(np.maximum(x.value, y.value), np.where(lead > slack, x.error, np.where(-lead > slack, y.error, both)))


def greatest(x: Ball, axis: Any, keepdims: bool) -> Ball:
    """max x along axes: off by the largest error among those that may be the greatest."""
    error = np.max(np.where(_may_be_greatest(x, axis), x.error, 0.0), axis=axis, keepdims=keepdims)
    return Ball(np.max(x.value, axis=axis, keepdims=keepdims), error)


def argmax(x: Ball, axis: int | None, keepdims: bool) -> Ball:
    """The place of the first greatest number, and how far from it any other is that may be greatest."""
    winner = np.argmax(x.value, axis=axis, keepdims=True)
    candidates = _may_be_greatest(x, axis)
    inexact = np.any(candidates & (x.error > 0), axis=axis, keepdims=True)  # of exact ties the first wins
    shape = x.value.shape
    along = shape if axis is None else tuple(n if k == axis % len(shape) else 1 for k, n in enumerate(shape))
    places = np.arange(prod(along)).reshape(along)
    far = np.max(np.where(candidates & inexact, np.abs(places - winner), 0), axis=axis, keepdims=True)
    result = Ball(winner, far.astype(np.float64))
    return result if keepdims else Ball(*(np.squeeze(each, axis=axis) for each in result))


def _may_be_greatest(x: Ball, axis: Any) -> Numbers:
    slack = 2.0 * x.error + 2.0 * U64 * np.abs(x.value) * (x.error > 0)  # whatever the rounding of these sums
    return x.value + slack >= np.max(x.value - slack, axis=axis, keepdims=True)


def may_be_equal(x: Ball, y: Ball) -> Numbers:
    """Where the balls touch, and are not one number: there x < y, x = y … may be decided either way."""
    slack = x.error + y.error
    return (np.abs(x.value - y.value) <= slack) & (slack > 0)


def sign(x: Ball) -> Ball:
    """sign(x): off by 1 where it may be 0 (or is 0, and may not be), by 2 where it may be the other sign."""
    size = np.abs(x.value)
    other = np.where((size < x.error) & (size > 0), 2.0, np.where((size <= x.error) & (x.error > 0), 1.0, 0.0))
    return Ball(np.sign(x.value), other)


def where(condition: Ball, x: Ball, y: Ball) -> Ball:
    """x or y; where the condition is doubtful, both: off by |x − y| and the error of the one that was not taken."""
    value = np.where(condition.value, x.value, y.value)
    error: Numbers = np.where(condition.value, x.error, y.error)
    if np.any(condition.error):
        either = np.maximum(error, np.abs(x.value - y.value) + np.where(condition.value, y.error, x.error))
        error = np.where(condition.error > 0, either, error)
    return Ball(value, error)


# -- functions -------------------------------------------------------------------------------------------------------


def function(value: Numbers, spread: Numbers, ulps: float, ulps64: float, at: Context) -> Ball:
    """f(x) where x takes it `spread` far, on a machine whose f is `ulps` units in the last place off.

    A unit in the last place of v is 2 u |v| at most, 2 `tiny` where v is subnormal.
    """
    rounding = 2.0 * ulps * (at.format.u * (np.abs(value) + spread) + at.tiny) + 2.0 * ulps64 * U64 * np.abs(value)
    return Ball(value, spread + rounding)


def spread_of_exp(x: Ball) -> Numbers:
    """eˣ (eᵉ − 1): of exp and of expm1."""
    return np.where(x.error == 0, 0.0, np.exp(x.value) * np.expm1(x.error))


def spread_of_log(x: Numbers, error: Numbers) -> Numbers:
    """−log(1 − e/x), for the side where the logarithm is steep; ∞ where x may be 0."""
    return np.where(error == 0, 0.0, np.where(error < x, -np.log1p(-error / x), np.inf))


def spread_of_tanh(x: Ball) -> Numbers:
    """e times the steepest slope in the ball, 1/cosh²."""
    return x.error / np.square(np.cosh(np.minimum(_nearest_to_zero(x), 350.0)))


def spread_of_erf(x: Ball) -> Numbers:
    """e times the steepest slope in the ball, 2/√π exp(−x²)."""
    return x.error * (2.0 / np.sqrt(np.pi)) * np.exp(-np.square(_nearest_to_zero(x)))


def square_root(x: Ball, at: Context) -> Ball:
    """√x. A ball that reaches below 0 is cut off there: a machine that has a negative number gets NaN (H4)."""
    value = np.sqrt(x.value)
    below = np.sqrt(np.maximum(x.value - x.error, 0.0))
    up, down = x.error / (np.sqrt(x.value + x.error) + value), (np.minimum(x.error, x.value)) / (value + below)
    error = np.where(x.error == 0, 0.0, np.where(x.value == 0, up, np.maximum(up, down)))
    return rounded(value, error, at, 0.0, (error == 0) & at.is_number(value))


def _nearest_to_zero(x: Ball) -> Numbers:
    return np.maximum(np.abs(x.value) - x.error, 0.0)
