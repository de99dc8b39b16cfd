"""Every bound of the rounding backend, against machines: float32 arithmetic in many orders, fused and not.

A machine's result, and the exact one, must lie in the ball that the backend says; for simple cases the ball must also
be no larger than some machine makes it.
"""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

from mathdl.functions import erf
from mathdl.primitive import PRIMITIVES
from mathdl_backends import rounding
from support import normal

xp = rounding.namespace
LONG = np.longdouble
TINY = 2.0**-149


def ball(values, error=0.0, dtype="float32"):
    return rounding.array(np.asarray(values, dtype=dtype), error)


def assert_within(found, *machines, floor=0.0):
    """Every machine's numbers lie in the ball; the worst fills at least the share `floor` of some error."""
    largest = 0.0
    for machine in machines:
        difference = np.abs(np.asarray(machine, dtype=LONG) - found.value)
        assert np.all(difference <= found.error), f"{np.max(difference - found.error)} outside"
        positive = found.error > 0
        largest = max(largest, float(np.max(difference[positive] / found.error[positive], initial=0.0)))
    assert largest >= floor, f"the bound is {1 / max(largest, 1e-300):.1f} times the error"


def machine_inputs(x, seed=0):
    """float32 numbers in the ball of x: its ends (where they are float32 numbers) and some between."""
    rng = np.random.default_rng(seed)
    for t in (np.ones(x.shape), -np.ones(x.shape), rng.uniform(-1, 1, x.shape), np.zeros(x.shape)):
        inside = (x.value + t * x.error).astype(np.float32)
        yield np.where(np.abs(inside - x.value) <= x.error, inside, x.value.astype(np.float32))


WIDE = np.float32(
    np.concatenate(
        [
            *(
                s * np.array([0.0, TINY, 3e-42, 2.0**-126, 1.2e-30, 1e-7, 0.1, 1 / 3, 1.0, 1.5, 3.0, 1e5])
                for s in (1, -1)
            ),
            normal(40, seed=3),
            10.0 ** np.linspace(-38, 18, 40),
        ]
    )
)

# -- arithmetic ------------------------------------------------------------------------------------------------------

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("relative", [0.0, 1e-6, 0.3])
def test_operators(name, relative):
    f = OPERATORS[name]
    x, y = (a.ravel() for a in np.meshgrid(WIDE, WIDE))
    if name == "/":
        x, y = x[y != 0], y[y != 0]
    a, b = ball(x, relative * np.abs(x)), ball(y, relative * np.abs(y))
    found = f(a, b)
    with np.errstate(all="ignore"):
        machines = [f(p, q) for p in machine_inputs(a) for q in machine_inputs(b, 1)]
        exact = [f(LONG(p), LONG(q)) for p, q in zip(machine_inputs(a), machine_inputs(b, 1), strict=True)]
    finite = np.abs(x).astype(LONG) * np.abs(y) < 1e38 if name == "*" else np.abs(found.value) < 1e38
    part = rounding.RoundedArray(found.value[finite], found.error[finite], found.dtype)
    assert_within(part, *(m[finite] for m in [*machines, *exact]), floor=0.5)
    assert np.all(np.isinf(found.error[np.abs(found.value) > np.finfo(np.float32).max]))


@pytest.mark.parametrize("scalar", [0.1, 2.0, -1 / 3, 3])
@pytest.mark.parametrize("name", OPERATORS)
def test_python_numbers_are_rounded_to_the_dtype_at_once(scalar, name):
    f, x = OPERATORS[name], WIDE[np.abs(WIDE) > 1e-20]
    assert_within(f(ball(x), scalar), f(x, scalar), floor=0.4 if scalar != 2.0 or name in "+-" else 0.0)
    assert_within(f(scalar, ball(x)), f(scalar, x))


def test_a_fused_multiply_and_add_stays_within():
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-20, 30.0):
        a, b = np.float32(rng.standard_normal((2, 2000)))
        c = np.float32(-(a * b) * scale if scale == 1.0 else rng.standard_normal(2000) * scale)
        fused = (LONG(a) * b + c).astype(np.float32)
        found = ball(a) * ball(b) + ball(c)
        assert_within(found, fused, a * b + c, LONG(a) * b + c, floor=0.4)


