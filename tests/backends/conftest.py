"""The contract of backends is asked of those that check, too; the rest of the suite runs on those that train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from conftest import BACKENDS
from host_cupy import Machine, on_the_host
from mathdl import arrays


@pytest.fixture(params=sorted([*BACKENDS.values(), "dual", "permuted", "rounding", "symbolic"]), scope="session")
def backend(request: pytest.FixtureRequest) -> arrays.Device:
    """A device of each usable backend."""
    return arrays.device(request.param)


@pytest.fixture(scope="module")
def xp() -> Iterator[Any]:
    """The functions of lazy arrays, with CuPy on host memory."""
    with on_the_host():
        from mathdl_backends.cupy.names import of_lazy_arrays

        yield of_lazy_arrays


@pytest.fixture
def launches() -> list[str]:
    """The kernels that a test launches, by name."""
    Machine.launches.clear()
    return Machine.launches
