"""CUPY: numbers on a CUDA GPU. CuPy is imported when the first of its arrays or devices is asked for.

Steps run eagerly, on the current stream, and are not cut into shards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mathdl.errors import DeviceError, MissingExtraError, OutOfMemoryError

NAME = "cupy"
MAX_SHARDS = 1

_INSTALL = 'pip install "mathdl[cuda13]" (CUDA 13) or "mathdl[cuda12]" (CUDA 12)'


def __getattr__(name: str) -> Any:
    if name == "namespace":
        _require()
        return import_module("array_api_compat.cupy")
    raise AttributeError(name)


@cache
def _cupy() -> Any:
    return import_module("cupy")


@cache
def why_unusable() -> str | None:
    """None, or why CUDA cannot be used here."""
    if find_spec("cupy") is None:
        return f"CuPy is not installed: {_INSTALL}"
    try:
        count = _cupy().cuda.runtime.getDeviceCount()
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): {_INSTALL}"
    except Exception as error:  # CuPy raises classes of its own for a missing driver, an old driver, …
        return f"CUDA is not usable: {error}. Check that nvidia-smi lists a GPU, and that its driver fits CuPy's CUDA"
    return None if count else "CUDA reports no device: check that nvidia-smi lists a GPU"


def _require() -> None:
    reason = why_unusable()
    if reason is not None:
        raise (MissingExtraError if find_spec("cupy") is None else DeviceError)(f'device "cuda": {reason}')


def kernels() -> Mapping[str, Any]:
    return {}


def fuse(primitive: Any) -> None:
    return None


def device(index: int) -> Any:
    _require()
    count = _cupy().cuda.runtime.getDeviceCount()
    if index >= count:
        raise DeviceError(f'device "cuda:{index}": this machine has {count} CUDA device(s), cuda:0 to cuda:{count - 1}')
    return _cupy().cuda.Device(index)


def device_name(A: Any) -> str:
    return f"cuda:{A.device.id}"


def lives_on(A: Any, handle: Any) -> bool:
    return bool(A.device.id == handle.id)


def to_host(A: Any) -> Any:
    return _cupy().asnumpy(A)


def about(handle: Any) -> Mapping[str, str]:
    """The GPU, its driver, and how CuPy multiplies matrices of float32 there: what a comparison of devices reports.

    CuPy reads CUPY_TF32 at the first product and keeps what it found, so it is asked, and not the environment.
    """
    cupy = _cupy()
    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(handle.id)["name"]
    found = {
        "GPU": name.decode() if isinstance(name, bytes) else str(name),
        "CuPy": str(cupy.__version__),
        "CUDA": str(runtime.runtimeGetVersion()),
        "driver": str(runtime.driverGetVersion()),
    }
    compute_type = getattr(cupy._core, "get_compute_type", None)
    if compute_type is not None:
        found["compute type of float32"] = str(compute_type("f"))
    settings = ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE")
    return found | {name: os.environ[name] for name in settings if name in os.environ}


def from_host(A: Any, handle: Any, dtype: str | None = None) -> Any:
    with _out_of_memory(f"cuda:{handle.id} has no room for {A.nbytes / 2**20:.0f} MiB of data"), handle:
        return _cupy().asarray(A, dtype=dtype)


@contextmanager
def active(handle: Any) -> Iterator[None]:
    with _out_of_memory(f"cuda:{handle.id} has no memory left"), handle:
        yield


@contextmanager
def _out_of_memory(message: str) -> Iterator[None]:
    try:
        yield
    except _cupy().cuda.memory.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{message} ({error})") from error


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> EagerExecution:
    return EagerExecution(handle)


class EagerExecution:
    """One call after the other on the device, on its current stream."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __enter__(self) -> EagerExecution:
        self._handle.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.__exit__(*error)

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        with self._room_for_a_step():
            return [task(shard) for shard in range(count)]

    def total(self, shard: int, count: int) -> Callable[[Any], Any]:
        return lambda x: x

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        task(slice(0, size))

    def recorded(self, make: Callable[[Callable[[Any], Any]], Callable[[], Any]], writes: Any) -> Callable[[], Any]:
        return make(lambda A: A)

    def run(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        with self._room_for_a_step():
            for done in range(count):
                gradient()
                if not bool(_cupy().isfinite(J[0])):
                    return done
                update()
        return count

    def _room_for_a_step(self) -> AbstractContextManager[None]:
        return _out_of_memory(f"cuda:{self._handle.id} has no memory left for this step; use a smaller batch_size")
