"""ROUNDING: a number, and a bound on how far any correctly working machine may be from it.

It answers: how far apart may two correct machines be? Every function of the namespace carries two float64 arrays: the
value, and a bound on the error that a machine of the array's dtype may have made so far (running error analysis). As
the layers, losses and optimizers that ship run on these arrays, the bound of a whole step is derived, not chosen:

    from mathdl_backends import rounding

    with rounding.analysis() as decisions:
        A, tape = net.forward(params_on_rounding, X)
    A.value, A.error        # two machines that keep the hypotheses differ by 2 A.error at most
    decisions.ambiguous     # decisions (ReLU, max pooling, …) that they may take differently; A.error allows for it

Hypotheses and exclusions stand in `machine`, the rules in `bounds`. What comes from the host is exact: both machines
have its bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from mathdl.errors import UsageError
from mathdl.primitive import Kernel
from mathdl_backends.rounding.array import HANDLE, RoundedArray, exact
from mathdl_backends.rounding.machine import PRODUCTS, Decisions, Machine, analysis
from mathdl_backends.rounding.namespace import erf, namespace
from mathdl_backends.serial import SerialExecution

__all__ = [
    "MAX_SHARDS",
    "MOST_ACTIVATIONS",
    "NAME",
    "PRODUCTS",
    "Decisions",
    "Machine",
    "RoundedArray",
    "active",
    "analysis",
    "array",
    "aside",
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

NAME = "rounding"
MAX_SHARDS = 1
MOST_ACTIVATIONS = 1 << 22


def array(value: Any, error: Any = 0.0, dtype: str | None = None) -> RoundedArray:
    """The ball of `error` (broadcast, ≥ 0) around a NumPy array, which is rounded to `dtype` first if given.

    Raises `UsageError` for an error that is negative or NaN, and for one on integers or booleans.
    """
    ball = from_host(value, HANDLE, dtype)
    error = np.broadcast_to(np.asarray(error, dtype=np.float64), ball.shape)
    if not np.all(error >= 0):
        raise UsageError("a bound on an error must be a number ≥ 0")
    if not ball.is_float:
        if np.any(error):
            raise UsageError(f"an array of {ball.dtype} is exact: it takes no error")
        return ball
    return RoundedArray(ball.value, error.copy(), ball.dtype)


def kernels() -> Mapping[str, Any]:
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


def to_host(A: RoundedArray) -> Any:
    """The values, in the dtype of A. The bounds are `A.error`."""
    return A.value.astype(A.dtype)


def from_host(A: Any, handle: Any, dtype: str | None = None) -> RoundedArray:
    return exact(np.array(A, dtype=dtype))


def active(handle: Any) -> AbstractContextManager[Any]:
    return nullcontext()


aside = active  # a thread needs nothing more


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> SerialExecution:
    return SerialExecution()
