"""Arrays of symbols to run the code on: plain, with given signs, or in a given order.

    Z = signed("z", [[1, -1], [-1, 1]])          z_0_0 > 0, z_0_1 < 0 …: a sign pattern, for ReLU
    A = ordered("a", [[0, 2, 1]])                a_0_0 < a_0_2 < a_0_1: an ordering, for maxima

A function with branches is checked over all sign patterns, or all orderings, of its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, permutations, product
from math import prod
from typing import Any

import numpy as np
import sympy as sp

from mathdl_backends.symbolic.array import SymbolicArray, of_numpy


def array(entries: Any) -> SymbolicArray:
    """Nested lists (or a NumPy array) of expressions and numbers. Floats stand for simple numbers (`numbers`)."""
    return of_numpy(np.asarray(entries))


def symbols(name: str, *shape: int, **assumptions: bool) -> SymbolicArray:
    """name_0_0, name_0_1 …: real symbols of that shape, with SymPy's assumptions (`positive=True`)."""
    entries = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        entries[place] = sp.Symbol("_".join([name, *map(str, place)]), **{"real": True, **assumptions})
    return SymbolicArray(entries, np.float64)


def signed(name: str, signs: Any) -> SymbolicArray:
    """Symbols of the shape of `signs`: positive where that is > 0, negative where it is < 0, and the number 0 else."""
    signs = np.sign(np.asarray(signs))
    entries = np.empty(signs.shape, dtype=object)
    for place in np.ndindex(*signs.shape):
        symbol = sp.Symbol("_".join([name, *map(str, place)]), positive=True)
        entries[place] = int(signs[place]) * symbol
    return SymbolicArray(entries, np.float64)


def sign_patterns(*shape: int) -> Iterator[Any]:
    """All 2ⁿ arrays of signs ±1 of that shape."""
    for signs in product((1, -1), repeat=prod(shape)):
        yield np.reshape(signs, shape)


def ordered(name: str, ranks: Any) -> SymbolicArray:
    """Real entries in the order of `ranks` (integers ≥ 0, of that shape); entries of equal rank are equal.

    The entry of rank r is name + name_1 + … + name_r, with name real and all gaps name_k positive.
    """
    ranks = np.asarray(ranks)
    gaps = [sp.Symbol(f"{name}_{k}", positive=True) for k in range(1, int(ranks.max(initial=0)) + 1)]
    levels = list(accumulate([sp.Symbol(name, real=True), *gaps]))
    entries = np.empty(ranks.shape, dtype=object)
    for place in np.ndindex(*ranks.shape):
        entries[place] = levels[int(ranks[place])]
    return SymbolicArray(entries, np.float64)


def orderings(*shape: int) -> Iterator[Any]:
    """All n! arrays of different ranks 0 … n−1 of that shape."""
    for ranks in permutations(range(prod(shape))):
        yield np.reshape(ranks, shape)
