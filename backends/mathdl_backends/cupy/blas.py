"""Matrix products that may be captured in a CUDA graph.

CuPy refuses every call of cuBLAS while its stream captures (its `cublas.setStream` raises `NotImplementedError`).
So the library that CuPy has loaded is called directly here: with a handle of our own for each device and a workspace of
our own, for cuBLAS would allocate one inside of the graph. Steps that run call by call take the same way, and so have
the same bits as captured ones.

cuBLAS stores matrices by columns. A row-major matrix is its own transpose by columns, so C = A B is asked for as
Cᵀ = Bᵀ Aᵀ: the operands change places, and nothing is copied.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Any, NamedTuple

from mathdl.errors import DeviceError

_WORKSPACE = 32 << 20
"""Bytes: what cuBLAS recommends for Hopper; more than enough for what came before."""
_MOST = 2**31 - 1

_PLAIN, _TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
_DEFAULT_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT
_DATA = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # CUDA_R_32F, _64F, _16F, _16BF
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77  # CUBLAS_COMPUTE_32F, _64F, _32F_FAST_TF32
_STATUS = {
    1: "NOT_INITIALIZED", 3: "ALLOC_FAILED", 7: "INVALID_VALUE", 8: "ARCH_MISMATCH", 11: "MAPPING_ERROR",
    13: "EXECUTION_FAILED", 14: "INTERNAL_ERROR", 15: "NOT_SUPPORTED", 16: "LICENSE_ERROR",
}  # fmt: skip


class Side(NamedTuple):
    """A matrix as cuBLAS takes it: whether it is to be transposed, and the elements from one column to the next."""

    transposed: int
    leading: int


class Gemm(NamedTuple):
    """op(first) op(second) of (m, k) and (k, n), all by columns: the arguments of cublasGemmEx."""

    m: int
    n: int
    k: int
    first: Side
    second: Side
    leading: int
    """The elements from one column of the result to the next."""


def side(shape: tuple[int, int], strides: tuple[int, int], itemsize: int) -> Side | None:
    """How a row-major operand (rows, columns) is handed over; None if it must be copied first.

    By columns its memory holds the transpose, which is what Cᵀ = Bᵀ Aᵀ needs: `transposed` is 0 for rows that lie one
    after the other, and 1 for a transposed view.
    """
    (rows, columns), (down, right) = shape, strides
    if right == itemsize or columns == 1:
        leading = down // itemsize if rows > 1 else max(columns, 1)
        if down % itemsize == 0 and leading >= max(columns, 1):
            return Side(_PLAIN, leading)
    if down == itemsize or rows == 1:
        leading = right // itemsize if columns > 1 else max(rows, 1)
        if right % itemsize == 0 and leading >= max(rows, 1):
            return Side(_TRANSPOSED, leading)
    return None


def gemm(A: Any, B: Any, C: Any) -> Gemm | None:
    """The arguments of C = A B for matrices (rows, k), (k, columns), (rows, columns); None if one must be copied."""
    a, b, c = (side(M.shape, M.strides, M.itemsize) for M in (A, B, C))
    if a is None or b is None or c is None or c.transposed:
        return None
    (rows, k), columns = A.shape, B.shape[1]
    return Gemm(columns, rows, k, b, a, c.leading)


def matmul(A: Any, B: Any, precision: str | None = None) -> Any:
    """A B, a new array. Raises `DeviceError` where cuBLAS fails.

    `precision`, of float32: "float32", or "tf32" (operands rounded to 11 bits, sums in float32); None: as CUPY_TF32
    says. float64 is multiplied in float64; operands of float16 and bfloat16 as they are, their sums in float32.
    """
    return _product(A, B, None, precision)


def matmul_into(A: Any, B: Any, out: Any, precision: str | None = None) -> Any:
    """A B for matrices, as `matmul`, written to `out`, whose rows may lie apart."""
    return _product(A, B, out, precision)


def _product(A: Any, B: Any, out: Any, precision: str | None) -> Any:
    if precision not in (None, "float32", "tf32"):
        raise ValueError(f'matmul: precision must be "float32", "tf32" or None, got {precision!r}')
    cupy = _cupy()
    if A.ndim not in (1, 2) or B.ndim not in (1, 2) or A.dtype != B.dtype or str(A.dtype) not in _DATA:
        product = cupy.matmul(A, B)  # what steps have none of: integers, stacks of matrices, two dtypes
        if out is None:
            return product
        out[...] = product
        return out
    rows, columns = A[None, :] if A.ndim == 1 else A, B[:, None] if B.ndim == 1 else B
    if rows.shape[1] != columns.shape[0]:
        raise ValueError(f"matmul: A.shape[1] must equal B.shape[0] · A {A.shape} · B {B.shape}")
    shape = rows.shape[0], columns.shape[1]
    C = cupy.empty(shape, dtype=A.dtype) if out is None else out
    if rows.shape[1] == 0:
        C[...] = 0
    elif C.size:
        rows, columns = (
            M if side(M.shape, M.strides, M.itemsize) else cupy.ascontiguousarray(M) for M in (rows, columns)
        )
        arguments = gemm(rows, columns, C)
        if arguments is None:  # the result lies in a way that cuBLAS cannot write
            C[...] = _product(rows, columns, None, precision)
        else:
            _call(arguments, columns, rows, C, uses_tf32() if precision is None else precision == "tf32")
    if out is not None:
        return out
    return C.reshape([n for n, M in zip(shape, (A, B), strict=True) if M.ndim == 2])


def _call(g: Gemm, first: Any, second: Any, C: Any, tf32: bool) -> None:
    name = str(C.dtype)
    wide = name == "float64"
    compute = _COMPUTE_64F if wide else _COMPUTE_TF32 if name == "float32" and tf32 else _COMPUTE_32F
    number = ctypes.c_double if wide else ctypes.c_float
    one, zero = number(1.0), number(0.0)
    kind = _DATA[name]
    if max(*g[:3], g.first.leading, g.second.leading, g.leading) > _MOST:
        raise DeviceError(
            f"cuBLAS counts in 32 bits: a product of {C.shape[0]} × {g.k} × {C.shape[1]} numbers has an axis, or rows"
            f" so far apart, of more than {_MOST}; use a smaller batch_size"
        )
    handle = _handle(C.device.id, get_ident())
    handle.use(_cupy().cuda.get_current_stream().ptr)
    status = handle.cublas.cublasGemmEx(
        handle.pointer, g.first.transposed, g.second.transposed, g.m, g.n, g.k,
        ctypes.byref(one), ctypes.c_void_p(first.data.ptr), kind, g.first.leading,
        ctypes.c_void_p(second.data.ptr), kind, g.second.leading,
        ctypes.byref(zero), ctypes.c_void_p(C.data.ptr), kind, g.leading,
        compute, _DEFAULT_ALGORITHM,
    )  # fmt: skip
    _check(status, f"a product of {C.shape[0]} × {g.k} × {C.shape[1]} numbers of {name}")


def uses_tf32() -> bool:
    """Whether products of float32 that do not say so are formed with TF32: CuPy's switch, CUPY_TF32, decides."""
    return os.environ.get("CUPY_TF32", "0") not in ("", "0")


