"""Symbols: what floats stand for, what is decided, and every shipped layer, loss and optimizer against SymPy."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp

import mathdl as md
from every_layer import LAYERS, LOSSES
from mathdl import arrays, random
from mathdl.arrays import flatten_tree
from mathdl.errors import UsageError
from mathdl.functions import erf
from mathdl_backends import symbolic
from mathdl_backends.symbolic import (
    SymbolicArray,
    UndecidedError,
    exact,
    ordered,
    orderings,
    sign_patterns,
    signed,
    symbols,
)
from support import context_for, nest

DEVICE = arrays.device("symbolic")
xp = DEVICE.namespace
p, q = sp.symbols("p q", positive=True)
r = sp.Symbol("r", real=True)


def of(*entries):
    return symbolic.array(list(entries))


def entry(A):
    return A.entries.item()


# -- numbers -----------------------------------------------------------------------------------------------------------

R = sp.Rational


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (0.0, 0),
        (3.0, 3),
        (0.1, R(1, 10)),
        (-0.01, R(-1, 100)),
        (1e-5, R(1, 100000)),
        (1e-300, R(1, 10**300)),
        (1e300, 10**300),
        (0.999, R(999, 1000)),
        (1 / 3, R(1, 3)),
        (2 / 7, R(2, 7)),
        (10 / 9, R(10, 9)),
        (math.sqrt(0.5), sp.sqrt(R(1, 2))),
        (-math.sqrt(2.0), -sp.sqrt(2)),
        (math.sqrt(2 * math.pi), sp.sqrt(2 * sp.pi)),
        (2 / math.sqrt(math.pi), 2 / sp.sqrt(sp.pi)),
        (math.pi / 4, sp.pi / 4),
        (1.0 / (1.0 - 0.3), R(10, 7)),
        (1.0 - 0.999, R(1, 1000)),
        (1.0 - 0.99999, R(1, 100000)),
        (0.5 / math.sqrt(2 * math.pi), 1 / (2 * sp.sqrt(2 * sp.pi))),
        (1 / math.pi, 1 / sp.pi),
        (math.inf, sp.oo),
        (-math.inf, -sp.oo),
    ],
)
def test_floats_stand_for_simple_numbers(value, meant):
    assert exact(value) == meant
    if math.isfinite(value):
        assert math.isclose(float(exact(value)), value, rel_tol=2.0**-36, abs_tol=0)


def test_other_floats_stand_for_themselves():
    values = np.random.default_rng(0).standard_normal(200)
    assert all(exact(float(x)) == sp.Rational(float(x)) for x in values)
    assert exact(math.nan) is sp.nan


def test_no_float_gets_into_an_expression():
    found = of(sp.Float(0.5) * p, 0.25, np.float64(0.1), True)
    assert list(found.entries) == [p / 2, R(1, 4), R(1, 10), 1]
    assert entry(symbols("x", 1) * 0.1 + 1 / 3) == R(1, 10) * sp.Symbol("x_0", real=True) + R(1, 3)


# -- functions ---------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    **{name: getattr(sp, name) for name in ("exp", "log", "tanh", "sinh", "cosh", "sin", "cos", "tan", "sqrt", "atan")},
    "expm1": lambda x: sp.exp(x) - 1,
    "log1p": lambda x: sp.log(x + 1),
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "negative": lambda x: -x,
    "abs": lambda x: x,
    "sign": lambda x: sp.Integer(1),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions(name):
    assert entry(getattr(xp, name)(of(p))) == FUNCTIONS[name](p)


def test_erf_is_erf():
    assert entry(erf(of(r))) == sp.erf(r)


def test_sums_and_products():
    A, B = symbols("a", 2, 3), symbols("b", 3, 2)
    for i, k in np.ndindex(2, 2):
        assert xp.matmul(A, B).entries[i, k] == sum(A.entries[i, j] * B.entries[j, k] for j in range(3))
    assert list(xp.sum(A, axis=0).entries) == [A.entries[0, j] + A.entries[1, j] for j in range(3)]
    assert entry(xp.mean(A)) == sp.Add(*A.entries.flat) / 6
    with pytest.raises(ValueError, match="matmul of symbols"):
        xp.matmul(A, A)


def test_integers_stay_integers():
    table = DEVICE.put(np.array([2, 0, 2]))
    assert table.entries.dtype == np.int64
    assert (table + xp.arange(3)).entries.tolist() == [2, 1, 4]
    A = symbols("a", 3)
    assert list(xp.take(A, table, axis=0).entries) == [A.entries[k] for k in (2, 0, 2)]
    assert list(xp.astype(table == 2, xp.float64).entries) == [1, 0, 1]
    assert (table / 4).entries.tolist() == [R(1, 2), 0, R(1, 2)]
    key = DEVICE.put(random.fold_many(0, "dropout", (1,), 0, [0])[0])
    words = random.bits(np.asarray(key.entries), 0, 2, 5)
    assert random.bits(key, 0, 2, 5).entries.tolist() == words.tolist()


def test_numbers_come_back_as_numbers_and_symbols_as_expressions():
    assert DEVICE.backend.to_host(of(0.5, 1.5)).dtype == np.float64
    assert DEVICE.backend.to_host(of(p)).tolist() == [p]
    with pytest.raises(TypeError, match="p is no number"):
        float(of(p))
    with pytest.raises(TypeError, match="no NumPy array"):
        np.asarray(of(p))


def test_operators_without_a_rule_say_so():
    with pytest.raises(UsageError, match="no rule for remainder"):
        of(p) % 2.0


# -- decisions ---------------------------------------------------------------------------------------------------------

LARGER = [
    (p, 0),
    (p + q, p),
    (r + p, r),
    (1, sp.exp(-p)),
    (sp.exp(-p), 0),
    (sp.exp(-p), sp.exp(-p - q)),
    (p / 2, p / 2 * sp.exp(-q)),
    (1, 1 / (1 + p)),
    (r, -sp.oo),
    (sp.oo, p),
    (sp.sqrt(2), 1),
]


@pytest.mark.parametrize(("x", "y"), LARGER)
def test_what_assumptions_decide(x, y):
    A, B = of(x), of(y)
    assert bool(A > B)
    assert bool(A >= B)
    assert bool(B < A)
    assert not bool(A == B)
    assert bool(A != B)
    for larger in (xp.maximum(A, B), xp.maximum(B, A), xp.max(xp.concat([B, A]))):
        assert entry(larger) == x
    assert entry(xp.minimum(A, B)) == y
    assert int(xp.argmax(xp.concat([B, A]))) == 1


def test_equal_expressions_are_equal():
    A, B = of(p * (p + q)), of(p**2 + p * q)
    assert bool(A == B)
    assert bool(A >= B)
    assert not bool(A > B)
    assert int(xp.argmax(xp.concat([A, B]))) == 0


@pytest.mark.parametrize("decide", [lambda A: A > 0, lambda A: xp.abs(A), lambda A: xp.max(A - 2 * A * A), xp.sign])
def test_what_assumptions_leave_open_raises(decide):
    A = symbols("x", 2)
    with pytest.raises(UndecidedError, match=r"x_0.*signed.*ordered"):
        decide(A)


def test_a_long_expression_is_shown_in_part():
    with pytest.raises(UndecidedError) as error:
        xp.max(xp.sum(symbols("x", 2, 40), axis=1))
    assert len(str(error.value)) < 500


def test_a_nan_compares_as_nothing():
    A = of(sp.nan, 1)
    assert (A > 0).entries.tolist() == [False, True]
    assert (A == A).entries.tolist() == [False, True]
    assert entry(xp.max(A)) is sp.nan
    assert int(xp.argmax(A)) == 0


def test_signs_and_orders():
    Z = signed("z", [[1, -1, 0]])
    assert xp.sign(Z).entries.tolist() == [[1, -1, 0]]
    A = ordered("a", [[0, 2, 1, 2]])
    assert xp.argmax(A, axis=1).entries.tolist() == [1]
    assert (A[:, 1] == A[:, 3]).entries.tolist() == [True]
    assert (A[:, 2] > A[:, 0]).entries.tolist() == [True]
    assert len({tuple(signs.flat) for signs in sign_patterns(2, 2)}) == 16
    assert len({tuple(ranks.flat) for ranks in orderings(3)}) == 6


# -- the shipped functions ---------------------------------------------------------------------------------------------


def points(layer, shape):
    """Inputs of two instances (or of one): plain symbols, or those whose signs or order the layer asks for."""
    instances = 2 if layer.couples_instances else 1
    name = type(layer).__name__
    if name in ("ReLU", "LeakyReLU", "ELU", "Sigmoid", "SiLU", "Softplus"):
        return [signed("x", signs) for signs in sign_patterns(instances, *shape)]
    if name in ("Softmax", "LogSoftmax") or "MaxPool" in name:
        orders = list(orderings(instances, *shape))
        return [ordered("x", ranks) for ranks in (orders if len(orders) <= 24 else orders[:: len(orders) // 12])]
    return [symbols("x", instances, *shape)]


def is_zero(expression):
    """By SymPy's normal forms; what they leave is evaluated at random rationals, to 30 digits."""
    if sp.expand(expression) == 0:
        return True
    rng = np.random.default_rng(0)
    for _ in range(3):
        at = {s: sp.Rational(int(rng.integers(1, 99)), 37) for s in expression.free_symbols}
        if abs(sp.N(expression.subs(at), 40)) > 1e-30:
            return False
    return True


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: repr(value)[:30])
def test_every_layer_has_the_gradients_of_sympy(layer, shape):
    key = DEVICE.put(random.fold_many(0, "dropout", (1,), 0, [0])[0])
    flat = flatten_tree(layer.shapes(shape)[1])
    for X in points(layer, shape):
        context = context_for(layer, shape, DEVICE, training=True, instances=X.shape[0], key=key)
        own = {name: symbols(f"w{k}", *size) for k, (name, size) in enumerate(flat.items())}
        A, cache = layer.forward(nest(layer.shapes(shape)[1], own), X, context)
        G = symbols("g", *A.shape)
        dX, grads = layer.backward(symbolic.array(G.entries.copy()), cache, {}, True)
        cost = sp.Add(*(G.entries * A.entries).flat)
        for name, gradient in flatten_tree(grads).items():
            check(cost, own[name], gradient)
        check(cost, X, dX)


