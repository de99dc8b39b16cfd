"""The CuPy backend, against a stand-in for CuPy: devices, what an unusable CUDA says, memory that runs out, `auto`.

What the arrays themselves do is asked of a real GPU, by every test that takes the fixture `backend`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from host_cupy import module
from mathdl import arrays
from mathdl.errors import DeviceError, MathdlError, MissingExtraError, OutOfMemoryError
from mathdl_backends.cupy import blas

cupy_backend = arrays.backend("cupy")
NAMES = "mathdl_backends.cupy.names"


class Current:
    """The current device is the last of the stack."""

    stack: ClassVar[list[int]] = [0]


class FakeDevice:
    def __init__(self, index):
        self.id = index

    def __enter__(self):
        Current.stack.append(self.id)
        return self

    def __exit__(self, *error):
        Current.stack.pop()

    def __eq__(self, other):
        return isinstance(other, FakeDevice) and other.id == self.id

    __hash__ = None


class FakeArray(np.ndarray):
    """Host memory that says it lives on a device."""

    __module__ = "cupy._core.core"
    device_id = 0

    @property
    def device(self):
        return FakeDevice(self.device_id)


class FakeOutOfMemory(MemoryError):
    pass


@pytest.fixture
def fake(monkeypatch):
    """A CuPy with two devices, in `sys.modules`; `fake.room` is the most bytes that an array may have."""
    fake = ModuleType("cupy")
    fake.__spec__ = ModuleSpec("cupy", None)
    fake.room, fake.devices = 10**9, 2

    def asarray(A, dtype=None):
        found = np.array(A, dtype=dtype)
        if found.nbytes > fake.room:
            raise FakeOutOfMemory(f"allocating {found.nbytes} bytes")
        found = found.view(FakeArray)
        found.device_id = Current.stack[-1]
        return found

    def count():
        if isinstance(fake.devices, Exception):
            raise fake.devices
        return fake.devices

    fake.asarray, fake.asnumpy, fake.isfinite = asarray, np.asarray, np.isfinite
    fake.cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDeviceCount=count),
        Device=FakeDevice,
        memory=SimpleNamespace(OutOfMemoryError=FakeOutOfMemory),
    )
    _, names = module()
    names.astype = lambda A, dtype, copy=True: A.astype(dtype, copy=copy)
    names.sign = mends_by_a_mask
    fake.sign, fake.where, fake.isnan = of_cupy, np.where, np.isnan
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", names)
    monkeypatch.delitem(sys.modules, NAMES, raising=False)
    monkeypatch.setattr(Current, "stack", [0])
    forget()
    yield fake
    sys.modules.pop(NAMES, None)
    forget()


def of_cupy(X):
    """CuPy's sign: (X > 0) − (X < 0)."""
    return (X > 0).astype(X.dtype) - (X < 0).astype(X.dtype)


def mends_by_a_mask(X):
    raise RuntimeError("synchronous: out[isnan(X)] = nan")


def forget():
    cupy_backend._cupy.cache_clear()
    cupy_backend.why_unusable.cache_clear()
    for table in (arrays._backend_of, arrays._namespace_of):
        for kind in [kind for kind in table if kind.__module__.startswith("cupy")]:
            del table[kind]


# -- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_devices(fake, name, index):
    found = arrays.device(name)
    assert found.name == name
    assert found.backend is cupy_backend
    assert found.handle.id == index
    A = found.put(np.ones(3))
    assert type(A) is FakeArray
    assert A.device.id == index
    assert cupy_backend.lives_on(A, found.handle)
    assert not cupy_backend.lives_on(A, FakeDevice(1 - index))
    assert arrays.device_of(A).name == f"cuda:{index}"
    assert Current.stack == [0]
    with found.active():
        assert Current.stack[-1] == index
    assert Current.stack == [0]


