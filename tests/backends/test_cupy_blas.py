"""What cuBLAS is asked for: the arguments, carried out on the bare memory as its documentation says; and its errors."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Barrier, Thread
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_blas import Library
from mathdl.errors import DeviceError
from mathdl_backends.cupy import blas, sums
from support import normal


class Host(np.ndarray):
    """Host memory with the addresses that CuPy's arrays have."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.__array_interface__["data"][0])

    @property
    def device(self):
        return SimpleNamespace(id=0)


@contextmanager
def on_host_memory():
    """cuBLAS and CuPy, on host memory."""
    library, stream = Library(), SimpleNamespace(ptr=17)
    fake = SimpleNamespace(
        empty=lambda shape, dtype: np.full(shape, np.nan, dtype).view(Host),
        ones=lambda shape, dtype: np.ones(shape, dtype).view(Host),
        ascontiguousarray=lambda A: np.ascontiguousarray(A).view(Host),
        matmul=np.matmul,
        get_default_memory_pool=lambda: SimpleNamespace(malloc="for ever"),
        cuda=SimpleNamespace(
            get_current_stream=lambda: stream,
            alloc=lambda size: library.allocated.append(library.allocator) or SimpleNamespace(ptr=99),
            using_allocator=library.using_allocator,
        ),
    )
    library.current = stream
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "_cupy", lambda: fake)
        patch.setattr(blas, "_library", lambda: library)
        patch.setitem(sys.modules, "cupy", fake)
        for cached in (blas._handle, sums._ones):
            cached.cache_clear()
        yield library
    for cached in (blas._handle, sums._ones):
        cached.cache_clear()


@pytest.fixture
def library():
    with on_host_memory() as library:
        yield library


def operand(rows, columns, form, dtype, seed):
    """A matrix that lies in memory in some way."""
    match form:
        case "rows":
            A = normal(rows, columns, seed=seed)
        case "transposed":
            A = normal(columns, rows, seed=seed).T
        case "rows apart":
            A = normal(rows, columns + 3, seed=seed)[:, 1 : 1 + columns]
        case "columns apart":
            A = normal(columns, rows + 2, seed=seed)[:, :rows].T
        case "every other":
            A = normal(2 * rows, 2 * columns, seed=seed)[::2, ::2]
        case "upside down":
            A = normal(rows, columns, seed=seed)[::-1]
    base = A
    while base.base is not None:
        base = base.base
    whole = base.astype(dtype)
    offset = A.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    item = np.dtype(dtype).itemsize
    strides = [s // 8 * item for s in A.strides]
    return np.ndarray(A.shape, dtype, whole, offset // 8 * item, strides).view(Host)


sizes = st.integers(1, 9)
forms = st.sampled_from(["rows", "transposed", "rows apart", "columns apart", "every other", "upside down"])


dtypes = st.sampled_from(["float32", "float64", "float16"])


@given(rows=sizes, k=sizes, columns=sizes, a=forms, b=forms, c=forms, dtype=dtypes)
def test_products_are_those_of_the_matrices(rows, k, columns, a, b, c, dtype):
    with on_host_memory():
        A, B = operand(rows, k, a, dtype, 0), operand(k, columns, b, dtype, 1)
        out = operand(rows, columns, c, dtype, 2)
        expected = A.view(np.ndarray).astype(float) @ B.view(np.ndarray).astype(float)
        tolerance = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-2}[dtype]
        found = blas.matmul(A, B)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        assert blas.matmul_into(A, B, out) is out
        np.testing.assert_array_equal(np.asarray(out), np.asarray(found))


def test_what_lies_around_a_result_is_left_alone(library):
    whole = np.full((4, 6), 7.0).view(Host)
    A, B = normal(2, 3).view(Host), normal(3, 4, seed=1).view(Host)
    blas.matmul_into(A, B, whole[1:3, 1:5])
    np.testing.assert_allclose(whole[1:3, 1:5], A.view(np.ndarray) @ B.view(np.ndarray), rtol=1e-12)
    whole[1:3, 1:5] = 7.0
    assert (whole == 7.0).all()


@pytest.mark.parametrize(("a", "b", "shape"), [((4,), (4, 3), (3,)), ((2, 4), (4,), (2,)), ((4,), (4,), ())])
def test_vectors(library, a, b, shape):
    A, B = normal(*a).view(Host), normal(*b, seed=1).view(Host)
    found = blas.matmul(A, B)
    assert found.shape == shape
    np.testing.assert_allclose(found, np.matmul(A.view(np.ndarray), B.view(np.ndarray)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0), (2, 0, 3)])
def test_nothing_to_multiply(library, shape):
    rows, k, columns = shape
    found = blas.matmul(np.ones((rows, k)).view(Host), np.ones((k, columns)).view(Host))
    np.testing.assert_array_equal(found, np.zeros((rows, columns)))
    assert library.calls == []


def test_what_cublas_is_not_for_goes_to_cupy(library):
    A = np.arange(6).reshape(2, 3).view(Host)
    np.testing.assert_array_equal(blas.matmul(A, A.T), A.view(np.ndarray) @ A.view(np.ndarray).T)
    out = np.zeros((2, 2), dtype=int)
    assert blas.matmul_into(A, A.T, out) is out
    assert out.any()
    assert library.calls == []


def test_shapes_that_do_not_fit(library):
    with pytest.raises(ValueError, match=r"A.shape\[1\] must equal B.shape\[0\] · A \(2, 3\) · B \(2, 3\)"):
        blas.matmul(np.ones((2, 3)).view(Host), np.ones((2, 3)).view(Host))