class _Handle:
    """cuBLAS on one device, with a workspace that stays."""

    def __init__(self, library: Any) -> None:
        self.cublas = library
        self.pointer = ctypes.c_void_p()
        _check(library.cublasCreate_v2(ctypes.byref(self.pointer)), "the start of cuBLAS")
        self._workspace = for_ever(lambda cupy: cupy.cuda.alloc(_WORKSPACE))

    def use(self, stream: int) -> None:
        """Work on this stream. cuBLAS forgets the workspace at that, so it comes second.

        At every product: a stream that is new may have the address of one that is gone.
        """
        _check(self.cublas.cublasSetStream_v2(self.pointer, ctypes.c_void_p(stream)), "the choice of a stream")
        workspace = ctypes.c_void_p(self._workspace.ptr), ctypes.c_size_t(_WORKSPACE)
        _check(self.cublas.cublasSetWorkspace_v2(self.pointer, *workspace), "the choice of a workspace")


@cache
def _handle(device: int, thread: int) -> _Handle:
    """The handle of this thread on the current device, which is `device`: a handle works on one stream at a time.

    Made in a step that runs call by call, before a capture.
    """
    return _Handle(_library())


def for_ever(make: Callable[[Any], Any]) -> Any:
    """`make(cupy)`, in memory that is not of the pool of a step: what stays would keep blocks of that alive."""
    cupy = _cupy()
    with cupy.cuda.using_allocator(cupy.get_default_memory_pool().malloc):
        return make(cupy)


@cache
def _library() -> Any:
    """The libcublas of this process: the one that CuPy has loaded."""
    _cupy().cuda.device.get_cublas_handle()  # loads it
    for name in loaded_libraries("libcublas"):
        return ctypes.CDLL(name)
    raise DeviceError(
        "cuBLAS: CuPy has loaded no libcublas that can be found; is the CUDA toolkit of CuPy's version there?"
    )


def loaded_libraries(name: str, maps: Path = Path("/proc/self/maps")) -> list[str]:
    """The paths of what is called so among the files that this process has in its memory."""
    text = maps.read_text() if maps.exists() else ""
    return sorted(set(re.findall(rf"(/.*/{name}\.so[.\d]*)$", text, re.MULTILINE)))


def _check(status: int, what: str) -> None:
    if status != 0:
        raise DeviceError(f"cuBLAS failed in {what}: CUBLAS_STATUS_{_STATUS.get(status, status)}")


def _cupy() -> Any:
    import cupy

    return cupy