def test_chains_of_operations():
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = [np.float32(rng.standard_normal(5) * 10.0 ** rng.uniform(-3, 3)) for _ in range(4)]
        balls = [ball(v) for v in values]
        exact = [LONG(v) for v in values]
        for _ in range(12):
            f = list(OPERATORS.values())[rng.integers(3)]
            i, j = rng.integers(len(values), size=2)
            for kept in (values, balls, exact):
                kept.append(f(kept[i], kept[j]))
        with np.errstate(over="ignore"):
            for v, b, e in zip(values, balls, exact, strict=True):
                if np.all(np.isfinite(b.error)):
                    assert_within(b, v, e)


def test_what_is_exact_has_no_error():
    x = ball(WIDE)
    mask = xp.astype(x > 0, xp.float32)
    for found in (
        x * mask,
        x * 2.0,
        x + 0.0,
        0.0 - x,
        -x,
        xp.abs(x),
        x * 1.0,
        ball([3.0]) * ball([5.0]),
        ball([7.0]) / 2,
    ):
        assert not np.any(found.error)
    assert np.all((ball([0.1]) + ball([0.2])).error > 0)
    assert (ball([2.0**-149]) * 0.5).error > 0
    off = ball([1.0, 2.0], 0.25)
    np.testing.assert_allclose((off * ball([4.0, 0.0])).error, [1.0, 0.0])
    np.testing.assert_allclose((off + 0.0).error, 0.25)


def test_float64_counts_its_own_evaluation():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 4000))
    for f in OPERATORS.values():
        found = f(ball(a, dtype="float64"), ball(b, dtype="float64"))
        exact = f(LONG(a), LONG(b))
        assert np.all(np.abs(exact - found.value) <= found.error / 2)
        assert np.all(found.error < 2.001 * 2.0**-53 * np.abs(found.value))


# -- sums and products -----------------------------------------------------------------------------------------------


def fsum(terms):
    return np.array([math.fsum(row) for row in np.asarray(terms, dtype=np.float64)])