@pytest.mark.parametrize("index", [2, 17])
def test_a_device_that_is_not_there(fake, index):
    with pytest.raises(
        DeviceError, match=rf'device "cuda:{index}": this machine has 2 CUDA device\(s\), cuda:0 to cuda:1'
    ):
        arrays.device(f"cuda:{index}")


def test_put_moves_between_devices(fake):
    first, second = arrays.device("cuda:0"), arrays.device("cuda:1")
    A = first.put(np.arange(3.0))
    assert first.put(A) is A
    B = second.put(A)
    assert (B.device.id, B.tolist()) == (1, [0, 1, 2])
    assert second.put(A, "float32").dtype == np.float32
    assert type(arrays.device("cpu").put(B)) is np.ndarray


def test_put_casts_on_the_device(fake):
    device = arrays.device("cuda")
    A = device.put(np.arange(3.0))
    assert device.put(A, "float32").dtype == np.float32
    assert device.put(np.arange(3), "float32").dtype == np.float32


def test_namespace(fake):
    A = arrays.device("cuda").put(np.ones(2))
    assert arrays.namespace(A).astype is sys.modules["array_api_compat.cupy"].astype
    assert arrays.namespace(A).matmul is blas.matmul
    np.testing.assert_array_equal(arrays.namespace(A).sign(np.array([-2.0, 0.0, 3.0, np.nan])), [-1, 0, 1, np.nan])
    assert arrays.backend_of(A) is cupy_backend


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_large_data_leave_no_pinned_copy(fake, monkeypatch, dtype, order):
    A, waited = np.asarray(np.arange(12.0).reshape(3, 4), order=order), []
    monkeypatch.setattr(cupy_backend, "_LARGE", A.nbytes)
    monkeypatch.setattr(fake, "asarray", None)
    fake.empty = lambda shape, dtype: np.full(shape, np.nan, dtype).view(FakeArray)
    monkeypatch.setattr(FakeArray, "set", lambda self, A: self.__setitem__(..., A), raising=False)
    fake.cuda.get_current_stream = lambda: SimpleNamespace(synchronize=lambda: waited.append(Current.stack[-1]))
    B = arrays.device("cuda:1").put(A, dtype)
    np.testing.assert_array_equal(B, A)
    assert (B.dtype, waited) == (np.dtype(dtype or "float64"), [1])


# -- auto ------------------------------------------------------------------------------------------------------------


def test_auto_takes_a_usable_cuda(fake):
    assert arrays.device("auto").name == "cuda"
    assert arrays.device("auto", np.ones(3)).name == "cuda"


def test_auto_stays_with_the_data(fake):
    A = arrays.device("cuda:1").put(np.ones(3))
    found = arrays.device("auto", A)
    assert (found.name, found.handle.id) == ("cuda:1", 1)
    assert found.put(A) is A


def test_auto_without_a_usable_cuda(fake):
    fake.devices = RuntimeError("cudaErrorInsufficientDriver")
    assert arrays.device("auto").name == "cpu"


# -- an unusable CUDA ------------------------------------------------------------------------------------------------


def test_a_driver_that_does_not_work(fake):
    fake.devices = RuntimeError("cudaErrorInsufficientDriver: driver version is insufficient")
    with pytest.raises(
        DeviceError, match=r'device "cuda": CUDA is not usable: cudaErrorInsufficientDriver.*nvidia-smi'
    ):
        arrays.device("cuda")


def test_no_device(fake):
    fake.devices = 0
    with pytest.raises(DeviceError, match=r'device "cuda": CUDA reports no device: check that nvidia-smi lists a GPU'):
        arrays.device("cuda")


def test_cupy_that_cannot_be_imported(fake, monkeypatch):
    monkeypatch.setattr(
        cupy_backend, "import_module", lambda name: (_ for _ in ()).throw(ImportError("libcudart.so.13"))
    )
    with pytest.raises(
        DeviceError, match=r"CuPy cannot be imported \(libcudart.so.13\): pip install .mathdl\[cuda13\]"
    ):
        arrays.device("cuda")


