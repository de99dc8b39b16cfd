"""NUMPY: numbers in host memory. Steps run as programs of compiled code, or call by call, on all cores either way."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np

from mathdl_backends.numpy.execution import ShardedExecution
from mathdl_backends.numpy.namespace import namespace
from mathdl_backends.numpy.programs import why_absent

__all__ = [
    "MAX_SHARDS",
    "MOST_ACTIVATIONS",
    "NAME",
    "active",
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

NAME = "numpy"
# A program of compiled code uses all cores without shards.
MAX_SHARDS = 1 if why_absent() is None else 4
MOST_ACTIVATIONS = 1 << 16

# A step allocates and drops the same temporaries again and again. By default glibc gives large ones back to the kernel,
# and every step pays for their pages anew (half the time of a convolutional step). Dropping one block just under
# 32 MiB raises malloc's own thresholds to that size, on glibc; elsewhere this line does nothing.
np.empty((32 << 20) - (64 << 10), dtype=np.uint8)


@cache
def kernels() -> Mapping[str, Any]:
    from mathdl_backends.numpy import activations, sums, tables, windows, words

    return {**sums.KERNELS, **windows.KERNELS, **activations.KERNELS, **tables.KERNELS, **words.KERNELS}


def fuse(primitive: Any) -> None:
    return None


def device(index: int) -> str:
    return "cpu"


def device_name(A: Any) -> str:
    return "cpu"


def lives_on(A: Any, handle: Any) -> bool:
    return True


def why_unusable() -> None:
    return None


def to_host(A: Any) -> Any:
    return A


def from_host(A: Any, handle: Any, dtype: str | None = None) -> Any:
    return np.asarray(A, dtype=dtype)


def active(handle: Any) -> AbstractContextManager[Any]:
    return nullcontext()


aside = active  # a thread needs nothing more


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> ShardedExecution:
    return ShardedExecution(workers, shards, couples_instances)
