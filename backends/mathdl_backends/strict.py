"""STRICT: the array API standard and nothing else (array-api-strict), on a pretended device.

It answers: is the code standard, and does it stay on its device? Boolean indexing and data-dependent shapes are off,
and inside a step what a CUDA graph cannot capture raises: `__bool__`, `__float__`, `__int__` and `__index__` of arrays,
arrays made of host data, and joins of more arrays than CuPy takes without sending their addresses to the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import Any

import numpy as np

from mathdl.errors import DeviceError, MissingExtraError

try:
    import array_api_strict as namespace
except ImportError as error:  # pragma: no cover - exercised in a subprocess by the tests
    raise MissingExtraError('the "strict" backend needs array-api-strict: pip install "mathdl[test]"') from error

from mathdl_backends.numpy.execution import ShardedExecution

NAME = "strict"
MAX_SHARDS = 4
MOST_ACTIVATIONS = 1 << 22
_Array: type = type(namespace.zeros(()))
_DEVICE = namespace.Device("device1")
_asarray = namespace.asarray
_HOST_SCALARS = ("__bool__", "__float__", "__int__", "__index__", "__complex__")
_MOST_JOINED = 8

namespace.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)


def kernels() -> Mapping[str, Any]:
    return {}


def fuse(primitive: Any) -> None:
    return None


def device(index: int) -> Any:
    return _DEVICE


def device_name(A: Any) -> str:
    return NAME


def lives_on(A: Any, handle: Any) -> bool:
    return bool(A.device == handle)


def why_unusable() -> None:
    return None


def to_host(A: Any) -> Any:
    return np.asarray(A._array)


def from_host(A: Any, handle: Any, dtype: str | None = None) -> Any:
    return _asarray(np.array(A, dtype=dtype), device=handle)


_patched = 0
_lock = RLock()


@contextmanager
def forbid_host_scalars() -> Iterator[None]:
    """Make `bool(A)`, `float(A)`, `int(A)` and indexing with A raise, and all else that a CUDA graph cannot capture."""
    global _patched
    with _lock:
        _patched += 1
        if _patched == 1:
            for owner, name, refusal in _REFUSALS:
                _originals[name] = getattr(owner, name)
                setattr(owner, name, refusal)
    try:
        yield
    finally:
        with _lock:
            _patched -= 1
            if _patched == 0:
                for owner, name, _ in _REFUSALS:
                    setattr(owner, name, _originals[name])


_originals: dict[str, Any] = {}


def _no_upload(obj: Any, /, **keywords: Any) -> Any:
    if isinstance(obj, _Array):
        return _originals["asarray"](obj, **keywords)
    raise DeviceError(f"an array of host data inside a step: asarray of a {type(obj).__name__}")


def _few(name: str) -> Callable[..., Any]:
    def join(arrays: Any, /, **keywords: Any) -> Any:
        if len(arrays) > _MOST_JOINED:
            raise DeviceError(f"{name} of {len(arrays)} arrays inside a step: CuPy captures {_MOST_JOINED} at most")
        return _originals[name](arrays, **keywords)

    return join


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(self: Any) -> Any:
        raise DeviceError(f"host scalar inside a step: {name} of an array of shape {self.shape}")

    return refuse


_REFUSALS: list[tuple[Any, str, Any]] = [
    *((_Array, name, _refusal(name)) for name in _HOST_SCALARS),
    (namespace, "asarray", _no_upload),
    *((namespace, name, _few(name)) for name in ("concat", "stack")),
]


class _StrictExecution(ShardedExecution):
    """Shards as on NumPy, with host scalars forbidden while they run."""

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        with forbid_host_scalars():
            return super().map(task, count)

    def recorded(self, make: Callable[[Callable[[Any], Any]], Callable[[], Any]], writes: Any) -> Callable[[], Any]:
        return make(lambda A: A)

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        with forbid_host_scalars():
            super().spread(task, size)

    def run(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        def forbidding(task: Callable[[], Any]) -> Callable[[], Any]:
            def run() -> Any:
                with forbid_host_scalars():
                    return task()

            return run

        return super().run(forbidding(gradient), forbidding(update), J, count)


def active(handle: Any) -> AbstractContextManager[Any]:
    return nullcontext()


aside = active  # a thread needs nothing more


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> _StrictExecution:
    return _StrictExecution(workers, shards, couples_instances)
