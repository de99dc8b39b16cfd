"""The contract of backends is asked of those that check, too; the rest of the suite runs on those that train."""

from __future__ import annotations

import pytest

from conftest import BACKENDS
from mathdl import arrays


@pytest.fixture(params=sorted([*BACKENDS.values(), "dual", "permuted", "rounding", "symbolic"]), scope="session")
def backend(request: pytest.FixtureRequest) -> arrays.Device:
    """A device of each usable backend."""
    return arrays.device(request.param)