def tree(x):
    while x.shape[1] > 1:
        odd = x[:, 2 * (x.shape[1] // 2) :]
        x = np.concatenate([x[:, : x.shape[1] // 2] + x[:, x.shape[1] // 2 : 2 * (x.shape[1] // 2)], odd], axis=1)
    return x[:, 0]


def in_many_orders(x):
    """Sums of the rows of x in float32."""
    rng = np.random.default_rng(0)
    yield np.sum(x, axis=1)
    yield tree(x)
    for order in (np.arange(x.shape[1]), np.arange(x.shape[1])[::-1], *(rng.permutation(x.shape[1]) for _ in range(4))):
        yield np.add.accumulate(x[:, order], axis=1)[:, -1]
    by_size = np.take_along_axis(x, np.argsort(-np.abs(x), axis=1), axis=1)
    yield np.add.accumulate(by_size, axis=1)[:, -1]


def cancelling(n, seed=0):
    """Rows of widely spread numbers whose sum is far smaller than they are."""
    rng = np.random.default_rng(seed)
    x = np.float32(rng.standard_normal((50, n)) * 10.0 ** rng.uniform(-4, 4, (50, n)))
    x[:, n // 2 : 2 * (n // 2)] = -x[:, : n // 2] * (1 + np.float32(1e-6) * rng.standard_normal((50, n // 2)))
    return x.astype(np.float32)


@pytest.mark.parametrize(("n", "floor"), [(1, 0.0), (2, 0.9), (3, 0.5), (10, 0.15), (1000, 0.0015)])
@pytest.mark.parametrize("data", ["normal", "positive", "cancelling", "subnormal"])
def test_sums_in_any_order(n, floor, data):
    x = {
        "normal": lambda: normal(50, n, dtype="float32"),
        "positive": lambda: np.float32(np.random.default_rng(n).random((50, n))),
        "cancelling": lambda: cancelling(n),
        "subnormal": lambda: np.float32(normal(50, n) * 2.0**-140),
    }[data]()
    found = xp.sum(ball(x), axis=1)
    assert_within(found, *in_many_orders(x), fsum(x), floor=floor if data in ("normal", "positive") else 0.0)
    means = xp.mean(ball(x), axis=1)
    reciprocal = np.float32(1) / np.float32(n)
    for total in in_many_orders(x):
        assert_within(means, total / np.float32(n), total * reciprocal)
    assert_within(means, fsum(x) / n)
    assert xp.sum(ball(x)).shape == ()
    assert_within(xp.sum(ball(x)), np.sum(x), math.fsum(np.float64(x).ravel()))
    assert_within(xp.sum(ball(x, 0.5), axis=(0, 1), keepdims=True), [[np.sum(x + np.float32(0.5))]])


def test_a_sum_of_inexact_numbers():
    x = ball(normal(40, 9, dtype="float32"), np.abs(normal(40, 9, seed=1)) * 0.1)
    for p in machine_inputs(x):
        assert_within(xp.sum(x, axis=1), *in_many_orders(p), fsum(p))
    np.testing.assert_allclose(xp.sum(x, axis=1).error, np.sum(x.error, axis=1), rtol=1e-4)


def products_in_many_ways(A, B):
    """A B in float32: by BLAS, term by term, fused, in reverse, in blocks."""
    n = A.shape[1]
    yield A @ B
    for order in (range(n), reversed(range(n))):
        plain = np.zeros((A.shape[0], B.shape[1]), dtype=np.float32)
        fused = plain.copy()
        for k in order:
            term = np.outer(A[:, k], B[k])
            plain = plain + term
            fused = (LONG(A[:, k, None]) * B[k] + fused).astype(np.float32)
        yield from (plain, fused)
    if n > 3:
        yield A[:, : n // 3] @ B[: n // 3] + A[:, n // 3 :] @ B[n // 3 :]


def exact_product(A, B):
    A, B = np.float64(A), np.float64(B)
    return np.array([[math.fsum(row * column) for column in B.T] for row in A])


@pytest.mark.parametrize(("n", "floor"), [(1, 0.9), (2, 0.4), (8, 0.15), (100, 0.01), (700, 0.0005)])
@pytest.mark.parametrize("data", ["normal", "positive", "wide", "subnormal"])
def test_products_in_any_order(n, floor, data):
    A, B = normal(12, n, dtype="float32"), normal(n, 13, seed=1, dtype="float32")
    if data == "positive":
        A, B = np.abs(A), np.abs(B)
    elif data == "wide":
        A, B = cancelling(n)[:12], normal(n, 13, seed=2, dtype="float32")
    elif data == "subnormal":
        A = np.float32(A * 2.0**-130)
        B = np.float32(B * 2.0**-12)
    found = xp.matmul(ball(A), ball(B))
    machines = [*products_in_many_ways(A, B), exact_product(A, B)]
    assert_within(found, *machines, floor=floor if data == "normal" else 0.0)
    assert_within(xp.matmul(ball(B).T, ball(A).T), *(m.T for m in machines))


def test_a_product_of_inexact_matrices():
    x, y = ball(normal(6, 20, dtype="float32"), 0.01), ball(normal(20, 7, seed=1, dtype="float32"), 0.02)
    found = xp.matmul(x, y)
    for p in machine_inputs(x):
        for q in machine_inputs(y, 1):
            assert_within(found, p @ q, exact_product(p, q))
    largest = 0.01 * np.abs(y.value).sum(axis=0) + ((np.abs(x.value) + 0.01) * 0.02).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.error, largest, rtol=1e-3)


def test_products_of_rounded_operands():
    A, B = normal(20, 300, dtype="float32"), normal(300, 20, seed=1, dtype="float32")
    near = xp.matmul(ball(A), ball(B))
    for name, bits, reached in (("tf32", 11, 0.02), ("bf16", 8, 0.02), ("fp16", 11, 0.02)):
        with rounding.analysis(products=name):
            found = xp.matmul(ball(A), ball(B))
        for cut in (_rounded, _cut_off) if name == "tf32" else (_rounded,):
            low = np.float32(cut(A, bits)) @ np.float32(cut(B, bits))
            assert_within(found, low, floor=reached)
            assert np.any(np.abs(low - near.value) > near.error)
    with rounding.analysis(products="fp16"):
        assert np.isinf(xp.matmul(ball([[7e4]]), ball([[1.0]])).error)
        small = np.float32([[3e-8]])
        assert_within(xp.matmul(ball(small), ball([[1.0]])), [[np.float16(small[0, 0])]])
        assert xp.matmul(ball(A, dtype="float64"), ball(B, dtype="float64")).error.max() < 1e-10


def _rounded(x, bits):
    m, e = np.frexp(np.float64(x))
    return np.ldexp(np.round(m * 2.0**bits), e - bits)


def _cut_off(x, bits):
    m, e = np.frexp(np.float64(x))
    return np.ldexp(np.trunc(m * 2.0**bits), e - bits)


def test_the_probabilistic_bound_is_smaller_and_holds_here():
    A, B = normal(30, 800, dtype="float32"), normal(800, 30, seed=1, dtype="float32")
    sure = xp.matmul(ball(A), ball(B))
    with rounding.analysis(sigmas=1.0):
        likely = xp.matmul(ball(A), ball(B))
    np.testing.assert_allclose(likely.error / sure.error, 1 / np.sqrt(800), rtol=1e-3)
    assert_within(likely, *products_in_many_ways(A, B), exact_product(A, B), floor=0.02)
    with rounding.analysis(sigmas=100.0):  # never more than what is sure
        np.testing.assert_allclose(xp.matmul(ball(A), ball(B)).error, sure.error, rtol=1e-6)


# -- functions -------------------------------------------------------------------------------------------------------

DOMAINS = {
    "exp": (-104.0, 88.0),
    "expm1": (-104.0, 88.0),
    "log": (0.0, 3e38),
    "log1p": (-0.9999, 3e38),
    "tanh": (-20.0, 20.0),
    "erf": (-6.0, 6.0),
    "sqrt": (0.0, 3e38),
}
EXACT = {name: getattr(np, name) for name in DOMAINS if name != "erf"}
EXACT["erf"] = np.vectorize(math.erf, otypes=[np.float64])


def function(name):
    return PRIMITIVES["erf"] if name == "erf" else getattr(xp, name)


def float32_function(name):
    return erf if name == "erf" else getattr(np, name)


def inputs_of(name, count=3000):
    low, high = DOMAINS[name]
    rng = np.random.default_rng(len(name))
    x = np.concatenate(
        [
            rng.uniform(low, min(high, 100.0), count),
            WIDE,
            10.0 ** rng.uniform(-44, np.log10(high), count // 2),
            [low, high],
        ]
    )
    return np.unique(np.float32(x[(x >= low) & (x <= high)]))


@pytest.mark.parametrize("name", DOMAINS)
def test_functions_of_exact_numbers(name):
    x = inputs_of(name)
    found = function(name)(ball(x))
    with np.errstate(all="ignore"):
        y, exact = float32_function(name)(x), EXACT[name](np.float64(x))
    inside = np.isfinite(exact) & (np.abs(exact) < 3e38)
    found = rounding.RoundedArray(found.value[inside], found.error[inside], found.dtype)
    assert_within(found, y[inside], exact[inside], exact[inside].astype(np.float32), floor=0.19)
    assert np.all(found.error <= 9 * 2.0**-24 * np.abs(found.value) + 5 * TINY)


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("relative", [1e-7, 1e-3, 0.2])
def test_functions_of_inexact_numbers(name, relative):
    x = inputs_of(name, 500)
    error = relative * np.abs(np.float64(x))
    low, high = DOMAINS[name]
    inside = (x - error > low) & (x + error < high)
    x = ball(x[inside], error[inside])
    found = function(name)(x)
    with np.errstate(all="ignore"):
        for p in machine_inputs(x):
            fits = EXACT[name](np.float64(p)) < 3e38
            part = rounding.RoundedArray(found.value[fits], found.error[fits], found.dtype)
            assert_within(part, float32_function(name)(p)[fits], EXACT[name](np.float64(p))[fits])
    if relative == 1e-3:  # close to the first order, f' e
        small = (np.abs(x.value) > 1e-3) & (np.abs(x.value) < 2.0) & (np.abs(x.value - 1) > 1e-3)
        slope = np.abs(EXACT[name](x.value + x.error) - EXACT[name](x.value - x.error))[small] / 2
        assert np.median(found.error[small] / slope) < 1.03


@pytest.mark.parametrize("name", [name for name in DOMAINS if name != "erf"])
def test_functions_in_float64(name):
    x = np.float64(inputs_of(name, 500))
    with np.errstate(divide="ignore"):
        found, exact = function(name)(ball(x, dtype="float64")), EXACT[name](LONG(x))
    inside = np.abs(exact) < 1e300
    difference = np.abs(exact[inside] - found.value[inside])
    assert np.all(difference <= found.error[inside] / 2)  # the other half is for the machine
    assert np.all(found.error <= 20 * 2.0**-53 * np.abs(found.value) + 2.0**-1060)


def test_functions_where_the_ball_leaves_their_domain():
    assert np.isinf(xp.log(ball([0.1], 0.2)).error)
    assert np.isinf(xp.log(ball([0.0], 0.1)).error)
    zero = xp.log(ball([0.0]))
    assert (zero.value, zero.error) == (-np.inf, 0.0)
    root = xp.sqrt(ball([0.0, 0.01, 1.0], [0.04, 0.02, 0.0]))
    assert_within(root, [0.2, np.sqrt(0.03), 1.0], [0.0, 0.0, 1.0], floor=0.99)
    assert np.isinf((1.0 / ball([0.1], 0.2)).error)
    assert np.isinf((ball([0.0], 0.1) / ball([0.0], 0.1)).error)
    assert np.isinf(xp.exp(ball([90.0])).error)


def test_certain_infinities():
    x = ball([-np.inf, np.inf, 1.0], [0.0, 0.0, 0.1])
    for found in (
        x - 3.0,
        x * 2.0,
        ball([1.0, 1.0, 1.0], 0.5) + x,
        xp.maximum(x, 0.0),
        xp.sum(xp.stack([x, x]), axis=0),
    ):
        assert not np.any(np.isinf(found.error))
    assert list(xp.exp(x - xp.max(ball([1.0], 0.1))).value[:2]) == [0.0, np.inf]
    assert np.all(np.isinf((ball([3e38, -3e38]) * 2.0).error))  # not certain: not infinite in the evaluation
    unknown = ball([0.0], np.inf)
    assert np.isinf((unknown * 0.0).error)
    product = xp.matmul(ball([[np.inf, 1.0]]), ball([[1.0], [1.0]], 0.1))
    assert (product.value, product.error) == (np.inf, 0.0)
    assert np.isinf(xp.matmul(ball([[np.inf]]), ball([[1.0]], np.inf)).error)


# -- order and decisions ---------------------------------------------------------------------------------------------


def test_maximum_and_minimum():
    x, y = (a.ravel() for a in np.meshgrid(normal(30, dtype="float32"), normal(30, seed=1, dtype="float32")))
    a, b = ball(x, 0.2 * np.abs(normal(900, seed=2))), ball(y, 0.1)
    for p in machine_inputs(a):
        for q in machine_inputs(b, 1):
            assert_within(xp.maximum(a, b), np.maximum(p, q))
            assert_within(xp.minimum(a, b), np.minimum(p, q))
    assert not np.any(xp.maximum(ball(x), ball(y)).error)
    assert np.all(xp.maximum(ball([5.0], 0.1), ball([1.0], 2.0)).error < 0.11)


def test_the_greatest_number():
    x = ball(normal(200, 6, dtype="float32"), 0.3 * np.abs(normal(200, 6, seed=1)))
    found = xp.max(x, axis=1)
    for p in machine_inputs(x):
        assert_within(found, np.max(p, axis=1))
    assert not np.any(xp.max(ball(x.value), axis=1).error)
    assert np.mean(found.error) < 0.9 * np.mean(np.max(x.error, axis=1))  # only those that may be the greatest count


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_the_place_of_the_greatest_number(axis):
    x = ball(normal(40, 5, dtype="float32"), 0.1 * np.abs(normal(40, 5, seed=1)))
    with rounding.analysis() as decisions:
        found = xp.argmax(x, axis=axis)
    for p in machine_inputs(x):
        assert np.all(np.abs(np.argmax(p, axis=axis) - found.value) <= found.error)
    assert decisions.taken == found.size
    assert 0 < decisions.ambiguous < 0.7 * found.size or axis is None
    ties = xp.argmax(ball(np.zeros((3, 4))), axis=1)
    assert not np.any(ties.error)
    assert not np.any(ties.value)


def test_argmin():
    x = ball([[3.0, 1.0, 1.05, 2.0]], 0.1)
    found = xp.argmin(x, axis=1)
    assert (found.value, found.error) == (1, 1)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_comparisons(compare):
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)))
    a, b = ball(x, 0.1), ball(y, np.where(y > 0, 0.3, 0.0))
    with rounding.analysis() as decisions:
        found = compare(a, b)
    taken = np.zeros((2, found.size), dtype=bool)
    for p in machine_inputs(a):
        for q in machine_inputs(b, 1):
            taken |= np.stack([compare(p, q), ~compare(p, q)])
    both = taken[0] & taken[1]
    assert not np.any(both & (found.error == 0))
    assert decisions.ambiguous == np.count_nonzero(found.error) < found.size == decisions.taken
    exact = compare(ball(x), ball(y))
    assert not np.any(exact.error)
    np.testing.assert_array_equal(exact.value, compare(np.float32(x), np.float32(y)))
    mask = xp.astype(found, xp.float32)
    np.testing.assert_array_equal(mask.error, found.error)


def test_sign():
    x = ball([3.0, -3.0, 0.5, -0.5, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    with rounding.analysis() as decisions:
        found = xp.sign(x)
    assert list(found.value) == [1, -1, 1, -1, 1, 0, 0]
    assert list(found.error) == [0, 0, 2, 2, 1, 1, 0]
    assert (decisions.taken, decisions.ambiguous) == (7, 4)


def test_where_the_condition_is_doubtful():
    condition = ball([1.0, 0.1, -0.1, -1.0], 0.5) > 0
    found = xp.where(condition, ball([1.0, 1.0, 1.0, 1.0], 0.25), ball([3.0, 3.0, 3.0, 3.0], 0.5))
    assert list(found.value) == [1, 1, 3, 3]
    assert list(found.error) == [0.25, 2.5, 2.25, 0.5]
    same = xp.where(condition, 2.0, ball([2.0, 2.0, 2.0, 2.0]))
    assert not np.any(same.error)


def test_relu_and_its_mask():
    Z = ball([1.0, 0.1, -0.1, -1.0], 0.5)
    with rounding.analysis() as decisions:
        A = xp.maximum(Z, 0.0)
        dZ = ball([4.0, 4.0, 4.0, 4.0]) * xp.astype(A > 0, xp.float32)
    np.testing.assert_allclose(A.error, [0.5, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(dZ.error, [0.0, 4.0, 4.0, 0.0], rtol=1e-6)
    assert decisions.ambiguous == 2


# -- small numbers ---------------------------------------------------------------------------------------------------


def test_machines_that_flush_to_zero():
    x, y = WIDE[:, None] * np.float32(2.0**-100), np.float32([1.0, 0.5, 2.0**-30, 2.0**60])

    def flushed(v):
        return np.where(np.abs(v) < 2.0**-126, np.float32(0), v)

    with rounding.analysis(flushes=True):
        for f in (operator.add, operator.sub, operator.mul):
            found = f(ball(x), ball(y))
            assert_within(found, f(x, y), flushed(f(flushed(x), flushed(y))))
        total = xp.sum(ball(x[:, 0]))
        product = xp.matmul(ball(x.T), ball(x))
        small = xp.exp(ball([-100.0]))
        kept = ball([2.0**-126, 3.0]) * 1.0
    assert_within(total, np.sum(flushed(x[:, 0])), np.sum(x[:, 0]))
    assert_within(product, flushed(x.T) @ flushed(x))
    assert_within(small, [0.0])
    assert not np.any(kept.error)
    assert np.all(np.abs(xp.exp(ball([-100.0])).error) < 1e-44)
