"""Every test that takes the fixture `backend` runs on each backend that this machine can use."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from host_cupy import COMPILER, on_the_host
from mathdl import arrays

SCRIPTS = Path(__file__).parent.parent / "scripts"

settings.register_profile(
    "mathdl", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mathdl")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored

BACKENDS = {"numpy": "cpu", "strict": "strict", "cupy": "cuda"}
HAS_GPU = os.environ.get("MATHDL_TEST_CUDA") == "1" or arrays.backend("cupy").why_unusable() is None
"""With MATHDL_TEST_CUDA=1 a missing GPU fails. Otherwise the CuPy backend runs on host memory (host_cupy.py)."""
if not HAS_GPU and COMPILER is None:
    del BACKENDS["cupy"]


@pytest.fixture(params=sorted(BACKENDS), scope="session")
def backend(request: pytest.FixtureRequest) -> arrays.Device:
    """A device of each usable backend."""
    return arrays.device(BACKENDS[request.param])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test of the CuPy backend runs with CuPy on host memory, where there is no GPU; no other test does."""
    chosen = getattr(item, "callspec", None)
    if chosen is None or HAS_GPU or not {"cupy", "cuda"} & {v for v in chosen.params.values() if isinstance(v, str)}:
        return (yield)
    with on_the_host():
        return (yield)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of scripts/ by name, as the scripts and their children do; afterwards it is forgotten."""
    before, folders = set(sys.modules), [SCRIPTS, SCRIPTS / "benchmark", SCRIPTS / "gpu"]
    for folder in folders:
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*map(str, folders), *filter(None, sys.path)]))
    yield import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(SCRIPTS)):
            del sys.modules[name]