def check(cost, X, gradient):
    """Σ dX ∂X/∂s = ∂cost/∂s for every symbol s of X: of plain symbols, that each entry is the derivative."""
    assert gradient.shape == X.shape
    for s in set().union(*(x.free_symbols for x in X.entries.flat)):
        chained = sp.Add(*(d * x.diff(s) for d, x in zip(gradient.entries.flat, X.entries.flat, strict=True)))
        assert is_zero(chained - cost.diff(s)), s


def outputs_and_targets(loss):
    """(P, Y), of which every comparison in the loss is decided."""
    if loss.kind == "binary":
        P = signed("p", [[1, -1]]) if loss.logits else 1 / (1 + symbols("p", 1, 2, positive=True))
        return [(P, of([0, 1]).moved(lambda A: A.reshape(1, 2))), (P, 1 / (1 + symbols("y", 1, 2, positive=True)))]
    if loss.kind == "regression":
        P = symbols("p", 1, 2, positive=True)
        far, near = of(P.entries[0, 0] + 3, P.entries[0, 1] - 2), of(P.entries[0, 0] + R(1, 2), P.entries[0, 1] - 1)
        if isinstance(loss, md.Poisson):
            return [(P, symbols("y", 1, 2, positive=True)), (P, of([0, 3]).moved(lambda A: A.reshape(1, 2)))]
        return [(P, Y.moved(lambda A: A.reshape(1, 2))) for Y in (far, near)]
    P = ordered("p", [[1, 0, 2], [2, 1, 0]]) if loss.logits else symbols("p", 2, 3, positive=True)
    rows = symbolic.array([[p, q, 0], [0, 1, 0]])
    return [(P, DEVICE.put(np.array([0, 2]))), (P, rows)]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_loss_has_the_gradient_of_sympy(loss):
    for P, Y in outputs_and_targets(loss):
        weights = symbols("w", P.shape[0], positive=True)
        J, cache = loss.forward(P, Y, weights, xp.sum(weights))
        held = {s for y in (Y.entries.flat if Y.is_real else ()) for s in getattr(y, "free_symbols", ())}
        dP = loss.backward(cache)
        for s in set().union(*(x.free_symbols for x in P.entries.flat)) - held:
            chained = sp.Add(*(d * x.diff(s) for d, x in zip(dP.entries.flat, P.entries.flat, strict=True)))
            assert is_zero(chained - entry(J).diff(s)), s


