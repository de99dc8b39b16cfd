"""The definitions, read once more with SymPy's functions in the place of math's: the same loops, on symbols."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import sympy as sp

_FUNCTIONS = SimpleNamespace(
    exp=sp.exp,
    expm1=lambda z: sp.exp(z) - 1,
    log=sp.log,
    log1p=lambda z: sp.log(1 + z),
    tanh=sp.tanh,
    sqrt=sp.sqrt,
    erf=sp.erf,
    erfc=lambda z: 1 - sp.erf(z),
    pi=sp.pi,
    inf=sp.oo,
)
"""The members of `math` that the definitions use."""


@cache
def definitions_on_symbols() -> Any:
    """A second module from the source of `mathdl.theory.definitions`, which computes with SymPy."""
    spec = find_spec("mathdl.theory.definitions")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(math=_FUNCTIONS, float=_as_it_is, max=_largest)
    return module


def _as_it_is(value: Any) -> Any:
    return value


def _largest(*values: Any) -> Any:
    """The largest of expressions whose order is known; SymPy would otherwise keep Max(a, b) and not say."""
    largest, *others = values if len(values) > 1 else values[0]
    for value in others:
        if bool(value > largest):
            largest = value
    return largest
