"""A side of the comparison: a device and a dtype, and how a computation is run there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl import arrays
from mathdl.arrays import Array, Device
from mathdl.errors import unknown_name
from mathdl.network import DTYPES

Arrays = dict[str, NDArray[Any]]
"""Results by name, on the host."""

FLOAT64 = "float64"
"""The side that is the CPU, in float64."""


@dataclass(frozen=True)
class Side:
    """Where and in which dtype a computation is run. Cases take one to put their inputs on, and to compute with."""

    name: str
    """As users write it."""
    device: Device
    dtype: str
    spoilt: Callable[[], AbstractContextManager[Any]] = nullcontext
    """A context in which the side has the fault that a self-test gives it."""

    def put(self, A: Any) -> Array:
        """A on the device; numbers with a point in the side's dtype, others as they are."""
        A = np.asarray(A)
        return self.device.put(A.copy(), self.dtype if A.dtype.kind == "f" else None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context in which this side computes: its device, no warnings, and its fault if it has one."""
        with self.device.active(), np.errstate(all="ignore"), self.spoilt():
            yield

    def run(self, evaluate: Callable[[Side], Mapping[str, Array]]) -> Arrays:
        """What `evaluate` gives on this side, by name, brought to the host."""
        with self.running():
            return {name: np.array(arrays.to_host(A)) for name, A in evaluate(self).items()}


def open_side(name: str, dtype: str) -> Side:
    """The side called `name`: a device (``"cpu"``, ``"cuda:1"``, ``"strict"``, ``"permuted"``), or ``"float64"``, which
    is the CPU in float64. Raises `DeviceError`, `MissingExtraError` or `UnknownNameError`."""
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    if name == FLOAT64:
        return Side(name, arrays.device("cpu"), FLOAT64)
    return Side(name, arrays.device(name), dtype)