@pytest.mark.parametrize(
    ("dtype", "tf32", "compute"),
    [("float32", None, 68), ("float32", "0", 68), ("float32", "1", 77), ("float64", "1", 70), ("float16", "1", 68)],
)
def test_how_products_are_formed(library, monkeypatch, dtype, tf32, compute):
    monkeypatch.delenv("CUPY_TF32", raising=False)
    if tf32 is not None:
        monkeypatch.setenv("CUPY_TF32", tf32)
    blas.matmul(np.ones((2, 2), dtype).view(Host), np.ones((2, 2), dtype).view(Host))
    assert [call[0] for call in library.calls] == [compute]


@pytest.mark.parametrize("setting", ["0", "1"])
def test_a_product_may_say_how_it_is_formed(library, monkeypatch, setting):
    monkeypatch.setenv("CUPY_TF32", setting)
    A, B = (np.ones((2, 2), "float32").view(Host) for _ in range(2))
    for precision, compute in (("float32", 68), ("tf32", 77), (None, 77 if setting == "1" else 68)):
        blas.matmul(A, B, precision=precision)
        blas.matmul_into(A, B, np.zeros((2, 2), "float32").view(Host), precision)
        assert [each for each, _ in library.calls[-2:]] == [compute, compute]
    blas.matmul(A.astype("float64"), B.astype("float64"), "tf32")
    assert library.calls[-1][0] == 70, "of float32 alone"
    with pytest.raises(ValueError, match='must be "float32", "tf32" or None, got \'half\''):
        blas.matmul(A, B, "half")


def test_a_stream_comes_before_its_workspace_at_every_product(library):
    """A stream that is new may have the address of one that is gone."""
    A = np.ones((2, 2)).view(Host)
    blas.matmul(A, A)
    blas.matmul(A, A)
    library.current.ptr = 18
    blas.matmul(A, A)
    assert library.order == ["create", *3 * ["stream", "workspace"]]
    assert [stream for _, stream in library.calls] == [17, 17, 18]


def test_threads_have_handles_and_workspaces_of_their_own(library):
    A, both_there = np.ones((2, 2)).view(Host), Barrier(2)

    def work():
        both_there.wait(timeout=60)
        blas.matmul(A, A)
        both_there.wait(timeout=60)  # the name of a thread that has ended is given to the next

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.order.count("create") == 2
    assert library.allocated == 2 * ["for ever"]


def test_what_stays_is_not_taken_from_the_memory_of_a_step(library):
    D = np.ones((3, 2)).view(Host)
    first = [sums._ones(n, "float64", 0) for n in range(1, 200)]
    sums.sum_rows(D)
    assert library.allocated == ["for ever"]
    assert all(sums._ones(n + 1, "float64", 0) is ones for n, ones in enumerate(first)), "graphs read these"


def test_more_than_cublas_can_count(library):
    far = np.lib.stride_tricks.as_strided(np.ones(8, np.float32), (2, 2), (4 * 2**31, 4)).view(Host)
    near = np.ones((2, 2), np.float32).view(Host)
    with pytest.raises(DeviceError, match=r"cuBLAS counts in 32 bits: a product of 2 × 2 × 2 numbers"):
        blas.matmul(far, near)
    assert library.calls == []


@pytest.mark.parametrize(("status", "name"), [(13, "EXECUTION_FAILED"), (15, "NOT_SUPPORTED"), (99, "99")])
def test_errors_have_names(library, status, name):
    A = np.ones((2, 5), np.float32).view(Host)
    blas.matmul(A, A.T)
    library.status = status
    with pytest.raises(DeviceError, match=rf"a product of 2 × 5 × 2 numbers of float32: CUBLAS_STATUS_{name}"):
        blas.matmul(A, A.T)


def test_sums_over_instances(library):
    A, D = normal(5, 3, dtype="float32").view(Host), normal(5, 4, seed=1, dtype="float32").view(Host)
    flat = np.zeros(16, np.float32).view(Host)
    np.testing.assert_allclose(sums.sum_rows(D), D.view(np.ndarray).sum(axis=0), rtol=1e-5)
    assert sums.sum_rows(D, flat[:4]) is not None
    np.testing.assert_array_equal(flat[:4], sums.sum_rows(D))
    sums.sum_outer(A, D, flat[4:].reshape(3, 4))
    np.testing.assert_allclose(flat[4:].reshape(3, 4), A.view(np.ndarray).T @ D.view(np.ndarray), rtol=1e-5)
    assert sums.KERNELS["sum_rows"].supports(np.ones(3)) == "1 axes of float64"


def test_the_library_is_the_one_in_memory(tmp_path):
    maps = tmp_path / "maps"
    lines = ["7f00-7f01 r-xp 0 00:00 1 /opt/cuda/lib/libcublas.so.13.0.0.19", "7f02-7f03 r--p 0 00:00 2 /lib/libc.so.6"]
    maps.write_text("\n".join([*lines, "7f04-7f05 r-xp 0 00:00 3 /opt/cuda/lib/libcublasLt.so.13.0.0.19", ""]))
    assert blas.loaded_libraries("libcublas", maps) == ["/opt/cuda/lib/libcublas.so.13.0.0.19"]
    assert blas.loaded_libraries("libcublas", tmp_path / "none") == []
    maps.write_text("7f00-7f01 r-xp 0 00:00 1    /home/a person/lib/libcublas.so.12\n")
    assert blas.loaded_libraries("libcublas", maps) == ["/home/a person/lib/libcublas.so.12"]
