"""CUPY: numbers on a CUDA GPU. CuPy is imported when the first of its arrays or devices is asked for.

Steps are captured in CUDA graphs (`execution`), and are not cut into shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mathdl.errors import DeviceError, MissingExtraError, OutOfMemoryError
from mathdl_backends.cupy import cudnn, elementwise, fusing, losses, normalization, sums
from mathdl_backends.cupy.execution import GraphExecution

NAME = "cupy"
MAX_SHARDS = 1
MOST_ACTIVATIONS = 1 << 22

_LARGE = 2**26
"""Bytes from which on data go to the device without a copy in pinned memory."""

_INSTALL = 'pip install "mathdl[cuda13]" (CUDA 13) or "mathdl[cuda12]" (CUDA 12)'


def __getattr__(name: str) -> Any:
    if name == "namespace":
        _require()
        return import_module("mathdl_backends.cupy.names").namespace
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
    return sums.KERNELS | elementwise.KERNELS | losses.KERNELS | normalization.KERNELS | cudnn.KERNELS


def fuse(primitive: Any) -> Any:
    return fusing.pointwise(primitive.__wrapped__, import_module("mathdl_backends.cupy.names").of_lazy_arrays)


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
        "cuDNN": cudnn.about(),
    }
    compute_type = getattr(cupy._core, "get_compute_type", None)
    if compute_type is not None:
        found["compute type of float32"] = str(compute_type("f"))
    settings = ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE")
    return found | {name: os.environ[name] for name in settings if name in os.environ}


def from_host(A: Any, handle: Any, dtype: str | None = None) -> Any:
    with _out_of_memory(f"cuda:{handle.id} has no room for {A.nbytes / 2**20:.0f} MiB of data"), handle:
        return _cupy().asarray(A, dtype=dtype) if A.nbytes < _LARGE else _sent(A.astype(dtype or A.dtype, copy=False))


def _sent(A: Any) -> Any:
    """A on the current device. `asarray` copies to pinned memory first, as much as A has, which CuPy then keeps."""
    cupy = _cupy()
    found = cupy.empty(A.shape, dtype=A.dtype)
    found.set(A)
    cupy.cuda.get_current_stream().synchronize()  # A may be pinned itself, and change after this
    return found


@contextmanager
def active(handle: Any) -> Iterator[None]:
    with _out_of_memory(f"cuda:{handle.id} has no memory left"), handle:
        yield


@contextmanager
def aside(handle: Any) -> Iterator[None]:
    """CuPy copies from the host through pinned memory, in the order of a stream: this one is the copies' own."""
    with active(handle), _stream_aside(handle.id) as stream:
        yield
        stream.synchronize()


@cache
def _stream_aside(index: int) -> Any:
    """On the current device, which is `index`."""
    return _cupy().cuda.Stream(non_blocking=True)


@contextmanager
def _out_of_memory(message: str) -> Iterator[None]:
    try:
        yield
    except _cupy().cuda.memory.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{message} ({error})") from error


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> GraphExecution:
    return GraphExecution(handle, _cupy())
