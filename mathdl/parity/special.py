"""Where formulas are easily right and programs wrong: NaN, infinities, zeros, subnormal numbers, ties, extreme logits.

Each row states what must come out, by the definition or in so many words, and both sides are held to it. Where the
result is rounded the bound is in units of u, in closed form: on infinities no error analysis says anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl import layers as md
from mathdl import losses as ml
from mathdl.architecture import written
from mathdl.arrays import Array
from mathdl.layers.layer import Layer
from mathdl.losses import Loss
from mathdl.parity.by_definition import KIND, LAYERS, layer_references
from mathdl.parity.cases import Case, Evaluate, draw, kind, propositions
from mathdl.parity.compare import Bounds, Reference
from mathdl.parity.layer_runs import run_layer, run_loss
from mathdl.parity.sides import Side
from mathdl.theory import definitions

UNITS = 16
"""The bound of an activation or a loss in closed form: so many u of its value. By the table of bounds the worst, a
sigmoid, may be off by 11 u, with exp off by 3 units in the last place."""


def special(dtype: str, flushes: bool = False) -> Iterator[Case]:
    """Every case. `flushes`: subnormal numbers may be taken for 0."""
    tiny = float(np.finfo(dtype).tiny if flushes else np.finfo(dtype).smallest_subnormal)
    yield from _activations(dtype, tiny)
    yield from _subnormal(dtype, tiny)
    yield from _rows_of_logits(dtype, tiny)
    yield from _pools(dtype)
    yield from _losses(dtype, tiny)
    yield from _products(dtype)
    yield from _normalizations(dtype)


def _case(
    op: str,
    what: str,
    evaluate: Evaluate,
    expected: Mapping[str, Any],
    dtype: str,
    units: float = 0.0,
    tiny: float = 0.0,
    ids: Mapping[str, str] | None = None,
    by: str = KIND,
) -> Case:
    """A case whose results must be the expected ones, up to `units` u of their magnitude and twice `tiny`."""
    u = float(np.finfo(dtype).eps) / 2
    values = {name: np.asarray(value, dtype=np.float64) for name, value in expected.items()}
    sizes = {name: np.abs(np.where(np.isfinite(value), value, 0.0)) for name, value in values.items()}
    widths = {name: units * u * size + (2 * tiny if units else 0.0) for name, size in sizes.items()}
    return Case(
        "special",
        op,
        what,
        evaluate,
        ids or {},
        exact=not units,
        bounds={name: Bounds(width, width) for name, width in widths.items()} if units else None,
        references=lambda: {name: Reference(value, 0.0, by) for name, value in values.items()},
    )


# ---------------------------------------------------------------------------------------------------- activations

_ROUNDED: tuple[tuple[Layer, float], ...] = (
    (md.ReLU(), 0),
    (md.LeakyReLU(0.25), 0),
    *((layer, UNITS) for layer in (md.ELU(), md.GELU(), md.SiLU(), md.Sigmoid(), md.Softplus(), md.Tanh())),
)
"""Activation → units of its bound."""

_AT_ZERO: Mapping[str, float] = {"ReLU": 0.0, "LeakyReLU": 0.25, "ELU": 1.0}
"""Activation → its derivative at 0, by convention (or, for ELU with α = 1, in truth)."""


def _activations(dtype: str, tiny: float) -> Iterator[Case]:
    points = np.array([[nan, inf, -inf, 0.0, -0.0, 4 * tiny, -4 * tiny, 1e4, -1e4, 1.0, -1.0]], dtype=dtype)
    for layer, units in _ROUNDED:

        def forward(side: Side, layer: Layer = layer) -> Mapping[str, Array]:
            return run_layer(layer, {}, points, None, side)

        with np.errstate(all="ignore"):
            A = LAYERS[type(layer)](layer, {"X": points.astype(np.float64)}, None)
        what = f"{written(layer)} at NaN, ±∞, ±0, subnormal numbers, ±1e4"
        yield _case(kind(layer), what, forward, {"A": A}, dtype, units, tiny, propositions(layer))
        if kind(layer) in _AT_ZERO:
            zeros = np.array([[0.0, -0.0]], dtype=dtype)

            def backward(side: Side, layer: Layer = layer, zeros: NDArray[Any] = zeros) -> Mapping[str, Array]:
                return {"dX": run_layer(layer, {}, zeros, np.ones_like(zeros), side)["dX"]}

            slope = {"dX": np.full((1, 2), _AT_ZERO[kind(layer)])}
            what = f"{written(layer)} at +0 and −0"
            yield _case(kind(layer), what, backward, slope, dtype, ids=propositions(layer), by="convention")


def _subnormal(dtype: str, tiny: float) -> Iterator[Case]:
    least = float(np.finfo(dtype).smallest_subnormal)
    low, high = (-103.0, -87.5) if dtype == "float32" else (-744.0, -708.5)
    x = np.linspace(low, high, 400).astype(dtype)

    def exp(side: Side) -> Mapping[str, Array]:
        return {"f(x)": side.device.namespace.exp(side.put(x))}

    what = "on subnormal results"
    expected: Mapping[str, Any] = {"f(x)": np.exp(x.astype(np.longdouble))}
    yield _case("exp", what, exp, expected, dtype, UNITS, tiny, by="exp in a wider format")
    n = 64
    terms = (least * np.random.default_rng(0).integers(1, 1000, (n, 4))).astype(dtype)

    def added(side: Side) -> Mapping[str, Array]:
        xp = side.device.namespace
        return {"Σ": xp.sum(side.put(terms), axis=0), "2 x": 2.0 * side.put(terms)}

    expected = {"Σ": np.sum(terms.astype(np.float64), axis=0), "2 x": 2.0 * terms.astype(np.float64)}
    flush = tiny if tiny > least else 0.0
    yield _case("sum", "of subnormal numbers", added, expected, dtype, 1 if flush else 0, n * flush, by="exact")


# -------------------------------------------------------------------------------------------------- output layers


def _rows_of_logits(dtype: str, tiny: float) -> Iterator[Case]:
    Z = np.array(
        [
            [1e4, 0.0, -1e4],
            [-inf, 0.0, 1.0],
            [-inf, -inf, -inf],
            [inf, 0.0, 1.0],
            [nan, 0.0, 1.0],
            [-1e30, -1e30, -1e30],
            [88.0, 89.0, 90.0],
        ],
        dtype=dtype,
    )
    for layer in (md.Softmax(), md.LogSoftmax()):

        def forward(side: Side, layer: Layer = layer) -> Mapping[str, Array]:
            return run_layer(layer, {}, Z, None, side)

        A = LAYERS[type(layer)](layer, {"X": Z.astype(np.float64)}, None)
        what = f"{written(layer)} of extreme logits, masked classes, NaN"
        yield _case(kind(layer), what, forward, {"A": A}, dtype, UNITS, tiny, propositions(layer))


def _losses(dtype: str, tiny: float) -> Iterator[Case]:
    Z = np.array([[1e4, 0.0, -1e4], [-inf, 0.0, 0.0]], dtype=dtype)
    third = np.array([[1.0, 0.0, -1.0], [0.0, 0.5, -0.5]]) / 2
    J = (2e4 + np.log(2.0)) / 2
    for Y in (np.array([2, 2]), np.array([[0, 0, 1], [0, 0, 1]], dtype=dtype)):
        what = f"logits 1e4, 0, −1e4 and a masked class, {'labels' if Y.ndim == 1 else 'rows'}"
        yield _loss(ml.CategoricalCrossEntropy(logits=True), what, Z, Y, {"J": J, "dP": third}, dtype, tiny)
    P = np.array([[0.0, 1.0, 0.0]], dtype=dtype)
    yield _loss(ml.CategoricalCrossEntropy(), "P = 0 where Y = 1", P, np.array([0]), {"J": inf}, dtype, tiny)
    known = {"J": 0.0, "dP": [[0.0, -1.0, 0.0]]}
    yield _loss(ml.CategoricalCrossEntropy(), "P = 0 where Y = 0", P, np.array([1]), known, dtype, tiny)
    Z, Y = np.array([[1000.0], [-1000.0], [1000.0]], dtype=dtype), np.array([[1.0], [0.0], [0.0]], dtype=dtype)
    known = {"J": 1000.0 / 3.0, "dP": np.array([[0.0], [0.0], [1.0]]) / 3.0}
    yield _loss(ml.BinaryCrossEntropy(logits=True), "logits ±1000", Z, Y, known, dtype, tiny)


def _loss(
    loss: Loss, what: str, P: NDArray[Any], Y: NDArray[Any], expected: Mapping[str, Any], dtype: str, tiny: float
) -> Case:
    def evaluate(side: Side) -> Mapping[str, Array]:
        found = run_loss(loss, P, Y, None, side)
        return {name: found[name] for name in expected}

    return _case(kind(loss), what, evaluate, expected, dtype, UNITS, tiny, propositions(loss), by="in closed form")


# --------------------------------------------------------------------------------------------------------- windows


def _pools(dtype: str) -> Iterator[Case]:
    ties = np.random.default_rng(0).integers(-1, 2, (2, 5, 5, 2)).astype(dtype)
    for layer in (md.MaxPool2D(2, stride=1), md.MaxPool2D(3, stride=2, padding=1)):
        output = layer.shapes((5, 5, 2))[0]
        dA = np.arange(1.0, 1.0 + 2 * np.prod(output)).reshape(2, *output).astype(dtype)
        window = layer.window((5, 5, 2))
        geometry = (window.kernel, window.stride, window.padding)

        def run(side: Side, layer: Layer = layer, dA: NDArray[Any] = dA) -> Mapping[str, Array]:
            found = run_layer(layer, {}, ties, dA, side)
            return {"A": found["A"], "dX": found["dX"]}

        expected = {
            "A": definitions.max_pool2d(ties.tolist(), *geometry),
            "dX": definitions.max_pool2d_backward(ties.tolist(), dA.tolist(), *geometry),
        }
        what = f"{written(layer)}, ties: the first in row-major order"
        yield _case("MaxPool2D", what, run, expected, dtype, ids=propositions(layer))
    line = np.random.default_rng(1).integers(0, 2, (2, 9, 2)).astype(dtype)
    rising = np.arange(1.0, 1.0 + 2 * 7 * 2).reshape(2, 7, 2).astype(dtype)

    def run1d(side: Side) -> Mapping[str, Array]:
        return {"dX": run_layer(md.MaxPool1D(3, stride=1), {}, line, rising, side)["dX"]}

    backward = {"dX": definitions.max_pool1d_backward(line.tolist(), rising.tolist(), 3, 1)}
    yield _case("MaxPool1D", "MaxPool1D(3, stride=1), ties: the first", run1d, backward, dtype)
    holed = -1.0 - draw(dtype, 1, 4, 4, 1, seed=(0, 40)) ** 2
    holed[0, 0, 0, 0], holed[0, 3, 3, 0] = nan, -inf
    for pool in (md.MaxPool2D(2), md.MaxPool2D(3, stride=2, padding=1)):
        yield _forward(pool, holed, "NaN, −∞, and padding beside negative numbers", dtype)
    corner = np.ones((1, 3, 3, 1), dtype)
    for counts in (False, True):
        average = md.AveragePool2D(2, stride=2, padding=1, count_padding=counts)
        yield _forward(average, corner, "padding at a corner", dtype)


def _forward(layer: Layer, X: NDArray[Any], what: str, dtype: str) -> Case:
    def evaluate(side: Side) -> Mapping[str, Array]:
        return run_layer(layer, {}, X, None, side)

    A = LAYERS[type(layer)](layer, {"X": X.astype(np.float64)}, None)
    return _case(kind(layer), f"{written(layer)}, {what}", evaluate, {"A": A}, dtype, ids=propositions(layer))


# --------------------------------------------------------------------------------- products, argmax, normalization


def _products(dtype: str) -> Iterator[Case]:
    X, W = np.ones((4, 40), dtype), np.ones((40, 3), dtype)
    X[1, 7], X[2, 9], X[3, 11] = nan, inf, -inf
    W[11, 0] = 0.0
    A = np.full((4, 3), 40.0)
    A[0, 0], A[1], A[2], A[3] = 39.0, nan, inf, [nan, -inf, -inf]

    def product(side: Side) -> Mapping[str, Array]:
        return {"A B": side.device.namespace.matmul(side.put(X), side.put(W))}

    yield _case("matmul", "a NaN, ∞, −∞ and 0 · ∞ stay in their rows", product, {"A B": A}, dtype, by="in words")
    t = np.random.default_rng(2).integers(0, 3, (200, 5)).astype(dtype)

    def largest(side: Side) -> Mapping[str, Array]:
        return {"argmax": side.device.namespace.argmax(side.put(t), axis=1)}

    first = {"argmax": [definitions.argmax(row) for row in t.tolist()]}
    yield _case("argmax", "ties: the first", largest, first, dtype)


def _normalizations(dtype: str) -> Iterator[Case]:
    """A mean of 1e4 beside a deviation of 1: E X² − (E X)² would be negative in float32."""
    for layer in (md.BatchNorm(), md.LayerNorm()):
        yield _normalization(layer, dtype)


def _normalization(layer: Layer, dtype: str) -> Case:
    X = (1e4 + draw(dtype, 64, 3, seed=(0, 41))).astype(dtype)
    parameters = {"gamma": np.ones(3, dtype), "beta": np.zeros(3, dtype)}

    def evaluate(side: Side) -> Mapping[str, Array]:
        return run_layer(layer, parameters, X, None, side)

    def references() -> Mapping[str, Reference]:
        return {"A": layer_references(layer, parameters, X, np.ones_like(X), True, 0)["A"]}

    what = f"{written(layer)}, mean 1e4 and deviation 1"
    return Case("special", kind(layer), what, evaluate, propositions(layer), references=references)
