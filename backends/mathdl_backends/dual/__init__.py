"""DUAL: a number and its tangent.

It answers: does the gradient agree, without choosing a step size? The layers, losses and optimizers that ship run on
these arrays, and beside every value the derivative along one direction comes out, exact to rounding:

    from mathdl_backends import dual

    X = dual.array(x, direction)
    A, cache = layer.forward(params, X, context)
    A.value, A.tangent          # f(x), and f'(x) direction

`branches()` records which way the code went, to tell whether another point lies on the same piece of a function that
is made of pieces. Steps run one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from mathdl.primitive import Kernel
from mathdl_backends.dual.array import HANDLE, DualArray
from mathdl_backends.dual.array import dual as array
from mathdl_backends.dual.branches import Branches, branches
from mathdl_backends.dual.namespace import UndifferentiatedError, erf, namespace
from mathdl_backends.serial import SerialExecution

__all__ = [
    "MAX_SHARDS",
    "MOST_ACTIVATIONS",
    "NAME",
    "Branches",
    "DualArray",
    "UndifferentiatedError",
    "active",
    "array",
    "aside",
    "branches",
    "device",
    "device_name",
    "execution",
    "from_host",
    "fuse",
    "kernels",
    "lives_on",
    "namespace",
    "to_host",
    "why_unusable",
]

NAME = "dual"
MAX_SHARDS = 1
MOST_ACTIVATIONS = 1 << 22


def kernels() -> Mapping[str, Any]:
    """erf alone: its body is an approximation, whose derivative is not what a derivation means."""
    return {"erf": Kernel(erf)}


def fuse(primitive: Any) -> None:
    return None


def device(index: int) -> str:
    return HANDLE


def device_name(A: Any) -> str:
    return NAME


def lives_on(A: Any, handle: Any) -> bool:
    return True


def why_unusable() -> None:
    return None


def to_host(A: DualArray) -> Any:
    """The values. The tangents are `A.tangent`."""
    return A.value


def from_host(A: Any, handle: Any, dtype: str | None = None) -> DualArray:
    """A constant: its tangent is 0."""
    return DualArray(np.array(A, dtype=dtype))


def active(handle: Any) -> AbstractContextManager[Any]:
    return nullcontext()


aside = active  # a thread needs nothing more


class _DualExecution(SerialExecution):
    """Whether a cost is finite is asked of its value."""

    def finite(self, J: Any) -> bool:
        return bool(np.isfinite(J.value[0]))


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> _DualExecution:
    return _DualExecution()
