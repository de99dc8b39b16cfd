"""Every test that takes the fixture `backend` runs on each backend that this machine can use."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from mathdl import arrays

settings.register_profile(
    "mathdl", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mathdl")

BACKENDS = {"numpy": "cpu", "strict": "strict"}
if os.environ.get("MATHDL_TEST_CUDA") == "1" or arrays.backend("cupy").why_unusable() is None:
    BACKENDS["cupy"] = "cuda"  # with MATHDL_TEST_CUDA=1 a missing GPU fails instead of being left out


@pytest.fixture(params=sorted(BACKENDS), scope="session")
def backend(request: pytest.FixtureRequest) -> arrays.Device:
    """A device of each usable backend."""
    return arrays.device(BACKENDS[request.param])
