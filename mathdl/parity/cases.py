"""A case: one computation with fixed inputs, that can be run on every side and on arrays that carry bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Array
from mathdl.layers.layer import Layer
from mathdl.losses import Loss
from mathdl.optimizers import Optimizer
from mathdl.parity.compare import Bounds, Reference
from mathdl.parity.sides import Side

Evaluate = Callable[[Side], Mapping[str, Array]]


@dataclass(frozen=True)
class Case:
    """A computation whose results are compared, each in a row of its own.

    Its inputs are numbers that every side holds exactly, so both sides start from the same bits.
    """

    suite: str
    op: str
    what: str
    evaluate: Evaluate
    """The results by name, in the order in which they are computed."""
    propositions: Mapping[str, str] = field(default_factory=dict)
    """Result → the id of the proposition that says what it is."""
    exact: bool = False
    """Nothing is rounded in it, whatever the order: both sides must have the same values."""
    needs_repetition: bool = False
    """Exact only on a side that gives the same bits when it is asked twice."""
    bounds: Mapping[str, Bounds] | None = None
    """Bounds in closed form; None: by the rounding backend (or 0 where `exact`)."""
    references: Callable[[], Mapping[str, Reference]] | None = None
    """Values by definition, for the results that have one."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Result → the terms that an entry is a sum of, where that is one number."""
    seed: int = 0
    group: str = ""
    """What its rows are printed under; the op unless given."""
    minibatch: int | None = None
    """The {m} of the user's data that it runs on."""
    order: tuple[int, ...] = ()
    """When in a training it is computed, for cases of the user's network: the first that fails is named."""


def draw(dtype: str, *shape: int, seed: tuple[int, ...]) -> NDArray[Any]:
    """Standard normal numbers of the dtype: `numpy.random.default_rng(seed).standard_normal(shape)`, rounded."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def spaced(dtype: str, *shape: int, seed: tuple[int, ...]) -> NDArray[Any]:
    """Numbers in (−2, 2), equally far from each other and in random order: no ties, none near 0.

    (π(k) + ½) 4/n − 2 with π(k) from `numpy.random.default_rng(seed).permutation(n)`, n the number of entries.
    """
    n = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(n)
    return ((order + 0.5) * (4.0 / n) - 2.0).reshape(shape).astype(dtype)


def kind(computed: Layer | Loss | Optimizer) -> str:
    """The name of what is computed: ``Conv2D``."""
    return type(computed).__name__


_SAID_BY = {
    "A": ("forward", "simplex"),
    "dX": ("input-grad", "backward", "vjp", "derivative"),
    "dW": ("kernel-grad", "backward"),
    "db": ("adjoint", "kernel-grad", "backward"),
    "dP": ("softmax-cce",),
}
"""Result → the last words of the ids of propositions that say what it is."""


def propositions(computed: Layer | Loss, results: Iterable[str] = ("A", "dX", "dW", "db", "J", "dP")) -> dict[str, str]:
    """Result → the proposition that says what it is, of those that a layer or a loss names."""
    ids = computed.propositions
    found = {}
    for result in results:
        words = _SAID_BY.get(result, ("backward",) if result.startswith("d") else ())
        found[result] = next((id for word in words for id in ids if id.endswith(word)), ids[0] if ids else "")
    return found