@pytest.mark.parametrize(
    "of", [lambda: arrays.device("cuda"), lambda: arrays.device("cuda:1"), lambda: cupy_backend.namespace]
)
def test_without_cupy_the_extra_is_named(monkeypatch, of):
    monkeypatch.setitem(sys.modules, "cupy", None)
    forget()
    try:
        with pytest.raises(
            MissingExtraError, match=r'CuPy is not installed: pip install "mathdl\[cuda13\]".*\[cuda12\]'
        ):
            of()
        assert arrays.device("auto").name == "cpu"
    finally:
        forget()


def test_the_reason_is_found_once(fake):
    assert cupy_backend.why_unusable() is None
    fake.devices = 0
    assert cupy_backend.why_unusable() is None


def test_unknown_attributes_are_still_missing():
    with pytest.raises(AttributeError, match="nothing"):
        _ = cupy_backend.nothing


def test_cupy_is_imported_only_when_it_is_asked_for():
    program = """
import sys
import mathdl
from mathdl import arrays
arrays.device("cpu"), arrays.backend("cupy")
assert not any(name.partition(".")[0] == "cupy" for name in sys.modules)
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- memory that runs out --------------------------------------------------------------------------------------------


def test_data_that_do_not_fit(fake):
    device = arrays.device("cuda:1")
    fake.room = 2**20
    with pytest.raises(
        OutOfMemoryError, match=r"cuda:1 has no room for 8 MiB of data \(allocating 8388608 bytes\)"
    ) as caught:
        device.put(np.zeros(2**20))
    assert isinstance(caught.value, MathdlError)
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value.__cause__, FakeOutOfMemory)
    assert Current.stack == [0]


def test_arrays_that_do_not_fit(fake):
    with (
        pytest.raises(OutOfMemoryError, match=r"cuda:0 has no memory left \(allocating\)"),
        arrays.device("cuda").active(),
    ):
        raise FakeOutOfMemory("allocating")
    assert Current.stack == [0]


def test_a_step_that_does_not_fit(fake):
    def task(shard):
        raise FakeOutOfMemory("allocating")

    device = arrays.device("cuda")
    with (
        device.active(),
        pytest.raises(OutOfMemoryError, match=r"cuda:0 has no memory left for this step"),
        device.backend.execution(device.handle, None, 1, False) as execution,
    ):
        execution.map(task, 1)
    assert Current.stack == [0]


def test_other_errors_are_left_alone(fake):
    device = arrays.device("cuda")
    with pytest.raises(ZeroDivisionError), device.active():
        raise ZeroDivisionError
    with pytest.raises(MemoryError) as caught, device.active():
        raise MemoryError("of the host")
    assert type(caught.value) is MemoryError
    assert Current.stack == [0]


# -- execution -------------------------------------------------------------------------------------------------------


def test_a_step_runs_on_its_device(fake):
    device = arrays.device("cuda:1")
    with device.backend.execution(device.handle, None, 1, True) as execution:
        assert execution.map(lambda shard: (shard, Current.stack[-1]), 1) == [(0, 1)]
        seen = []
        execution.spread(lambda where: seen.append((where, Current.stack[-1])), 7)
        assert seen == [(slice(0, 7), 1)]
        x = device.put(np.ones(2))
        assert execution.total(0, 1)(x) is x
        made = []
        assert execution.run(lambda: made.append(Current.stack[-1]), lambda: None, np.array([1.0]), 2) == 2
        assert execution.run(lambda: None, lambda: made.append("updated"), np.array([np.nan]), 2) == 0
        assert made == [1, 1]
        with device.backend.execution(device.handle, None, 1, False):
            assert Current.stack[-1] == 1
        assert Current.stack[-1] == 1
    assert Current.stack == [0]


def test_a_step_is_not_cut():
    assert cupy_backend.MAX_SHARDS == 1