def test_optimizers_run_on_symbols():
    theta, G = symbols("t", 2), symbols("g", 2)
    before = theta.entries.copy()
    V, c = symbols("v", 2), symbols("c", 3)
    v = V.entries.copy()
    md.SGD(0.1, momentum=0.9, nesterov=True).update(theta, G, {"V": V}, c, False)
    for k in range(2):
        assert sp.expand(V.entries[k] - (R(9, 10) * v[k] + G.entries[k])) == 0
        step = G.entries[k] + R(9, 10) * V.entries[k]
        assert sp.expand(theta.entries[k] - (before[k] - c.entries[0] * step)) == 0
    M, S = xp.zeros((2,)), xp.zeros((2,))
    md.Adam(0.1).update(theta, G, {"M": M, "V": S}, c, False)
    assert sp.expand(S.entries[1] - R(1, 1000) * G.entries[1] ** 2) == 0


def test_a_network_is_trained_exactly():
    network = md.Network([md.Dense(1)])
    trainer = md.Trainer(network, "mean_squared_error", md.SGD(0.5), batch_size=2, device="symbolic", dtype="float64")
    trainer.prepare(np.array([[1.0], [2.0]]), np.array([1.0, 3.0]))
    trainer.params.vector[...] = 0.0
    trainer.fit(np.array([[1.0], [2.0]]), np.array([1.0, 3.0]), epochs=1)
    # J = ((w + b − 1)² + (2 w + b − 3)²) / 2 at w = b = 0: ∂J/∂w = −7, ∂J/∂b = −4
    assert list(trainer.params.vector.entries) == [R(7, 2), 2]


def test_without_sympy_the_extra_is_named():
    code = "import sys; sys.modules['sympy'] = None; import mathdl; mathdl.arrays.backend('symbolic')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert 'MissingExtraError: the symbolic backend needs sympy: pip install "mathdl[theory]"' in done.stderr


def test_the_class_is_its_own():
    assert type(DEVICE.put(np.ones(2))) is SymbolicArray
    assert arrays.backend_of(of(p)).NAME == "symbolic"
