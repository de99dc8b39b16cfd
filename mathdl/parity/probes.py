"""Probes: computations in which nothing is rounded, whatever the order of the sums. They need no tolerance.

    A I and I B      A, B with whole significands, and exponents from −20 to 20: the products must give the bits back
    whole numbers    entries in {−1, 0, 1} times odd numbers below 2¹³: every partial sum is below 2²⁴
    one tap          a kernel that is 1 in one place moves the image by a tap
    scaling          f(2x) = 2 f(x) for what is linear

A bound grows with the length n of a sum and soon hides that the operands were cut to ten bits; a probe sees that at any
length. Shapes are multiples of 128 too: kernels of lower precision are often chosen there only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl import layers as md
from mathdl.architecture import written
from mathdl.arrays import Array, Shape
from mathdl.layers.layer import Layer
from mathdl.parity.cases import Case, Evaluate, draw, kind, propositions
from mathdl.parity.compare import Reference
from mathdl.parity.layer_runs import parameter_shapes, run_layer
from mathdl.parity.sides import Side
from mathdl.sums import sum_outer, sum_rows

LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
"""The contraction lengths of the products that are probed."""
_OUTPUTS = 64
"""Rows of A in A I, and columns of B in I B."""
_PICKED = 128
"""Columns of the n × n matrix I that A is multiplied with, at most."""
_ODD = 2**13


def probes(dtype: str, seed: int, largest: int = LENGTHS[-1]) -> Iterator[Case]:
    """Every probe, with products up to the length `largest`."""
    for n in LENGTHS:
        if n <= largest:
            yield from _products(dtype, n, seed)
    yield from _sums(dtype, seed)
    for layer, input in LINEAR:
        yield whole_numbers(layer, input, dtype, seed)
        yield scaling(layer, input, dtype, seed)
    for layer, input in PIECEWISE:
        yield whole_numbers(layer, input, dtype, seed)
    yield from _one_tap(dtype, seed)


def full_significands(dtype: str, *shape: int, seed: tuple[int, ...], reach: int = 20) -> NDArray[np.floating]:
    """Numbers ±1.xxx…1 · 2ᵉ with every bit of the significand drawn and the last one 1, e from −`reach` to `reach`."""
    rng = np.random.default_rng(seed)
    bits = np.finfo(dtype).nmant
    fractions = rng.integers(2**bits, size=shape, dtype=np.int64) | 1
    signs, exponents = rng.choice([-1.0, 1.0], shape), rng.integers(-reach, reach + 1, shape)
    return np.asarray(np.ldexp(signs * (1.0 + fractions * 2.0**-bits), exponents), dtype=dtype)


def signs_and_zeros(dtype: str, *shape: int, seed: tuple[int, ...]) -> NDArray[np.floating]:
    """−1, 0 and 1."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(dtype)


