"""The frameworks that are compared, and ways of using them; each is imported when it is asked for.

Every module of this folder has `training(workload, place, …)`, which prepares a network and answers with its `Burst`.
Those that run on a GPU have `product(A, B, place)` too: A B of NumPy arrays, multiplied as in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from workloads import Burst, Place, Workload

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Framework(NamedTuple):
    """A way of training: a module of this folder, the package that it needs, its options and its environment."""

    module: str
    package: str
    options: Mapping[str, Any] = NOTHING
    environment: Mapping[str, str] = NOTHING


FRAMEWORKS = {
    "mathdl": Framework("mathdl", "mathdl"),
    "mathdl-eager": Framework(
        "mathdl", "mathdl", environment={"MATHDL_CUDA_GRAPHS": "0", "MATHDL_LAZY": "0", "MATHDL_NATIVE": "0"}
    ),
    "mathdl-plain": Framework("mathdl", "mathdl", environment={"MATHDL_LAZY": "0"}),
    "mathdl-gather": Framework("mathdl", "mathdl", environment={"MATHDL_CUDNN": "0"}),
    "torch": Framework("torch", "torch"),
    "torch-compile": Framework("torch", "torch", {"mode": "compile"}),
    "torch-graph": Framework("torch", "torch", {"mode": "graph"}),
    "torch-channels-last": Framework("torch", "torch", {"channels_last": True}),
    "torch-graph-channels-last": Framework("torch", "torch", {"mode": "graph", "channels_last": True}),
    "jax": Framework("jax", "jax.numpy"),
    "jax-scan": Framework("jax", "jax.numpy", {"scan": True}),
    "sklearn": Framework("sklearn", "sklearn.neural_network"),
    "floor": Framework("products", "numpy"),
}


def module_of(framework: str) -> Any:
    """The module that trains with a framework."""
    return import_module(f"frameworks.{FRAMEWORKS[framework].module}")


def training(framework: str, workload: Workload, place: Place) -> Burst:
    """The burst of a workload: network, data and optimizer are ready when it is returned."""
    burst: Burst = module_of(framework).training(workload, place, **FRAMEWORKS[framework].options)
    return burst
