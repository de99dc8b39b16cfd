"""Domains: what the entries of an input may be, as symbols, as numbers and as integers.

Code that compares (max, abs, [z > 0]) needs symbols whose order is known. A domain therefore gives **alternatives**:
arrays of symbols that together stand for every case, such as every pattern of signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations, product
from typing import TypeAlias

import numpy as np
import sympy as sp

from mathdl.arrays import Shape

Symbols: TypeAlias = np.ndarray
"""An array of objects: SymPy expressions."""


@dataclass(frozen=True)
class Domain:
    """The values that an input may have."""

    says: str
    symbols: Callable[[str, Shape], Iterator[Symbols]]
    """(name of the input, its shape) → the alternatives."""
    numbers: Callable[[np.random.Generator, Shape], np.ndarray]
    """Floats drawn from the domain."""


def each(shape: Shape, entry: Callable[[tuple[int, ...]], sp.Expr]) -> Symbols:
    """The array of `entry(place)` for every place of the shape."""
    array = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        array[place] = entry(place)
    return array


def symbol(name: str, place: tuple[int, ...], **assumptions: bool) -> sp.Symbol:
    """The symbol of one entry: ("A", (0, 1)) → A_01, real unless said otherwise."""
    return sp.Symbol(f"{name}_{''.join(map(str, place))}", **({"real": True} | assumptions))


def _real(name: str, shape: Shape) -> Iterator[Symbols]:
    yield each(shape, lambda place: symbol(name, place))


def _positive(name: str, shape: Shape) -> Iterator[Symbols]:
    yield each(shape, lambda place: symbol(name, place, positive=True))


def _patterns(values: tuple[int, ...], shape: Shape) -> Iterator[Symbols]:
    """Every array of this shape whose entries are among the values."""
    for pattern in product(map(sp.Integer, values), repeat=int(np.prod(shape))):
        array = np.empty(len(pattern), dtype=object)
        array[:] = pattern
        yield array.reshape(shape)


def _one_hot(label: int, shape: Shape) -> Symbols:
    """Rows whose 1 stands at `label`, `label` + 1, … in turn."""
    return each(shape, lambda place: sp.Integer(int((label + place[0]) % shape[-1] == place[-1])))


def _choices(*signs: int) -> Callable[[str, Shape], Iterator[Symbols]]:
    """Every pattern of these signs: each entry a positive symbol, its negative, or 0."""

    def patterns(name: str, shape: Shape) -> Iterator[Symbols]:
        for positive in _positive(name, shape):
            for pattern in _patterns(signs, shape):
                yield positive * pattern

    return patterns


def _ordered(name: str, shape: Shape) -> Iterator[Symbols]:
    """Every strict order of the entries of a row, the same one in all rows: t, t + d₁, t + d₁ + d₂ … with d > 0."""
    *rows, l = shape
    for order in permutations(range(l)):
        array = np.empty(shape, dtype=object)
        for row in np.ndindex(*rows):
            steps = [symbol(name, (*row, 0)), *(symbol(name, (*row, j), positive=True) for j in range(1, l))]
            for rank, j in enumerate(order):
                array[(*row, j)] = sp.Add(*steps[: rank + 1])
        yield array


def _fractions(name: str, shape: Shape) -> Iterator[Symbols]:
    for array in _positive(name, shape):
        yield 1 / (1 + array)


def _simplex(name: str, shape: Shape) -> Iterator[Symbols]:
    for array in _positive(name, shape):
        yield array / array.sum(axis=-1, keepdims=True)


def _softmax(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    powers = np.exp(rng.standard_normal(shape))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


REAL = Domain("real numbers", _real, lambda rng, shape: rng.standard_normal(shape))
POSITIVE = Domain("positive numbers", _positive, lambda rng, shape: np.exp(rng.standard_normal(shape)))
SIGNED = Domain("real numbers other than 0, every pattern of signs", _choices(1, -1), REAL.numbers)
NON_NEGATIVE = Domain(
    "numbers ≥ 0, every pattern of zeros",
    _choices(1, 0),
    lambda rng, shape: np.exp(rng.standard_normal(shape)) * rng.integers(0, 2, shape),
)
ZERO_OR_ONE = Domain(
    "0 or 1, every pattern",
    lambda name, shape: _patterns((0, 1), shape),
    lambda rng, shape: rng.integers(0, 2, shape).astype(np.float64),
)
ONE_HOT = Domain(
    "one-hot rows, every label in the first row",
    lambda name, shape: iter(_one_hot(label, shape) for label in range(shape[-1])),
    lambda rng, shape: np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])],
)
ORDERED = Domain("real numbers, every strict order within a row", _ordered, REAL.numbers)
FRACTION = Domain("numbers in (0, 1)", _fractions, lambda rng, shape: 1 / (1 + np.exp(rng.standard_normal(shape))))
SIMPLEX = Domain("rows of positive numbers that sum to 1", _simplex, _softmax)


def labels(l: int) -> Domain:
    """Integers in 0 … l − 1."""
    return Domain(
        f"labels in 0 … {l - 1}",
        lambda name, shape: (np.array(choice) for choice in product(range(l), repeat=shape[0])),
        lambda rng, shape: rng.integers(0, l, shape),
    )


def integers(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Integers between −2¹⁵ and 2¹⁵, as floats: sums of fewer than 2²³ products of two are exact in float64."""
    return rng.integers(-(2**15), 2**15, shape).astype(np.float64)