def odd_numbers(dtype: str, length: int, *shape: int, seed: tuple[int, ...]) -> NDArray[np.floating]:
    """Odd whole numbers with the most bits (at most 13) of which `length` can be added exactly in float32."""
    largest = max(min(_ODD, 2**24 // length), 2)
    return (2 * np.random.default_rng(seed).integers(-largest // 2, largest // 2, shape) + 1).astype(dtype)


def _products(dtype: str, n: int, seed: int) -> Iterator[Case]:
    A = full_significands(dtype, _OUTPUTS, n, seed=(seed, n, 0))
    B = full_significands(dtype, n, _OUTPUTS, seed=(seed, n, 1))
    picked = np.sort(np.random.default_rng((seed, n, 2)).permutation(n)[:_PICKED])
    I = np.zeros((n, len(picked)), dtype)
    I[picked, np.arange(len(picked))] = 1.0
    S = signs_and_zeros(dtype, _OUTPUTS, n, seed=(seed, n, 3))
    N = odd_numbers(dtype, n, n, _OUTPUTS, seed=(seed, n, 4))
    SN = S.astype(np.int64) @ N.astype(np.int64)

    def forward(side: Side) -> Mapping[str, Array]:
        matmul = side.device.namespace.matmul
        return {
            "A I": matmul(side.put(A), side.put(I)),
            "I B": matmul(side.put(I.T.copy()), side.put(B)),
            "S N": matmul(side.put(S), side.put(N)),
        }

    def backward(side: Side) -> Mapping[str, Array]:
        return {"Iᵀ B": sum_outer(side.put(I), side.put(B)), "Sᵀ N": sum_outer(side.put(S.T.copy()), side.put(N))}

    for op, run, proposition, values in (
        ("matmul", forward, "dense-forward", {"A I": A[:, picked], "I B": B[picked], "S N": SN}),
        ("sum_outer", backward, "dense-backward", {"Iᵀ B": B[picked], "Sᵀ N": SN}),
    ):
        yield _exact(op, f"n = {n}", run, dict.fromkeys(values, proposition), seed, values, n)


def _sums(dtype: str, seed: int) -> Iterator[Case]:
    n = 4096
    N = odd_numbers(dtype, n, n, 32, seed=(seed, n, 5))

    def evaluate(side: Side) -> Mapping[str, Array]:
        xp, D = side.device.namespace, side.put(N)
        return {"Σ_i D": sum_rows(D), "Σ_j D": xp.sum(xp.reshape(D, (32, n)), axis=1), "max": xp.max(D, axis=0)}

    values = {"Σ_i D": np.sum(N, axis=0), "Σ_j D": np.sum(N.reshape(32, n), axis=1), "max": np.max(N, axis=0)}
    yield _exact("sum", f"n = {n}", evaluate, dict.fromkeys(values, "broadcast-adjoint"), seed, values, n)


LINEAR: tuple[tuple[Layer, Shape], ...] = (
    (md.Dense(64), (784,)),
    (md.Conv2D(16, 3, padding="same"), (28, 28, 1)),
    (md.Conv2D(32, 3, padding="same"), (8, 8, 32)),
    (md.Conv2D(8, 3, stride=2, padding=1), (9, 9, 4)),
    (md.Conv2D(8, 1), (6, 6, 16)),
    (md.Conv2D(8, 3, groups=4, padding="same"), (7, 7, 4)),
    (md.Conv2D(8, 3, dilation=2), (9, 9, 4)),
    (md.Conv1D(16, 5, padding="same"), (33, 8)),
    (md.AveragePool2D(2), (8, 8, 16)),
    (md.AveragePool1D(4), (16, 16)),
    (md.GlobalAveragePool2D(), (8, 8, 16)),
    (md.GlobalAveragePool1D(), (16, 16)),
    (md.Flatten(), (4, 4, 3)),
    (md.Reshape((12, 4)), (4, 4, 3)),
    (md.Residual([md.Dense(64, bias=False)]), (64,)),
)
"""Windows of average pooling are powers of two: the quotients are exact."""

PIECEWISE: tuple[tuple[Layer, Shape], ...] = (
    (md.ReLU(), (300,)),
    (md.LeakyReLU(0.25), (300,)),
    (md.Perceptron(md.ReLU()), (300,)),
    (md.Dropout(0.5), (300,)),
    (md.MaxPool2D(2), (8, 8, 16)),
    (md.MaxPool2D(3, stride=2, padding=1), (9, 9, 4)),
    (md.MaxPool1D(3, stride=1), (16, 16)),
    (md.GlobalMaxPool2D(), (8, 8, 16)),
    (md.GlobalMaxPool1D(), (16, 16)),
)
"""Whole numbers give many ties: the gradient must go to the same one on both sides."""

_B = 2


def whole_numbers(layer: Layer, input: Shape, dtype: str, seed: int) -> Case:
    """A layer on whole numbers: forward with large parameters, backward with large gradients."""
    output, shapes = layer.shapes(input)[0], sorted(parameter_shapes(layer, input).items())
    X = signs_and_zeros(dtype, _B, *input, seed=(seed, 5))
    large = {
        name: odd_numbers(dtype, prod(shape[:-1]) + 1, *shape, seed=(seed, 6, k))
        for k, (name, shape) in enumerate(shapes)
    }
    small = {name: signs_and_zeros(dtype, *shape, seed=(seed, 7, k)) for k, (name, shape) in enumerate(shapes)}
    most = max([_B * prod(output[:-1]), *(prod(shape) // shape[-2] for _, shape in shapes if len(shape) > 1)])
    dA = odd_numbers(dtype, most, _B, *output, seed=(seed, 8))

    def evaluate(side: Side) -> Mapping[str, Array]:
        return {**run_layer(layer, small, X, dA, side), "A": run_layer(layer, large, X, dA, side)["A"]}

    return _exact(kind(layer), f"{written(layer)} on {input}", evaluate, propositions(layer), seed)


def scaling(layer: Layer, input: Shape, dtype: str, seed: int) -> Case:
    """f(2x) − 2 f(x) of a layer that is linear in its input and gradient: 0 on a side that repeats its bits."""
    shapes = sorted(parameter_shapes(layer, input).items())
    X = draw(dtype, _B, *input, seed=(seed, 9))
    dA = draw(dtype, _B, *layer.shapes(input)[0], seed=(seed, 10))
    parameters = {name: draw(dtype, *shape, seed=(seed, 11, k)) for k, (name, shape) in enumerate(shapes)}
    doubled = {name: 2 * value if name.startswith("b") else value for name, value in parameters.items()}

    def evaluate(side: Side) -> Mapping[str, Array]:
        once, twice = run_layer(layer, parameters, X, dA, side), run_layer(layer, doubled, 2 * X, 2 * dA, side)
        factors = {name: 4.0 if name.startswith("dW") else 2.0 for name in once}
        return {f"{name}, scaled": twice[name] - factors[name] * value for name, value in once.items()}

    ids = {f"{name}, scaled": proposition for name, proposition in propositions(layer).items()}
    case = _exact(kind(layer), f"{written(layer)} on {input}", evaluate, ids, seed)
    return replace(case, needs_repetition=True)


def _one_tap(dtype: str, seed: int) -> Iterator[Case]:
    """Convolutions whose kernel is 1 at one tap, from channel c to channel c: the image, moved."""
    X = full_significands(dtype, _B, 10, 10, 16, seed=(seed, 12))
    layer = md.Conv2D(16, 3, padding="same", bias=False)
    for row, column in ((0, 0), (1, 2), (2, 1)):
        W = np.zeros((3, 3, 16, 16), dtype)
        W[row, column] = np.eye(16)
        around = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
        values = {
            "A": around[:, row : row + 10, column : column + 10],
            "dX": around[:, 2 - row : 12 - row, 2 - column : 12 - column],
        }

        def evaluate(side: Side, W: NDArray[np.floating] = W) -> Mapping[str, Array]:
            found = run_layer(layer, {"W": W}, X, X, side)
            return {"A": found["A"], "dX": found["dX"]}

        what = f"{written(layer)} on (10, 10, 16), 1 at ({row}, {column})"
        yield _exact("Conv2D", what, evaluate, propositions(layer), seed, values)


def _exact(
    op: str,
    what: str,
    evaluate: Evaluate,
    propositions: Mapping[str, str],
    seed: int,
    values: Mapping[str, NDArray[Any]] | None = None,
    length: int | None = None,
) -> Case:
    """A probe; `values` are what must come out, where that can be said without the code."""
    references = None if values is None else lambda: {name: Reference(v, 0.0, "exact") for name, v in values.items()}
    lengths = {} if values is None or length is None else dict.fromkeys(values, length)
    return Case("probes", op, what, evaluate, propositions, True, references=references, lengths=lengths, seed=seed)
